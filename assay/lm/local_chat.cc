#include "assay/lm/local_chat.h"

#include <algorithm>

#include <fmt/format.h>

namespace assay::local {
namespace {

std::string piece_of(const llama_vocab* vocab, std::int32_t token) {
  std::string piece(32, '\0');
  int size = llama().token_to_piece(vocab, token, piece.data(), static_cast<int>(piece.size()), 0, false);
  if (size < 0) {
    piece.resize(static_cast<std::size_t>(-size));
    size = llama().token_to_piece(vocab, token, piece.data(), static_cast<int>(piece.size()), 0, false);
  }
  piece.resize(static_cast<std::size_t>(std::max(size, 0)));
  return piece;
}

/// A stand-in for content i that occurs in none of the contents.
std::string stand_in(const std::vector<ChatTurn>& turns, std::size_t i) {
  for (int round = 0;; ++round) {  // ends: contents are finite, so some round's text is in none of them
    const std::string mark = fmt::format("[content {} {}]", i, round);
    const bool used =
        std::any_of(turns.begin(), turns.end(), [&](const ChatTurn& turn) { return turn.content.find(mark) != std::string::npos; });
    if (!used) return mark;
  }
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\n\v\f\r";
  const std::size_t begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(space) - begin + 1);
}

}  // namespace

Vocabulary::Vocabulary(const llama_vocab* vocab) : vocab_(vocab) {
  const std::int32_t count = llama().vocab_n_tokens(vocab);
  pieces_.reserve(static_cast<std::size_t>(count));
  for (std::int32_t token = 0; token < count; ++token) {
    const int attributes = llama().vocab_get_attr(vocab, token);
    const bool control = (attributes & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) != 0;
    pieces_.push_back(control ? std::string() : piece_of(vocab, token));
    if (control) controls_.emplace_back(llama().vocab_get_text(vocab, token));
    if (llama().vocab_is_eog(vocab, token)) {
      ending_.push_back(token);
      speakable_.push_back(token);
    } else if (!pieces_.back().empty() && (attributes & LLAMA_TOKEN_ATTR_UNUSED) == 0) {
      speakable_.push_back(token);
    }
  }
  std::erase(controls_, std::string());
}

std::vector<std::int32_t> Vocabulary::tokenise(std::string_view text, bool control) const {
  std::vector<std::int32_t> tokens(text.size() + 8);
  const auto run = [&] {
    return llama().tokenize(vocab_, text.data(), static_cast<std::int32_t>(text.size()), tokens.data(),
                            static_cast<std::int32_t>(tokens.size()), false, control);
  };
  std::int32_t count = run();
  if (count < 0) {
    tokens.resize(static_cast<std::size_t>(-static_cast<std::int64_t>(count)));
    count = run();
  }
  tokens.resize(static_cast<std::size_t>(std::max(count, 0)));
  return tokens;
}

bool Vocabulary::spells_control(std::string_view text) const {
  return std::any_of(controls_.begin(), controls_.end(),
                     [&](const std::string& control) { return text.find(control) != std::string_view::npos; });
}

Result<ChatTemplate> ChatTemplate::of(const llama_model* model) {
  ChatTemplate made;
  const char* text = llama().model_chat_template(model, nullptr);
  if (text == nullptr) {
    return fail(ErrorCode::malformed, "the model file has no chat template (a base model?)", "use an instruction-tuned model");
  }
  made.text_ = text;
  const std::string padded = " \nx\n ";
  ASSAY_TRY(const std::string sample, made.render({{"user", padded}}, true));
  made.trims_ = sample.find(padded) == std::string::npos;
  return made;
}

Result<std::string> ChatTemplate::render(const std::vector<ChatTurn>& turns, bool ask) const {
  std::vector<llama_chat_message> messages;
  std::size_t bytes = 256;
  for (const ChatTurn& turn : turns) {
    messages.push_back({turn.role.c_str(), turn.content.c_str()});
    bytes += turn.content.size() + 64;
  }
  std::string out(bytes, '\0');
  const auto run = [&] {
    return llama().chat_apply_template(text_.c_str(), messages.data(), messages.size(), ask, out.data(),
                                       static_cast<std::int32_t>(out.size()));
  };
  std::int32_t size = run();
  if (size > static_cast<std::int32_t>(out.size())) {
    out.resize(static_cast<std::size_t>(size));
    size = run();
  }
  if (size < 0) {
    return fail(ErrorCode::malformed, "libllama cannot apply the chat template of this model file",
                "use a model with a template that llama.cpp lists as supported");
  }
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Result<std::vector<std::int32_t>> ChatTemplate::tokens(const std::vector<ChatTurn>& turns, bool ask, const Vocabulary& vocabulary) const {
  // Usually one pass over the whole text, as the model was trained. A content with the spelling of a control token (or a NUL
  // byte, which C strings cannot carry) is cut out by a stand-in and tokenised by itself, as plain text.
  std::vector<ChatTurn> safe = turns;
  std::vector<std::pair<std::string, std::string_view>> apart;  // stand-in, content
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const auto& [role, content] = turns[i];
    if (role != "system" && role != "user" && role != "assistant") {
      return fail(ErrorCode::malformed, fmt::format("unknown role '{}'", role), "a local model knows system, user and assistant",
                  fmt::format("messages[{}].role", i));
    }
    if (!vocabulary.spells_control(content) && content.find('\0') == std::string::npos) continue;
    safe[i].content = stand_in(turns, i);
    apart.emplace_back(safe[i].content, trims_ ? trimmed(content) : std::string_view(content));
  }
  ASSAY_TRY(const std::string text, render(safe, ask));
  std::vector<std::int32_t> out;
  if (vocabulary.first() >= 0) out.push_back(vocabulary.first());
  const auto append = [&](std::string_view part, bool control) {
    const auto tokens = vocabulary.tokenise(part, control);
    out.insert(out.end(), tokens.begin(), tokens.end());
  };
  std::string_view rest = text;
  for (const auto& [mark, content] : apart) {
    const std::size_t at = rest.find(mark);
    if (at == std::string_view::npos) continue;  // a template may drop a turn
    append(rest.substr(0, at), true);
    append(content, false);
    rest.remove_prefix(at + mark.size());
  }
  append(rest, true);
  if (out.size() > 1 && out[0] == vocabulary.first() && out[1] == out[0]) out.erase(out.begin());  // the template wrote it too
  return out;
}

Result<LocalPrompt> ChatTemplate::prompt(const std::vector<ChatTurn>& turns, const Vocabulary& vocabulary) const {
  LocalPrompt prompt;
  ASSAY_TRY(prompt.tokens, tokens(turns, true, vocabulary));
  if (turns.size() < 2) return prompt;
  const std::vector<ChatTurn> before(turns.begin(), turns.end() - 1);
  ASSAY_TRY(const auto head, tokens(before, false, vocabulary));
  const auto [mine, theirs] = std::mismatch(prompt.tokens.begin(), prompt.tokens.end(), head.begin(), head.end());
  prompt.shared = static_cast<std::size_t>(mine - prompt.tokens.begin());
  return prompt;
}

}  // namespace assay::local
