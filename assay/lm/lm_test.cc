#include "assay/lm/lm.h"

#include <gtest/gtest.h>

#include <thread>

#include "assay/lm/scripted_lane.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

Lane case_lane() {
  Lane lane;
  lane.kind = "local";
  lane.model = "tiny";
  lane.model_sha256 = std::string(64, 'a');
  lane.engine = "llama-1";
  return lane;
}

LmRequest case_request() {
  LmRequest request;
  request.messages = {{"system", "Choose the archive section that fits the package."},
                      {"user", "Description: chess game for the terminal"},
                      {"assistant", "Section: games"},
                      {"user", "Description: mail filter with Bayesian scoring"},
                      {"assistant", "Section: mail"},
                      {"user", "Description: imap client"}};
  request.config = read_json(R"({"max_tokens":8,"n":1,"seed_policy":"fixed","stop":["\n"],"temperature":0,"top_p":1})").value();
  request.seed = 7;
  return request;
}

LmRequest asking(std::string text) {
  LmRequest request;
  request.messages = {{"user", Json(std::move(text))}};
  return request;
}

TEST(Lane, HasTheIdOfTheWorkedCase) {
  EXPECT_EQ(case_lane().id().value(), "44025c23cb313b5159b8e83dd50df735564f00f380e38089cce7833a9db20d14");
  EXPECT_EQ(Lane::read(case_lane().to_json()).value().to_json(), case_lane().to_json());
}

TEST(Lane, RefusesAMissingOrUpperCaseDigest) {
  Json json = case_lane().to_json();
  json.set("model_sha256", std::string(64, 'A'));
  EXPECT_FALSE(Lane::read(json));
  json = case_lane().to_json();
  json.as_object().erase("tokenizer_sha256");
  EXPECT_EQ(Lane::read(json).error().path, "tokenizer_sha256");
  EXPECT_FALSE(Lane::read(Json(1)));
}

TEST(LmRequest, HasTheHashOfTheWorkedCase) {
  EXPECT_EQ(hash(request_json(case_request(), case_lane())).value(), "88097c5470cb2fce04c6c6354463a0fff223da99e90b6f8d7c1d95f0722aa8c7");
}

TEST(LmRequest, ItsTextIsItsCanonicalJson) {
  LmRequest request = case_request();
  EXPECT_EQ(request_text(request, case_lane()).value(), canonical(request_json(request, case_lane())).value());
  request.seed.reset();
  request.rollout = 1003;
  request.schema = JsonObject{{"type", "string"}, {"enum", JsonList{Json("é\n")}}};
  request.tools = JsonObject{{"b", 1}, {"a", JsonList{}}};
  request.messages.push_back({"tool \"x\"", JsonList{Json(JsonObject{{"type", "text"}, {"text", "a"}})}});
  EXPECT_EQ(request_text(request, Lane{}).value(), canonical(request_json(request, Lane{})).value());
  request.messages.push_back({"user", Json(std::string("\xff"))});
  EXPECT_EQ(request_text(request, Lane{}).error().code, ErrorCode::malformed);
}

TEST(Lm, KeepsTheIdOfItsLane) {
  const ScriptedLM lm(std::map<std::string, std::string>{});
  EXPECT_EQ(lm.lane_id().value(), lm.lane().id().value());
  EXPECT_EQ(lm.lane_id().value(), hash(lm.lane().to_json()).value());
}

TEST(LmRequest, EachMemberCounts) {
  const std::string before = hash(request_json(case_request(), case_lane())).value();
  const auto differs = [&](auto change) {
    LmRequest request = case_request();
    change(request);
    EXPECT_NE(hash(request_json(request, case_lane())).value(), before);
  };
  differs([](LmRequest& r) { r.rollout = 1; });
  differs([](LmRequest& r) { r.seed.reset(); });
  differs([](LmRequest& r) { r.schema = JsonObject{}; });
  differs([](LmRequest& r) { r.tools.set("t", 1); });
  differs([](LmRequest& r) { r.config.set("max_tokens", 9); });
  differs([](LmRequest& r) { r.messages[5].content = "Description: imap Client"; });
  differs([](LmRequest& r) { r.messages[5].role = "system"; });
}

TEST(Lm, BoundsThePromptByBytesAndMessages) {
  ScriptedLM lm([](const LmRequest&) { return ScriptedLM::answer("x"); });
  LmRequest request = asking("ünï");  // 5 bytes
  EXPECT_EQ(lm.prompt_tokens_max(request).value(), 5 + 16);
  request.messages.push_back({"user", JsonList{JsonObject{{"type", "text"}}}});
  EXPECT_EQ(lm.prompt_tokens_max(request).value(), 21 + 16 + 17);
  request.schema = JsonObject{{"type", "string"}};
  EXPECT_EQ(lm.prompt_tokens_max(request).value(), 54 + 17);
}

TEST(Lm, OnlyLanesInsideTheProcessSeePrivateTexts) {
  ScriptedLM inside([](const LmRequest&) { return ScriptedLM::answer("x"); });
  EXPECT_TRUE(allows(inside.privacy_modes(), PrivacyMode::PrivateRepoAllowed));
  class Remote final : public LM {
   public:
    const Lane& lane() const override { return lane_; }
    Result<LmResponse> complete(const LmRequest&, const Wait&) override { return fail(ErrorCode::unavailable, "not here"); }

   private:
    Lane lane_{"openai", "m", {}, {}, {}, "e"};
  };
  const Remote outside;
  EXPECT_EQ(outside.privacy_modes(), (std::vector{PrivacyMode::NoPii, PrivacyMode::PublicOk}));
}

TEST(ScriptedLm, AnswersByTheLastMessage) {
  ScriptedLM lm({{"imap", "Section: mail"}, {"go", "Section: games"}});
  EXPECT_EQ(lm.complete(asking("an imap client"), {}).value().content, "Section: mail");
  EXPECT_EQ(lm.complete(asking("a chess set"), {}).error().code, ErrorCode::unavailable);
  EXPECT_EQ(lm.calls(), 2);
  EXPECT_EQ(lm.lane().kind, "scripted");
}

TEST(ScriptedLm, IsSlowOnTheGivenClock) {
  ManualClock clock;
  ScriptedLM lm([](const LmRequest&) { return ScriptedLM::answer("x"); }, {.clock = &clock, .delay = 3s});
  EXPECT_TRUE(lm.complete(asking("a"), {}));
  EXPECT_EQ(clock.steady_ns(), 3000000000);
  const auto late = lm.complete(asking("a"), Wait{Deadline::after(clock, 1s), {}});
  EXPECT_EQ(late.error().code, ErrorCode::timed_out);
}

TEST(ScriptedLm, HangsUntilItIsStopped) {
  ScriptedLM lm([](const LmRequest&) { return ScriptedLM::answer("x"); }, {.hangs = true});
  std::stop_source stop;
  Result<LmResponse> answer = fail(ErrorCode::internal, "not yet");
  {
    std::jthread caller([&] { answer = lm.complete(asking("a"), Wait{{}, stop.get_token()}); });
    stop.request_stop();
  }
  EXPECT_EQ(answer.error().code, ErrorCode::cancelled);
}

TEST(ScriptedLm, RefusesWhatItsContextCannotHold) {
  ScriptedLM lm([](const LmRequest&) { return ScriptedLM::answer("x"); }, {.context_tokens_max = 20});
  EXPECT_TRUE(lm.complete(asking("1234"), {}));
  EXPECT_EQ(lm.complete(asking("12345"), {}).error().code, ErrorCode::limit_exceeded);
}

}  // namespace
}  // namespace assay
