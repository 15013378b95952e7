#pragma once
/// @file
/// What an answer may be: the `schema` of an LM request turned into literal text, choices, JSON values and free text, and the
/// choices into a trie of tokens, so that the local lane can only produce an answer that the reader can read.
///
///     ASSAY_TRY(const auto parts, answer_parts(schema));              // {"type":"string","enum":["low","high"]}
///     ASSAY_TRY(const auto plan, answer_plan(parts, tokenise));       // one segment: a choice of two texts
///
/// Thread safety: values. Source: docs/formats.md §4 (`schema`), docs/lanes.md (`x-parts`).

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "assay/base/json.h"
#include "assay/base/result.h"
#include "assay/lm/json_shape.h"

namespace assay {

/// One piece of an answer, in order.
struct AnswerPart {
  enum class Kind { literal, choice, text, json };
  Kind kind = Kind::text;
  std::string literal;              ///< literal: exactly this text
  std::vector<std::string> values;  ///< choice: one of these texts, without duplicates, in written order
  std::string until;                ///< text, json: ends before this text; empty: at the end of the answer
  std::shared_ptr<const JsonShape> shape = nullptr;  ///< json: what the value is
};

struct ConstraintLimits {
  std::size_t parts_max = 256;
  std::size_t texts_max = 4096;              ///< values of one choice, and combinations of neighbouring choices
  std::size_t bytes_max = std::size_t{1} << 20;  ///< all texts together
};

/// Reads a request's `schema`: null or `{"type":"string"}` is one free text; `{"type":"string","enum":[…]}` one choice; another type one
/// JSON value; `{"type":"string","x-parts":["literal" | {"schema": S, "until": "…"}]}` a list of those. A boolean is a choice of true and
/// false; an Optional admits `null` besides, and an Optional text is free. Errors: `malformed` with the JSON pointer of the place,
/// `limit_exceeded`, `refused` (a schema that cannot be kept to; it is never ignored).
Result<std::vector<AnswerPart>> answer_parts(const Json& schema, const ConstraintLimits& limits = {});

/// `until` without the white space around it (as it is, if it is nothing else): a reader splits at the first place of it, so free text ends
/// before it and a JSON value never holds it.
std::string_view marker_of(std::string_view until);

/// Texts as sequences of tokens that share their beginnings. Node 0 is the root.
class TokenTrie {
 public:
  struct Node {
    std::vector<std::pair<std::int32_t, std::size_t>> next;  ///< token → node, ascending by token
    int text = -1;  ///< index of the text that ends here, or -1
  };
  TokenTrie() : nodes_(1) {}
  void add(const std::vector<std::int32_t>& tokens, int text);
  const Node& node(std::size_t at) const { return nodes_[at]; }
  std::size_t depth() const { return depth_; }  ///< tokens of the longest text

 private:
  std::vector<Node> nodes_;
  std::size_t depth_ = 0;
};

/// A stretch of the answer that is generated in one way.
struct AnswerSegment {
  bool choice = false;
  std::vector<std::string> texts;  ///< choice: the allowed texts, in the order of the trie's indexes
  TokenTrie trie;
  std::string prefix;  ///< free text, JSON: spaces that its first token must begin with (they belong to the word)
  std::string until;
  std::shared_ptr<const JsonShape> shape = nullptr;  ///< JSON: what the value is
};

using Tokenise = std::function<std::vector<std::int32_t>(std::string_view)>;

/// Neighbouring literals and choices become one choice of whole texts, tokenised as a whole: the tokens are then those of
/// running text ("Section:" + " mail"), the ones the model was trained on. Errors: `limit_exceeded`.
Result<std::vector<AnswerSegment>> answer_plan(const std::vector<AnswerPart>& parts, const Tokenise& tokenise,
                                               const ConstraintLimits& limits = {});

}  // namespace assay
