#pragma once
/// @file
/// One run of a program: recorded, priced, capped; and its replay from the record without a lane.
///
///     ASSAY_TRY(const RunOutcome run, run_program(program, inputs, world));
///     run.prediction.outputs;  run.root_hash;
///     ASSAY_TRY(const ReplayReport report, replay_run(program, record));
///
/// Thread safety: each call is one run.

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "assay/program/program.h"

namespace assay {

struct RunWorld {
  Effects effects;  ///< without recorder: run_program makes it
  Settings settings;
  std::string record_path;  ///< empty: in memory
  Durability durability = Durability::process;
  const SecretKey* key = nullptr;
  const CompiledModuleManifest* manifest = nullptr;  ///< of the module that runs; null: an uncompiled program
  std::string assay_version, assay_build;
  std::optional<std::string> traceparent;
};

struct RunOutcome {
  Result<Prediction> prediction;  ///< the record is complete either way
  std::string run_id, root_hash;
  std::optional<std::string> output_hash;
  Totals totals;
  Graph graph;
};

/// Every lane that a run of this program can ask, each once, the main one first: `lanes` of run_start.
JsonList lanes_of(const Program& program, const Settings& settings);

/// Errors of the call itself: what keeps a record from being written. The program's own error stands in the outcome.
Result<RunOutcome> run_program(const Program& program, const Json& inputs, const RunWorld& world);

/// Where a replay parts from its record.
struct Divergence {
  std::string node;      ///< path
  std::string what;      ///< "lm_request", "outputs", "score", "decision", "output_hash", …
  std::string recorded, replayed;  ///< canonical texts; "" when absent on that side
  std::string reason = {};         ///< of an LM request that the record does not answer: how it differs; both texts are "" then
};

/// What the record holds and a replay that ran to its end did not ask for.
std::optional<Divergence> leftover_of(RecordedAnswers& answers);
/// From a `diverged` error of RecordedAnswers.
Divergence divergence_of(const Error& error);

struct ReplayReport {
  bool identical = false;  ///< as far as the record goes
  bool complete = false;   ///< the record has its end; if not, what would have come after it was compared with nothing
  std::optional<Divergence> divergence;
  std::int64_t calls = 0;  ///< LM calls answered from the record, in all its passes
  std::int64_t passes = 1;
  std::int64_t differs_in_pass = 0;  ///< from 1; 0: in none
  std::optional<std::string> compiled_id, output_hash;  ///< derived by the replay
};

/// Runs the program again on the recorded inputs; only effects are answered, from the record. No lane, no new file.
Result<ReplayReport> replay_run(const Program& program, const RunRecord& record);

/// A record in its passes, which `resume` lines part: each ran from the beginning. Without run_start and the `resume` lines; never empty.
std::vector<std::span<const RecordEntry>> passes_of(std::span<const RecordEntry> entries);
/// The last of them.
std::span<const RecordEntry> last_pass(std::span<const RecordEntry> entries);

/// First difference between a recorded pass and a replayed one, over node ends, attempts, scores, candidates and decisions.
/// What the recorded side lacks (outputs that were deleted) is no difference. `partial`: the replay was cut short, so what it
/// lacks is none either.
std::optional<Divergence> compare_passes(std::span<const RecordEntry> recorded, std::span<const RecordEntry> replayed,
                                         bool partial = false);

}  // namespace assay
