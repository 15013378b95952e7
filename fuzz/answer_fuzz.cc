// The schema of an LM request, which a stranger on the market may have written, and an answer under it. First line: the schema; the rest:
// what a model would like to say, byte by byte. Whatever is kept to is a JSON value that fits, and asking moves nothing.
//
//   ./x fuzz answer
#include "assay/base/json.h"
#include "assay/lm/gbnf.h"
#include "assay/lm/local_constraint.h"
#include "assay/program/schema.h"
#include "fuzz/must.h"

namespace {

using namespace assay;

/// Says of `wish` what can be said, in pieces of some bytes; what it ended with, if it may end there.
std::string said(JsonCursor& cursor, std::string_view wish) {
  std::string text;
  bool whole = false;
  for (std::size_t at = 0; at < wish.size() && !cursor.must_end();) {
    const std::string_view piece = wish.substr(at, 1 + static_cast<unsigned char>(wish[at]) % 5);
    at += piece.size();
    const bool admitted = cursor.admits(piece);
    must(cursor.admits(piece) == admitted, "asking twice gives one answer");
    if (!admitted) continue;
    must(cursor.take(piece), "what is admitted can be taken");
    text += piece;
    if (cursor.may_end()) whole = true;
  }
  return whole && cursor.may_end() ? text : std::string();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t line = std::min(input.find('\n'), size);
  const auto schema = read_json(input.substr(0, line));
  if (!schema) return 0;
  const auto parts = answer_parts(*schema);
  if (!parts) {
    must(!parts.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  (void)gbnf_of(*parts);
  const auto plan =
      answer_plan(*parts, [](std::string_view text) { return std::vector<std::int32_t>(text.begin(), text.end()); }, {.texts_max = 64});
  const std::string_view wish = input.substr(std::min(line + 1, size));
  for (const AnswerPart& part : *parts) {
    if (part.kind != AnswerPart::Kind::json) continue;
    JsonCursor cursor(part.shape, "", part.until);
    const std::string text = said(cursor, wish);
    if (text.empty()) continue;
    const auto value = read_json(text);
    must(value.has_value(), "what is kept to is JSON");
    if (parts->size() == 1 && check_schema(*schema)) must(check_value(*value, *schema).has_value(), "and fits its schema");
    must(part.until.empty() || text.find(part.until) == std::string::npos, "and does not hold what comes next");
  }
  return 0;
}
