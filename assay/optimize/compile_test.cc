#include "assay/optimize/compile.h"

#include <gtest/gtest.h>

#include <set>

#include "assay/optimize/colours_test.h"
#include "assay/optimize/replay.h"
#include "assay/optimize/stats.h"

namespace assay {
namespace {

using namespace colours;

using Compile = Bench;

TEST_F(Compile, FindsDemosThatHelpAndSignsWhatItFound) {
  const auto lane = std::make_shared<ScriptedLM>(answer_by_demos);
  const auto outcome = compile_program(plan(), world(lane));
  ASSERT_TRUE(outcome) << outcome.error().text();
  const Scorecard& card = outcome->result.scorecard;
  EXPECT_NEAR(card.baseline->score, 1.0 / 3, 1e-9);
  EXPECT_GT(*card.gain, 0.3);
  EXPECT_TRUE(outcome->result.promoted);
  EXPECT_EQ(card.n_test, 60);
  EXPECT_EQ(outcome->totals.calls, lane->calls());
  TrustStore trust;
  trust.trust_own(key.public_hex());
  const ModuleVerdict verdict = verify_module(outcome->module_text, trust);
  EXPECT_EQ(verdict.state, ModuleState::intact_trusted);
  const RecordVerdict record = read_record_file(journal)->verdict;
  EXPECT_EQ(record.state, RecordState::complete);
  EXPECT_EQ(outcome->module.manifest.provenance.journal_root, record.root_hash);
}

TEST_F(Compile, TwiceGivesTheSameIdWithOneAndManyThreads) {
  auto first = compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos)));
  std::remove(journal.c_str());
  CompileWorld parallel = world(std::make_shared<ScriptedLM>(answer_by_demos));
  parallel.hooks.evaluate.threads = 4;
  auto second = compile_program(plan(), parallel);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->module.id(), second->module.id());
  EXPECT_EQ(to_json(first->result.scorecard).value().at("gain_interval"), to_json(second->result.scorecard).value().at("gain_interval"));
}

TEST_F(Compile, NeedsNoHooksAndSaysWhatItNeeds) {
  CompileWorld bare = world(std::make_shared<ScriptedLM>(answer_by_demos));
  bare.hooks = {};
  const auto outcome = compile_program(plan(), bare);
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_EQ(outcome->result.scorecard.test_looks, 1);
  std::remove(journal.c_str());
  CompileWorld no_clock = bare, no_lane = bare, no_place = bare;
  no_clock.effects.clock = nullptr;
  no_lane.settings.lm = nullptr;
  no_place.journal_path.clear();
  for (const CompileWorld* wrong : {&no_clock, &no_lane, &no_place})
    EXPECT_EQ(compile_program(plan(), *wrong).error().code, ErrorCode::usage);
}

TEST_F(Compile, AMetricOrAWatcherThatThrowsDoesNotEndTheProcess) {
  for (const int threads : {1, 2}) {
    CompileWorld where = world(std::make_shared<ScriptedLM>(answer_by_demos));
    where.hooks.evaluate.threads = threads;
    where.hooks.evaluate.progress = [](std::size_t, std::size_t) { throw 1; };
    ASSERT_TRUE(compile_program(plan(), where));
    std::remove(journal.c_str());
    CompilePlan throwing = plan();
    throwing.metric.function = [](const Example&, const Prediction&) -> Scored { throw std::runtime_error("no metric today"); };
    const auto ended = compile_program(throwing, where);
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code, ErrorCode::internal);
    EXPECT_NE(ended.error().message.find("no metric today"), std::string::npos);
    std::remove(journal.c_str());
  }
}

// An error of somebody's own code ends the compile each time: its replay ends there too, and says so.
TEST_F(Compile, AJournalThatEndedWithAnErrorReplaysAsFarAsItGoes) {
  Metric moody = plan().metric;
  moody.ref.name = "moody";
  moody.function = [inner = moody.function](const Example& example, const Prediction& prediction) -> Scored {
    if (example.inputs().at("item").as_string().starts_with("blue")) throw std::runtime_error("no blue things");
    return inner(example, prediction);
  };
  Metrics metrics = Metrics::built_in();
  metrics.add(moody);
  CompilePlan with = plan();
  with.metric = moody;
  ASSERT_FALSE(compile_program(with, world(std::make_shared<ScriptedLM>(answer_by_demos))));
  const auto report = replay_compile(read_record_file(journal).value(), metrics, Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical);
  EXPECT_FALSE(report->complete);
}

// A flow of two steps whose first may say what the second does not take.
Program wired(const std::string& first, const std::string& second) {
  ArtifactParts parts;
  for (const auto& [path, text] : {std::pair("measure", first), std::pair("judge", second)}) {
    Predictor predictor;
    predictor.kind = "predict/1";
    predictor.signature = Signature::parse(text, path).value();
    predictor.template_json = ChatTemplate::make(predictor.signature);
    predictor.config = Predictor::default_config();
    EXPECT_TRUE(parts.add_predictor(path, predictor));
  }
  const Json flow = JsonObject{
      {"signature", Signature::parse("item -> label: Literal['a','b','c']", "Whole").value().to_json()},
      {"nodes",
       JsonList{JsonObject{{"id", "measure"}, {"run", "measure"}, {"in", JsonObject{{"item", "input.item"}}}},
                JsonObject{{"id", "judge"}, {"run", "judge"}, {"in", JsonObject{{"item", "input.item"}, {"size", "measure.size"}}}}}},
      {"out", JsonObject{{"label", "judge.label"}}}};
  return Program::load(parts.artifact_with_flow("wired", "1", flow).value(), Rewards::built_in()).value();
}

TEST_F(Compile, AnAnswerThatDoesNotFitTheNextStepFailsItsRowOnly) {
  CompilePlan two = plan();
  two.program = wired("item -> size: Optional[int]", "item, size: int -> label: Literal['a','b','c','none']");
  two.data = {rows(two.program, 0, 30), rows(two.program, 30, 60), rows(two.program, 60, 120)};
  // Blue things have no size, and of green ones the second step says what the program may not.
  const auto lane = std::make_shared<ScriptedLM>([](const LmRequest& request) {
    const std::string question = request.messages.back().content.as_string();
    const bool first = question.find("Size: ") == std::string::npos;
    if (first) return ScriptedLM::answer(question.find("blue") != std::string::npos ? "Size: null" : "Size: 3");
    return ScriptedLM::answer(question.find("green") != std::string::npos ? "Label: none" : "Label: a");
  });
  const auto outcome = compile_program(two, world(lane));
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_DOUBLE_EQ(outcome->module.manifest.scorecard.p_fail, 2.0 / 3);
  EXPECT_DOUBLE_EQ(*outcome->module.manifest.scorecard.score, 1.0 / 3);
  const auto report = replay_compile(read_record_file(journal).value(), Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical);
  Effects effects{.clock = &clock, .entropy = &entropy};
  Settings settings;
  settings.lm = lane;
  const Context context(effects, settings);
  const auto blue = two.program.forward(context, JsonObject{{"item", "blue thing"}});
  ASSERT_FALSE(blue);
  EXPECT_EQ(blue.error().code, ErrorCode::mismatch);
  EXPECT_EQ(blue.error().path, "steps.judge.size");
  EXPECT_EQ(blue.error().message, "the step 'judge' cannot take measure.size as its size: expected an integer, found null");
  const auto green = two.program.forward(context, JsonObject{{"item", "green thing"}});
  ASSERT_FALSE(green);
  EXPECT_EQ(green.error().path, "outputs.label");
}

TEST_F(Compile, ALaneThatClaimsAllTokensThereAreDoesNotEndACompile) {
  const auto lane = std::make_shared<ScriptedLM>([](const LmRequest& request) {
    auto answer = answer_by_demos(request);
    answer->usage.prompt_tokens = answer->usage.completion_tokens = json_integer_max;
    return answer;
  });
  const auto outcome = compile_program(plan(), world(lane));
  ASSERT_TRUE(outcome) << outcome.error().text();
  const auto report = replay_compile(read_record_file(journal).value(), Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical);
}

TEST_F(Compile, ReplaysToTheSameIdByRunningAgain) {
  const auto outcome = compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos)));
  ASSERT_TRUE(outcome);
  const auto record = read_record_file(journal);
  ASSERT_TRUE(record);
  const auto report = replay_compile(*record, Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical) << report->divergence->node << " " << report->divergence->what << "\n"
                                 << report->divergence->recorded << "\n"
                                 << report->divergence->replayed;
  EXPECT_EQ(report->compiled_id, outcome->module.id());
}

TEST_F(Compile, ReplayDerivesWhatWasDeletedFromTheJournal) {
  const auto outcome = compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos)));
  ASSERT_TRUE(outcome);
  RunRecord record = read_record_file(journal).value();
  for (RecordEntry& entry : record.entries) {
    if (entry.type == "node_end") entry.data.set("outputs", Json());
    if (entry.type == "decision" || entry.type == "candidate")
      entry.data.as_object().erase(entry.type == "decision" ? "value" : "compiled_id");
  }
  const auto report = replay_compile(record, Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical);
  EXPECT_EQ(report->compiled_id, outcome->module.id());
}

TEST_F(Compile, ReplayStopsWhereAnAnswerWasChanged) {
  ASSERT_TRUE(compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos))));
  RunRecord record = read_record_file(journal).value();
  std::string node;
  for (RecordEntry& entry : record.entries) {
    if (entry.type != "lm_response" || !node.empty() || entry.node.find("cand:2") == std::string::npos) continue;
    entry.data.set("content", entry.data.at("content") == Json("Label: c") ? "Label: b" : "Label: c");
    node = entry.node;
  }
  const auto report = replay_compile(record, Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  ASSERT_FALSE(report->identical);
  EXPECT_EQ(report->divergence->node, node);
  EXPECT_EQ(report->divergence->what, "outputs");
}

TEST_F(Compile, ReplayStopsForAnotherSeedTemplateOrRow) {
  ASSERT_TRUE(compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos))));
  const RunRecord record = read_record_file(journal).value();
  const auto diverges = [&](const char* pointer, Json value) {
    RunRecord changed = record;
    Json* at = &changed.entries[0].data;
    std::string_view rest = pointer;
    while (!rest.empty()) {
      rest.remove_prefix(1);
      const std::string key(rest.substr(0, rest.find('/')));
      rest.remove_prefix(std::min(key.size(), rest.size()));
      at = at->as_object().find(key);
      ASSERT_NE(at, nullptr) << pointer;
    }
    *at = std::move(value);
    const auto report = replay_compile(changed, Metrics::built_in(), Rewards::built_in());
    EXPECT_TRUE(!report || !report->identical) << pointer;
    if (report && report->divergence) {
      EXPECT_FALSE(report->divergence->node.empty()) << pointer;
    }
  };
  diverges("/program/seed", Json(8));
  diverges("/program/artifact/predictors/classify/template/slots/system", Json("Other. {instructions}"));
  RunRecord rows_changed = record;
  for (RecordEntry& entry : rows_changed.entries) {
    if (entry.type == "event") {
      entry.data.as_object().find("data")->as_object().find("rows")->as_list()[0].as_object().find("outputs")->set("label", "b");
      break;
    }
  }
  EXPECT_EQ(replay_compile(rows_changed, Metrics::built_in(), Rewards::built_in()).error().code, ErrorCode::diverged);
}

TEST_F(Compile, ReplayLooksAtTheFirstAndTheLastLineToo) {
  ASSERT_TRUE(compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos))));
  const RunRecord record = read_record_file(journal).value();
  const auto what_differs = [&](std::size_t line, const char* member, Json value) {
    RunRecord changed = record;
    changed.entries[line].data.set(member, std::move(value));
    const auto report = replay_compile(changed, Metrics::built_in(), Rewards::built_in());
    return report && report->divergence ? report->divergence->what : std::string("nothing");
  };
  const std::string hex(64, 'a');
  EXPECT_EQ(what_differs(0, "seed", 9), "seed");
  EXPECT_EQ(what_differs(0, "compiled_id", hex), "compiled_id");
  EXPECT_EQ(what_differs(0, "settings", JsonObject{{"x", 1}}), "settings");
  EXPECT_EQ(what_differs(record.entries.size() - 1, "output_hash", hex), "output_hash");
}

TEST_F(Compile, AnInterruptedJournalReplaysAsFarAsItGoes) {
  ASSERT_TRUE(compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos))));
  const RunRecord whole = read_record_file(journal).value();
  const auto rows = static_cast<std::size_t>(std::count_if(
      whole.entries.begin(), whole.entries.end(), [](const RecordEntry& e) { return e.type == "event" || e.type == "run_start"; }));
  for (std::size_t lines = rows; lines < whole.entries.size(); lines += 17) {
    RunRecord cut = whole;
    cut.entries.resize(lines);
    const auto report = replay_compile(cut, Metrics::built_in(), Rewards::built_in());
    ASSERT_TRUE(report) << lines << report.error().text();
    EXPECT_TRUE(report->identical) << "cut after line " << lines << ": " << report->divergence->node << " " << report->divergence->reason;
    EXPECT_FALSE(report->complete);
  }
}

TEST_F(Compile, ResumedAfterALossPaysNothingTwiceAndEndsTheSame) {
  const auto whole = compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos)));
  ASSERT_TRUE(whole);
  std::remove(journal.c_str());
  int left = 70;  // the lane goes away in the middle of the search
  const auto flaky = std::make_shared<ScriptedLM>([&left](const LmRequest& request) -> Result<LmResponse> {
    if (left-- <= 0) return fail(ErrorCode::unavailable, "the lane is gone");
    return answer_by_demos(request);
  });
  const auto stopped = compile_program(plan(), world(flaky));
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::unavailable);
  const auto lane = std::make_shared<ScriptedLM>(answer_by_demos);
  CompileWorld again = world(lane);
  again.resume = true;
  const auto resumed = compile_program(plan(), again);
  ASSERT_TRUE(resumed) << resumed.error().text();
  EXPECT_EQ(resumed->module.id(), whole->module.id());
  EXPECT_EQ(lane->calls() + 70, whole->totals.calls);
  EXPECT_EQ(resumed->totals.calls, whole->totals.calls);
  const auto report = replay_compile(read_record_file(journal).value(), Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical);
}

TEST_F(Compile, ResumedKeepsItsBudgetAndItsLookAtTheTestSet) {
  int left = 0, looks = 0;
  std::set<std::string> looked;
  const auto count_look = [&](const std::string&, const std::string& run_id) -> Result<std::int64_t> {
    looked.insert(run_id);
    return looks = static_cast<int>(looked.size());
  };
  const auto whole = compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos)));
  ASSERT_TRUE(whole);
  std::remove(journal.c_str());
  left = static_cast<int>(whole->totals.calls) - 3;  // the lane goes away when the test set is open already
  const auto flaky = std::make_shared<ScriptedLM>([&left](const LmRequest& request) -> Result<LmResponse> {
    if (left-- <= 0) return fail(ErrorCode::unavailable, "the lane is gone");
    return answer_by_demos(request);
  });
  CompileWorld first = world(flaky);
  first.hooks.open_test = count_look;
  ASSERT_FALSE(compile_program(plan(), first));
  EXPECT_EQ(looks, 1);

  CompileWorld again = world(std::make_shared<ScriptedLM>(answer_by_demos));
  again.resume = true;
  again.hooks.open_test = count_look;
  Budget spent({.calls = whole->totals.calls - 1});  // of the whole compile, not of this pass
  again.effects.budget = &spent;
  EXPECT_EQ(compile_program(plan(), again).error().code, ErrorCode::over_budget);
  Budget enough({.calls = whole->totals.calls});
  again.effects.budget = &enough;
  const auto resumed = compile_program(plan(), again);
  ASSERT_TRUE(resumed) << resumed.error().text();
  EXPECT_EQ(enough.spent().calls, whole->totals.calls);
  EXPECT_EQ(looks, 1);
  EXPECT_EQ(resumed->result.scorecard.test_looks, 1);
}

TEST_F(Compile, SaysHowManyRowsStandInTwoSets) {
  CompilePlan overlapping = plan();
  overlapping.data.val.push_back(overlapping.data.train[0]);
  overlapping.data.test.push_back(overlapping.data.train[1]);
  for (auto* set : {&overlapping.data.val, &overlapping.data.test}) order_rows(*set);
  const auto outcome = compile_program(overlapping, world(std::make_shared<ScriptedLM>(answer_by_demos)));
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_EQ(Json(outcome->module.manifest.scorecard.extra).at("overlaps"), Json(2));
  const auto report = replay_compile(read_record_file(journal).value(), Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical && report->complete);
}

TEST(CompilePlan, NamesThePlaceOfAWrongHyperParameterOrMetric) {
  const std::string text = R"(format = "assay.program/1"
[program]
name = "t"
[signature.S]
text = "item -> label: Literal['a','b']"
[[step]]
id = "s"
signature = "S"
[metric]
name = "accurac"
[optimizer]
name = "BootstrapFewShot"
max_labeled_demo = 4
)";
  ProgramFile file = parse_program_file(text, "P.toml", ".", Rewards::built_in()).value();
  const auto metric = CompilePlan::of(file, {}, Metrics::built_in(), 0);
  ASSERT_FALSE(metric);
  EXPECT_EQ(metric.error().path, "P.toml:10:1");
  EXPECT_TRUE(metric.error().remedy.starts_with("did you mean 'accuracy'?")) << metric.error().remedy;
  file.metric = "accuracy";
  const auto parameter = CompilePlan::of(file, {}, Metrics::built_in(), 0);
  ASSERT_FALSE(parameter);
  EXPECT_EQ(parameter.error().path, "P.toml:13:1");
  EXPECT_EQ(parameter.error().remedy, "did you mean 'max_labeled_demos'?");
}

TEST_F(Compile, RefusesToResumeAnotherCompilesJournal) {
  ASSERT_TRUE(compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos))));
  CompilePlan other = plan();
  other.seed = 8;
  CompileWorld again = world(std::make_shared<ScriptedLM>(answer_by_demos));
  again.resume = true;
  EXPECT_EQ(compile_program(other, again).error().code, ErrorCode::refused);
}

struct Candidates final : DspyCallback {
  std::vector<std::string> ids;
  void on_optimizer_candidate(const std::string& id, const std::map<std::string, double>& metrics) override {
    ids.push_back(id);
    EXPECT_TRUE(metrics.contains("accuracy"));
  }
};

TEST_F(Compile, TellsOneCandidateEventPerJournalCandidate) {
  CompileWorld where = world(std::make_shared<ScriptedLM>(answer_by_demos));
  const auto seen = std::make_shared<Candidates>();
  where.settings.set_callback(seen);
  ASSERT_TRUE(compile_program(plan(), where));
  std::vector<std::string> in_journal;
  const RunRecord record = read_record_file(journal).value();
  for (const RecordEntry& entry : record.entries) {
    if (entry.type == "candidate") in_journal.push_back(entry.data.at("id").as_string());
  }
  EXPECT_EQ(seen->ids, in_journal);
  EXPECT_EQ(in_journal.size(), 5u);
}

TEST(Stats, WilsonMatchesKnownFigures) {  // 81 of 263, the example of Wilson intervals in Newcombe (1998)
  const Interval interval = wilson_interval(81, 263);
  EXPECT_NEAR(interval.low, 0.2553, 5e-5);
  EXPECT_NEAR(interval.high, 0.3662, 5e-5);
  EXPECT_EQ(wilson_interval(0, 10).low, 0);
  EXPECT_EQ(wilson_interval(10, 10).high, 1);
}

TEST(Stats, BootstrapOfNoSpreadIsAPointAndRepeats) {
  const Interval point = paired_bootstrap(std::vector<double>(20, 0.5), 7, "x");
  EXPECT_EQ(point.low, 0.5);
  EXPECT_EQ(point.high, 0.5);
  const std::vector<double> values{0, 1, 0.5, 0.25, 1, 0, 0.75};
  EXPECT_EQ(bootstrap_interval(values, 7, "x"), bootstrap_interval(values, 7, "x"));
  EXPECT_NE(bootstrap_interval(values, 7, "x"), bootstrap_interval(values, 8, "x"));
}

TEST(Data, ReadsCsvWithQuotesAndNamesTheLine) {
  const Signature s = Signature::parse("q -> n: int").value();
  const auto rows = parse_csv("q,n\n\"a, \"\"b\"\"\nc\",1\nx,2\n", "f.csv", s, {});
  ASSERT_TRUE(rows) << rows.error().text();
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[0].example.inputs().at("q"), Json("a, \"b\"\nc"));
  EXPECT_EQ(parse_csv("q,n\nx,1\ny,two\n", "f.csv", s, {}).error().path, "f.csv:3.n");
  EXPECT_EQ(parse_csv("q,n\nx\n", "f.csv", s, {}).error().path, "f.csv:2");
  EXPECT_EQ(parse_csv("q,n\n\"x,1\n", "f.csv", s, {}).error().path, "f.csv:2");
  EXPECT_EQ(parse_csv("q,n\n\"x\"y,1\n", "f.csv", s, {}).error().path, "f.csv:2");
  EXPECT_EQ(parse_csv("q,n\r\n\"x\",\"1\"\r\n\"\",2\r\n", "f.csv", s, {})->size(), 2U);
  EXPECT_EQ(parse_csv("other,n\nx,1\n", "f.csv", s, {}).error().path, "f.csv:1");
  const Signature two = Signature::parse("q -> why, n: int").value();
  const Error unlabelled = parse_csv("q,nn\nx,1\n", "f.csv", two, {{"n", "number"}}).error();
  EXPECT_NE(unlabelled.message.find("(why, number)"), std::string::npos) << unlabelled.message;
  const Error row = parse_jsonl("{\"q\":\"x\",\"n\":1}\n{\"q\":\"y\",\"m\":1}\n", "f.jsonl", two, {}).error();
  EXPECT_EQ(row.path, "f.jsonl:2");
  EXPECT_NE(row.remedy.find("m, q"), std::string::npos) << row.remedy;
  EXPECT_EQ(parse_jsonl("{\"q\":\"x\",\"n\":1}\n{\"q\":1,\"n\":1}\n", "f.jsonl", s, {}).error().path, "f.jsonl:2.inputs.q");
}

}  // namespace
}  // namespace assay
