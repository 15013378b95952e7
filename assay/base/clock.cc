#include "assay/base/clock.h"

#include <sys/prctl.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace assay {
namespace {

class SystemClock final : public Clock {
 public:
  std::int64_t unix_ns() override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  std::int64_t steady_ns() override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  bool sleep_until(std::int64_t at_ns, const std::stop_token& stop) override {
    // Linux may wake a thread 50 µs late to save power; whoever waits here has said until when.
    thread_local const int exact = ::prctl(PR_SET_TIMERSLACK, 1UL);
    (void)exact;
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    const std::chrono::steady_clock::time_point at{std::chrono::nanoseconds(at_ns)};
    wake.wait_until(lock, stop, at, [] { return false; });
    return !stop.stop_requested();
  }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

bool ManualClock::sleep_until(std::int64_t at_ns, const std::stop_token& stop) {
  if (stop.stop_requested()) return false;
  std::int64_t now = steady_ns_;
  while (now < at_ns && !steady_ns_.compare_exchange_weak(now, at_ns)) {
  }
  return true;
}

std::chrono::nanoseconds Deadline::left(Clock& clock) const {
  constexpr std::int64_t year_ns = std::int64_t{365} * 86400 * 1000000000;
  if (at_ns == INT64_MAX) return std::chrono::nanoseconds(year_ns);
  return std::chrono::nanoseconds(std::clamp<std::int64_t>(at_ns - clock.steady_ns(), 0, year_ns));
}

Result<void> Wait::check(Clock& clock, std::string_view what) const {
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, std::string(what) + " was cancelled");
  if (deadline.passed(clock)) return fail(ErrorCode::timed_out, std::string(what) + " took longer than its deadline");
  return {};
}

}  // namespace assay
