#pragma once
/// @file
/// A request's schema as a grammar for llama.cpp's own server (GBNF), so that its answer is one that the reader can read.
///
///     ASSAY_TRY(const auto parts, answer_parts(schema));
///     gbnf_of(parts);                       // root ::= ("Section: mail" | "Section: games")
///
/// Free text that ends before a text is the automaton of "everything that does not hold it yet", one rule a state. A JSON value is one rule
/// a node of its shape; what a grammar without memory cannot say (each dict key once, no marker inside a string) is left to the reader.
/// Thread safety: pure functions.

#include <string>

#include "assay/lm/local_constraint.h"

namespace assay {

std::string gbnf_of(const std::vector<AnswerPart>& parts);

/// A text as a GBNF literal, quotes included.
std::string gbnf_text(std::string_view text);

}  // namespace assay
