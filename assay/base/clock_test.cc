#include "assay/base/clock.h"

#include <gtest/gtest.h>

#include <thread>

namespace assay {
namespace {

using namespace std::chrono_literals;

TEST(Clock, ManualStandsStillUntilMoved) {
  ManualClock clock(1000);
  EXPECT_EQ(clock.unix_ns(), 1000);
  clock.advance(5ns);
  EXPECT_EQ(clock.unix_ns(), 1005);
  EXPECT_TRUE(clock.sleep_until(50, {}));
  EXPECT_EQ(clock.steady_ns(), 50);
  EXPECT_TRUE(clock.sleep_until(10, {}));  // the past
  EXPECT_EQ(clock.steady_ns(), 50);
}

TEST(Clock, DeadlinesPassAndNeverDoNot) {
  ManualClock clock;
  const Deadline soon = Deadline::after(clock, 10ns);
  EXPECT_EQ(soon.left(clock), 10ns);
  EXPECT_FALSE(soon.passed(clock));
  clock.advance(10ns);
  EXPECT_TRUE(soon.passed(clock));
  EXPECT_EQ(soon.left(clock), 0ns);
  EXPECT_FALSE(Deadline::never().passed(clock));
  EXPECT_LE(Deadline::never().left(clock), 366 * 24h);
  EXPECT_EQ(soon.sooner(Deadline::never()).at_ns, soon.at_ns);
}

TEST(Wait, SaysWhetherItWasStoppedOrLate) {
  ManualClock clock;
  std::stop_source stop;
  const Wait wait{Deadline::after(clock, 1s), stop.get_token()};
  EXPECT_TRUE(wait.check(clock, "the answer"));
  clock.advance(2s);
  EXPECT_EQ(wait.check(clock, "the answer").error().code, ErrorCode::timed_out);
  stop.request_stop();
  EXPECT_EQ(wait.check(clock, "the answer").error().code, ErrorCode::cancelled);  // a person's wish is the better reason
}

TEST(Clock, SystemSleepEndsAtOnceWhenStopped) {
  Clock& clock = system_clock();
  std::stop_source stop;
  const std::jthread stopper([&] { stop.request_stop(); });
  const std::int64_t before = clock.steady_ns();
  EXPECT_FALSE(clock.sleep_until(before + 60'000'000'000, stop.get_token()));
  EXPECT_LT(clock.steady_ns() - before, 30'000'000'000);
}

TEST(Clock, SystemSleepsUntilItsTime) {
  Clock& clock = system_clock();
  const std::int64_t until = clock.steady_ns() + 2'000'000;
  EXPECT_TRUE(clock.sleep_until(until, {}));
  EXPECT_GE(clock.steady_ns(), until);
  EXPECT_GT(clock.unix_ns(), 1'600'000'000'000'000'000);
}

}  // namespace
}  // namespace assay
