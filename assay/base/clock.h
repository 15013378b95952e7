#pragma once
/// @file
/// Time is injected: only the top of a program makes a `SystemClock`, everything below is handed a `Clock&`.
///
///     Clock& clock = system_clock();          // at the top only
///     const Deadline deadline = Deadline::after(clock, std::chrono::seconds(5));
///
/// Thread safety: a Clock may be read from any thread.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>

#include "assay/base/result.h"

namespace assay {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t unix_ns() = 0;    ///< wall time, ns since 1970
  virtual std::int64_t steady_ns() = 0;  ///< never goes back; its zero has no meaning
  /// Waits until `steady_ns() >= at_ns` or until `stop` is asked; false if stopped.
  virtual bool sleep_until(std::int64_t at_ns, const std::stop_token& stop) = 0;
};

/// The machine's clock. Used by main() and by tests that need real time.
Clock& system_clock();

/// For tests: stands still until it is moved; a sleep moves it.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::int64_t unix_ns = 1790000000000000000) : unix_ns_(unix_ns) {}
  std::int64_t unix_ns() override { return unix_ns_ + steady_ns_; }
  std::int64_t steady_ns() override { return steady_ns_; }
  bool sleep_until(std::int64_t at_ns, const std::stop_token& stop) override;
  void advance(std::chrono::nanoseconds by) { steady_ns_ += by.count(); }

 private:
  std::int64_t unix_ns_;
  std::atomic<std::int64_t> steady_ns_{0};
};

/// An absolute point of the steady clock, shared by all steps of one operation.
struct Deadline {
  std::int64_t at_ns = INT64_MAX;
  static Deadline never() { return {}; }
  static Deadline after(Clock& clock, std::chrono::nanoseconds wait) { return {clock.steady_ns() + wait.count()}; }
  bool passed(Clock& clock) const { return at_ns != INT64_MAX && clock.steady_ns() >= at_ns; }  ///< `never` asks no clock
  /// Time left, never negative; at most a year, so that it can be added to any time point.
  std::chrono::nanoseconds left(Clock& clock) const;
  Deadline sooner(Deadline other) const { return at_ns < other.at_ns ? *this : other; }
};

/// What every wait is given: until when, and whether someone wants it to stop.
struct Wait {
  Deadline deadline;
  std::stop_token stop;
  /// `cancelled` or `timed_out` (naming `what`), else nothing.
  Result<void> check(Clock& clock, std::string_view what) const;
};

}  // namespace assay
