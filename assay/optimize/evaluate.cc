#include "assay/optimize/evaluate.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include <fmt/format.h>

namespace assay {
namespace {

// A metric is anyone's code: what it throws is its error, not the end of the process.
template <class Call>
auto guarded(const Metric& metric, Call call) -> Result<decltype(call())> {
  const auto threw = [&](const std::string& what) {
    return fail(ErrorCode::internal, fmt::format("the metric {} threw{}", metric.ref.name, what), "mend the metric", "metric");
  };
  try {
    return call();
  } catch (const std::exception& thrown) {
    return threw(": " + to_utf8(thrown.what()));
  } catch (...) {
    return threw(" something that is no exception");
  }
}

// So is what watches the progress; it decides nothing, and what it throws is not told.
void show_progress(const EvaluateOptions& options, std::size_t done, std::size_t total) {
  if (!options.progress) return;
  try {
    options.progress(done, total);
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
}

Result<RowOutcome> evaluate_row(const Context& at, const Program& program, const Row& row, const Metric& metric,
                                const EvaluateOptions& options) {
  Context node = at.at(row.segment);
  const auto trace = std::make_shared<PredictorTrace>();
  if (options.keep_steps) {
    Settings settings = node.settings();
    settings.trace = trace;
    node = node.with_settings(std::move(settings));
  }
  RowOutcome outcome;
  auto result = program.forward(node, row.example.inputs());
  if (result) {
    ASSAY_TRY(Scored scored, guarded(metric, [&] { return metric.function(row.example, *result); }));
    outcome.score = scored.score;
    outcome.feedback = std::move(scored.feedback);
    outcome.outputs = std::move(result->outputs);
    outcome.totals = result->totals;
  } else if (is_program_failure(result.error().code)) {
    outcome.failed = true;
    outcome.feedback = to_utf8(result.error().message);
  } else {
    return std::unexpected(std::move(result.error()));
  }
  outcome.steps = std::move(trace->steps);
  if (metric.step_feedback) {
    for (auto& step : outcome.steps) {
      ASSAY_TRY(step.feedback, guarded(metric, [&] { return metric.step_feedback(row.example, step); }));
    }
  }
  Json line = JsonObject{{"example", row.example_hash}, {"metric", metric.ref.name}, {"value", outcome.score}};
  if (options.record_feedback && !outcome.feedback.empty()) line.set("feedback", outcome.feedback);
  ASSAY_CHECK(node.record("score", std::move(line)));
  return outcome;
}

}  // namespace

Result<void> record_rows(const Context& context, std::string_view set, std::span<const Row> rows) {
  constexpr std::size_t rows_a_line = 200;  // keeps the lines well under a reader's limits
  for (std::size_t begin = 0; begin < rows.size(); begin += rows_a_line) {
    JsonList list;
    for (const Row& row : rows.subspan(begin, std::min(rows_a_line, rows.size() - begin)))
      list.push_back(JsonObject{{"inputs", recorded_value(row.example.inputs())}, {"outputs", recorded_value(row.example.labels())}});
    ASSAY_CHECK(context.record("event", JsonObject{{"name", "data"}, {"data", JsonObject{{"set", set}, {"rows", std::move(list)}}}}));
  }
  return {};
}

Result<std::vector<Row>> recorded_rows(std::span<const RecordEntry> pass, std::string_view set, const Signature& signature) {
  std::vector<Row> rows;
  for (const RecordEntry& entry : pass) {
    if (entry.type != "event" || entry.data.at("name") != Json("data") || entry.data.at("data").at("set") != Json(set)) continue;
    ASSAY_TRY(const Json* list, member(entry.data.at("data"), "rows", Json::Kind::list));
    for (const Json& row : list->as_list()) {
      auto read = make_row(signature, value_of_recorded(row.at("inputs")), value_of_recorded(row.at("outputs")));
      if (!read) return std::unexpected(std::move(read.error()).in(fmt::format("line {}", entry.seq + 1)));
      rows.push_back(std::move(*read));
    }
  }
  order_rows(rows);
  return rows;
}

bool is_program_failure(ErrorCode code) {
  return code == ErrorCode::unreadable || code == ErrorCode::limit_exceeded || code == ErrorCode::mismatch;
}

std::vector<double> Evaluation::scores() const {
  std::vector<double> out;
  out.reserve(rows.size());
  for (const RowOutcome& row : rows) out.push_back(row.score);
  return out;
}

std::int64_t Evaluation::failures() const {
  return std::count_if(rows.begin(), rows.end(), [](const RowOutcome& row) { return row.failed; });
}

Result<Evaluation> evaluate(const Context& at, const Program& program, std::span<const Row> rows, const Metric& metric,
                            const EvaluateOptions& options) {
  Evaluation evaluation;
  evaluation.rows.resize(rows.size());
  std::atomic<std::size_t> next{0}, done{0};
  std::mutex mutex;
  std::optional<std::pair<std::size_t, Error>> first_error;  // of the earliest row, whatever came first
  const auto work = [&] {
    while (true) {  // ends: each round takes a row, until there is none left or a row failed
      const std::size_t i = next++;
      if (i >= rows.size()) return;
      {
        const std::lock_guard lock(mutex);
        if (first_error && !options.all_rows) return;
      }
      auto outcome = evaluate_row(at, program, rows[i], metric, options);
      if (!outcome) {
        const std::lock_guard lock(mutex);
        if (!first_error || i < first_error->first) first_error.emplace(i, std::move(outcome.error()));
        continue;
      }
      evaluation.rows[i] = std::move(*outcome);
      const std::size_t count = ++done;
      show_progress(options, count, rows.size());
    }
  };
  if (options.threads <= 1) {
    work();
  } else {
    std::vector<std::jthread> workers;
    for (int i = 0; i < options.threads; ++i) workers.emplace_back(work);
  }
  if (first_error) return std::unexpected(std::move(first_error->second));
  for (const RowOutcome& row : evaluation.rows) evaluation.totals.add(row.totals);
  return evaluation;
}

}  // namespace assay
