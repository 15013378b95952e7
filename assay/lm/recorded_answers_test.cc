#include "assay/lm/recorded_answers.h"

#include <gtest/gtest.h>

#include "assay/base/sha256.h"
#include "assay/trace/record_line.h"

namespace assay {
namespace {

Lane lane() {
  Lane lane;
  lane.kind = "scripted";
  lane.model = "m";
  lane.engine = "e";
  return lane;
}

LmRequest asking(std::string text, std::int64_t rollout = 0) {
  LmRequest request;
  request.messages = {{"system", "Be brief."}, {"user", Json(std::move(text))}};
  request.config = JsonObject{{"temperature", 0}};
  request.rollout = rollout;
  return request;
}

// A record in memory of the calls that a test writes.
class Recorded {
 public:
  Recorded() {
    RunStart start;
    start.lanes = {lane().to_json()};
    recorder_ = RunRecorder::create({}, std::move(start), clock_, entropy_).value();
  }
  Recorded& request(const std::string& path, const LmRequest& request) {
    const Json json = request_json(request, lane());
    return add("lm_request", path, JsonObject{{"lane_id", lane().id().value()}, {"request", json}, {"request_hash", hash(json).value()}});
  }
  Recorded& response(const std::string& path, const LmRequest& request, std::string_view content) {
    return add("lm_response", path,
               JsonObject{{"request_hash", hash(request_json(request, lane())).value()},
                          {"content", recorded_text(content)},
                          {"finish_reason", "stop"},
                          {"usage", usage_},
                          {"cost_msats", 4},
                          {"latency_ns", 9}});
  }
  Recorded& hit(const std::string& path, const LmRequest& request, std::string_view content) {
    const Json json = request_json(request, lane());
    return add("cache_hit", path,
               JsonObject{{"lane_id", lane().id().value()},
                          {"request", json},
                          {"request_hash", hash(json).value()},
                          {"content", recorded_text(content)},
                          {"finish_reason", "stop"},
                          {"usage", usage_}});
  }
  Recorded& error(const std::string& path, const LmRequest& request, std::string_view code) {
    return add(
        "error", path,
        JsonObject{{"code", code}, {"message", "it broke"}, {"path", "p"}, {"request_hash", hash(request_json(request, lane())).value()}});
  }
  Recorded& add(std::string_view type, const std::string& path, Json data) {
    const auto added = recorder_->append(type, path, std::move(data));
    EXPECT_TRUE(added) << added.error().text();
    return *this;
  }
  RunRecord record() const { return {{}, recorder_->entries()}; }
  std::shared_ptr<RecordedAnswers> answers() const { return RecordedAnswers::of(record()).value(); }

 private:
  ManualClock clock_;
  FixedEntropy entropy_{1};
  Json usage_ = JsonObject{{"prompt_tokens", 6}, {"completion_tokens", 2}};
  std::unique_ptr<RunRecorder> recorder_;
};

TEST(RecordedAnswers, GivesTheAnswerWithItsUsageCostAndLane) {
  const LmRequest request = asking("a");
  const auto answers = Recorded().request("p", request).response("p", request, "one\xff").answers();
  const RecordedAnswer answer = answers->next("p", request).value();
  EXPECT_EQ(answer.response.content, "one\xff");
  EXPECT_EQ(answer.response.finish_reason, "stop");
  EXPECT_EQ(answer.response.usage.prompt_tokens, 6);
  EXPECT_EQ(answer.response.usage.cost_msats, 4);
  EXPECT_EQ(answer.response.usage.latency_ns, 9);
  EXPECT_FALSE(answer.response.usage.from_cache);
  EXPECT_EQ(answer.lane.id().value(), lane().id().value());
}

TEST(RecordedAnswers, WhatWasNotSentHasNoAnswerAndLostNothing) {
  const auto unsent = [](std::string_view type, Json lost) {
    Recorded recorded;
    const Json json = request_json(asking("x"), lane());
    const std::string request_hash = hash(json).value();
    recorded.add("lm_request", "a",
                 JsonObject{{"lane_id", lane().id().value()}, {"request", json}, {"request_hash", request_hash}, {"sent", false}});
    Json data = JsonObject{{"request_hash", request_hash}};
    if (type == "error") data = JsonObject{{"code", "over_budget"}, {"message", "no"}, {"path", ""}, {"request_hash", request_hash}};
    else
      data = JsonObject{{"request_hash", request_hash},
                        {"content", "y"},
                        {"finish_reason", "stop"},
                        {"cost_msats", 4},
                        {"latency_ns", 9},
                        {"usage", JsonObject{{"prompt_tokens", 1}, {"completion_tokens", 1}}}};
    if (!lost.is_null()) data.set("lost", std::move(lost));
    recorded.add(type, "a", std::move(data));
    return RecordedAnswers::check(recorded.record());
  };
  const Json one = JsonObject{{"calls", 1}, {"msats", 0}, {"tokens", 9}};
  EXPECT_TRUE(unsent("error", Json()));
  EXPECT_EQ(unsent("error", one).error().code, ErrorCode::mismatch);
  EXPECT_EQ(unsent("lm_response", Json()).error().code, ErrorCode::mismatch);
}

TEST(RecordedAnswers, GivesLogProbabilitiesBackAndRefusesThoseThatAreNone) {
  const auto line = [](Json tokens) {
    return JsonObject{{"request_hash", hash(request_json(asking("x"), lane())).value()},
                      {"content", "y"},
                      {"finish_reason", "stop"},
                      {"usage", JsonObject{{"prompt_tokens", 1}, {"completion_tokens", 1}}},
                      {"cost_msats", 4},
                      {"latency_ns", 9},
                      {"logprobs", std::move(tokens)}};
  };
  const auto with = [&](Json tokens) {
    Recorded recorded;
    recorded.request("a", asking("x")).add("lm_response", "a", line(std::move(tokens)));
    return RecordedAnswers::of(recorded.record());
  };
  const Json tokens = logprobs_json({{{"y", -0.125}, {{"y", -0.125}}}});
  const auto answer = with(tokens).value()->next("a", asking("x"));
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(logprobs_json(*answer->response.logprobs), tokens);
  for (const char* bad : {R"("y")", R"([{"token":"y","logprob":0.5,"top":[]}])", R"([{"token":5,"logprob":-1,"top":[]}])",
                          R"([{"token":"y","logprob":-1}])", "[1]", "null", R"([{"token":"y","logprob":-1,"top":[1]}])"})
    EXPECT_FALSE(check_record_data("lm_response", line(read_json(bad).value()))) << bad << " makes no line of a record";
}

TEST(RecordedAnswers, TakesOccurrencesInOrderAndEachOnce) {
  const LmRequest request = asking("a");
  const auto answers = Recorded()
                           .request("p", request)
                           .error("p", request, "timed_out")
                           .request("p", request)
                           .response("p", request, "two")
                           .hit("p", request, "two")
                           .answers();
  const RecordedAnswer first = answers->next("p", request).value();
  EXPECT_TRUE(first.failed);
  EXPECT_EQ(first.error.code, ErrorCode::timed_out);
  EXPECT_EQ(first.error.message, "it broke");
  EXPECT_EQ(answers->next("p", request).value().response.content, "two");
  const RecordedAnswer third = answers->next("p", request).value();
  EXPECT_EQ(third.response.content, "two");
  EXPECT_TRUE(third.response.usage.from_cache);
  EXPECT_EQ(answers->next("p", request).error().message, "the record has only 3 LM call(s) at this path");
}

TEST(RecordedAnswers, AnswersByRequestWhereCallsOfAPathCrossed) {
  const LmRequest a = asking("a"), b = asking("b");
  const auto answers = Recorded().request("p", a).request("p", b).response("p", b, "B").response("p", a, "A").answers();
  EXPECT_EQ(answers->next("p", b).value().response.content, "B");
  EXPECT_EQ(answers->next("p", a).value().response.content, "A");
}

TEST(RecordedAnswers, ShowsTheFirstDifferenceWithBothValues) {
  const LmRequest request = asking("a long prompt that is the same until it says mail here");
  const auto answers = Recorded().request("p", request).response("p", request, "x").answers();
  const auto other_text = answers->next("p", asking("a long prompt that is the same until it says news here"));
  EXPECT_EQ(other_text.error().code, ErrorCode::diverged);
  EXPECT_EQ(other_text.error().path, "p");
  EXPECT_EQ(other_text.error().message,
            "the request differs from the recorded one at /messages/1/content: want …\" the same until it says mail here\" found …\" the "
            "same until it says news here\"");
  LmRequest warmer = request;
  warmer.config.set("temperature", 0.5);
  EXPECT_EQ(answers->next("p", warmer).error().message,
            "the request differs from the recorded one at /config/temperature: want 0 found 0.5");
  LmRequest more = request;
  more.messages.push_back({"user", "and?"});
  EXPECT_EQ(answers->next("p", more).error().message,
            R"(the request differs from the recorded one at /messages/2: want nothing found {"content":"and?","role":"user"})");
  LmRequest extra = request;
  extra.config.set("top_k", 3);
  EXPECT_EQ(answers->next("p", extra).error().message, "the request differs from the recorded one at /config/top_k: want nothing found 3");
  EXPECT_TRUE(answers->next("p", request));  // a divergence uses nothing up
}

TEST(RecordedAnswers, SaysWhenAPathWasNeverCalledOrNeverAnswered) {
  const LmRequest request = asking("a");
  const auto answers = Recorded().request("p", request).answers();
  EXPECT_EQ(answers->next("q", request).error().message, "the record has no LM call at this path");
  EXPECT_EQ(answers->next("p", request).error().message, "the record ends before this request was answered");
}

TEST(RecordedAnswers, PutsBlobsBackBeforeItHashes) {
  const std::string text(300, 'x');
  const LmRequest request = asking(text);
  Json json = request_json(request, lane());
  const std::string request_hash = hash(json).value();
  json.as_object().find("messages")->as_list()[1].set("content", JsonObject{{"$blob", sha256_hex(text)}});
  Recorded recorded;
  recorded.add("lm_request", "p", JsonObject{{"lane_id", lane().id().value()}, {"request", json}, {"request_hash", request_hash}})
      .response("p", request, "x");
  EXPECT_EQ(RecordedAnswers::of(recorded.record()).error().path, "line 2");  // no blob line
  recorded.add("blob", "", JsonObject{{"hash", sha256_hex(text)}, {"text", text}});
  EXPECT_EQ(recorded.answers()->next("p", request).value().response.content, "x");
}

TEST(RecordedAnswers, ReadsOnlyWhatFollowsTheLastResume) {
  const LmRequest request = asking("a"), before = asking("b");
  RunRecord record =
      Recorded().request("p", before).response("p", before, "old").request("p", request).response("p", request, "new").record();
  RecordEntry resume = record.entries[0];
  resume.type = "resume";
  record.entries.insert(record.entries.begin() + 3, resume);
  const auto answers = RecordedAnswers::of(record).value();
  EXPECT_EQ(answers->next("p", request).value().response.content, "new");
  EXPECT_FALSE(answers->next("p", request));
  EXPECT_TRUE(RecordedAnswers::check(record));
  record.entries[1].data.as_object().find("request")->set("rollout", 5);
  EXPECT_TRUE(RecordedAnswers::of(record)) << "an earlier pass answers nothing";
  const auto checked = RecordedAnswers::check(record);
  ASSERT_FALSE(checked) << "but it must be what it says";
  EXPECT_EQ(checked.error().code, ErrorCode::mismatch);
}

TEST(RecordedAnswers, WhatAPassHadIsNotSentAgain) {
  const LmRequest request = asking("a");
  RunRecord record =
      Recorded().request("p", request).response("p", request, "x").request("p", request).response("p", request, "x").record();
  EXPECT_TRUE(RecordedAnswers::check(record)) << "twice in one pass";
  RecordEntry resume = record.entries[0];
  resume.type = "resume";
  record.entries.insert(record.entries.begin() + 3, resume);
  const auto again = RecordedAnswers::check(record);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::mismatch);
  record.entries[4].data.set("sent", false);  // a pass that was stopped says so of what it did not send
  record.entries.pop_back();
  EXPECT_TRUE(RecordedAnswers::check(record));
}

TEST(RecordedAnswers, AHitRepeatsTheAnswerThatItTookOver) {
  const LmRequest ask = asking("q");
  Recorded good, bad;
  good.request("a", ask).response("a", ask, "yes").hit("a", ask, "yes");
  EXPECT_TRUE(RecordedAnswers::check(good.record()));
  bad.request("a", ask).response("a", ask, "yes").hit("a", ask, "no");
  EXPECT_EQ(RecordedAnswers::check(bad.record()).error().code, ErrorCode::mismatch);
  EXPECT_EQ(RecordedAnswers::of(bad.record()).error().path, "line 4");
  Recorded from_disk;  // answered in another record
  from_disk.hit("a", ask, "yes");
  EXPECT_TRUE(RecordedAnswers::check(from_disk.record()));
}

TEST(RecordedAnswers, EveryRequestOfARunThatEndedHasItsAnswer) {
  const LmRequest request = asking("a");
  RunRecord twice = Recorded().request("p", request).response("p", request, "x").response("p", request, "y").record();
  EXPECT_EQ(RecordedAnswers::check(twice).error().path, "line 4");
  RunRecord open = Recorded().request("p", request).record();
  EXPECT_TRUE(RecordedAnswers::check(open)) << "it was interrupted";
  RecordEntry end = open.entries[0];
  end.type = "run_end";
  open.entries.push_back(end);
  EXPECT_EQ(RecordedAnswers::check(open).error().path, "p");
}

TEST(RecordedAnswers, RefusesARecordThatContradictsItself) {
  const LmRequest request = asking("a");
  RunRecord record = Recorded().request("p", request).response("p", request, "x").record();
  RunRecord altered = record;
  altered.entries[1].data.as_object().find("request")->set("rollout", 5);
  EXPECT_EQ(RecordedAnswers::of(altered).error().code, ErrorCode::mismatch);
  RunRecord no_lane = record;
  no_lane.entries[0].data.set("lanes", JsonList{});
  EXPECT_EQ(RecordedAnswers::of(no_lane).error().code, ErrorCode::malformed);
  EXPECT_FALSE(RecordedAnswers::of(RunRecord{}));
}

}  // namespace
}  // namespace assay
