#pragma once
/// @file
/// Budgets by reserve and settle: the worst case of a call is reserved before it is sent (docs/formats.md §4).
///
///     ASSAY_TRY(auto reservation, budget.reserve({.calls = 1, .tokens = 900, .msats = 12}));
///     reservation.settle({.calls = 1, .tokens = 610, .msats = 8});      // or let it go: released
///
/// Thread safety: a Budget is shared by all threads of a run; a Reservation belongs to one. A Budget outlives its reservations.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "assay/base/clock.h"
#include "assay/base/json.h"

namespace assay {

struct Amount {
  std::int64_t calls = 0, tokens = 0, msats = 0;
};

/// Does `asked` fit beside what is spent and reserved? Errors: `over_budget` with limit, spent, reserved and asked.
struct BudgetLimits;
Result<void> check_fits(const BudgetLimits& limits, const Amount& spent, const Amount& reserved, const Amount& asked);
/// AMOUNT: {"calls","msats","tokens"}, none of them negative. Errors of `read_amount`: `malformed` with the member.
Json to_json(const Amount& amount);
Result<Amount> read_amount(const Json& value);
/// Sums stop at 2^53−1.
void add_amount(Amount& sum, const Amount& amount);

/// Empty members are unlimited.
struct BudgetLimits {
  std::optional<std::int64_t> calls, tokens, msats;
  std::optional<double> seconds;  ///< becomes a deadline at the top

  /// "calls=100,tokens=50000,msats=2000,seconds=60" in any order. Errors: `usage` with the part.
  static Result<BudgetLimits> parse(std::string_view text);
  Json to_json() const;
};

/// The budget of one process. BudgetLedger (budget_ledger.h) is one that processes share.
class Budget {
 public:
  explicit Budget(BudgetLimits limits = {}) : limits_(limits) {}
  virtual ~Budget() = default;
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  class Reservation {
   public:
    Reservation(Reservation&& other) noexcept;
    Reservation& operator=(Reservation&&) = delete;
    ~Reservation();  ///< releases what was not settled
    /// Counts `used` as spent, once; later calls do nothing. More than was reserved is counted too: it has been spent.
    void settle(const Amount& used);

   private:
    friend class Budget;
    Reservation(Budget* budget, std::int64_t id, Amount amount);
    Budget* budget_;
    std::int64_t id_;
    Amount amount_;
    std::thread::id owner_;  // who reserved
  };

  /// Errors: `over_budget` with limit, spent, reserved and asked.
  virtual Result<Reservation> reserve(const Amount& worst_case);
  /// As `reserve`, but where only what others have reserved stands in the way, what they give back is waited for: a budget that would do is
  /// not spent by asking for much at once. Of a ledger these are other processes too; ten minutes without any change are enough.
  /// Errors: as `reserve`, `timed_out`, `cancelled`.
  Result<Reservation> reserve_in_turn(const Amount& worst_case, const Wait& wait, Clock& clock);
  /// Counts what was spent before this process: a resumed compile stays under the limits it began with.
  virtual void charge(const Amount& spent_before);
  virtual Amount spent() const;
  virtual Amount reserved() const;  ///< by calls in flight
  const BudgetLimits& limits() const { return limits_; }

 protected:
  Reservation granted(std::int64_t id, const Amount& amount) { return Reservation(this, id, amount); }
  /// Gives `reserved` back and counts `used` as spent.
  virtual void release(std::int64_t id, const Amount& reserved, const Amount& used);

  BudgetLimits limits_;

 private:
  void finish(const Reservation& reservation, const Amount& used);
  bool has_own_in_flight() const;

  mutable std::mutex mutex_;
  Amount spent_, reserved_;
  mutable std::mutex flight_mutex_;
  std::vector<std::thread::id> in_flight_;  // owners of what is reserved and not settled
};

}  // namespace assay
