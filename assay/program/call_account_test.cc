#include "assay/program/call_account.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "assay/base/test_files.h"
#include "assay/lm/recorded_answers.h"
#include "assay/lm/scripted_lane.h"
#include "assay/program/module.h"
#include "assay/program/run.h"

namespace assay {
namespace {

Signature yes_no() { return Signature::parse("q -> a: Literal['yes','no']", "YesNo").value(); }

struct World {
  ManualClock clock;
  FixedEntropy entropy{1};
  PriceBook prices = PriceBook::built_in();
  Budget budget;
  Settings settings;

  explicit World(BudgetLimits limits = {}) : budget(limits) {}
  RunOutcome run(std::shared_ptr<LM> lane) { return begin(std::move(lane)).value(); }
  Result<RunOutcome> begin(std::shared_ptr<LM> lane) {
    settings.lm = std::move(lane);
    RunWorld where{.effects = {.clock = &clock, .entropy = &entropy, .budget = &budget, .prices = &prices}, .settings = settings};
    return run_program(program_of("p", "1", Predict("ask", yes_no()), Rewards::built_in()).value(), JsonObject{{"q", "?"}}, where);
  }
};

std::shared_ptr<ScriptedLM> failing(ErrorCode code) {
  return std::make_shared<ScriptedLM>([code](const LmRequest&) -> Result<LmResponse> { return fail(code, "no"); });
}

// Loses its first tries, as a server whose connections break.
class LossyLM final : public LM {
 public:
  explicit LossyLM(int losses, bool sees_all = true) : losses_(losses), sees_all_(sees_all) {
    lane_ = {.kind = "openai", .model = "m", .engine = "test"};
  }
  const Lane& lane() const override { return lane_; }
  std::vector<PrivacyMode> privacy_modes() const override { return sees_all_ ? all_privacy_modes() : LM::privacy_modes(); }
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override { return complete_with(request, wait, {}); }
  Result<LmResponse> complete_with(const LmRequest&, const Wait&, const Events& events) override {
    for (int i = 0; i < losses_; ++i) {
      ++sent;
      ASSAY_CHECK(events.lost(true));
    }
    ++sent;
    return ScriptedLM::answer("A: yes");
  }
  int sent = 0;

 private:
  int losses_;
  bool sees_all_;
  Lane lane_;
};

TEST(CallAccount, AFailedCallIsSpentUnlessNothingCanHaveBeenUsed) {
  for (const ErrorCode code : {ErrorCode::timed_out, ErrorCode::cancelled, ErrorCode::malformed, ErrorCode::unreadable, ErrorCode::internal,
                               ErrorCode::mismatch, ErrorCode::io}) {
    World world;
    EXPECT_EQ(world.run(failing(code)).prediction.error().code, code);
    EXPECT_EQ(world.budget.spent().calls, 1) << name(code);
    EXPECT_GT(world.budget.spent().tokens, 10) << name(code);
    EXPECT_EQ(world.budget.reserved().calls, 0) << name(code);
  }
  for (const ErrorCode code : {ErrorCode::unavailable, ErrorCode::limit_exceeded, ErrorCode::refused, ErrorCode::usage}) {
    World world;
    EXPECT_EQ(world.run(failing(code)).prediction.error().code, code);
    EXPECT_EQ(world.budget.spent().calls, 0) << name(code);
    EXPECT_EQ(world.budget.reserved().calls, 0) << name(code);
  }
  World world;
  const auto threw = world.run(std::make_shared<ScriptedLM>([](const LmRequest&) -> Result<LmResponse> { throw 1; }));
  EXPECT_EQ(threw.prediction.error().code, ErrorCode::internal);
  EXPECT_EQ(world.budget.spent().calls, 1) << "a lane that throws may have asked";
}

// Runs, and replays what was recorded: to the same end, without a lane.
void expect_replays(World& world, std::shared_ptr<LM> lane, ErrorCode code, const Wait& wait = {}) {
  SCOPED_TRACE(name(code));
  const TestFolder folder;
  const Program program = program_of("p", "1", Predict("ask", yes_no()), Rewards::built_in()).value();
  world.settings.lm = std::move(lane);
  RunWorld where{.effects = {.clock = &world.clock, .entropy = &world.entropy, .budget = &world.budget, .prices = &world.prices},
                 .settings = world.settings};
  where.effects.wait = wait;
  where.record_path = folder.path("r.run.jsonl");
  const auto outcome = run_program(program, JsonObject{{"q", "?"}}, where);
  ASSERT_TRUE(outcome) << outcome.error().text();
  ASSERT_FALSE(outcome->prediction);
  EXPECT_EQ(outcome->prediction.error().code, code);
  const auto record = read_record_file(where.record_path, {.complete = false, .head = {}});
  ASSERT_TRUE(record) << record.error().text();
  EXPECT_EQ(record->verdict.state, RecordState::complete);
  EXPECT_TRUE(RecordedAnswers::check(*record));
  const auto report = replay_run(program, *record);
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical && report->complete) << report->divergence->node << " " << report->divergence->what << " "
                                                     << report->divergence->reason << report->divergence->recorded << "\n"
                                                     << report->divergence->replayed;
}

// Throws where it is asked what a call may use, or whether it would take one.
class BrokenLM final : public LM {
 public:
  explicit BrokenLM(bool at_once) : at_once_(at_once) { lane_ = {.kind = "mine", .model = "m", .engine = "test"}; }
  const Lane& lane() const override { return lane_; }
  Result<LmResponse> complete(const LmRequest&, const Wait&) override { return ScriptedLM::answer("A: yes"); }
  std::vector<PrivacyMode> privacy_modes() const override { return all_privacy_modes(); }
  Result<void> takes(const LmRequest&) const override {
    if (at_once_) throw std::runtime_error("boom");
    return {};
  }
  Result<std::int64_t> prompt_tokens_max(const LmRequest&) const override { throw 7; }

 private:
  bool at_once_;
  Lane lane_;
};

TEST(CallAccount, ALaneThatThrowsWhereItIsAskedAboutACallIsAnError) {
  World world({.calls = 5});
  expect_replays(world, std::make_shared<BrokenLM>(false), ErrorCode::internal);
  EXPECT_EQ(world.budget.spent().calls, 0);
  World other;
  const auto never = other.begin(std::make_shared<BrokenLM>(true));
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().code, ErrorCode::internal);
  EXPECT_NE(never.error().message.find("boom"), std::string::npos);
}

TEST(CallAccount, ARunThatSomethingStoppedReplaysToTheSameEnd) {
  const auto yes = [](std::int64_t tokens = 2) {
    return std::make_shared<ScriptedLM>([tokens](const LmRequest&) -> Result<LmResponse> {
      LmResponse answer = ScriptedLM::answer("A: yes", 10).value();
      answer.usage.completion_tokens = tokens;
      return answer;
    });
  };
  World no_calls({.calls = 0});
  expect_replays(no_calls, yes(), ErrorCode::over_budget);
  World claims({.tokens = 100'000});
  expect_replays(claims, yes(90'000), ErrorCode::over_budget);
  World person;
  std::stop_source stop;
  stop.request_stop();
  expect_replays(person, yes(), ErrorCode::cancelled, {.deadline = {}, .stop = stop.get_token()});
  World late;
  late.clock.advance(std::chrono::seconds(5));
  expect_replays(late, yes(), ErrorCode::timed_out, {.deadline = {1}, .stop = {}});
  World nobody;
  expect_replays(nobody, nullptr, ErrorCode::usage);
  for (const std::int64_t tokens : {std::int64_t{-5}, std::int64_t{1} << 62}) {  // the lane is broken, and was asked
    World broken({.tokens = 100'000});
    expect_replays(broken, yes(tokens), ErrorCode::malformed);
    EXPECT_EQ(broken.budget.spent().calls, 1);
  }
  World odd;  // an answer that no line can hold
  expect_replays(odd, std::make_shared<ScriptedLM>([](const LmRequest&) { return Result<LmResponse>({"A: yes", "\xff", {1, 1}}); }),
                 ErrorCode::malformed);
}

// Known before the first call: then there is no run, and no record of one.
TEST(CallAccount, ARunBeginsOnlyWhereItsLanesWouldAnswer) {
  World world({.msats = 1'000'000});
  const auto lane = std::make_shared<LossyLM>(0);  // the built-in book has no price for it
  const auto unpriced = world.begin(lane);
  EXPECT_EQ(unpriced.error().code, ErrorCode::over_budget);
  EXPECT_NE(unpriced.error().remedy.find("--prices"), std::string::npos);
  World elsewhere;
  const auto outside = std::make_shared<LossyLM>(0, false);  // an HTTP lane sees no private inputs
  EXPECT_EQ(elsewhere.begin(outside).error().code, ErrorCode::refused);
  EXPECT_EQ(lane->sent + outside->sent, 0);
  World others({.calls = 1, .tokens = 10'000});
  EXPECT_TRUE(others.run(std::make_shared<LossyLM>(0)).prediction);
}

TEST(CallAccount, ARunThatWasCutAnywhereReplaysAsFarAsItGoes) {
  World world;
  const TestFolder folder;
  const Program program = program_of("p", "1", Refine(Predict("ask", yes_no())).with_retries(3), Rewards::built_in()).value();
  world.settings.lm = std::make_shared<ScriptedLM>(
      [](const LmRequest& request) { return ScriptedLM::answer(request.rollout == 0 ? "I cannot say" : "A: yes"); });
  RunWorld where{.effects = {.clock = &world.clock, .entropy = &world.entropy}, .settings = world.settings};
  where.record_path = folder.path("r.run.jsonl");
  ASSERT_TRUE(run_program(program, JsonObject{{"q", "?"}}, where)->prediction);
  const RunRecord whole = read_record_file(where.record_path).value();
  ASSERT_TRUE(replay_run(program, whole)->identical);
  for (std::size_t lines = 2; lines < whole.entries.size(); ++lines) {
    RunRecord cut = whole;
    cut.entries.resize(lines);
    const auto report = replay_run(program, cut);
    ASSERT_TRUE(report) << report.error().text();
    EXPECT_TRUE(report->identical && !report->complete)
        << "after line " << lines << ": " << report->divergence->node << " " << report->divergence->what << report->divergence->reason;
  }
}

TEST(CallAccount, EachTryThatWasLostIsACallOfItsOwn) {
  World world({.calls = 3});
  const auto lossy = std::make_shared<LossyLM>(2);
  const auto enough = world.run(lossy);
  ASSERT_TRUE(enough.prediction) << enough.prediction.error().text();
  EXPECT_EQ(world.budget.spent().calls, 3);
  EXPECT_EQ(enough.totals.calls, 1) << "totals are of what lanes said";

  World poor({.calls = 2});
  const auto stopped = std::make_shared<LossyLM>(2);
  EXPECT_EQ(poor.run(stopped).prediction.error().code, ErrorCode::over_budget);
  EXPECT_EQ(stopped->sent, 2) << "a third was not sent";
  EXPECT_EQ(poor.budget.spent().calls, 2);
}

TEST(CallAccount, ARecordSaysWhatWasLost) {
  World world;
  ManualClock& clock = world.clock;
  FixedEntropy entropy(2);
  const auto recorder = RunRecorder::create({.durability = Durability::memory}, RunStart{.lanes = {}}, clock, entropy).value();
  Effects effects{.clock = &clock, .entropy = &entropy, .recorder = recorder.get(), .prices = &world.prices};
  Settings settings;
  settings.lm = std::make_shared<LossyLM>(2);
  ASSERT_TRUE(Predict("ask", yes_no()).forward(Context(effects, settings), JsonObject{{"q", "?"}}));
  settings.lm = failing(ErrorCode::timed_out);
  ASSERT_FALSE(Predict("late", yes_no()).forward(Context(effects, settings), JsonObject{{"q", "?"}}));
  std::vector<Amount> lost;
  for (const RecordEntry& entry : recorder->entries()) {
    const Json& told = entry.type == "event" ? entry.data.at("data") : entry.data;
    if (const auto amount = read_amount(told.at("lost"))) lost.push_back(*amount);
  }
  ASSERT_EQ(lost.size(), 3U) << "each try that was made again as soon as it was lost, and the last one with its error";
  for (const Amount& amount : lost) {
    EXPECT_EQ(amount.calls, 1);
    EXPECT_EQ(amount.tokens, lost[0].tokens) << "the same worst case, without a budget too";
  }
}

}  // namespace
}  // namespace assay
