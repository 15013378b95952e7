#pragma once
/// @file
/// The chat-completions wire format of OpenAI-compatible servers: a request's body, and a streamed or whole answer read.
///
///     ASSAY_TRY(const std::string body, chat_body(request, "gpt-x", ChatDialect::openai, true));
///     ChatAnswerReader reader;
///     ASSAY_CHECK(reader.take(bytes));                 // as they come
///     ASSAY_TRY(const LmResponse answer, reader.finish());
///
/// What the server says is foreign: limits on every size, and an error that names the place.
/// Thread safety: a reader belongs to one call. Source: OpenAI API reference, "Create chat completion"; llama.cpp tools/server.

#include <cstdint>
#include <string>
#include <string_view>

#include "assay/lm/lm.h"

namespace assay {

/// What a server takes besides the common fields. llama_cpp: a GBNF grammar, so that it can keep to a schema.
enum class ChatDialect { openai, llama_cpp };
Result<ChatDialect> parse_dialect(std::string_view text);
std::string_view name(ChatDialect dialect);

/// Every key of the config is sent or refused by name. Errors: `refused` (a schema or key that the dialect cannot keep to),
/// `malformed`.
Result<std::string> chat_body(const LmRequest& request, const std::string& model, ChatDialect dialect, bool stream);

struct ChatAnswerLimits {
  std::size_t content_bytes_max = std::size_t{8} << 20;
  std::size_t event_bytes_max = std::size_t{1} << 20;
  std::size_t tokens_max = std::size_t{1} << 18;  ///< with a log-probability
};

/// Server-sent events, `data: {…}` lines up to `data: [DONE]`; or one JSON object.
class ChatAnswerReader {
 public:
  explicit ChatAnswerReader(ChatAnswerLimits limits = {}) : limits_(limits) {}
  /// Errors: `malformed`, `limit_exceeded`, and what an `error` event says (`unavailable`).
  Result<void> take(std::string_view bytes);
  bool done() const { return done_; }
  /// Errors: `malformed` (cut off, no choice, no usage).
  Result<LmResponse> finish();

 private:
  Result<void> line(std::string_view text);
  Result<void> event(const Json& json);
  Result<void> choice(const Json& choice);
  Result<void> take_content(const Json& content);
  Result<void> take_logprobs(const Json& tokens);

  ChatAnswerLimits limits_;
  std::string buffer_, content_, finish_reason_;
  LmUsage usage_;
  std::vector<SaidToken> logprobs_;
  bool done_ = false, has_usage_ = false, has_choice_ = false, has_logprobs_ = false, is_stream_ = false;
};

/// The message of an error body, printable and short; "" if it has none.
std::string chat_error_text(std::string_view body);

}  // namespace assay
