#pragma once
/// @file
/// What a list of runs, and a live compile, show of one run: a fold over its record's lines, cheap to keep and to extend.
///
///     RunSummary summary;
///     for (const RecordEntry& entry : entries) summary.add(entry);
///     summary.to_json();                                  // one row of /api/runs
///     summary.compile_json();                             // candidates and stages; null for a plain run
///
/// A compile's lines lie under paths such as `search/cand:3/ex:<hash>/classify`; what stands before `ex:` is a *stage*, and
/// a stage with a `cand:` segment belongs to that candidate. Thread safety: a value.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/trace/graph.h"
#include "assay/trace/record.h"
#include "assay/trace/record_line.h"
#include "assay/trace/usage.h"

namespace assay {

/// Scores and costs of the examples under one path.
struct StageSummary {
  std::string path;
  std::int64_t scored = 0;
  double score_sum = 0;
  bool shares = true;       ///< every score so far is 0 or 1
  std::int64_t failed = 0;  ///< nodes that ended as an error
  Totals totals;
  std::int64_t first_t = 0, last_t = 0;  ///< ns since the start of the run
};

/// One `candidate` line.
struct CandidateSummary {
  std::string id, compiled_id, stage;  ///< stage: path of the line, or of the scores that it sums up
  Json metrics;
  std::int64_t t = 0;
};

/// Of the program that a run_start is of, wherever it names it; "" if nowhere.
std::string program_name(const Json& run_start);

struct RunSummary {
  std::string run_id, program, compiled_id, privacy_mode, version, root_hash;
  bool is_compile = false;
  bool ended = false, is_signed = false;  // is_signed: with a signature; RunIndex looks whether it holds
  std::int64_t started_unix_ns = 0, last_t = 0, seed = 0;
  std::int64_t lines = 0, nodes = 0, open_nodes = 0, errors = 0, repairs = 0, resumes = 0;
  std::int64_t paid_msats = 0;  // of payments in the record; part of the totals
  std::vector<std::string> models;
  Totals totals;
  TotalsFold fold;
  std::string metric;                       ///< name in the first `score` line
  std::map<std::string, StageSummary> stages;  ///< at most stages_max
  std::vector<CandidateSummary> candidates;    ///< at most candidates_max
  JsonList decisions;                       ///< the newest decisions_max
  std::string optimizer;
  std::map<std::string, std::int64_t> rows;  ///< of the data sets: train, val, test
  std::int64_t candidates_planned = 0;      ///< 0: not known
  std::int64_t val_rows = 0;                ///< of the validation set that the search uses; 0: all
  std::string last_error;                   ///< message of the last `error` line at the run itself
  std::int64_t left_out = 0;                ///< stages and candidates beyond the bounds

  static constexpr std::size_t stages_max = 4000, candidates_max = 2000, decisions_max = 50;

  /// Lines of any type; members that are absent or of another kind are skipped.
  void add(const RecordEntry& entry);
  Json to_json() const;
  Json compile_json() const;
  /// {"metric","score","baseline","set"}: of the test set when it was opened, else of the best candidate so far; null without scores.
  Json best_json() const;

 private:
  void start(const RecordEntry& entry);
  void read_plan(const Json& plan);
  void add_note(const RecordEntry& entry);
  void end_node(const RecordEntry& entry);
  void add_candidate(const RecordEntry& entry);
  StageSummary* stage_of(const RecordEntry& entry);
};

/// The same of a finished graph that has no record file.
RunSummary summary_of(const Graph& graph);

/// What stands before the first `ex:` segment: "search/cand:3" of "search/cand:3/ex:1f/classify"; "" when there is none.
std::string_view stage_path(std::string_view path);
/// "3" of "search/cand:3"; "" when it belongs to no candidate.
std::string_view candidate_of(std::string_view path);

/// A text member, "" when absent.
std::string text_member(const Json& data, std::string_view key);

}  // namespace assay
