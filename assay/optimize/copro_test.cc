#include "assay/optimize/copro.h"
#include "assay/base/test_files.h"

#include <gtest/gtest.h>

#include <atomic>

#include "assay/lm/scripted_lane.h"
#include "assay/optimize/colours_test.h"
#include "assay/optimize/compile.h"
#include "assay/optimize/replay.h"
#include "assay/optimize/stats.h"
#include "assay/program/module.h"

namespace assay {
namespace {

// The task model is right on a row if the instructions name its colour. The proposer adds a colour to the best attempt it is shown.
Result<LmResponse> task(const LmRequest& request) {
  const std::string instructions = request.messages.front().content.as_string();
  const std::string question = request.messages.back().content.as_string();
  for (const auto& [colour, label] : {std::pair{"red", "a"}, {"green", "b"}, {"blue", "c"}}) {
    if (question.find(colour) != std::string::npos)
      return ScriptedLM::answer(std::string("Label: ") + (instructions.find(colour) != std::string::npos ? label : "d"));
  }
  return ScriptedLM::answer("Label: d");
}

Result<LmResponse> propose(const LmRequest& request) {
  const std::string shown = request.messages.back().content.as_string();
  if (request.rollout == 2) return ScriptedLM::answer("");  // nothing worth reading
  if (shown.find("green") != std::string::npos) return ScriptedLM::answer("Proposal: look for red, green and blue");
  if (shown.find("red") != std::string::npos) return ScriptedLM::answer("Proposal: look for red and green");
  return ScriptedLM::answer("Proposal: \"look for red\"");
}

CompilePlan plan() {
  const Signature s = Signature::parse("item -> label: Literal['a','b','c','d']", "Colours", "Give the label.").value();
  Program program = program_of("colours", "1", Predict("classify", s), Rewards::built_in()).value();
  DataSets data{colours::rows(program, 0, 3), colours::rows(program, 3, 33), colours::rows(program, 33, 93)};
  return CompilePlan{program,        Metrics::built_in().find("accuracy").value(), "COPRO", {{"breadth", 3}, {"depth", 3}}, 7, 7, {},
                     std::move(data)};
}

struct Bench : testing::Test {
  ManualClock clock;
  FixedEntropy entropy{3};
  SecretKey key = SecretKey::parse(std::string(63, '0') + "3").value();
  TestFolder folder;
  std::string journal = folder.path("journal.run.jsonl");
  CompileWorld world(int threads = 1) {
    CompileWorld out;
    out.effects = {.clock = &clock, .entropy = &entropy};
    out.settings.lm = std::make_shared<ScriptedLM>(task);
    out.settings.lanes[proposer_requirement] = std::make_shared<ScriptedLM>(propose, ScriptedLM::Options{.model = "proposer"});
    out.journal_path = journal;
    out.key = &key;
    out.hooks.evaluate.threads = threads;
    out.hooks.open_test = [](const std::string&, const std::string&) -> Result<std::int64_t> { return 1; };
    return out;
  }
};
using CoproCompile = Bench;

TEST_F(CoproCompile, FindsBetterInstructionsRoundByRound) {
  const auto outcome = compile_program(plan(), world());
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_EQ(outcome->result.program.predictor("classify").signature.instructions, "look for red, green and blue");
  EXPECT_EQ(outcome->result.scorecard.baseline->score, 0);
  EXPECT_EQ(*outcome->result.scorecard.score, 1);
  EXPECT_EQ(outcome->module.manifest.optimizer, "COPRO");
  ASSERT_TRUE(outcome->module.manifest.provenance.proposer);
  EXPECT_EQ(outcome->module.manifest.provenance.proposer->model, "proposer");
  EXPECT_EQ(outcome->module.manifest.optimizer_config.find("init_temperature")->as_double(), 1.2);
  // Who answered and who proposed stands in the journal.
  const RunRecord record = read_record_file(journal).value();
  const auto compared = [&](const CompiledModuleManifest& made) {
    return replay_compile(record, Metrics::built_in(), Rewards::built_in(), Optimizers::built_in(), &made).value();
  };
  EXPECT_TRUE(compared(outcome->module.manifest).identical);
  CompiledModuleManifest swapped = outcome->module.manifest, hidden = swapped;
  std::swap(swapped.provenance.task, swapped.provenance.proposer);
  hidden.provenance.proposer.reset();
  EXPECT_FALSE(compared(swapped).identical);
  EXPECT_EQ(compared(hidden).divergence->what, "manifest.provenance.proposer");
}

TEST_F(CoproCompile, RepeatsWithManyThreadsAndReplays) {
  const auto one = compile_program(plan(), world(1));
  std::remove(journal.c_str());
  const auto four = compile_program(plan(), world(4));
  ASSERT_TRUE(one && four);
  EXPECT_EQ(one->module.id(), four->module.id());
  const auto report = replay_compile(read_record_file(journal).value(), Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical) << report->divergence->node << report->divergence->reason;
  EXPECT_EQ(report->compiled_id, four->module.id());
}

TEST_F(CoproCompile, KeepsTheProgramWhenNoProposalIsBetter) {
  CompileWorld useless = world();
  useless.settings.lanes[proposer_requirement] =
      std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("Proposal: x"); });
  const auto outcome = compile_program(plan(), useless);
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_EQ(outcome->module.id(), plan().program.id());
  EXPECT_FALSE(outcome->result.promoted);
}

TEST_F(CoproCompile, AProposerThatIsAwayEndsTheCompile) {
  CompileWorld away = world();
  away.settings.lanes[proposer_requirement] =
      std::make_shared<ScriptedLM>([](const LmRequest&) -> Result<LmResponse> { return fail(ErrorCode::unavailable, "gone"); });
  const auto outcome = compile_program(plan(), away);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::unavailable);
}

TEST(CoproConfig, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(CoproConfig::read({{"breadht", 3}}).error().remedy, "did you mean 'breadth'?");
  EXPECT_EQ(CoproConfig::read({{"depth", 0}}).error().path, "optimizer.depth");
  EXPECT_EQ(CoproConfig::read({{"init_temperature", "hot"}}).error().message, "'init_temperature' is a number from 0 to 2");
}

}  // namespace
}  // namespace assay
