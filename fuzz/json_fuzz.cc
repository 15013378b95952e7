// The strict JSON reader: whatever it accepts has canonical text, and that text reads back to the same value and the same text.
//
//   ./x fuzz json
#include "assay/base/json.h"
#include "fuzz/must.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  bool as_written = false;
  const auto value = assay::read_json(text, {}, &as_written);
  if (!value) {
    must(!value.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  const auto first = assay::canonical(*value);
  must(first.has_value(), "what the reader accepts, the writer writes");
  must(as_written == (*first == text), "the reader knows canonical text");
  const auto again = assay::read_json(*first);
  must(again.has_value(), "canonical text is read");
  must(*again == *value, "canonical text reads back to the same value");
  must(assay::canonical(*again).value() == *first, "canonical text is its own canonical text");
  must(assay::valid_utf8(*first), "canonical text is UTF-8");
  return 0;
}
