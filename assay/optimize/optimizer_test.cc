// What optimizers that Assay does not have yet need of the interface: a small reflective search over a Pareto front (as GEPA does)
// and a small joint search over instructions and demos on minibatches (as MIPROv2 does), written with public headers only.
#include "assay/optimize/optimizer.h"
#include "assay/base/test_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "assay/base/random.h"
#include "assay/lm/scripted_lane.h"
#include "assay/optimize/compile.h"
#include "assay/optimize/replay.h"
#include "assay/optimize/stats.h"
#include "assay/program/call.h"
#include "assay/program/module.h"
#include "assay/program/predictor.h"

namespace assay {
namespace {

constexpr std::pair<const char*, const char*> colours[] = {{"red", "a"}, {"green", "b"}, {"blue", "c"}};

// Right on a row if the instructions, or a demo, name its colour.
Result<LmResponse> task(const LmRequest& request) {
  const std::string question = request.messages.back().content.as_string();
  std::string shown;
  for (std::size_t i = 0; i + 1 < request.messages.size(); ++i) shown += request.messages[i].content.as_string() + "\n";
  for (const auto& [colour, label] : colours) {
    if (question.find(colour) == std::string::npos) continue;
    return ScriptedLM::answer(std::string("Label: ") + (shown.find(colour) != std::string::npos ? label : "d"));
  }
  return ScriptedLM::answer("no colour here");
}

// Adds to the instructions it is shown the first colour that the feedback says was missed.
Result<LmResponse> propose(const LmRequest& request) {
  const std::string text = request.messages.back().content.as_string();
  const std::size_t feedback = text.find("expected");
  std::string known;
  for (const auto& [colour, label] : colours) {
    const bool had = text.find("look for " + std::string(colour)) != std::string::npos || text.find(std::string(", ") + colour) < feedback;
    const bool missed = text.find(fmt::format("expected \"{}\"", label)) != std::string::npos;
    if (had || missed) known += (known.empty() ? "look for " : ", ") + std::string(colour);
  }
  return ScriptedLM::answer("Proposal: " + (known.empty() ? std::string("look for red") : known));
}

Result<std::string> ask_proposer(const Search& search, const std::string& at, JsonObject inputs) {
  Predictor writer;
  ASSAY_TRY(writer.signature, Signature::parse("current, notes -> proposal", "Rewrite", "Write better instructions."));
  writer.template_json = ChatTemplate::make(writer.signature);
  writer.config = Predictor::default_config();
  Context node = search.context.at(at);
  if (search.proposer != nullptr) node = node.with_lm(search.proposer);
  ASSAY_TRY(const Prediction answer, run_predictor(node, "propose", writer, Json(std::move(inputs))));
  return answer.at("proposal").as_string();
}

std::vector<Row> draw_rows(const std::vector<Row>& from, std::size_t count, Random& random) {
  std::vector<const Row*> order;
  for (const Row& row : from) order.push_back(&row);
  random.shuffle(order);
  std::vector<Row> out;
  for (std::size_t i = 0; i < std::min(count, order.size()); ++i) out.push_back(*order[i]);
  return out;
}

struct Scored1 {
  Candidate candidate;
  std::vector<double> scores;
};

// Candidates that are best on at least one validation row.
std::vector<std::size_t> pareto_front(const std::vector<Scored1>& all) {
  std::set<std::size_t> front;
  for (std::size_t row = 0; row < all.front().scores.size(); ++row) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < all.size(); ++i) {
      if (all[i].scores[row] > all[best].scores[row]) best = i;
    }
    front.insert(best);
  }
  return {front.begin(), front.end()};
}

class Reflective final : public Optimizer {
 public:
  std::string name() const override { return "Reflective"; }
  JsonObject config() const override { return {{"rounds", 6}}; }
  bool proposes() const override { return true; }
  Result<Candidate> compile(Search& search) const override {
    std::vector<Scored1> all;
    ASSAY_CHECK(keep(search, all, {"cand:0", search.student, {}, "the program as it is"}));
    for (std::int64_t round = 0; round < 6; ++round) ASSAY_CHECK(one_round(search, all, round));
    const auto best =
        std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) { return mean(a.scores) < mean(b.scores); });
    search.best_scores = best->scores;
    return best->candidate;
  }

 private:
  static Result<void> keep(Search& search, std::vector<Scored1>& all, Candidate candidate) {
    ASSAY_TRY(std::vector<double> scores, score_candidate(search, candidate));
    all.push_back({std::move(candidate), std::move(scores)});
    return {};
  }
  static Result<void> one_round(Search& search, std::vector<Scored1>& all, std::int64_t round) {
    Random random({search.seed, "search", round, "reflect"});
    const auto front = pareto_front(all);
    const std::size_t parent = front[random.below(front.size())];
    const std::vector<Row> batch = draw_rows(search.train, 4, random);
    ASSAY_TRY(const Evaluation before, try_candidate(search, all[parent].candidate, fmt::format("batch:{}", round), batch));
    std::string notes;
    std::string path;
    for (const RowOutcome& row : before.rows) {
      for (const auto& step : row.steps) path = step.predictor, notes += step.inputs.at("item").as_string() + ": " + step.feedback + "\n";
      notes += row.feedback + "\n";
    }
    const std::string& now = all[parent].candidate.program.predictor(path).signature.instructions;
    ASSAY_TRY(const std::string text, ask_proposer(search, fmt::format("reflect:{}", round), {{"current", now}, {"notes", notes}}));
    Candidate child{fmt::format("cand:{}", round + 1), all[parent].candidate.program, {}, "reflected", {all[parent].candidate.id}};
    ASSAY_TRY(child.program, child.program.with_instructions(path, text));
    ASSAY_TRY(const Evaluation after, try_candidate(search, child, fmt::format("batch:{}", round), batch));
    const bool better = mean(after.scores()) > mean(before.scores());
    ASSAY_CHECK(record_decision(search, fmt::format("accept:{}", round), better));
    return better ? keep(search, all, std::move(child)) : Result<void>{};
  }
};

class Joint final : public Optimizer {
 public:
  std::string name() const override { return "Joint"; }
  JsonObject config() const override { return {{"trials", 6}}; }
  bool proposes() const override { return true; }
  Result<Candidate> compile(Search& search) const override {
    const std::string path = search.student.predictor_paths().front();
    std::string summary;  // of the training data, for the proposer
    for (const Row& row : search.train) summary += fmt::format("expected \"{}\"\n", row.example.labels().at("label").as_string());
    std::vector<std::string> instructions{search.student.predictor(path).signature.instructions};
    ASSAY_TRY(instructions.emplace_back(), ask_proposer(search, "propose:0", {{"current", instructions.front()}, {"notes", summary}}));
    std::vector<JsonList> demo_sets(2);
    Random random({search.seed, "search", 0, "demos"});
    for (const Row& row : draw_rows(search.train, 2, random))
      demo_sets[1].push_back(JsonObject{{"inputs", row.example.inputs()}, {"outputs", row.example.labels()}});
    std::vector<double> sum(4), count(4);
    Candidate best{"cand:0", search.student, {}, "the program as it is"};
    ASSAY_TRY(search.best_scores, score_candidate(search, best));
    for (std::int64_t trial = 1; trial <= 6; ++trial) {
      // An upper confidence bound takes a logarithm: what it chose stands in the journal.
      std::size_t arm = 0;
      double top = -1;
      for (std::size_t i = 0; i < 4; ++i) {
        const double bound = count[i] == 0 ? 1e9 : sum[i] / count[i] + std::sqrt(std::log(static_cast<double>(trial)) / count[i]);
        if (bound > top) top = bound, arm = i;
      }
      ASSAY_CHECK(record_decision(search, fmt::format("trial:{}", trial), static_cast<std::int64_t>(arm)));
      Candidate candidate{fmt::format("cand:{}", trial), search.student, {}, "trial"};
      ASSAY_TRY(candidate.program, candidate.program.with_instructions(path, instructions[arm / 2]));
      ASSAY_TRY(candidate.program, candidate.program.with_demos(path, demo_sets[arm % 2]));
      Random order({search.seed, "search", trial, "batch"});
      const std::vector<Row> batch = draw_rows({search.val.begin(), search.val.end()}, 6, order);
      ASSAY_TRY(const Evaluation tried, try_candidate(search, candidate, "batch:0", batch));
      sum[arm] += mean(tried.scores());
      count[arm] += 1;
      if (trial % 3 != 0) continue;
      ASSAY_TRY(std::vector<double> scores, score_candidate(search, candidate));
      if (mean(scores) <= mean(search.best_scores)) continue;
      search.best_scores = std::move(scores);
      best = std::move(candidate);
    }
    return best;
  }
};

Optimizers with_own() {
  Optimizers out = Optimizers::built_in();
  out.add("Reflective", [](const JsonObject&) -> Result<std::unique_ptr<Optimizer>> { return std::make_unique<Reflective>(); });
  out.add("Joint", [](const JsonObject&) -> Result<std::unique_ptr<Optimizer>> { return std::make_unique<Joint>(); });
  return out;
}

Metrics with_words() {
  Metrics out = Metrics::built_in();
  Metric metric = out.find("accuracy").value();
  metric.ref = {"spoken", "1", std::string(64, '5')};
  metric.step_feedback = [](const Example&, const PredictorTrace::Step& step) {
    return fmt::format("the step {} said {}", step.predictor, step.outputs.at("label").as_string());
  };
  out.add(metric);
  return out;
}

CompilePlan plan(const std::string& optimizer) {
  const Signature s = Signature::parse("item -> label: Literal['a','b','c','d']", "Colours", "Give the label.").value();
  Program program = program_of("colours", "1", Predict("classify", s), Rewards::built_in()).value();
  const auto rows = [&](int begin, int end) {
    std::vector<Row> out;
    for (int i = begin; i < end; ++i) {
      const auto& [colour, label] = colours[i % 3];
      out.push_back(
          make_row(program.signature(), JsonObject{{"item", fmt::format("{} thing {}", colour, i)}}, JsonObject{{"label", label}}).value());
    }
    order_rows(out);
    return out;
  };
  DataSets data{rows(0, 12), rows(12, 36), rows(36, 96)};
  return CompilePlan{program, with_words().find("spoken").value(), optimizer, {}, 7, 7, {}, std::move(data)};
}

struct OwnOptimizer : testing::TestWithParam<const char*> {
  ManualClock clock;
  FixedEntropy entropy{3};
  SecretKey key = SecretKey::parse(std::string(63, '0') + "3").value();
  TestFolder folder;
  std::string journal = folder.path("journal.run.jsonl");
  CompileWorld world(int threads) {
    CompileWorld out;
    out.effects = {.clock = &clock, .entropy = &entropy};
    out.settings.lm = std::make_shared<ScriptedLM>(task);
    out.settings.lanes[proposer_requirement] = std::make_shared<ScriptedLM>(propose, ScriptedLM::Options{.model = "proposer"});
    out.journal_path = journal;
    out.key = &key;
    out.hooks.evaluate.threads = threads;
    out.hooks.open_test = [](const std::string&, const std::string&) -> Result<std::int64_t> { return 1; };
    out.hooks.optimizers = with_own();
    return out;
  }
};

TEST_P(OwnOptimizer, FindsABetterProgramRepeatsAndReplays) {
  const auto one = compile_program(plan(GetParam()), world(1));
  ASSERT_TRUE(one) << one.error().text();
  EXPECT_LT(one->result.scorecard.baseline->score, 0.01);
  EXPECT_EQ(*one->result.scorecard.score, 1);
  EXPECT_EQ(one->module.manifest.optimizer, GetParam());
  EXPECT_EQ(one->module.manifest.provenance.proposer->model, "proposer");
  std::remove(journal.c_str());
  const auto four = compile_program(plan(GetParam()), world(4));
  ASSERT_TRUE(four);
  EXPECT_EQ(one->module.id(), four->module.id());
  const RunRecord record = read_record_file(journal).value();
  const auto report = replay_compile(record, with_words(), Rewards::built_in(), with_own());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical) << report->divergence->node << report->divergence->reason;
  EXPECT_EQ(report->compiled_id, four->module.id());
  EXPECT_EQ(replay_compile(record, with_words(), Rewards::built_in()).error().code, ErrorCode::refused)
      << "this build has no such optimizer";
}
INSTANTIATE_TEST_SUITE_P(Small, OwnOptimizer, testing::Values("Reflective", "Joint"));

TEST_F(OwnOptimizer, TheJournalKeepsFeedbackDecisionsAndParents) {
  ASSERT_TRUE(compile_program(plan("Reflective"), world(1)));
  const RunRecord record = read_record_file(journal).value();
  std::int64_t feedback = 0, decisions = 0, accepted = 0, parents = 0;
  for (const RecordEntry& entry : record.entries) {
    feedback += entry.type == "score" && entry.data.at("feedback").is_string();
    decisions += entry.type == "decision" && entry.node == "search";
    accepted += entry.type == "decision" && entry.data.at("value") == Json(true) && entry.node == "search";
    parents += entry.type == "candidate" && entry.data.at("parents").is_list();
    if (entry.type == "score" && entry.data.at("feedback").is_string()) {
      EXPECT_NE(entry.data.at("feedback").as_string().find("label: expected \""), std::string::npos);
      EXPECT_NE(entry.node.find("/batch:"), std::string::npos) << "only where an optimizer asked for it";
    }
  }
  EXPECT_GT(feedback, 0);
  EXPECT_EQ(decisions, 6);
  EXPECT_EQ(parents, accepted) << "each child that was kept names what it was made from";
  EXPECT_GT(parents, 0);
}

TEST(Optimizers, NamesTheNearest) {
  const auto missing = Optimizers::built_in().make("COPROO", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::refused);
  EXPECT_EQ(missing.error().remedy, "did you mean 'COPRO'?");
}

}  // namespace
}  // namespace assay
