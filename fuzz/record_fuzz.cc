// Run records: verifying hostile lines never crashes, and reader and verifier agree.
//
//   ./x fuzz record
#include "assay/trace/record.h"
#include "fuzz/must.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const assay::RecordVerdict verdict = assay::verify_record(text);
  const bool broken = verdict.state == assay::RecordState::broken;
  must(broken == !verdict.problems.empty(), "broken has a reason, and only broken has");

  const auto record = assay::read_record(text);
  must(record.has_value() == !broken, "what is not broken is read");
  if (!record) return 0;
  must(static_cast<std::int64_t>(record->entries.size()) == verdict.lines, "every whole line is an entry");
  // Cut off the tail that is not whole: what is left is intact too, if there is anything (an empty file is no record).
  if (verdict.lines == 0) return 0;
  const std::string_view whole = text.substr(0, text.size() - verdict.torn_bytes);
  const assay::RecordVerdict rest = assay::verify_record(whole);
  must(rest.state == assay::RecordState::open || rest.state == assay::RecordState::complete, "the whole lines of a torn record are intact");
  must(rest.lines == verdict.lines, "cutting the torn tail loses no line");
  return 0;
}
