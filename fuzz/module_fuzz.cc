// Module files: reading and verifying hostile text never crashes, what is intact survives a round trip, and nothing that
// a fuzzer can make is signed by someone trusted.
//
//   ./x fuzz module
#include "assay/contract/module_file.h"
#include "fuzz/must.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const assay::ModuleVerdict verdict = assay::verify_module(text);
  must(verdict.state != assay::ModuleState::intact_trusted, "an empty trust store trusts nobody");
  must((verdict.state == assay::ModuleState::bad) == !verdict.problems.empty(), "bad has a reason, and only bad has");

  const auto module = assay::read_module(text);
  must(module.has_value() || verdict.state == assay::ModuleState::bad, "what verifies can be read");
  if (!module) return 0;
  const auto written = assay::write_module(*module);
  if (!written) return 0;  // deeper than the writer allows
  const auto again = assay::read_module(*written);
  must(again.has_value(), "a written module is read");
  must(assay::write_module(*again).value() == *written, "writing twice gives the same bytes");
  must(assay::verify_module(*written).state == verdict.state, "the spelling of a file does not change its verdict");
  return 0;
}
