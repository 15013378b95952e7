#include "assay/lm/openai_chat.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/lm/gbnf.h"
#include "assay/lm/logprobs.h"

namespace assay {
namespace {

constexpr const char* too_long_remedy = "this server sends more than is asked for (max_tokens): use another";

constexpr std::size_t error_text_max = 300;

bool is_sent(std::string_view key) {
  constexpr std::array<std::string_view, 9> known{"temperature",      "top_p",      "max_tokens",       "stop",        "frequency_penalty",
                                                  "presence_penalty", "logit_bias", "reasoning_effort", "service_tier"};
  return std::find(known.begin(), known.end(), key) != known.end();
}

// Those that its caller keeps to: seeds and repeated requests.
bool is_callers(std::string_view key) { return key == "n" || key == "seed_policy" || key == "constrain"; }

Result<void> put_logprobs(JsonObject& body, const Json& config, ChatDialect dialect) {
  ASSAY_TRY(const LogprobsWanted wanted, logprobs_wanted(config));
  if (!wanted.yes) return {};
  body.set("logprobs", true);
  // llama.cpp's server takes 0 alternatives for "no log-probabilities": one is asked for, and dropped by the lane.
  const int top = dialect == ChatDialect::llama_cpp ? std::max(1, wanted.top) : wanted.top;
  if (top > 0) body.set("top_logprobs", top);
  return {};
}

// A token's bytes, if the server gives them; its text may have lost what is no UTF-8.
Result<TokenLogprob> server_token(const Json& value) {
  const Json& text = value.at("token");
  const Json& number = value.at("logprob");
  if (!text.is_string() || !number.is_number()) return fail(ErrorCode::malformed, "a token's log-probability lacks token or logprob");
  TokenLogprob out{text.as_string(), std::clamp(number.as_double(), logprob_floor, 0.0)};
  if (const Json& bytes = value.at("bytes"); bytes.is_list()) {
    out.token.clear();
    for (const Json& byte : bytes.as_list()) {
      if (!byte.is_int() || byte.as_int() < 0 || byte.as_int() > 255)
        return fail(ErrorCode::malformed, "a byte lies in 0 … 255", {}, "bytes");
      out.token += static_cast<char>(byte.as_int());
    }
  }
  return out;
}

Result<void> put_config(JsonObject& body, const Json& config, ChatDialect dialect) {
  if (config.is_null()) return {};
  if (!config.is_object()) return fail(ErrorCode::malformed, "config must be an object", {}, "config");
  for (const auto& [key, value] : config.as_object()) {
    if (is_callers(key) || key == "logprobs" || key == "top_logprobs") continue;
    if (!is_sent(key) && !(dialect == ChatDialect::llama_cpp && (key == "top_k" || key == "min_p" || key == "repeat_penalty"))) {
      return fail(ErrorCode::refused, fmt::format("this lane cannot keep to config key '{}'", key), "leave it out, or use another lane",
                  "config." + key);
    }
    if (key == "stop" && value.is_list() && value.as_list().empty()) continue;
    body.set(key, value);
  }
  return {};
}

Result<void> put_schema(JsonObject& body, const Json& schema, ChatDialect dialect) {
  if (schema.is_null()) return {};
  if (dialect != ChatDialect::llama_cpp) {
    return fail(ErrorCode::refused, "this server cannot keep an answer to the signature",
                "set constrain = false, or use a llama.cpp server with dialect = \"llama.cpp\"", "schema");
  }
  auto parts = answer_parts(schema);
  if (!parts) return std::unexpected(std::move(parts.error()).in("schema"));
  body.set("grammar", gbnf_of(*parts));
  return {};
}

}  // namespace

std::string_view name(ChatDialect dialect) { return dialect == ChatDialect::openai ? "openai" : "llama.cpp"; }

Result<ChatDialect> parse_dialect(std::string_view text) {
  for (const ChatDialect dialect : {ChatDialect::openai, ChatDialect::llama_cpp}) {
    if (text == name(dialect)) return dialect;
  }
  return fail(ErrorCode::usage, fmt::format("unknown dialect '{}'", text), "openai or llama.cpp", "dialect");
}

Result<std::string> chat_body(const LmRequest& request, const std::string& model, ChatDialect dialect, bool stream) {
  if (request.tools.is_object() && !request.tools.as_object().empty())
    return fail(ErrorCode::refused, "this lane takes no native tools", "use a template that writes the tools into the prompt", "tools");
  JsonList messages;
  for (const Message& message : request.messages) messages.push_back(message.to_json());
  if (messages.empty()) return fail(ErrorCode::malformed, "a request needs at least one message", {}, "messages");
  JsonObject body{{"model", model}, {"messages", std::move(messages)}};
  ASSAY_CHECK(put_config(body, request.config, dialect));
  ASSAY_CHECK(put_logprobs(body, request.config, dialect));
  ASSAY_CHECK(put_schema(body, request.schema, dialect));
  if (request.seed) {
    // Servers take 32 bits; a new rollout is a new draw.
    const std::string mixed = fmt::format("{}\n{}", *request.seed, request.rollout);
    const Bytes32 digest = sha256(mixed);
    body.set("seed", (std::int64_t{digest[0] & 0x7F} << 24) | (std::int64_t{digest[1]} << 16) | (std::int64_t{digest[2]} << 8) | digest[3]);
  }
  if (dialect == ChatDialect::llama_cpp) body.set("cache_prompt", true);
  if (stream) {
    body.set("stream", true);
    body.set("stream_options", JsonObject{{"include_usage", true}});
  }
  return canonical(body);
}

namespace {

// JSON beyond the reader's limits is the server's fault; only too long a text is the model's.
Result<Json> read_answer(std::string_view text) {
  auto json = read_json(text);
  if (json) return json;
  Error error = std::move(json.error()).in("answer");
  if (error.code == ErrorCode::limit_exceeded) error.code = ErrorCode::malformed;
  error.message.insert(0, "the server's answer is no whole JSON: ");
  if (error.remedy.empty()) error.remedy = "ask again; if it happens again, is this an OpenAI-compatible endpoint?";
  return std::unexpected(std::move(error));
}

}  // namespace

Result<void> ChatAnswerReader::take(std::string_view bytes) {
  if (done_) return {};
  buffer_ += bytes;
  if (!is_stream_) {
    const std::size_t begin = buffer_.find_first_not_of(" \t\r\n");
    if (begin == std::string::npos) return {};
    is_stream_ = buffer_[begin] != '{';
  }
  if (!is_stream_) {
    if (buffer_.size() > limits_.content_bytes_max)
      return fail(ErrorCode::limit_exceeded, "the answer is too long", too_long_remedy, "answer");
    return {};
  }
  std::size_t from = 0;
  for (std::size_t end = buffer_.find('\n'); end != std::string::npos; end = buffer_.find('\n', from)) {  // ends: from grows
    ASSAY_CHECK(line(std::string_view(buffer_).substr(from, end - from)));
    from = end + 1;
  }
  buffer_.erase(0, from);
  if (buffer_.size() > limits_.event_bytes_max)
    return fail(ErrorCode::malformed, "one event of the answer is too long", too_long_remedy, "answer");
  return {};
}

Result<void> ChatAnswerReader::line(std::string_view text) {
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (!text.starts_with("data:")) return {};  // comments, event names, empty lines
  text.remove_prefix(5);
  if (text.starts_with(' ')) text.remove_prefix(1);
  if (done_) return {};
  if (text == "[DONE]") {
    done_ = true;
    return {};
  }
  ASSAY_TRY(const Json json, read_answer(text));
  return event(json);
}

Result<void> ChatAnswerReader::event(const Json& json) {
  if (!json.is_object()) return fail(ErrorCode::malformed, "an event of the answer is no object", "", "answer");
  if (!json.at("error").is_null()) {
    const std::string why = chat_error_text(canonical(json).value_or(""));
    return fail(ErrorCode::unavailable, "the server gave up: " + (why.empty() ? "without saying why" : why), "", "answer.error");
  }
  if (const Json& usage = json.at("usage"); usage.is_object()) {
    const Json &prompt = usage.at("prompt_tokens"), &completion = usage.at("completion_tokens");
    if (!prompt.is_int() || !completion.is_int() || prompt.as_int() < 0 || completion.as_int() < 0)
      return fail(ErrorCode::malformed, "usage is not counted in whole numbers from 0",
                  "use a server that counts its tokens, or the local lane", "answer.usage");
    usage_.prompt_tokens = prompt.as_int();
    usage_.completion_tokens = completion.as_int();
    if (const Json& cached = usage.at("prompt_tokens_details").at("cached_tokens"); cached.is_int() && cached.as_int() >= 0)
      usage_.more.set("cached_tokens", cached.as_int());
    has_usage_ = true;
  }
  const Json& choices = json.at("choices");
  if (choices.is_list() && !choices.as_list().empty()) return choice(choices.as_list().front());
  return {};
}

Result<void> ChatAnswerReader::choice(const Json& choice) {
  has_choice_ = true;
  for (const char* where : {"delta", "message"}) {
    const Json& said = choice.at(where);
    ASSAY_CHECK(take_content(said.at("content")));
    if (const Json& refusal = said.at("refusal"); refusal.is_string()) content_ += refusal.as_string();  // for people: no field's value
  }
  if (content_.size() > limits_.content_bytes_max)
    return fail(ErrorCode::limit_exceeded, "the answer is too long", too_long_remedy, "answer.content");
  if (const Json& reason = choice.at("finish_reason"); reason.is_string()) finish_reason_ = to_utf8(reason.as_string().substr(0, 64));
  if (const Json& tokens = choice.at("logprobs").at("content"); tokens.is_list()) return take_logprobs(tokens);
  return {};
}

// Text, or a list of parts that are texts.
Result<void> ChatAnswerReader::take_content(const Json& content) {
  if (content.is_null()) return {};
  if (content.is_string()) {
    content_ += content.as_string();
    return {};
  }
  const auto is_text = [](const Json& part) { return part.at("text").is_string(); };
  if (!content.is_list() || !std::all_of(content.as_list().begin(), content.as_list().end(), is_text))
    return fail(ErrorCode::malformed, "the answer's content is no text", "ask a model that answers in text", "answer.content");
  for (const Json& part : content.as_list()) content_ += part.at("text").as_string();
  return {};
}

Result<void> ChatAnswerReader::take_logprobs(const Json& tokens) {
  has_logprobs_ = true;
  for (const Json& token : tokens.as_list()) {
    const auto place = [&] { return fmt::format("answer.logprobs[{}]", logprobs_.size()); };
    if (logprobs_.size() >= limits_.tokens_max) return fail(ErrorCode::limit_exceeded, "the answer has too many tokens", "", place());
    auto said = server_token(token);
    if (!said) return std::unexpected(std::move(said.error()).in(place()));
    SaidToken out{*std::move(said), {}};
    if (const Json& top = token.at("top_logprobs"); top.is_list()) {
      if (static_cast<std::int64_t>(top.as_list().size()) > top_logprobs_max)
        return fail(ErrorCode::limit_exceeded, fmt::format("more than {} alternatives of one token", top_logprobs_max), "", place());
      for (const Json& other : top.as_list()) {
        auto read = server_token(other);
        if (!read) return std::unexpected(std::move(read.error()).in(place()));
        out.top.push_back(*std::move(read));
      }
    }
    logprobs_.push_back(std::move(out));
  }
  return {};
}

Result<LmResponse> ChatAnswerReader::finish() {
  if (!is_stream_ && !buffer_.empty()) {
    ASSAY_TRY(const Json json, read_answer(buffer_));
    buffer_.clear();
    ASSAY_CHECK(event(json));
  }
  if (!has_choice_)
    return fail(ErrorCode::malformed, "the server's answer holds no choice", "is this an OpenAI-compatible endpoint?", "answer");
  if (finish_reason_.empty())
    return fail(ErrorCode::malformed, "the answer was cut off: no finish_reason came",
                "ask again; if it happens again, the server's log may say why", "answer");
  if (!has_usage_) {
    return fail(ErrorCode::malformed, "the server does not say how many tokens it used, so that the call has no price",
                "use a server that reports usage (stream_options.include_usage)", "answer.usage");
  }
  LmResponse out;
  out.content = std::move(content_);
  out.finish_reason = std::move(finish_reason_);
  out.usage = std::move(usage_);
  if (has_logprobs_) out.logprobs = std::move(logprobs_);
  return out;
}

std::string chat_error_text(std::string_view body) {
  const auto json = read_json(body.substr(0, std::min<std::size_t>(body.size(), 65536)));
  if (!json) return "";
  const Json& error = json->at("error");
  const Json& text = error.is_object() ? error.at("message") : error;
  if (!text.is_string()) return "";
  std::string out;
  for (const char c : to_utf8(std::string_view(text.as_string()).substr(0, error_text_max)))
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
  return out;
}

}  // namespace assay
