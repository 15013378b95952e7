#pragma once
/// @file
/// What one LM call may use and used, between its budget and its lane: reserved before it is sent, settled after, counted in full where
/// nobody knows. Source: docs/formats.md §4 (durability, `lost`).
///
///     CallAccount account(node, lm, request);
///     ASSAY_CHECK(account.reserve());                       // over_budget: not sent
///     account.lost(true);                                   // sent, no word of it; the lane means to send it again
///     ASSAY_CHECK(account.settle(answer.usage));            // over_budget: claims more than it can have used
///
/// Thread safety: belongs to one call.

#include <optional>
#include <utility>

#include "assay/lm/lm.h"
#include "assay/program/context.h"
#include "assay/trace/budget.h"

namespace assay {

/// Can a limit of msats hold on this lane? Errors: `over_budget`: it has no price.
Result<void> check_priced(const Effects& effects, const LM& lm, const LmRequest& request);

class CallAccount {
 public:
  CallAccount(const Context& node, const LM& lm, const LmRequest& request) : node_(node), lm_(lm), request_(request) {}

  /// Reserves the call's worst case, if there is a budget. Errors: `over_budget`, also where msats are limited and the lane has no price;
  /// those of the lane's own estimate.
  Result<void> reserve();
  /// Money moved for the call, or may have: data of a `payment` line.
  void paid(const Json& payment);
  /// What was sent is spent in full. `again`: reserves as much once more; an error says that the budget has no room for it.
  Result<void> lost(bool again);
  /// The call was answered. Errors: `over_budget` when it claims more than it can have used; then that much is spent.
  Result<void> settle(const LmUsage& usage);
  bool money_moved() const { return money_moved_; }
  std::int64_t paid_msats() const { return paid_msats_; }
  /// What was lost since this was asked the last time, without what was paid for it; calls 0: nothing.
  Amount take_lost() { return std::exchange(lost_, {}); }
  bool anything_lost() const { return any_lost_; }

 private:
  Result<Amount> worst_case();
  Result<Amount> estimate();
  Result<void> check_claim(const Amount& used) const;

  const Context& node_;
  const LM& lm_;
  const LmRequest& request_;
  std::optional<Amount> worst_;
  bool priced_ = false;  // the worst case's msats are a price, not merely unknown
  std::optional<Budget::Reservation> reservation_;
  bool money_moved_ = false;  // also where an earlier record counts it, and this one nothing
  std::int64_t paid_msats_ = 0;
  Amount lost_;
  bool any_lost_ = false;
};

}  // namespace assay
