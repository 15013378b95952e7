#pragma once
/// @file
/// The run record: canonical JSON lines, each with the hash of the one before (docs/formats.md §4).
///
///     ASSAY_TRY(auto recorder, RunRecorder::create({.path = "a.run.jsonl", .key = &key}, start, clock, entropy));
///     ASSAY_CHECK(recorder->append("lm_request", "classify", data));
///     ASSAY_TRY(const std::string root, recorder->finish(output_hash));
///     const RecordVerdict verdict = verify_record(text);
///
/// Thread safety: a RunRecorder may be appended to from many threads; one writer a file, by lock.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/clock.h"
#include "assay/base/files.h"
#include "assay/base/json.h"
#include "assay/base/keys.h"
#include "assay/base/random.h"
#include "assay/trace/usage.h"

namespace assay {

struct RecordEntry {
  std::int64_t seq = 0;
  std::int64_t t = 0;  ///< ns since the start of the run
  std::string type;
  std::string node;  ///< path; "" for the run itself
  std::string prev;  ///< sha256 of the previous line without its newline
  Json data;
};

/// How bytes stand in a record: text as it is, what is not UTF-8 as {"$base64": …} (docs/formats.md §1).
Json recorded_text(std::string_view bytes);
/// Inverse of `recorded_text`. Errors: `malformed`.
Result<std::string> recorded_bytes(const Json& value);

/// memory: nowhere. process: written before `append` returns, survives SIGKILL. power: lines that come before an effect
/// (requests, payments, sandbox runs, tool calls), heads and the end are fsynced too, with all lines before them; threads that append
/// at once share an fsync (group_sync.h), and none goes on before its own line is on the disk.
enum class Durability { memory, process, power };

struct RecorderOptions {
  std::string path;  ///< empty: memory only
  Durability durability = Durability::process;
  bool keep_entries = true;           ///< for `entries()`, the graph and callbacks
  const SecretKey* key = nullptr;     ///< signs heads and run_end; null: unsigned. Must outlive the recorder
  std::int64_t head_lines_max = 256;  ///< a head is written at the latest after so many lines …
  std::int64_t head_ns_max = 1000000000;  ///< … or so much time of writing
  bool over_unborn = false;               ///< `create` takes a file that `is_unborn_record`: what it holds is cut off
  std::function<int(int fd)> sync;        ///< of `power`: an errno, or 0. Empty: fdatasync. Tests count with it
};

/// True for a file that is empty or holds a begun first line of a record and nothing else: its writer was killed before the first line
/// was whole, so nothing was asked and nothing paid. False also for a file that is not there or cannot be read.
bool is_unborn_record(const std::string& path);

struct RunRecord;

/// data of run_start; run_id and started_unix_ns are filled in by `create`. An empty price_book becomes the id of a book
/// without prices, an empty privacy_mode the default mode's name.
struct RunStart {
  std::optional<std::string> compiled_id;
  Json program;                      ///< null, or the canonical program of a compile
  Json settings = JsonObject{};
  std::int64_t seed = 0;
  std::string price_book;            ///< its hash
  JsonList lanes;                    ///< LANE objects
  std::string privacy_mode;
  std::optional<std::string> traceparent;
  std::string assay_version, assay_build;
};

class RunRecorder {
 public:
  /// Errors: `refused` (the file is there and not empty), `unavailable` (another writer holds it), `io`, `malformed` (start).
  /// `clock` and `entropy` must outlive the recorder.
  static Result<std::unique_ptr<RunRecorder>> create(RecorderOptions options, RunStart start, Clock& clock, Entropy& entropy);
  /// Asked under the writer's lock, with what stands in the file, before a byte of it is changed. Its error ends `resume`.
  using Accept = std::function<Result<void>(const RunRecord& before)>;
  /// Opens an open, torn or complete record for more lines: cuts a torn tail (the cut bytes are reported in the `resume`
  /// entry), appends `resume`. Errors: `mismatch` (broken), `unavailable` (another writer holds it), those of `accept`.
  static Result<std::unique_ptr<RunRecorder>> resume(RecorderOptions options, std::string_view reason, Clock& clock, Entropy& entropy,
                                                     const Accept& accept = {});
  ~RunRecorder();

  /// Appends one line; lm_response and cache_hit lines are added to the totals as they pass. A line that the reader would
  /// refuse is refused here (`malformed`, nothing is written). After `io` the file ends at the last whole line.
  /// Types run_start, run_end, head and resume are the recorder's own (`usage`).
  Result<void> append(std::string_view type, std::string_view node, Json data);
  /// As `append`, for lines of which there are many: `data` is the canonical text of an object that the reader takes, of a type that adds
  /// nothing to the totals, or an lm_response whose figures are `usage`. It is not looked at again; tests hold the callers to it.
  /// A node_start or node_end that is given so, and that the lines around it let anyone derive, is written with the line that follows, or
  /// with the recorder's end.
  Result<void> append_text(std::string_view type, std::string_view node, std::string_view data, const LmUsage* usage = nullptr);
  /// Writes a last head (if signed) and run_end, and closes the file. Returns the root hash. More lines: `usage`.
  Result<std::string> finish(const std::optional<std::string>& output_hash);

  const std::string& run_id() const;
  std::int64_t started_unix_ns() const;
  Totals totals() const;
  std::vector<RecordEntry> entries() const;  ///< copies, read anew where text came; empty unless keep_entries
  const std::string& path() const;

 private:
  struct State;
  explicit RunRecorder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

constexpr std::size_t record_bytes_max = std::size_t{4} << 30;  ///< of a record that is read or resumed

enum class RecordState { complete, open, torn, broken };
std::string_view name(RecordState state);

struct RecordProblem {
  std::int64_t line = 0;  ///< from 1
  std::string message;  ///< names what was altered, missing or swapped, as exactly as the chain allows
};

struct RecordVerdict {
  RecordState state = RecordState::broken;
  bool is_signed = false;
  std::string signer;  ///< of run_end, if signed
  std::string root_hash;
  std::string run_id;
  std::int64_t lines = 0;  ///< whole ones
  std::size_t torn_bytes = 0;  ///< after the last newline
  std::vector<RecordProblem> problems;  ///< empty: all that was asked holds. At most 16 are kept
};

struct RecordChecks {
  bool complete = false;  ///< demand state complete and a signature
  std::optional<Json> head;  ///< a kept head (its data object): shows a lost tail
  std::size_t line_bytes_max = std::size_t{64} << 20;
};

/// Checks chain, canonical form, members, sums, heads, signatures. Never fails: what is wrong is in the verdict. Linear in the text.
/// `checks.complete` and a kept head add problems; only a head that does not fit makes the state broken. Costs are for `check_costs`
/// (record_costs.h), sandbox jobs for `check_jobs` (assay/program/recorded_jobs.h).
RecordVerdict verify_record(std::string_view text, const RecordChecks& checks = {});

struct RunRecord {
  RecordVerdict verdict;
  std::vector<RecordEntry> entries;  ///< of the intact prefix
};

/// True for a text that can only be a record, whatever its file is called: it begins as the first line of one does.
bool is_record_text(std::string_view text);

/// The text of a record's file. One with a line that is longer than any record's is `mismatch`, found without reading the rest.
Result<std::string> read_record_text(const std::string& path, std::size_t line_bytes_max = std::size_t{64} << 20);

/// Reads and verifies. A broken record is an error `mismatch` that names the line; open and torn are read up to their end.
Result<RunRecord> read_record(std::string_view text, const RecordChecks& checks = {});
Result<RunRecord> read_record_file(const std::string& path, const RecordChecks& checks = {});

}  // namespace assay
