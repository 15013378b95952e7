// What people and LMs write: program files, signature texts, slots, data rows and answers. Nothing crashes, and what is accepted reads back
// to itself.
//
//   ./x fuzz program
#include <string>

#include "assay/optimize/data.h"
#include "assay/program/chat_template.h"
#include "assay/program/program_file.h"
#include "fuzz/must.h"

namespace {

const assay::Signature& signature() {
  static const assay::Signature value =
      assay::Signature::parse("q, n: Optional[int] -> thought, kind: Literal['a', 'B b', 'c.'], score: float, tags: list[str]").value();
  return value;
}

void read_signature(std::string_view text) {
  const auto read = assay::Signature::parse(text);
  if (!read) return;
  const auto again = assay::Signature::read(read->to_json());
  if (!again) return;  // a name or schema that JSON may not hold, such as invalid UTF-8
  must(again->to_json() == read->to_json(), "a signature reads back to itself");
}

void read_answer(std::string_view text) {
  static const auto chat = assay::ChatTemplate::read(assay::ChatTemplate::make(signature()), signature()).value();
  const auto outputs = chat.read_answer(signature(), text, nullptr);
  if (!outputs) return;
  must(signature().check_outputs(*outputs).has_value(), "what is read fits the signature");
  // What was read, written as a demo and read again, is the same unless a text holds the template's own markers.
  const assay::JsonList demos{assay::JsonObject{{"inputs", assay::JsonObject{{"q", "x"}, {"n", assay::Json()}}}, {"outputs", *outputs}}};
  must(chat.render(signature(), demos, assay::JsonObject{{"q", "x"}, {"n", assay::Json()}}).has_value(), "an answer can be a demo");
}

void read_slot(std::string_view text) {
  const auto parts = assay::parse_slot(text);
  if (!parts) return;
  std::string back;
  for (const auto& part : *parts) {
    if (part.placeholder) back += "{" + part.text + "}";
    else
      for (const char c : part.text) back += (c == '{' || c == '}') ? std::string(2, c) : std::string(1, c);
  }
  must(back == text, "a slot is its parts");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 6) {
    case 0: read_signature(text); break;
    case 1: read_answer(text); break;
    case 2: read_slot(text); break;
    case 3: (void)assay::parse_csv(text, "rows.csv", signature(), {}); break;
    case 4: (void)assay::parse_program_file(text, "P.toml", ".", assay::Rewards::built_in()); break;
    default: (void)assay::parse_jsonl(text, "rows.jsonl", signature(), {});
  }
  return 0;
}
