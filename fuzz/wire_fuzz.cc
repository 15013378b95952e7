// What servers and people's configurations send or name: a chat answer in pieces, an error body, an answer's schema, URLs and headers.
//
//   ./x fuzz wire
#include "assay/lm/gbnf.h"
#include "assay/lm/local_constraint.h"
#include "assay/lm/openai_chat.h"
#include "assay/net/http_message.h"
#include "assay/net/url.h"
#include "fuzz/must.h"

namespace {

using namespace assay;

// The same bytes in pieces of another size are the same answer.
Result<LmResponse> read_answer(std::string_view text, std::size_t piece) {
  ChatAnswerReader reader({.content_bytes_max = 1 << 16, .event_bytes_max = 1 << 14});
  while (!text.empty() && !reader.done()) {
    ASSAY_CHECK(reader.take(text.substr(0, piece)));
    text.remove_prefix(std::min(piece, text.size()));
  }
  return reader.finish();
}

void read_answers(std::string_view text) {
  if (text.empty()) return;
  const std::size_t piece = 1 + static_cast<unsigned char>(text[0]) % 64;
  text.remove_prefix(1);
  const auto whole = read_answer(text, text.size() + 1), parts = read_answer(text, piece);
  must(whole.has_value() == parts.has_value(), "an answer does not depend on how it was cut");
  if (whole) {
    must(whole->content == parts->content && whole->finish_reason == parts->finish_reason, "nor does its text");
    must(whole->usage.prompt_tokens >= 0 && whole->usage.completion_tokens >= 0, "tokens are counts");
  }
  must(valid_utf8(chat_error_text(text)), "a server's words can be shown");
}

void read_schema(std::string_view text) {
  const auto schema = read_json(text, {.bytes_max = 1 << 16, .depth_max = 64});
  if (!schema) return;
  if (const auto parts = answer_parts(*schema)) must(!gbnf_of(*parts).empty(), "a plan has a grammar");
  LmRequest request;
  request.messages = {{"user", Json("x")}};
  request.schema = *schema;
  request.config = schema->is_object() ? *schema : Json(JsonObject{});
  for (const ChatDialect dialect : {ChatDialect::openai, ChatDialect::llama_cpp}) {
    if (const auto body = chat_body(request, "m", dialect, true)) must(read_json(*body).has_value(), "a body is JSON");
  }
  const Lane lane{.kind = "scripted", .model = "m", .model_sha256 = {}, .tokenizer_sha256 = {}, .chat_template_sha256 = {}, .engine = ""};
  const auto by_value = canonical(request_json(request, lane));
  const auto by_text = request_text(request, lane);
  must(by_value.has_value() == by_text.has_value() && by_value.value_or("") == by_text.value_or(""), "a request has one text");
}

void read_url(std::string_view text) {
  const auto url = parse_url(text);
  (void)is_loopback_host(text);
  (void)is_loopback_origin(text);
  (void)percent_decode(text);
  if (!url) return;
  const std::string again = url->scheme + "://" + url->authority() + url->target;
  const auto same = parse_url(again);
  must(same && same->host == url->host && same->port == url->port && same->target == url->target, "a URL reads back");
  must(valid_header("Host", url->authority()), "a host can stand in a header");
  must(url->target.find_first_of("\r\n ") == std::string::npos, "a target cannot break a request line");
}

void read_header(std::string_view text) {
  const std::size_t colon = std::min(text.find(':'), text.size());
  const std::string_view name = text.substr(0, colon), value = text.substr(std::min(colon + 1, text.size()));
  if (!valid_header(name, value)) return;
  must(name.find_first_of("\r\n: ") == std::string_view::npos && value.find_first_of("\r\n") == std::string_view::npos,
       "a header cannot begin another");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = text_of(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0: read_answers(text); break;
    case 1: read_schema(text); break;
    case 2: read_url(text); break;
    default: read_header(text);
  }
  return 0;
}
