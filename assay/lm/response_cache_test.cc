#include "assay/lm/response_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <thread>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/lm/scripted_lane.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

std::string key_of(std::string_view name) { return hash(Json(name)).value(); }

// A cache and a computation that counts how often it ran.
class Cached : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("assay-cache-{}-{}", ::getpid(), testing::UnitTest::GetInstance()->current_test_info()->name());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<ResponseCache::Found> get(ResponseCache& cache, std::string_view name, std::string_view content = "x") {
    return cache.get_or_compute(key_of(name), {}, system_clock(), [&] {
      ++computed_;
      return ScriptedLM::answer(content, 7, 3);
    });
  }
  std::string file(std::string_view name) const { return folder_ / key_of(name).substr(0, 2) / (key_of(name) + ".json"); }

  std::filesystem::path folder_;
  std::atomic<int> computed_ = 0;
};

TEST_F(Cached, KeyIsThatOfTheFormat) {
  EXPECT_EQ(ResponseCache::key("r", "l").value(), hash(read_json(R"(["r","l",null])").value()).value());
}

TEST_F(Cached, ComputesOnceAndSaysWhichItWas) {
  ResponseCache cache;
  EXPECT_FALSE(get(cache, "a", "first").value().hit);
  const auto second = get(cache, "a", "second").value();
  EXPECT_TRUE(second.hit);
  EXPECT_EQ(second.response.content, "first");
  EXPECT_EQ(second.response.usage.prompt_tokens, 7);
  EXPECT_FALSE(get(cache, "b").value().hit);
  EXPECT_EQ(computed_, 2);
}

TEST_F(Cached, KeepsNoErrors) {
  ResponseCache cache;
  const auto failed =
      cache.get_or_compute(key_of("a"), {}, system_clock(), [] { return Result<LmResponse>(fail(ErrorCode::unavailable, "gone")); });
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable);
  EXPECT_FALSE(get(cache, "a").value().hit);
}

TEST_F(Cached, AFolderOutlivesTheProcess) {
  {
    ResponseCache cache(folder_);
    get(cache, "a", "kept\xff").value();
  }
  ResponseCache again(folder_);
  const auto found = get(again, "a", "other").value();
  EXPECT_TRUE(found.hit);
  EXPECT_EQ(found.response.content, "kept\xff");
  EXPECT_EQ(found.response.finish_reason, "stop");
}

TEST_F(Cached, KeepsLogProbabilitiesOnDiskAndNoneWhereThereAreNone) {
  const auto with = [] {
    LmResponse response = ScriptedLM::answer("x", 7, 2).value();
    response.logprobs = std::vector<SaidToken>{{{"a", -0.25}, {{"a", -0.25}, {"b", -3}}}, {{"\xC3", 0}, {}}};
    return response;
  };
  {
    ResponseCache cache(folder_);
    ASSERT_TRUE(cache.get_or_compute(key_of("with"), {}, system_clock(), [&]() -> Result<LmResponse> { return with(); }));
    ASSERT_TRUE(get(cache, "without"));
  }
  ResponseCache again(folder_);
  const auto found = get(again, "with").value();
  ASSERT_TRUE(found.hit && found.response.logprobs.has_value());
  EXPECT_EQ(logprobs_json(*found.response.logprobs), logprobs_json(*with().logprobs));
  EXPECT_FALSE(get(again, "without")->response.logprobs.has_value());
}

TEST_F(Cached, ADamagedFileIsAskedAgainAndWrittenAnew) {
  const auto damage = [&](auto change) {
    {
      ResponseCache cache(folder_);
      get(cache, "a", "kept").value();
    }
    std::string text = read_file(file("a")).value();
    change(text);
    ASSERT_TRUE(write_file(file("a"), text));
    ResponseCache again(folder_);
    EXPECT_FALSE(get(again, "a", "kept").value().hit);
    ResponseCache third(folder_);
    EXPECT_TRUE(get(third, "a", "kept").value().hit);
  };
  damage([](std::string& text) { text.replace(text.find("kept"), 4, "fake"); });
  damage([](std::string& text) { text.resize(text.size() / 2); });
  damage([](std::string& text) { text.clear(); });
  damage([&](std::string& text) { text.replace(text.find(key_of("a")), 64, key_of("b")); });
}

TEST_F(Cached, AFolderThatCannotBeWrittenLosesNoAnswer) {
  ASSERT_TRUE(write_file(folder_.string(), "a file, not a folder"));
  ResponseCache cache(folder_.string());
  EXPECT_EQ(get(cache, "a", "paid for").value().response.content, "paid for");
  EXPECT_TRUE(get(cache, "a").value().hit);
  EXPECT_EQ(cache.not_kept().answers, 1U);
  EXPECT_TRUE(cache.not_kept().why.has_value());
}

TEST_F(Cached, TakesOverTheCallsOfARecord) {
  const std::string r1(64, '1'), r2(64, '2'), l1(64, 'a'), l2(64, 'b');
  const auto entry = [](std::string type, Json data) { return RecordEntry{0, 0, std::move(type), "p", "", std::move(data)}; };
  const auto answer = [](const std::string& request_hash, std::string_view content) {
    return Json(JsonObject{{"request_hash", request_hash},
                           {"content", content},
                           {"finish_reason", "stop"},
                           {"usage", JsonObject{{"prompt_tokens", 1}, {"completion_tokens", 1}}},
                           {"cost_msats", 5}});
  };
  Json hit = answer(r2, "two");
  hit.set("lane_id", l2);
  ResponseCache cache;
  ASSERT_TRUE(cache.preload({entry("lm_request", JsonObject{{"request_hash", r1}, {"lane_id", l1}}),
                             entry("lm_request", JsonObject{{"request_hash", r1}, {"lane_id", l2}}),
                             entry("lm_response", answer(r1, "one")), entry("cache_hit", hit)}));
  const auto found = [&](const std::string& request_hash, const std::string& lane_id) {
    return cache
        .get_or_compute(ResponseCache::key(request_hash, lane_id).value(), {}, system_clock(), [] { return ScriptedLM::answer("asked"); })
        .value();
  };
  EXPECT_EQ(found(r1, l1).response.content, "one");
  EXPECT_EQ(found(r1, l1).response.usage.cost_msats, 5);
  EXPECT_EQ(found(r2, l2).response.content, "two");
  EXPECT_EQ(found(r1, l2).response.content, "asked");  // asked for, never answered
}

// Selected by the thread sanitizer's run.
TEST_F(Cached, ConcurrentCallersComputeOnce) {
  ResponseCache cache;
  std::latch started(8);
  std::atomic<int> hits = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        started.arrive_and_wait();
        const auto found = cache.get_or_compute(key_of("a"), {}, system_clock(), [&] {
          ++computed_;
          std::this_thread::sleep_for(50ms);
          return ScriptedLM::answer("x");
        });
        ASSERT_TRUE(found);
        hits += found->hit ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(computed_, 1);
  EXPECT_EQ(hits, 7);
}

TEST_F(Cached, ConcurrentWaitersTryThemselvesAfterAFailure) {
  ResponseCache cache;
  std::latch started(4);
  std::atomic<int> tries = 0, good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        started.arrive_and_wait();
        const auto found = cache.get_or_compute(key_of("a"), {}, system_clock(), [&]() -> Result<LmResponse> {
          if (++tries == 1) return fail(ErrorCode::timed_out, "late");
          return ScriptedLM::answer("x");
        });
        good += found ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(tries, 2);
  EXPECT_EQ(good, 3);
}

TEST_F(Cached, AWaitForAnotherCallerEndsWithItsDeadlineAndItsStop) {
  ResponseCache cache;
  std::latch computing(1), over(1);
  std::jthread first([&] {
    cache
        .get_or_compute(key_of("a"), {}, system_clock(),
                        [&] {
                          computing.count_down();
                          over.wait();
                          return ScriptedLM::answer("x");
                        })
        .value();
  });
  computing.wait();
  const auto never = [] { return ScriptedLM::answer("never"); };
  const auto late = cache.get_or_compute(key_of("a"), Wait{Deadline::after(system_clock(), 30ms), {}}, system_clock(), never);
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = cache.get_or_compute(key_of("a"), Wait{{}, stop.get_token()}, system_clock(), never);
  over.count_down();
  EXPECT_EQ(late.error().code, ErrorCode::timed_out);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace assay
