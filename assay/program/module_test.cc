#include "assay/program/module.h"
#include "assay/base/test_files.h"

#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "assay/lm/scripted_lane.h"
#include "assay/program/run.h"

namespace assay {
namespace {

Signature yes_no() { return Signature::parse("q -> a: Literal['yes','no']", "YesNo").value(); }

struct ScriptedAnswer {
  std::string content;
  std::optional<Error> error;
};

// A context over scripted lanes, with the events of its callbacks counted.
struct Events final : DspyCallback {
  std::map<std::string, int> open;
  int modules = 0, calls = 0, traces = 0;
  std::vector<std::string> paths, lm_errors;
  void on_module_start(const CallId& id, std::string_view path, const Example&) override {
    ++open[id];
    ++modules;
    paths.emplace_back(path);
  }
  void on_module_end(const CallId& id, const Result<Prediction>&) override { --open[id]; }
  void on_lm_start(const CallId& id, std::string_view, std::span<const Message> messages) override {
    ++open[id];
    ++calls;
    EXPECT_FALSE(messages.empty());
  }
  void on_lm_end(const CallId& id, const Result<Message>& response, const LmUsage&) override {
    --open[id];
    if (!response) lm_errors.emplace_back(name(response.error().code));
  }
  void on_trace_complete(const Graph& graph, const CompiledModuleManifest*) override {
    ++traces;
    EXPECT_FALSE(graph.nodes.empty());
  }
  bool balanced() const {
    return std::all_of(open.begin(), open.end(), [](const auto& entry) { return entry.second == 0; });
  }
};

struct World {
  ManualClock clock;
  FixedEntropy entropy{1};
  std::shared_ptr<Events> events = std::make_shared<Events>();
  PriceBook prices = PriceBook::built_in();
  Budget budget{{}};
  Settings settings;
  Effects effects{.clock = &clock, .entropy = &entropy, .budget = &budget, .prices = &prices, .seed = 7};
  World() { settings.set_callback(events); }
  std::shared_ptr<ScriptedLM> lane(std::function<ScriptedAnswer(const LmRequest&)> script, std::string model = "scripted") {
    return std::make_shared<ScriptedLM>(
        [script = std::move(script)](const LmRequest& request) -> Result<LmResponse> {
          const ScriptedAnswer answer = script(request);
          if (answer.error) return std::unexpected(*answer.error);
          return ScriptedLM::answer(answer.content);
        },
        ScriptedLM::Options{.model = std::move(model)});
  }
  Context context() { return Context(effects, settings); }
};

TEST(Predict, AnswersAndEndsEveryStart) {
  World world;
  world.settings.lm = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: yes"}; });
  const auto p = Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "is it?"}});
  ASSERT_TRUE(p) << p.error().text();
  EXPECT_EQ(p->at("a"), Json("yes"));
  EXPECT_TRUE(world.events->balanced());
  EXPECT_EQ(world.events->paths, std::vector<std::string>{"ask"});
}

TEST(Predict, EndsEveryStartWhenTheLaneFailsOrTheModuleIsCancelled) {
  World world;
  world.settings.lm =
      world.lane([](const LmRequest&) { return ScriptedAnswer{.content = "", .error = Error{ErrorCode::unavailable, "gone", "", ""}}; });
  EXPECT_EQ(Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}}).error().code, ErrorCode::unavailable);
  EXPECT_TRUE(world.events->balanced());
  EXPECT_EQ(world.events->lm_errors, std::vector<std::string>{"unavailable"});
  std::stop_source stop;
  stop.request_stop();
  world.effects.wait.stop = stop.get_token();
  EXPECT_EQ(Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}}).error().code, ErrorCode::cancelled);
  EXPECT_TRUE(world.events->balanced());
}

struct Thrower final : DspyCallback {
  void on_module_start(const CallId&, std::string_view, const Example&) override { throw 1; }
  void on_lm_end(const CallId&, const Result<Message>&, const LmUsage&) override { throw 2; }
};

TEST(Callbacks, OneThatThrowsHarmsNeitherTheRunNorTheOthers) {
  World world;
  world.settings.lm = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: no"}; });
  world.settings.set_callback(
      std::make_shared<CompositeCallback>(std::vector<std::shared_ptr<DspyCallback>>{std::make_shared<Thrower>(), world.events}));
  EXPECT_TRUE(Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}}));
  EXPECT_EQ(world.events->calls, 1);
  EXPECT_TRUE(world.events->balanced());
}

// A lane that knows what it may cost and says what was paid, as a bought answer does.
class PaidLM final : public LM {
 public:
  explicit PaidLM(std::int64_t most_msats) : most_msats_(most_msats) {
    lane_.kind = "pylon";
    lane_.model = "m";
    lane_.engine = "test";
  }
  const Lane& lane() const override { return lane_; }
  Result<std::optional<std::int64_t>> cost_msats_max(const LmRequest&) const override { return std::optional(most_msats_); }
  std::vector<PrivacyMode> privacy_modes() const override { return all_privacy_modes(); }
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override { return complete_with(request, wait, {}); }
  Result<LmResponse> complete_with(const LmRequest&, const Wait&, const Events& events) override {
    ++calls;
    events.paid(JsonObject{{"payment_hash", std::string(64, 'a')}, {"amount_msats", 300}});
    if (gone) return fail(ErrorCode::timed_out, "paid, but no result came");
    ASSAY_TRY(LmResponse response, ScriptedLM::answer("A: yes"));
    response.usage.cost_msats = 300;
    return response;
  }
  int calls = 0;
  bool gone = false;

 private:
  std::int64_t most_msats_;
  Lane lane_;
};

TEST(Predict, ReservesWhatALaneSaysItCanCostAndRecordsThePayment) {
  World world;
  const auto lane = std::make_shared<PaidLM>(500);
  world.settings.lm = lane;
  const Program program = program_of("ask", "1", Predict("ask", yes_no()), Rewards::built_in()).value();
  Budget small({.msats = 499});
  world.effects.budget = &small;
  RunWorld run_world{.effects = world.effects, .settings = world.settings};
  const auto refused = run_program(program, JsonObject{{"q", "?"}}, run_world);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->prediction.error().code, ErrorCode::over_budget);
  EXPECT_EQ(lane->calls, 0);

  Budget enough({.msats = 500});
  run_world.effects.budget = &enough;
  const auto outcome = run_program(program, JsonObject{{"q", "?"}}, run_world);
  ASSERT_TRUE(outcome && outcome->prediction);
  EXPECT_EQ(enough.spent().msats, 300);
  EXPECT_EQ(outcome->totals.cost_msats, 300);
  const auto& events = outcome->graph.nodes.back().events;
  EXPECT_TRUE(std::any_of(events.begin(), events.end(), [](const OperatorEvent& event) { return event.type == "payment"; }));
}

TEST(Predict, WhatWasPaidForNothingIsSpentAndRecorded) {
  World world;
  const auto lane = std::make_shared<PaidLM>(500);
  lane->gone = true;
  world.settings.lm = lane;
  Budget budget({.msats = 700});
  world.effects.budget = &budget;
  const Program program = program_of("ask", "1", Predict("ask", yes_no()), Rewards::built_in()).value();
  const auto outcome = run_program(program, JsonObject{{"q", "?"}}, RunWorld{.effects = world.effects, .settings = world.settings});
  ASSERT_TRUE(outcome);
  EXPECT_FALSE(outcome->prediction);
  EXPECT_EQ(outcome->totals.cost_msats, 300);
  EXPECT_EQ(budget.spent().msats, 300);
  EXPECT_EQ(Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}}).error().code, ErrorCode::over_budget);
}

TEST(Predict, ALaneThatThrowsEndsItsCallWithAnError) {
  World world;
  world.settings.lm = std::make_shared<ScriptedLM>([](const LmRequest&) -> Result<LmResponse> { throw std::runtime_error("boom"); });
  const auto p = Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}});
  ASSERT_FALSE(p);
  EXPECT_EQ(p.error().code, ErrorCode::internal);
  EXPECT_EQ(p.error().message, "the lane scripted threw: boom");
  EXPECT_TRUE(world.events->balanced());
  EXPECT_EQ(world.events->lm_errors, std::vector<std::string>{"internal"});
  world.settings.lm = std::make_shared<ScriptedLM>([](const LmRequest&) -> Result<LmResponse> { throw 7; });
  EXPECT_FALSE(Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}}));
  EXPECT_TRUE(world.events->balanced());
}

TEST(Predict, NeverAsksBeyondItsBudgetOrPrivacy) {
  World world;
  const auto lane = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: yes"}; });
  world.settings.lm = lane;
  Budget one({.calls = 1});
  world.effects.budget = &one;
  const Context context = world.context();
  const Predict ask("ask", yes_no());
  EXPECT_TRUE(ask.forward(context, JsonObject{{"q", "?"}}));
  EXPECT_EQ(ask.forward(context, JsonObject{{"q", "?"}}).error().code, ErrorCode::over_budget);
  EXPECT_EQ(lane->calls(), 1);
  world.settings.module_privacy = {PrivacyMode::PublicOk};
  EXPECT_EQ(ask.forward(world.context(), JsonObject{{"q", "?"}}).error().code, ErrorCode::refused);
  EXPECT_EQ(lane->calls(), 1);
}

TEST(Predict, ALaneThatClaimsMoreThanWasReservedCannotOvershootABudget) {
  World world;
  Budget limited({.calls = 5, .tokens = 2000});
  world.effects.budget = &limited;
  world.settings.lm =
      std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("A: yes", 1'000'000'000, 1'000'000'000); });
  const auto p = Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}});
  ASSERT_FALSE(p);
  EXPECT_EQ(p.error().code, ErrorCode::over_budget);
  EXPECT_NE(p.error().message.find("says that the call used 2000000000 tokens"), std::string::npos) << p.error().message;
  EXPECT_LE(limited.spent().tokens, 2000);
  Budget calls_only({.calls = 5});
  world.effects.budget = &calls_only;
  EXPECT_TRUE(Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}})) << "tokens are not limited";
  EXPECT_EQ(calls_only.spent().tokens, 2'000'000'000);
}

TEST(Predict, SaysWhatIsMissingInsteadOfCrashing) {
  const Context nothing(Effects{}, Settings{});
  const auto p = Predict("ask", yes_no()).forward(nothing, JsonObject{{"q", "?"}});
  ASSERT_FALSE(p);
  EXPECT_EQ(p.error().code, ErrorCode::usage);
  const Program program = program_of("p", "1", Predict("ask", yes_no()), Rewards::built_in()).value();
  const auto run = run_program(program, JsonObject{{"q", "?"}}, RunWorld{});
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, ErrorCode::usage);
}

TEST(Predict, SaysThatAnAnswerWasCut) {
  World world;
  for (const auto& [finish, said] : {std::pair<std::string, bool>{"length", true}, {"stop", false}}) {
    world.settings.lm = std::make_shared<ScriptedLM>([finish = finish](const LmRequest&) -> Result<LmResponse> {
      LmResponse cut = ScriptedLM::answer("A: y").value();
      cut.finish_reason = finish;
      return cut;
    });
    const auto p = Predict("ask", yes_no()).forward(world.context(), JsonObject{{"q", "?"}});
    ASSERT_FALSE(p);
    EXPECT_EQ(p.error().code, ErrorCode::unreadable);
    EXPECT_EQ(p.error().remedy.find("max_tokens") != std::string::npos, said) << p.error().text();
  }
}

TEST(ChainOfThought, AsksForReasoningFirst) {
  World world;
  world.settings.lm = world.lane([](const LmRequest&) { return ScriptedAnswer{"Reasoning: because\nA: no"}; });
  const ChainOfThought think("think", yes_no());
  EXPECT_EQ(think.predictor().kind, "chain_of_thought/1");
  const auto p = think.forward(world.context(), JsonObject{{"q", "?"}});
  ASSERT_TRUE(p) << p.error().text();
  EXPECT_EQ(p->at("reasoning"), Json("because"));
}

TEST(ChainOfThought, ReasonsFirstWhereTheSignatureReasonsLast) {
  const Signature moved = with_reasoning(Signature::parse("q -> z: int, reasoning, a", "T").value());
  ASSERT_EQ(moved.outputs.size(), 3U);
  EXPECT_EQ(moved.outputs[0].name + moved.outputs[1].name + moved.outputs[2].name, "reasoningza");
}

RewardFunction wants(const char* answer) {
  return [answer](const Json&, const Prediction& p) { return p.at("a") == Json(answer) ? 1.0 : 0.0; };
}

TEST(Refine, TriesAgainWithANewRolloutUntilTheRewardIsReached) {
  World world;
  std::vector<std::int64_t> rollouts;
  world.settings.lm = world.lane([&](const LmRequest& r) {
    rollouts.push_back(r.rollout);
    return ScriptedAnswer{r.rollout < 2 ? "A: no" : "A: yes"};
  });
  const auto refine = Refine(Predict("ask", yes_no())).with_retries(3).with_reward(wants("yes")).with_threshold(1.0);
  const auto p = refine.forward(world.context(), JsonObject{{"q", "?"}});
  ASSERT_TRUE(p) << p.error().text();
  EXPECT_EQ(p->at("a"), Json("yes"));
  EXPECT_EQ(rollouts, (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(p->totals.calls, 3);
  EXPECT_EQ(world.events->paths.back(), "refine/attempt:2/ask");
}

TEST(Refine, UsesTheFallbackLaneWhenTheFirstIsAwayOrPoor) {
  World world;
  const auto fallback = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: yes"}; }, "big");
  for (const bool away : {true, false}) {
    const auto first = world.lane([&](const LmRequest&) {
      return away ? ScriptedAnswer{.content = "", .error = Error{ErrorCode::unavailable, "gone", "", ""}} : ScriptedAnswer{"A: no"};
    });
    world.settings.lm = first;
    const auto refine =
        Refine(Predict("ask", yes_no())).with_retries(2).with_reward(wants("yes")).with_threshold(1.0).with_fallback(fallback);
    const auto p = refine.forward(world.context(), JsonObject{{"q", "?"}});
    ASSERT_TRUE(p) << p.error().text();
    EXPECT_EQ(p->at("a"), Json("yes"));
    EXPECT_EQ(first->calls(), away ? 1 : 2);  // a lane that is away is not asked again
  }
  EXPECT_EQ(fallback->calls(), 2);
}

TEST(Refine, HasTheRewardOfAProgramFileByDefault) {
  const auto module = Refine(ChainOfThought("think", yes_no())).with_retries(3).with_threshold(1.0);
  const auto program = program_of("p", "1", module, Rewards::built_in());
  ASSERT_TRUE(program) << program.error().text();
  EXPECT_EQ(*program->artifact().json().pointer("/modules/refine/params/reward/name"), Json("nonempty"));
}

TEST(Refine, OverRefineIsTwoOfThem) {
  World world;
  const auto lane = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: no"}; });
  world.settings.lm = lane;
  auto inner = Refine(Predict("ask", yes_no()), "inner").with_retries(2).with_reward(wants("yes")).with_threshold(1.0);
  const auto outer = Refine(std::move(inner)).with_retries(2).with_reward(wants("yes")).with_threshold(1.0);
  EXPECT_TRUE(outer.forward(world.context(), JsonObject{{"q", "?"}}));
  EXPECT_EQ(lane->calls(), 4);
}

TEST(Refine, KeepsTheBestOrFailsAsTold) {
  World world;
  world.settings.lm = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: no"}; });
  const auto best = Refine(Predict("ask", yes_no())).with_retries(2).with_reward(wants("yes")).with_threshold(1.0);
  EXPECT_TRUE(best.forward(world.context(), JsonObject{{"q", "?"}}));
  const auto strict = Refine(Predict("ask", yes_no())).with_retries(2).with_reward(wants("yes")).with_threshold(1.0).or_error();
  EXPECT_EQ(strict.forward(world.context(), JsonObject{{"q", "?"}}).error().code, ErrorCode::unreadable);
  EXPECT_TRUE(world.events->balanced());
}

TEST(Refine, ThatThrowsInItsRewardStillEnds) {
  World world;
  world.settings.lm = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: no"}; });
  const auto refine =
      Refine(Predict("ask", yes_no())).with_reward([](const Json&, const Prediction&) -> double { throw std::runtime_error("mine"); });
  EXPECT_EQ(refine.forward(world.context(), JsonObject{{"q", "?"}}).error().code, ErrorCode::internal);
  EXPECT_TRUE(world.events->balanced());
}

TEST(Program, SendsTheSameBytesBeforeItIsSavedAndAfterItIsLoaded) {
  World world;
  std::vector<std::string> sent;
  world.settings.lm = world.lane([&](const LmRequest& r) {
    sent.push_back(canonical(request_json(r, Lane{})).value());
    return ScriptedAnswer{"Reasoning: r\nA: yes"};
  });
  const Rewards rewards = Rewards::built_in();
  const auto module = Refine(ChainOfThought("think", yes_no()), "careful")
                          .with_retries(1)
                          .with_reward(rewards.find("nonempty").value())
                          .with_threshold(0.5);
  ASSERT_TRUE(module.forward(world.context(), JsonObject{{"q", "?"}}));
  const auto program = program_of("p", "1", module, rewards);
  ASSERT_TRUE(program) << program.error().text();
  const auto loaded = Program::load(Artifact::parse(program->artifact().text()).value(), rewards);
  ASSERT_TRUE(loaded) << loaded.error().text();
  ASSERT_TRUE(loaded->forward(world.context(), JsonObject{{"q", "?"}}));
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0], sent[1]);
  EXPECT_EQ(loaded->id(), program->id());
}

TEST(Program, RefusesARewardWithAnotherDigest) {
  const Rewards rewards = Rewards::built_in();
  Reward changed = rewards.find("nonempty").value();
  changed.ref.digest = std::string(64, '0');
  const auto module = Refine(Predict("ask", yes_no())).with_reward(changed);
  EXPECT_EQ(program_of("p", "1", module, rewards).error().code, ErrorCode::refused);
}

TEST(Program, RefusesSettingsThatNoCallCanHave) {
  const auto with = [](const char* key, Json value) {
    return program_of("p", "1", Predict("ask", yes_no()).with_config(key, std::move(value)), Rewards::built_in());
  };
  EXPECT_TRUE(with("n", 64));
  EXPECT_EQ(with("n", 65).error().path, "predictors.ask.config.n");
  EXPECT_EQ(with("stop", JsonList{""}).error().path, "predictors.ask.config.stop");
}

TEST(Run, RecordsPricesAndReplaysWithoutALane) {
  World world;
  world.settings.lm = world.lane([](const LmRequest&) { return ScriptedAnswer{"Reasoning: r\nA: yes"}; });
  const Rewards rewards = Rewards::built_in();
  const auto program = program_of("p", "1", ChainOfThought("think", yes_no()), rewards).value();
  const TestFolder folder;
  const std::string path = folder.path("module.run.jsonl");
  RunWorld where{.effects = world.effects, .settings = world.settings, .record_path = path};
  const auto run = run_program(program, JsonObject{{"q", "?"}}, where);
  ASSERT_TRUE(run) << run.error().text();
  EXPECT_EQ(run->totals.unpriced_calls, 1);  // a scripted lane has no price, and that is not 0
  EXPECT_EQ(world.events->traces, 1);
  const auto record = read_record_file(path);
  ASSERT_TRUE(record) << record.error().text();
  const auto same = replay_run(program, *record);
  ASSERT_TRUE(same) << same.error().text();
  EXPECT_TRUE(same->identical) << same->divergence->what << same->divergence->recorded << same->divergence->replayed;
  EXPECT_EQ(same->output_hash, run->output_hash);
  EXPECT_EQ(same->calls, 1);
  const auto other = replay_run(program.with_instructions("think", "Another text.").value(), *record);
  ASSERT_TRUE(other);
  ASSERT_FALSE(other->identical);
  EXPECT_EQ(other->divergence->node, "think");
}

TEST(Run, WithRefineAndFallbackReplaysToo) {
  World world;
  world.settings.lm = world.lane([](const LmRequest& r) { return ScriptedAnswer{r.rollout == 0 ? "nonsense" : "A: no"}; }, "small");
  world.settings.lanes["lm:any"] = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: yes"}; }, "big");
  Rewards rewards = Rewards::built_in();
  rewards.add({{"says_yes", "1", std::string(64, 'a')}, wants("yes")});
  const auto module = Refine(Predict("ask", yes_no()))
                          .with_retries(2)
                          .with_reward(rewards.find("says_yes").value())
                          .with_threshold(1.0)
                          .with_fallback(world.settings.lanes["lm:any"]);
  const Program program = program_of("p", "1", module, rewards).value();
  const TestFolder folder;
  const std::string path = folder.path("refine.run.jsonl");
  RunWorld where{.effects = world.effects, .settings = world.settings, .record_path = path};
  const auto run = run_program(program, JsonObject{{"q", "?"}}, where);
  ASSERT_TRUE(run && run->prediction);
  EXPECT_EQ(run->prediction->at("a"), Json("yes"));
  const auto report = replay_run(program, read_record_file(path).value());
  ASSERT_TRUE(report) << report.error().text();
  EXPECT_TRUE(report->identical) << report->divergence->node << "\n"
                                 << report->divergence->recorded << "\n"
                                 << report->divergence->replayed;
  EXPECT_EQ(report->calls, 3);
}

TEST(Run, AFallbackThatWasGivenAsAnObjectIsUsedAndNamedInTheRecord) {
  World world;
  const auto dead =
      world.lane([](const LmRequest&) { return ScriptedAnswer{.content = "", .error = Error{ErrorCode::unavailable, "gone", "", ""}}; });
  const auto spare = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: yes"}; }, "spare");
  world.settings.lm = dead;
  const Program program = program_of("p", "1", Refine(Predict("ask", yes_no())).with_fallback(spare), Rewards::built_in()).value();
  const TestFolder folder;
  const std::string path = folder.path("fallback.run.jsonl");
  const auto run =
      run_program(program, JsonObject{{"q", "?"}}, {.effects = world.effects, .settings = world.settings, .record_path = path});
  ASSERT_TRUE(run && run->prediction) << (run ? run->prediction.error().text() : run.error().text());
  EXPECT_EQ(dead->calls(), 1);
  EXPECT_EQ(spare->calls(), 1);
  const RunRecord record = read_record_file(path).value();
  EXPECT_EQ(record.entries[0].data.at("lanes").as_list().size(), 2U);
  EXPECT_TRUE(replay_run(program, record)->identical);
  EXPECT_EQ(program.with_instructions("ask", "Other.")->fallbacks().size(), 1U) << "an optimizer's changes keep it";
}

// A fallback that is not there is said before anything is sent; where only the module itself can know, its record replays.
TEST(Run, AFallbackThatIsNotThereIsRefusedBeforeAnyCall) {
  World world;
  const auto lane = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: no"}; });
  world.settings.lm = lane;
  const auto built = program_of("p", "1", Refine(Predict("ask", yes_no())).with_fallback(lane), Rewards::built_in()).value();
  Json json = built.artifact().json();
  Json* params = &json.as_object().find("modules")->as_object().begin()->second;
  params->as_object().find("params")->set("fallback", JsonList{"lm:elsewhere"});
  const Program program = Program::load(Artifact::read(json).value(), Rewards::built_in()).value();
  const RunWorld where{.effects = world.effects, .settings = world.settings};
  const auto run = run_program(program, JsonObject{{"q", "?"}}, where);
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, ErrorCode::refused);
  EXPECT_NE(run.error().text().find("lm:elsewhere"), std::string::npos);
  EXPECT_EQ(lane->calls(), 0);
  // Any lane of the kind that is named will do.
  world.settings.lanes["lm:any"] = world.lane([](const LmRequest&) { return ScriptedAnswer{"A: yes"}; });
  EXPECT_TRUE(fallback_lane(world.settings, "lm:scripted"));
  EXPECT_EQ(fallback_lane(world.settings, "lm:any").value(), world.settings.lanes["lm:any"]);
  EXPECT_FALSE(fallback_lane(world.settings, "lm:scripte"));
}

TEST(Run, AnInterruptedRecordReplaysAsFarAsItGoes) {
  World world;
  world.settings.lm = world.lane([](const LmRequest& r) { return ScriptedAnswer{r.rollout == 0 ? "nonsense" : "A: yes"}; });
  const Program program = program_of("p", "1", Refine(Predict("ask", yes_no())).with_retries(3), Rewards::built_in()).value();
  const TestFolder folder;
  const std::string path = folder.path("cut.run.jsonl");
  ASSERT_TRUE(run_program(program, JsonObject{{"q", "?"}}, {.effects = world.effects, .settings = world.settings, .record_path = path}));
  const RunRecord whole = read_record_file(path).value();
  for (std::size_t lines = 2; lines < whole.entries.size(); ++lines) {
    RunRecord cut = whole;
    cut.entries.resize(lines);
    const auto report = replay_run(program, cut);
    ASSERT_TRUE(report) << lines;
    EXPECT_TRUE(report->identical) << "cut after line " << lines << ": " << report->divergence->node << " " << report->divergence->reason;
    EXPECT_FALSE(report->complete);
  }
  RunRecord forged = whole;
  forged.entries.back().data.set("output_hash", Json());
  EXPECT_EQ(replay_run(program, forged)->divergence->what, "output_hash");
}

TEST(Predict, TakesAWrapperOnlyInDemos) {
  World world;
  std::vector<std::string> sent;
  world.settings.lm = world.lane([&](const LmRequest& r) {
    sent = {r.messages[1].content.as_string(), r.messages[3].content.as_string()};
    return ScriptedAnswer{"A: yes"};
  });
  const Signature s = Signature::parse("d: dict[str, str] -> a: Literal['yes','no']").value();
  Predict ask("ask", s);
  ask.with_demos({JsonObject{{"inputs", JsonObject{{"d", JsonObject{{"$text", "as it was"}}}}}, {"outputs", JsonObject{{"a", "no"}}}}});
  ASSERT_TRUE(ask.forward(world.context(), JsonObject{{"d", JsonObject{{"$text", "a real key"}}}}));
  EXPECT_EQ(sent[0], "D: as it was");
  EXPECT_EQ(sent[1], "D: {\"$text\":\"a real key\"}");
}

}  // namespace
}  // namespace assay
