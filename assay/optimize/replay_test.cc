#include "assay/optimize/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>

#include "assay/base/files.h"
#include "assay/optimize/colours_test.h"

namespace assay {
namespace {

using namespace colours;

struct Replay : Bench {
  RunRecord record() const { return read_record_file(journal).value(); }
  static Result<ReplayReport> again(const RunRecord& record) { return replay_compile(record, Metrics::built_in(), Rewards::built_in()); }
  // Identical as far as it goes, and open.
  void expect_open(std::int64_t passes = 1) {
    const auto report = again(record());
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_TRUE(report->identical) << report->divergence->node << " " << report->divergence->what << " " << report->divergence->reason
                                   << "\n"
                                   << report->divergence->recorded << "\n"
                                   << report->divergence->replayed;
    EXPECT_FALSE(report->complete);
    EXPECT_EQ(report->passes, passes);
    EXPECT_GT(report->calls, 0);
  }
  // A resume that may not ask again for what is unknown: it names WHAT. Returns its world.
  CompileWorld expect_asks_about(const std::string& what) {
    CompileWorld stop = world(std::make_shared<ScriptedLM>(answer_by_demos));
    stop.resume = true;
    stop.unanswered = Unanswered::stop;
    const auto refused = compile_program(plan(), stop);
    EXPECT_FALSE(refused);
    if (!refused) {
      EXPECT_EQ(refused.error().code, ErrorCode::refused);
      EXPECT_NE(refused.error().message.find(what), std::string::npos) << refused.error().message;
    }
    return stop;
  }
  // A lane that answers CALLS times and then as THEN says.
  static std::shared_ptr<ScriptedLM> answering(int calls, std::function<Result<LmResponse>(const LmRequest&)> then) {
    const auto left = std::make_shared<std::atomic<int>>(calls);
    return std::make_shared<ScriptedLM>(
        [left, then = std::move(then)](const LmRequest& request) { return (*left)-- > 0 ? answer_by_demos(request) : then(request); });
  }
};

Result<LmResponse> gone(const LmRequest&) { return fail(ErrorCode::unavailable, "the lane is gone"); }

// What a signer may say of the making, and what the journal says. A replay each: so the plan is small.
TEST_F(Replay, FindsAManifestThatIsBetterThanItsJournal) {
  CompilePlan small = plan();
  small.data = DataSets{rows(small.program, 0, 9), rows(small.program, 9, 15), rows(small.program, 15, 33)};
  small.optimizer_config.set("num_candidates", 2);
  const auto earlier = compile_program(small, world(std::make_shared<ScriptedLM>(answer_by_demos)));
  ASSERT_TRUE(earlier) << earlier.error().text();
  CompileWorld on = world(std::make_shared<ScriptedLM>(answer_by_demos));
  on.resume = true;  // a second end: the module of either is the journal's
  const auto first = record();
  const auto outcome = compile_program(small, on);
  ASSERT_TRUE(outcome) << outcome.error().text();
  const CompiledModuleManifest& good = outcome->module.manifest;
  const auto compared = [&](const CompiledModuleManifest& manifest, const RunRecord& journal) {
    return replay_compile(journal, Metrics::built_in(), Rewards::built_in(), Optimizers::built_in(), &manifest).value();
  };
  EXPECT_TRUE(compared(good, record()).identical);
  EXPECT_TRUE(compared(earlier->module.manifest, record()).identical) << "the module of its first end";
  EXPECT_EQ(compared(good, first).divergence->what, "manifest.provenance.journal_root");
  const std::pair<const char*, std::function<void(CompiledModuleManifest&)>> rows[] = {
      {"compiled_id", [](auto& m) { m.compiled_id = std::string(64, '0'); }},
      {"optimizer", [](auto& m) { m.optimizer = "COPRO"; }},
      {"optimizer_config.seed", [](auto& m) { m.optimizer_config.set("seed", 8); }},
      {"trainset_id", [](auto& m) { m.trainset_id = std::string(64, '0'); }},
      {"valset_id", [](auto& m) { m.valset_id.reset(); }},
      {"testset_id", [](auto& m) { m.testset_id = std::string(64, '0'); }},
      {"scorecard.score", [](auto& m) { m.scorecard.score = 0.99; }},
      {"scorecard.truth_metrics.accuracy", [](auto& m) { m.scorecard.truth_metrics["accuracy"] = 0.99; }},
      {"scorecard.baseline.score", [](auto& m) { m.scorecard.baseline->score = 0.01; }},
      {"scorecard.gain_interval.low", [](auto& m) { m.scorecard.gain_interval->low = 0.5; }},
      {"scorecard.n_test", [](auto& m) { m.scorecard.n_test = 500; }},
      {"scorecard.p_fail", [](auto& m) { m.scorecard.p_fail = 0.001; }},
      {"scorecard.test_looks", [](auto& m) { m.scorecard.test_looks = 99; }},
      {"scorecard.rollouts", [](auto& m) { m.scorecard.rollouts = 1; }},
      {"scorecard.per_call.tokens.p50", [](auto& m) { m.scorecard.per_call.tokens.p50 = 1; }},
      {"compatibility.capabilities", [](auto& m) { m.compatibility.capabilities = {"vision"}; }},
      {"provenance.journal_root", [](auto& m) { m.provenance.journal_root = std::string(64, '0'); }},
      {"provenance.task.lane_id", [](auto& m) { m.provenance.task->lane_id = std::string(64, '0'); }},
      {"provenance.task", [](auto& m) { m.provenance.task.reset(); }},
      {"provenance.task.model", [](auto& m) { m.provenance.task->model = "better"; }},
      {"provenance.proposer", [](auto& m) { m.provenance.proposer = m.provenance.task; }},
      {"provenance.parent", [](auto& m) { m.provenance.parent = std::string(64, '0'); }},
      {"provenance.usage.calls", [](auto& m) { m.provenance.usage.calls = 1; }},
      {"provenance.cost_msats", [](auto& m) { m.provenance.cost_msats = 1; }},
  };
  for (const auto& [what, forge] : rows) {
    CompiledModuleManifest forged = good;
    forge(forged);
    const auto report = compared(forged, record());
    ASSERT_TRUE(report.divergence) << what;
    EXPECT_FALSE(report.identical) << what;
    EXPECT_EQ(report.divergence->what, "manifest." + std::string(what));
  }
  CompiledModuleManifest dated = good;  // its signer's word
  dated.created_at += 1;
  dated.provenance.duration_ms += 1;
  dated.provenance.assay.version = "9";
  EXPECT_TRUE(compared(dated, record()).identical);
}

TEST_F(Replay, OfAJournalThatABudgetStopped) {
  for (const int threads : {1, 4}) {
    Budget budget({.calls = 70});
    CompileWorld where = world(std::make_shared<ScriptedLM>(answer_by_demos));
    where.effects.budget = &budget;
    where.hooks.evaluate.threads = threads;
    EXPECT_EQ(compile_program(plan(), where).error().code, ErrorCode::over_budget);
    EXPECT_EQ(budget.spent().calls, 70);
    expect_open();
    std::remove(journal.c_str());
  }
}

TEST_F(Replay, OfAJournalThatAPersonStopped) {
  for (const int threads : {1, 4}) {
    std::stop_source stop;
    CompileWorld where = world(answering(70, [&](const LmRequest& request) {
      stop.request_stop();
      return answer_by_demos(request);
    }));
    where.effects.wait.stop = stop.get_token();
    where.hooks.evaluate.threads = threads;
    EXPECT_EQ(compile_program(plan(), where).error().code, ErrorCode::cancelled);
    expect_open();
    std::remove(journal.c_str());
  }
}

TEST_F(Replay, OfAJournalThatALaneEndedByClaimingTooMuch) {
  Budget budget({.tokens = 1'000'000});
  CompileWorld where = world(answering(70, [](const LmRequest&) { return ScriptedLM::answer("Label: a", 10, 100'000); }));
  where.effects.budget = &budget;
  EXPECT_EQ(compile_program(plan(), where).error().code, ErrorCode::over_budget);
  expect_open();
}

TEST_F(Replay, OfEveryPassOfAJournalThatWasResumed) {
  ASSERT_FALSE(compile_program(plan(), world(answering(70, gone))));
  CompileWorld second = world(answering(40, gone));
  second.resume = true;
  second.hooks.evaluate.threads = 4;
  ASSERT_FALSE(compile_program(plan(), second));
  expect_open(2);
  CompileWorld last = world(std::make_shared<ScriptedLM>(answer_by_demos));
  last.resume = true;
  const auto outcome = compile_program(plan(), last);
  ASSERT_TRUE(outcome) << outcome.error().text();
  const RunRecord whole = record();
  const auto report = again(whole);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical && report->complete);
  EXPECT_EQ(report->passes, 3);
  EXPECT_EQ(report->compiled_id, outcome->module.id());

  // What an earlier pass says is run again too, be it a score, an output, a candidate's metrics or a row.
  int pass = 1, changed = 0;
  for (std::size_t i = 1; i < whole.entries.size(); ++i) {
    const RecordEntry& entry = whole.entries[i];
    if (entry.type == "resume") ++pass;
    const char* member = entry.type == "score"       ? "value"
                         : entry.type == "candidate" ? "metrics"
                         : entry.type == "node_end"  ? "outputs"
                         : entry.type == "event"     ? "data"
                                                     : nullptr;
    if (pass == 3 || member == nullptr || i % 5 != 0) continue;
    RunRecord altered = whole;
    altered.entries[i].data.set(member, entry.type == "score" ? Json(0.25) : Json(JsonObject{{"label", "x"}}));
    const auto found = again(altered);
    ASSERT_TRUE(found) << found.error().text();
    EXPECT_FALSE(found->identical) << "line " << i + 1 << ": " << entry.type << " at " << entry.node;
    EXPECT_EQ(found->differs_in_pass, pass) << "line " << i + 1;
    ++changed;
  }
  EXPECT_GT(changed, 40);
}

TEST_F(Replay, OfAJournalThatWasCutWithinItsRows) {
  ASSERT_TRUE(compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos))));
  RunRecord cut = record();
  cut.entries.resize(3);
  const auto report = again(cut);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical);
  EXPECT_FALSE(report->complete);
  EXPECT_EQ(report->calls, 0);
}

// With retries, repairs and a lane to fall back to, in four threads: what was in flight when the journal ended differs from line to line.
TEST_F(Replay, OfARefinedJournalThatWasCutAfterAnyLine) {
  const Signature signature = Signature::parse("item -> label: Literal['a','b','c']", "Colours").value();
  const Program program = program_of("colours", "1", Refine(Predict("classify", signature)).with_retries(3), Rewards::built_in()).value();
  CompilePlan small{program,
                    Metrics::built_in().find("accuracy").value(),
                    "BootstrapFewShot",
                    {{"max_bootstrapped_demos", 2}, {"max_labeled_demos", 3}},
                    7,
                    7,
                    {},
                    DataSets{rows(program, 0, 9), rows(program, 9, 15), rows(program, 15, 24)}};
  CompileWorld where = world(std::make_shared<ScriptedLM>([](const LmRequest& request) -> Result<LmResponse> {
    const auto length = static_cast<std::int64_t>(request.messages.back().content.as_string().size());
    if (request.rollout < length % 3) return ScriptedLM::answer("I cannot say");
    return answer_by_demos(request);
  }));
  where.hooks.evaluate.threads = 4;
  const auto outcome = compile_program(small, where);
  ASSERT_TRUE(outcome) << outcome.error().text();
  const RunRecord whole = record();
  ASSERT_TRUE(again(whole)->identical);
  for (std::size_t lines = 1; lines < whole.entries.size(); ++lines) {
    RunRecord cut = whole;
    cut.entries.resize(lines);
    const auto report = again(cut);
    ASSERT_TRUE(report) << lines << ": " << report.error().text();
    ASSERT_TRUE(report->identical) << "cut after line " << lines << ": " << report->divergence->node << " " << report->divergence->what
                                   << " " << report->divergence->reason << "\n"
                                   << report->divergence->recorded << "\n"
                                   << report->divergence->replayed;
    EXPECT_FALSE(report->complete);
  }
}

TEST_F(Replay, FindsALineThatAStoppedPassCannotHaveWritten) {
  ASSERT_FALSE(compile_program(plan(), world(answering(70, gone))));
  RunRecord more = record();
  const auto score = std::find_if(more.entries.begin(), more.entries.end(), [](const RecordEntry& entry) { return entry.type == "score"; });
  RecordEntry forged = *score;
  forged.node = "search/cand:9/val/ex:0123456789abcdef";
  more.entries.insert(score, forged);
  const auto report = again(more);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_FALSE(report->identical);
  // Nor may it say that it ended otherwise.
  RunRecord other = record();
  for (RecordEntry& entry : other.entries) {
    if (entry.type == "error" && entry.node.empty()) entry.data.set("message", "all is well");
  }
  EXPECT_FALSE(again(other)->identical);
}

// --- evaluations ---

struct Evaluated : Replay {
  const Program program = student();
  RunRecord run(const std::shared_ptr<LM>& lane, int threads) {
    RunStart start;
    start.compiled_id = program.id();
    start.settings = JsonObject{{"metric", plan().metric.ref.to_json()}};
    start.lanes = {lane->lane().to_json()};
    const auto recorder = RunRecorder::create({.path = journal}, start, clock, entropy).value();
    Effects effects{.clock = &clock, .entropy = &entropy, .recorder = recorder.get(), .prices = &prices};
    Settings settings;
    settings.lm = lane;
    const Context context(effects, settings);
    const auto some = rows(program, 0, 12);
    EXPECT_TRUE(record_rows(context, "eval", some));
    EvaluateOptions how;
    how.threads = threads;
    if (const auto done = evaluate(context.at("eval"), program, some, plan().metric, how); !done) {
      const Error& error = done.error();
      EXPECT_TRUE(context.record("error", JsonObject{{"code", name(error.code)}, {"message", error.message}, {"path", error.path}}));
    }
    EXPECT_TRUE(recorder->finish(std::nullopt));
    return record();
  }
  Result<ReplayReport> again(const RunRecord& of) const { return replay_evaluation(program, of, Metrics::built_in()); }
};

TEST_F(Evaluated, ReplaysWithItsScores) {
  const RunRecord whole = run(std::make_shared<ScriptedLM>(answer_by_demos), 4);
  const auto report = again(whole);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical && report->complete);
  EXPECT_EQ(report->calls, 12);
  for (const char* type : {"score", "lm_response", "node_end"}) {
    RunRecord altered = whole;
    RecordEntry& entry = *std::find_if(altered.entries.begin(), altered.entries.end(), [&](const auto& e) { return e.type == type; });
    if (entry.type == "score") entry.data.set("value", 0.25);
    else entry.data.set(entry.type == "node_end" ? "outputs" : "content", "Label: c");
    EXPECT_FALSE(again(altered)->identical) << type;
  }
  RunRecord no_rows = whole;
  std::erase_if(no_rows.entries, [](const RecordEntry& entry) { return entry.type == "event"; });
  EXPECT_EQ(again(no_rows).error().code, ErrorCode::refused);
  RunRecord open = whole;
  open.entries.resize(open.entries.size() / 2);
  const auto half = again(open);
  ASSERT_TRUE(half) << half.error().text();
  EXPECT_TRUE(half->identical && !half->complete);
  EXPECT_GT(half->calls, 2);
}

TEST_F(Evaluated, ReplaysToTheErrorThatEndedIt) {
  const auto report = again(run(answering(7, gone), 4));
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical) << report->divergence->node << " " << report->divergence->what << report->divergence->reason
                                 << report->divergence->recorded << "\n"
                                 << report->divergence->replayed;
  EXPECT_TRUE(report->complete);
}

// --- calls of which nobody knows what they used ---

TEST_F(Replay, ALostCallCountsAndIsAskedAboutOnResume) {
  const auto whole = compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos)));
  ASSERT_TRUE(whole);
  std::remove(journal.c_str());
  Budget budget;
  CompileWorld first = world(answering(70, [](const LmRequest&) { return fail(ErrorCode::timed_out, "no answer came"); }));
  first.effects.budget = &budget;
  ASSERT_FALSE(compile_program(plan(), first));
  EXPECT_EQ(budget.spent().calls, 71);
  expect_open();
  CompileWorld next = expect_asks_about("1 call(s)");
  Budget rest;
  next.unanswered = Unanswered::ask_again;
  next.effects.budget = &rest;
  const auto resumed = compile_program(plan(), next);
  ASSERT_TRUE(resumed) << resumed.error().text();
  EXPECT_EQ(resumed->module.id(), whole->module.id());
  EXPECT_EQ(resumed->totals.calls, whole->totals.calls) << "totals are of what lanes said";
  EXPECT_EQ(rest.spent().calls, whole->totals.calls + 1) << "a budget counts what may have been used";
}

// Answers 70 times, then loses its tries one after another; what happens after the third is the test's.
class LosingLM final : public LM {
 public:
  explicit LosingLM(std::function<void()> after_three) : after_three_(std::move(after_three)) {
    lane_ = ScriptedLM(answer_by_demos).lane();
  }
  const Lane& lane() const override { return lane_; }
  std::vector<PrivacyMode> privacy_modes() const override { return all_privacy_modes(); }
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override { return complete_with(request, wait, {}); }
  Result<LmResponse> complete_with(const LmRequest& request, const Wait&, const Events& events) override {
    if (++calls_ <= 70) return answer_by_demos(request);
    for (int i = 0; i < 3; ++i) ASSAY_CHECK(events.lost(true));
    after_three_();
    return fail(ErrorCode::unavailable, "gone");
  }

 private:
  std::function<void()> after_three_;
  int calls_ = 0;
  Lane lane_;
};

TEST_F(Replay, ACrashBetweenTriesLosesNoneOfThem) {
  std::string then;  // the journal as a crash would leave it: with the fourth try in the air
  const auto lane = std::make_shared<LosingLM>([&] { then = read_file(journal).value(); });
  ASSERT_FALSE(compile_program(plan(), world(lane)));
  ASSERT_TRUE(write_file(journal, then));
  expect_open();
  CompileWorld next = expect_asks_about("4 call(s)");
  Budget budget({.calls = 73});
  next.unanswered = Unanswered::ask_again;
  next.effects.budget = &budget;
  EXPECT_EQ(compile_program(plan(), next).error().code, ErrorCode::over_budget);
}

}  // namespace
}  // namespace assay
