#pragma once
/// @file
/// "Did you mean": the known word that is nearest to one that is not known.
///
///     nearest("compil", {"compile", "run"});   // "compile"
///
/// Thread safety: a pure function.

#include <string>
#include <string_view>
#include <vector>

namespace assay {

/// The nearest of `known` within an edit distance of 3 and less than the word's own length, or "".
std::string nearest(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace assay
