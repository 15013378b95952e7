#pragma once
/// @file
/// For tests: the worked run of docs/formats.md (program package-triage on "imap client"), written through a RunRecorder.
/// Its hashes come from two independent references, so a test that meets them has met every byte.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "assay/base/clock.h"
#include "assay/base/keys.h"
#include "assay/base/random.h"
#include "assay/trace/record.h"

namespace assay::worked {

inline constexpr std::string_view secret = "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef";
inline constexpr std::string_view signer = "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659";
inline constexpr std::string_view run_id = "0123456789abcdef0123456789abcdef";
inline constexpr std::string_view compiled_id = "e6e1e787a20f5a3a5cb1b9cbf8964276565c200b3c9b57d7bdb9cdb5f2cb0d03";
inline constexpr std::string_view lane_id = "44025c23cb313b5159b8e83dd50df735564f00f380e38089cce7833a9db20d14";
inline constexpr std::string_view request_hash = "88097c5470cb2fce04c6c6354463a0fff223da99e90b6f8d7c1d95f0722aa8c7";
inline constexpr std::string_view output_hash = "49449f41192539c4a0ac7893bcc829b553ea908077416d118b57b1c8f8985776";
inline constexpr std::string_view root_hash = "b4f193c8a835f51d5dbaadc54c2df9275ae6f5296d18ce054d6b0d86866806c6";
inline constexpr std::string_view last_line_hash = "fe5f99a6699eb76b27f618172779d95c223009c269345c77e22ee0a85d337b6f";
inline constexpr std::string_view trace_id = "52729311b6844895db4b98b4fd88e0bf";
inline constexpr std::string_view span_id = "2652fa287af0db51";
inline constexpr std::string_view lm_span_id = "be26bdc3f3075958";
inline constexpr std::int64_t started_unix_ns = 1790000000000000001;

/// First the run id, then zeros (the auxiliary bytes of the case's signatures).
class CaseEntropy final : public Entropy {
 public:
  void fill(std::span<std::uint8_t> out) override;

 private:
  bool first_ = true;
};

SecretKey key();
Json lane();
Json request();
RunStart start();

/// The case's lines up to `node_end`, at the case's times; `finish` then gives the last two.
Result<std::unique_ptr<RunRecorder>> begin(RecorderOptions options, ManualClock& clock, Entropy& entropy);
/// All lines of a finished recorder that kept its entries, as the file has them.
std::string text_of(const RunRecorder& recorder);
/// The whole case: seven lines, signed.
std::string record_text();

/// A chain over the given entries, sealed anew (seq and prev set, heads and run_end left as they are): what a forger without a key can do.
std::string reseal(std::vector<RecordEntry> entries);

}  // namespace assay::worked
