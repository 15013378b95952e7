#include "assay/optimize/replay.h"

#include <algorithm>

#include "assay/lm/recorded_answers.h"
#include "assay/optimize/made_by.h"
#include "assay/program/call.h"

namespace assay {

bool is_compile(const RunRecord& record) { return !record.entries.empty() && record.entries.front().data.at("program").is_object(); }

namespace {

using Pass = std::span<const RecordEntry>;

std::optional<Divergence> difference(std::string node, std::string what, const Json& recorded, const Json& derived) {
  if (recorded == derived) return std::nullopt;
  return Divergence{std::move(node), std::move(what), canonical(recorded).value_or(""), canonical(derived).value_or("")};
}

// What the first and the last line say beside the program: a compile has no id and no output yet, and its own seed.
std::optional<Divergence> header_divergence(const std::vector<RecordEntry>& entries, const CompilePlan& plan) {
  const Json& start = entries.front().data;
  if (auto seed = difference("", "seed", start.at("seed"), Json(plan.seed))) return seed;
  if (auto id = difference("", "compiled_id", start.at("compiled_id"), Json())) return id;
  if (auto settings = difference("", "settings", start.at("settings"), JsonObject{})) return settings;
  return entries.back().type == "run_end" ? difference("", "output_hash", entries.back().data.at("output_hash"), Json()) : std::nullopt;
}

bool is_data(const RecordEntry& entry) { return entry.type == "event" && entry.data.at("name") == Json("data"); }

std::vector<const RecordEntry*> data_of(Pass pass) {
  std::vector<const RecordEntry*> out;
  for (const RecordEntry& entry : pass) {
    if (is_data(entry)) out.push_back(&entry);
  }
  return out;
}

// A pass that was stopped while it wrote its rows ran nothing.
bool ran_nothing(Pass pass) {
  return std::all_of(pass.begin(), pass.end(), [](const RecordEntry& entry) {
    return is_data(entry) || entry.type == "blob" || entry.type == "head" || entry.type == "error";
  });
}

bool is_ended(Pass pass) { return !pass.empty() && pass.back().type == "run_end"; }

// The error that a stopped pass says it ended with.
const RecordEntry* stop_of(Pass pass) {
  for (auto entry = pass.rbegin(); entry != pass.rend(); ++entry) {
    if (entry->type != "head" && entry->type != "error" && entry->type != "run_end") return nullptr;
    if (entry->type == "error" && entry->node.empty() && entry->data.at("request_hash").is_null()) return &*entry;
  }
  return nullptr;
}

// The replay ended with ERROR. Is that where the pass itself ended?
void blame(Pass pass, const Error& error, RecordedAnswers& answers, std::optional<Divergence>& divergence) {
  if (error.code != ErrorCode::diverged) {
    const RecordEntry* stop = stop_of(pass);
    if (!divergence && (stop != nullptr || is_ended(pass)))
      divergence = difference("", "error", stop != nullptr ? stop->data : Json(), Json(error_data(error)));
  } else if (const bool ends_here = !is_ended(pass) && (answers.ran_out() || error.path == "test"); !ends_here) {
    // A node that ended because its request was not in the journal shows as other outputs; the request is the reason.
    if (!divergence || divergence->node == error.path) divergence = divergence_of(error);
  }
  if (!divergence && answers.contradiction()) divergence = divergence_of(*answers.contradiction());
  if (!divergence) divergence = leftover_of(answers);
}

// Compares what a pass says with what its replay RECORDED, and tells an error of the replay's own from one that was recorded.
Result<void> judge(Pass pass, const RunRecorder& recorder, const Error* error, RecordedAnswers& answers, ReplayReport& report) {
  // An error of an effect is a part of the pass, and so is one that the pass says it ended with; any other says why it cannot be replayed
  // here.
  const RecordEntry* const stop = error != nullptr ? stop_of(pass) : nullptr;
  const bool is_stop = stop != nullptr && stop->data == Json(error_data(*error));
  if (error != nullptr && error->code != ErrorCode::diverged && !is_stop && !answers.told(*error)) return std::unexpected(*error);
  report.calls += recorder.totals().calls + recorder.totals().cached_calls;
  const auto replayed = recorder.entries();
  // A pass that was stopped is run as far as it came, all of its rows: each of its lines is derived again.
  report.divergence = compare_passes(pass, last_pass(replayed), error != nullptr && is_ended(pass) && stop_of(pass) == nullptr);
  if (error != nullptr) blame(pass, *error, answers, report.divergence);
  else if (!report.divergence) report.divergence = leftover_of(answers);
  return {};
}

// One pass of a journal, run again with the answers that stand in it.
class PassReplay {
 public:
  PassReplay(const RunRecord& journal, const CompilePlan& plan, const Optimizers& optimizers, Wait wait)
      : journal_(journal), plan_(plan), optimizers_(optimizers), wait_(std::move(wait)) {}

  // What the pass came to, if it came to its end.
  Result<std::optional<CompileResult>> run(Pass pass, ReplayReport& report) const {
    ManualClock clock(0);
    FixedEntropy entropy(0);
    ASSAY_TRY(const auto recorder, RunRecorder::create({.durability = Durability::memory}, RunStart{}, clock, entropy));
    Effects effects{.clock = &clock, .entropy = &entropy, .recorder = recorder.get(), .wait = wait_, .seed = plan_.seed};
    Settings settings;
    settings.journal = true;
    ASSAY_TRY(settings.answers, RecordedAnswers::of(journal_, pass));
    auto result = run_compile(plan_, Context(effects, settings), hooks(pass));
    ASSAY_CHECK(judge(pass, *recorder, result ? nullptr : &result.error(), *settings.answers, report));
    if (!result) return std::optional<CompileResult>();
    report.compiled_id = result->program.id();
    return std::optional<CompileResult>(std::move(*result));
  }

 private:
  CompileHooks hooks(Pass pass) const {
    CompileHooks hooks;
    hooks.optimizers = optimizers_;
    // Rows were answered at once; which of them a stop cut off is no order of theirs.
    hooks.evaluate.all_rows = !is_ended(pass);
    hooks.open_test = [pass](const std::string&, const std::string&) -> Result<std::int64_t> {
      for (const RecordEntry& entry : pass) {
        if (entry.type == "value" && entry.data.at("what") == Json("test_looks")) return int_member(entry.data, "value");
      }
      return fail(ErrorCode::diverged, "the journal never opened the test set", "", "test");
    };
    return hooks;
  }

  const RunRecord& journal_;
  const CompilePlan& plan_;
  const Optimizers& optimizers_;
  Wait wait_;
};

// Every pass wrote the same rows, as far as it came.
std::optional<Divergence> data_divergence(Pass pass, Pass whole) {
  const auto recorded = data_of(pass), rows = data_of(whole);
  for (std::size_t i = 0; i < recorded.size(); ++i) {
    const Json expected = i < rows.size() ? rows[i]->data : Json();
    if (auto differs = difference("", "data", recorded[i]->data, expected)) return differs;
  }
  return std::nullopt;
}

// A journal in its passes. The rows stand in each of them; the last one that ran holds them all.
struct Passes {
  std::vector<Pass> all;
  Pass ran = {};

  static Result<Passes> of(const RunRecord& journal) {
    if (!is_compile(journal)) return fail(ErrorCode::malformed, "the record is not the journal of a compile");
    Passes out{passes_of(journal.entries)};
    const auto ran = std::find_if(out.all.rbegin(), out.all.rend(), [](Pass pass) { return !ran_nothing(pass); });
    if (ran != out.all.rend()) out.ran = *ran;
    return out;
  }

  ReplayReport begun() const {
    ReplayReport report;
    report.complete = is_ended(all.back());
    report.passes = static_cast<std::int64_t>(all.size());
    if (!ran.empty()) return report;
    report.identical = !report.complete;
    if (report.complete) report.divergence = Divergence{"", "data", "nothing but rows", "a search"};
    return report;
  }
};

Result<ReplayReport> replay_passes(const RunRecord& journal, const Passes& passes, const CompilePlan& plan, const PassReplay& replay,
                                   const CompiledModuleManifest* made) {
  ReplayReport report = passes.begun();
  std::optional<Divergence> unlike;  // what the manifest says and the journal does not
  if (made != nullptr)
    unlike = Divergence{"", "manifest.provenance.journal_root", "", "", "no end of this journal is the one that the module names"};
  for (const Pass pass : passes.all) {
    ++report.differs_in_pass;
    report.divergence = data_divergence(pass, passes.ran);
    report.compiled_id.reset();
    if (!report.divergence && !ran_nothing(pass)) {
      ASSAY_TRY(const std::optional<CompileResult> result, replay.run(pass, report));
      if (made != nullptr && result && is_end_of(pass.back(), *made)) {
        ASSAY_TRY(unlike, manifest_divergence(journal, pass.back(), plan, *result, *made));
      }
    }
    if (report.divergence) return report;
  }
  report.differs_in_pass = 0;
  report.divergence = header_divergence(journal.entries, plan);
  if (!report.divergence) report.divergence = std::move(unlike);
  report.identical = !report.divergence;
  return report;
}

}  // namespace

Result<ReplayReport> replay_compile(const RunRecord& journal, const Metrics& metrics, const Rewards& rewards, const Optimizers& optimizers,
                                    const CompiledModuleManifest* made) {
  ASSAY_TRY(const Passes passes, Passes::of(journal));
  if (passes.ran.empty()) return passes.begun();
  ASSAY_TRY(const CompilePlan plan, CompilePlan::read(journal.entries.front().data.at("program"), passes.ran, metrics, rewards));
  return replay_passes(journal, passes, plan, PassReplay(journal, plan, optimizers, {}), made);
}

Result<ReplayReport> replay_compile(const RunRecord& journal, const CompilePlan& plan, const Optimizers& optimizers, const Wait& wait) {
  ASSAY_TRY(const Passes passes, Passes::of(journal));
  if (passes.ran.empty()) return passes.begun();
  ASSAY_CHECK(plan.check_rows(passes.ran));
  return replay_passes(journal, passes, plan, PassReplay(journal, plan, optimizers, wait), nullptr);
}

bool is_evaluation(const RunRecord& record) {
  return !record.entries.empty() && record.entries.front().data.at("settings").at("metric").is_object();
}

Result<ReplayReport> replay_evaluation(const Program& program, const RunRecord& record, const Metrics& metrics) {
  if (!is_evaluation(record)) return fail(ErrorCode::malformed, "the record is not of an evaluation");
  const Json& start = record.entries.front().data;
  const Pass pass = passes_of(record.entries).back();
  ReplayReport report;
  report.complete = is_ended(pass);
  report.compiled_id = program.id();
  if (start.at("compiled_id").is_string()) report.divergence = difference("", "compiled_id", start.at("compiled_id"), Json(program.id()));
  if (const Json& named = start.at("settings").at("program"); !report.divergence && named.is_object())
    report.divergence = difference("", "program", named, program.artifact().json().at("program"));
  if (report.divergence) return report;
  ASSAY_TRY(const CodeRef ref, CodeRef::read(start.at("settings").at("metric")));
  ASSAY_TRY(const Metric metric, metrics.find(ref));
  ASSAY_TRY(const std::vector<Row> rows, recorded_rows(pass, "eval", program.signature()));
  if (rows.empty() && !ran_nothing(pass))
    return fail(ErrorCode::refused, "the record does not hold the rows that were evaluated", "assay verify checks it; evaluate again", "");
  ManualClock clock(0);
  FixedEntropy entropy(0);
  ASSAY_TRY(const auto recorder, RunRecorder::create({.durability = Durability::memory}, RunStart{}, clock, entropy));
  Effects effects{.clock = &clock, .entropy = &entropy, .recorder = recorder.get()};
  ASSAY_TRY(effects.seed, int_member(start, "seed"));
  Settings settings;
  ASSAY_TRY(settings.answers, RecordedAnswers::of(record, pass));
  EvaluateOptions how;
  how.all_rows = !report.complete || stop_of(pass) != nullptr;
  const Context context(effects, settings);
  const auto result = evaluate(context.at("eval"), program, rows, metric, how);
  ASSAY_CHECK(judge(pass, *recorder, result ? nullptr : &result.error(), *settings.answers, report));
  report.identical = !report.divergence;
  return report;
}

}  // namespace assay
