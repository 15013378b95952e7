#pragma once
/// @file
/// A budget that processes share: one file, reserve before a call, settle after it. Source: docs/formats.md §4.
///
///     ASSAY_TRY(auto budget, BudgetLedger::open("team.ledger", limits, entropy));
///     effects.budget = budget.get();
///     ASSAY_TRY(const LedgerState now, budget->state());       // spent + lost + reserved + free = limit, always
///
/// What a process had reserved when it died is `lost`: the call may have been made, so it counts as spent. A process lives as long as
/// it holds a lock on a file of its own beside the ledger, so that process numbers never matter.
/// Thread safety: any number of threads and processes.

#include <memory>
#include <mutex>
#include <string>

#include "assay/base/random.h"
#include "assay/trace/budget.h"

namespace assay {

struct LedgerState {
  BudgetLimits limits;
  Amount spent, lost, reserved;
  /// What is left of a limited unit; 0 for an unlimited one.
  Amount free() const;
  Json to_json() const;
};

class BudgetLedger final : public Budget {
 public:
  /// The first to open it sets the limits (of calls, tokens and msats; seconds are each process's own). Later ones give none, or the
  /// same. Errors: `refused` (other limits), `usage` (a new ledger without a limit), `io`.
  static Result<std::unique_ptr<BudgetLedger>> open(const std::string& path, const BudgetLimits& limits, Entropy& entropy);
  ~BudgetLedger() override;

  Result<Reservation> reserve(const Amount& worst_case) override;
  void charge(const Amount&) override {}  ///< nothing: what an earlier process spent stands in the ledger already
  Amount spent() const override;          ///< by all processes, what was lost included
  Amount reserved() const override;
  Result<LedgerState> state() const;      ///< after a look at which processes still live

 protected:
  void release(std::int64_t id, const Amount& reserved, const Amount& used) override;

 private:
  struct Impl;
  BudgetLedger(BudgetLimits limits, std::unique_ptr<Impl> impl);
  mutable std::mutex mutex_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
