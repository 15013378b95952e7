#pragma once
/// @file
/// One line of a run record: its text, its members, and what a torn one may still become. Used by the writer, the reader, and who folds
/// lines himself. Source: docs/formats.md §4.
///
/// Thread safety: pure functions.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "assay/trace/record.h"

namespace assay {

inline constexpr std::string_view run_format = "assay.run/1";
inline constexpr std::string_view head_format = "assay.head/1";
inline constexpr std::size_t record_line_bytes_max = std::size_t{64} << 20;
inline constexpr std::size_t record_path_bytes_max = 4096;

/// 64 zeros: `prev` of the first line.
std::string_view first_prev();

/// Canonical text of a line, without its newline. Errors: `malformed`, `limit_exceeded` (depth, 64 MiB).
Result<std::string> record_line_text(const RecordEntry& entry);

/// A line as it is about to be written. Views: what they show outlives the call.
struct LineParts {
  std::int64_t seq = 0, t = 0;
  std::string_view type, node, prev;
  const Json* data = nullptr;  ///< or null, and then
  std::string_view data_text;  ///< its canonical text, at most 127 containers deep
};

/// Appends the canonical text of a line, without its newline. Errors: as `record_line_text`; `out` is then to be thrown away.
Result<void> append_record_line(std::string& out, const LineParts& line);

/// Reads a line: canonical, all six members with their types, data as its type demands. Chain and signatures are not looked at.
/// Errors: `malformed`, `limit_exceeded`; the message says what is wrong.
Result<RecordEntry> read_record_line(std::string_view line, std::size_t bytes_max);
/// The same, but what lies deep within a request, inputs or outputs is checked and not kept: for who only verifies.
Result<RecordEntry> check_record_line(std::string_view line, std::size_t bytes_max);

/// Members of `data` as formats.md §4 fixes them; types that it does not know pass.
Result<void> check_record_data(std::string_view type, const Json& data);

/// What a line adds to the run's totals: only lm_response and cache_hit do.
std::optional<LmUsage> usage_of_line(std::string_view type, const Json& data);

/// Sums of a run's lines, in their order. A payment counts when it is made; the answer that it bought then brings it as its own cost.
/// What was paid for nothing, and what a sandbox run cost, is so in the totals too.
class TotalsFold {
 public:
  void add(std::string_view type, std::string_view node, const Json& data);
  /// An answer whose figures are known: what its line adds.
  void add_answer(std::string_view node, const LmUsage& usage);
  const Totals& totals() const { return totals_; }

 private:
  Totals totals_;
  std::map<std::string, std::int64_t, std::less<>> open_;  // node → paid, and no answer yet
  std::set<std::pair<std::string, std::string>> told_;     // node, payment hash: one that a later pass tells again counts once
};

/// Segments `name[:index]` joined by '/', or "" for the run itself.
bool is_record_path(std::string_view path);

/// True if `tail` (not empty) lacks only more input to be the canonical line with this seq, prev and, unless empty, type, or is a line
/// whole with this seq and prev.
bool may_become_line(std::string_view tail, std::int64_t seq, std::string_view prev, std::string_view type, std::size_t bytes_max);

/// What run_end's signature covers: sha256 of the canonical line without data.signature.
Result<Bytes32> run_end_signing_hash(std::string_view line);

}  // namespace assay
