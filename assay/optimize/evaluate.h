#pragma once
/// @file
/// Evaluate: a program on rows, scored by a metric. Results depend on the rows alone, never on the order of arrival.
///
///     ASSAY_TRY(const Evaluation e, evaluate(context.at("test"), program, rows, metric, {.threads = 1}));
///     mean(e.scores());
///
/// Errors: whatever is neither a score nor the program's failure ends it: a lane that is away, a spent budget, a cancel.
/// Thread safety: one call uses up to `threads` threads and returns when all have ended.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "assay/optimize/data.h"
#include "assay/program/program.h"
#include "assay/program/rewards.h"

namespace assay {

struct RowOutcome {
  double score = 0;
  bool failed = false;  ///< unreadable, invalid or over a limit: counts in p_fail, scores 0
  Json outputs;         ///< null if failed
  std::string feedback; ///< what the metric says in words, or why the row failed; "" if nothing
  Totals totals;
  std::vector<PredictorTrace::Step> steps;  ///< when asked for
};

struct Evaluation {
  std::vector<RowOutcome> rows;  ///< in the order of the rows given
  Totals totals;
  std::vector<double> scores() const;
  std::int64_t failures() const;
};

struct EvaluateOptions {
  int threads = 1;
  bool keep_steps = false;
  bool record_feedback = false;  ///< also into the `score` lines
  bool all_rows = false;         ///< goes on after a row's error, which is the evaluation's all the same: a replay looks at every row
  std::function<void(std::size_t done, std::size_t total)> progress;  ///< called from worker threads
};

/// True for what a program does wrong itself (scores 0); everything else is the world's and ends an evaluation.
bool is_program_failure(ErrorCode code);

/// Rows as `data` events at the root, and back from a pass of a record: what an evaluation or a compile ran on stands in its record.
Result<void> record_rows(const Context& context, std::string_view set, std::span<const Row> rows);
Result<std::vector<Row>> recorded_rows(std::span<const RecordEntry> pass, std::string_view set, const Signature& signature);

Result<Evaluation> evaluate(const Context& at, const Program& program, std::span<const Row> rows, const Metric& metric,
                            const EvaluateOptions& options = {});

}  // namespace assay
