#include "assay/optimize/replay.h"

#include "assay/lm/recorded_answers.h"

namespace assay {

bool is_compile(const RunRecord& record) { return !record.entries.empty() && record.entries.front().data.at("program").is_object(); }

namespace {

// What the first and the last line say beside the program: a compile has no id and no output yet, and its own seed.
std::optional<Divergence> header_divergence(const std::vector<RecordEntry>& entries, const CompilePlan& plan) {
  const Json& start = entries.front().data;
  const auto differs = [](const char* what, const Json& recorded, const Json& derived) -> std::optional<Divergence> {
    if (recorded == derived) return std::nullopt;
    return Divergence{"", what, canonical(recorded).value_or(""), canonical(derived).value_or("")};
  };
  if (auto seed = differs("seed", start.at("seed"), Json(plan.seed))) return seed;
  if (auto id = differs("compiled_id", start.at("compiled_id"), Json())) return id;
  if (auto settings = differs("settings", start.at("settings"), JsonObject{})) return settings;
  return entries.back().type == "run_end" ? differs("output_hash", entries.back().data.at("output_hash"), Json()) : std::nullopt;
}

}  // namespace

Result<ReplayReport> replay_compile(const RunRecord& journal, const Metrics& metrics, const Rewards& rewards,
                                    const Optimizers& optimizers) {
  if (!is_compile(journal)) return fail(ErrorCode::malformed, "the record is not the journal of a compile");
  const Json& start = journal.entries.front().data;
  ASSAY_TRY(const CompilePlan plan, CompilePlan::read(start.at("program"), journal.entries, metrics, rewards));
  const auto pass = last_pass(journal.entries);
  ManualClock clock(0);
  FixedEntropy entropy(0);
  ASSAY_TRY(const auto recorder, RunRecorder::create({.durability = Durability::memory}, RunStart{}, clock, entropy));
  Effects effects{.clock = &clock, .entropy = &entropy, .recorder = recorder.get(), .seed = plan.seed};
  Settings settings;
  settings.journal = true;
  ASSAY_TRY(settings.answers, RecordedAnswers::of(journal));
  const Context context(effects, settings);
  CompileHooks hooks;
  hooks.optimizers = optimizers;
  hooks.open_test = [&](const std::string&, const std::string&) -> Result<std::int64_t> {
    for (const RecordEntry& entry : pass) {
      if (entry.type == "value" && entry.data.at("what") == Json("test_looks")) return int_member(entry.data, "value");
    }
    return fail(ErrorCode::diverged, "the journal never opened the test set", "", "test");
  };
  const auto result = run_compile(plan, context, hooks);
  ReplayReport report;
  report.complete = journal.entries.back().type == "run_end";
  report.calls = recorder->totals().calls + recorder->totals().cached_calls;
  const auto replayed = recorder->entries();
  if (!result && result.error().code != ErrorCode::diverged) return std::unexpected(result.error());
  report.divergence = compare_passes(pass, last_pass(replayed), !result);
  // A node that ended because its request was not in the journal shows as other outputs; the request is the reason.
  const bool ends_here = !result && !report.complete && (settings.answers->ran_out() || result.error().path == "test");
  if (!result && !ends_here && (!report.divergence || report.divergence->node == result.error().path))
    report.divergence = divergence_of(result.error());
  if (result && !report.divergence) report.divergence = leftover_of(*settings.answers);
  if (!report.divergence) report.divergence = header_divergence(journal.entries, plan);
  if (result) report.compiled_id = result->program.id();
  report.identical = !report.divergence;
  return report;
}

}  // namespace assay
