#pragma once
/// @file
/// Private to `assay/lm`: vocabulary and chat template of a model file.
/// Thread safety: immutable once made.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "assay/lm/local_engine.h"
#include "assay/lm/local_model.h"

namespace assay::local {

/// Pieces and kinds of all tokens, read once.
class Vocabulary {
 public:
  explicit Vocabulary(const llama_vocab* vocab);
  std::size_t size() const { return pieces_.size(); }
  /// Bytes that a token stands for; empty for control tokens.
  const std::string& piece(std::int32_t token) const { return pieces_[static_cast<std::size_t>(token)]; }
  bool ends(std::int32_t token) const { return llama().vocab_is_eog(vocab_, token); }
  /// Tokens that may be generated: those with a piece, and the ones that end an answer.
  const std::vector<std::int32_t>& speakable() const { return speakable_; }
  const std::vector<std::int32_t>& ending() const { return ending_; }
  std::vector<std::int32_t> tokenise(std::string_view text, bool control) const;
  /// True if the text holds the spelling of a control token.
  bool spells_control(std::string_view text) const;
  /// The token to begin with, or -1.
  std::int32_t first() const { return llama().vocab_get_add_bos(vocab_) ? llama().vocab_bos(vocab_) : -1; }

 private:
  const llama_vocab* vocab_;
  std::vector<std::string> pieces_;
  std::vector<std::string> controls_;
  std::vector<std::int32_t> speakable_, ending_;
};

class ChatTemplate {
 public:
  /// Errors: `malformed` (the file has none, or libllama does not know it).
  static Result<ChatTemplate> of(const llama_model* model);
  const std::string& text() const { return text_; }
  /// Turns and the start of the assistant's answer, as tokens. Errors: `malformed` (unknown role).
  Result<LocalPrompt> prompt(const std::vector<ChatTurn>& turns, const Vocabulary& vocabulary) const;

 private:
  Result<std::string> render(const std::vector<ChatTurn>& turns, bool ask) const;
  Result<std::vector<std::int32_t>> tokens(const std::vector<ChatTurn>& turns, bool ask, const Vocabulary& vocabulary) const;
  std::string text_;
  bool trims_ = false;  // the template strips white space around contents
};

}  // namespace assay::local
