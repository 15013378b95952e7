#include "assay/trace/budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace assay {
namespace {

TEST(Budget, ReadsItsPartsInAnyOrder) {
  const BudgetLimits limits = BudgetLimits::parse("seconds=1.5,msats=2000,calls=0,tokens=50000").value();
  EXPECT_EQ(limits.calls, 0);
  EXPECT_EQ(limits.tokens, 50000);
  EXPECT_EQ(limits.msats, 2000);
  EXPECT_EQ(limits.seconds, 1.5);
  EXPECT_EQ(canonical(limits.to_json()).value(), R"({"calls":0,"msats":2000,"seconds":1.5,"tokens":50000})");
  EXPECT_EQ(canonical(BudgetLimits{}.to_json()).value(), R"({"calls":null,"msats":null,"seconds":null,"tokens":null})");
}

TEST(Budget, RefusesAPartThatItCannotRead) {
  for (const char* bad : {"", "calls", "calls=", "calls=-1", "calls=1.5", "calls=x", "calls=9007199254740992", "seconds=-1", "seconds=nan",
                          "seconds=inf", "call=1", "calls=1,calls=2", "seconds=1,seconds=2", "calls=1,", " calls=1"}) {
    const auto limits = BudgetLimits::parse(bad);
    ASSERT_FALSE(limits) << bad;
    EXPECT_EQ(limits.error().code, ErrorCode::usage) << bad;
    EXPECT_FALSE(limits.error().remedy.empty());
  }
}

TEST(Budget, GrantsUpToTheLimitAndNotOneMore) {
  Budget budget({.calls = 2, .tokens = 100, .msats = {}, .seconds = {}});
  auto first = budget.reserve({.calls = 1, .tokens = 60, .msats = 5}).value();
  EXPECT_EQ(budget.reserve({.calls = 1, .tokens = 41, .msats = 0}).error().code, ErrorCode::over_budget);
  auto second = budget.reserve({.calls = 1, .tokens = 40, .msats = 0}).value();
  first.settle({.calls = 1, .tokens = 10, .msats = 3});
  first.settle({.calls = 1, .tokens = 10, .msats = 3});  // once only
  EXPECT_EQ(budget.spent().tokens, 10);
  EXPECT_EQ(budget.spent().msats, 3);
  const auto third = budget.reserve({.calls = 1, .tokens = 0, .msats = 0});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().message, "the next call may need 1 calls: limit 2, spent 1, reserved by calls in flight 1");
  EXPECT_EQ(third.error().path, "budget.calls");
}

TEST(Budget, GivesBackWhatWasNotSettled) {
  Budget budget({.calls = 1, .tokens = {}, .msats = {}, .seconds = {}});
  {
    auto held = budget.reserve({.calls = 1, .tokens = 0, .msats = 0}).value();
    const auto moved = std::move(held);
    EXPECT_EQ(budget.reserved().calls, 1);
  }
  EXPECT_EQ(budget.reserved().calls, 0);
  EXPECT_EQ(budget.spent().calls, 0);
  EXPECT_TRUE(budget.reserve({.calls = 1, .tokens = 0, .msats = 0}));
}

TEST(Budget, CountsWhatWasSpentBeyondTheReservation) {
  Budget budget({.calls = {}, .tokens = 10, .msats = {}, .seconds = {}});
  budget.reserve({.calls = 1, .tokens = 5, .msats = 0}).value().settle({.calls = 1, .tokens = 50, .msats = 0});
  EXPECT_EQ(budget.spent().tokens, 50);
  EXPECT_FALSE(budget.reserve({.calls = 1, .tokens = 0, .msats = 0}));
}

TEST(Budget, RefusesAnImpossibleReservation) {
  Budget budget;
  EXPECT_EQ(budget.reserve({.calls = -1, .tokens = 0, .msats = 0}).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(budget.reserve({.calls = 1, .tokens = INT64_MAX, .msats = 0}).error().code, ErrorCode::limit_exceeded);
}

// 16 calls at once that reserve much and use little: a budget that holds what they use holds them all.
TEST(BudgetConcurrent, WaitsForWhatIsGivenBack) {
  Budget budget({.calls = {}, .tokens = 16 * 10 + 90, .msats = {}, .seconds = {}});
  Clock& clock = system_clock();
  const Wait wait{Deadline::after(clock, std::chrono::seconds(30)), {}};
  std::atomic<int> granted = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 16; ++thread) {
      threads.emplace_back([&] {
        auto reserved = budget.reserve_in_turn({.calls = 1, .tokens = 100, .msats = 0}, wait, clock);
        if (!reserved) return;
        ++granted;
        clock.sleep_until(clock.steady_ns() + 2'000'000, {});
        reserved->settle({.calls = 1, .tokens = 10, .msats = 0});
      });
    }
  }
  EXPECT_EQ(granted, 16);
  EXPECT_EQ(budget.spent().tokens, 160);
  EXPECT_EQ(budget.reserve_in_turn({.calls = 1, .tokens = 100, .msats = 0}, wait, clock).error().code, ErrorCode::over_budget);
}

TEST(BudgetConcurrent, WaitsForNobodyForEver) {
  Budget budget({.calls = 1, .tokens = {}, .msats = {}, .seconds = {}});
  Clock& clock = system_clock();
  const Amount one{.calls = 1};
  const Wait never{Deadline::never(), {}};
  const auto own = budget.reserve_in_turn(one, never, clock).value();
  EXPECT_EQ(budget.reserve_in_turn(one, never, clock).error().code, ErrorCode::over_budget);  // it would wait for itself
  const std::jthread other([&] {
    const Wait soon{Deadline::after(clock, std::chrono::milliseconds(20)), {}};
    EXPECT_EQ(budget.reserve_in_turn(one, soon, clock).error().code, ErrorCode::timed_out);
    std::stop_source stopped;
    stopped.request_stop();
    EXPECT_EQ(budget.reserve_in_turn(one, {Deadline::never(), stopped.get_token()}, clock).error().code, ErrorCode::cancelled);
  });
}

// Selected by the thread sanitizer's run: whatever the threads do, spent + reserved never passes the limit.
TEST(BudgetConcurrent, NeverGrantsMoreThanTheLimit) {
  constexpr std::int64_t limit = 1000;
  Budget budget({.calls = {}, .tokens = limit, .msats = {}, .seconds = {}});
  std::atomic<std::int64_t> used = 0, refused = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 8; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < 200; ++i) {
          auto reservation = budget.reserve({.calls = 1, .tokens = 7, .msats = 0});
          if (!reservation) {
            ++refused;
            continue;
          }
          EXPECT_LE(budget.spent().tokens, limit);
          if ((i + thread) % 3 == 0) continue;  // let go
          const std::int64_t tokens = 1 + (i + thread) % 7;
          reservation->settle({.calls = 1, .tokens = tokens, .msats = 0});
          used += tokens;
        }
      });
    }
  }
  EXPECT_EQ(budget.spent().tokens, used.load());
  EXPECT_LE(used.load(), limit);
  EXPECT_GT(refused.load(), 0);
  EXPECT_EQ(budget.reserved().tokens, 0);
}

}  // namespace
}  // namespace assay
