#include "assay/program/call_account.h"

#include <algorithm>

#include <fmt/format.h>

namespace assay {

namespace {

std::unexpected<Error> no_price(const Lane& lane) {
  return fail(ErrorCode::over_budget,
              fmt::format("the {} lane {} has no price: what a call may cost is not known, and msats are limited", lane.kind, lane.model),
              "give its price with --prices FILE, or limit calls and tokens instead", "budget.msats");
}

Result<std::optional<std::int64_t>> price_of(const Effects& effects, const LM& lm, const LmRequest& request, const LmUsage& usage) {
  ASSAY_TRY(std::optional<std::int64_t> price, lm.cost_msats_max(request));
  if (!price && effects.prices != nullptr) price = effects.prices->cost(lm.lane().kind, lm.lane().model, usage);
  return price;
}

}  // namespace

Result<void> check_priced(const Effects& effects, const LM& lm, const LmRequest& request) {
  if (effects.budget == nullptr || !effects.budget->limits().msats) return {};
  ASSAY_TRY(const auto price, price_of(effects, lm, request, {}));
  return price ? Result<void>() : no_price(lm.lane());
}

// A lane is anyone's code: where it throws, nothing was sent, and the call is refused.
Result<Amount> CallAccount::worst_case() {
  const auto threw = [this](const std::string& what) {
    return fail(ErrorCode::internal, fmt::format("the lane {} threw{}", lm_.lane().model, what), "mend the lane");
  };
  try {
    return estimate();
  } catch (const std::exception& thrown) {
    return threw(": " + to_utf8(thrown.what()));
  } catch (...) {
    return threw(" something that is no exception");
  }
}

Result<Amount> CallAccount::estimate() {
  Amount amount{.calls = 1};
  ASSAY_TRY(const std::int64_t prompt, lm_.prompt_tokens_max(request_));
  const Json& most = request_.config.at("max_tokens");
  LmUsage usage;
  usage.prompt_tokens = prompt;
  usage.completion_tokens = most.is_int() ? most.as_int() : 0;
  amount.tokens = prompt + usage.completion_tokens;
  ASSAY_TRY(const auto price, price_of(node_.effects(), lm_, request_, usage));
  priced_ = price.has_value();
  amount.msats = price.value_or(0);
  return amount;
}

Result<void> CallAccount::reserve() {
  Budget* budget = node_.effects().budget;
  if (budget == nullptr) return {};
  if (!worst_) {
    ASSAY_TRY(worst_, worst_case());
  }
  if (!priced_ && budget->limits().msats) return no_price(lm_.lane());
  const Effects& effects = node_.effects();
  ASSAY_TRY(Budget::Reservation reserved, budget->reserve_in_turn(*worst_, effects.wait, *effects.clock));
  reservation_.emplace(std::move(reserved));
  return {};
}

void CallAccount::paid(const Json& payment) {
  money_moved_ = true;
  if (const Json& amount = payment.at("amount_msats"); amount.is_int()) paid_msats_ += amount.as_int();
}

Result<void> CallAccount::lost(bool again) {
  if (!worst_) {
    auto worst = worst_case();
    worst_ = worst ? *worst : Amount{.calls = 1};
  }
  Amount used = *worst_;
  if (money_moved()) used.msats = paid_msats_;
  if (reservation_) reservation_->settle(used);
  if (money_moved()) used.msats = 0;  // the payment has a line of its own, which counts
  add_amount(lost_, used);
  any_lost_ = true;
  return again ? reserve() : Result<void>();
}

// What a lane says it used beyond what the request can have used, where that is limited: nothing of it was reserved.
Result<void> CallAccount::check_claim(const Amount& used) const {
  const BudgetLimits& limits = node_.effects().budget->limits();
  const bool tokens = limits.tokens && used.tokens > worst_->tokens;
  if (!tokens && !(limits.msats && used.msats > worst_->msats)) return {};
  return fail(
      ErrorCode::over_budget,
      fmt::format("the lane {} says that the call used {} {}; it can have used {} at most, and no more was reserved", lm_.lane().model,
                  tokens ? used.tokens : used.msats, tokens ? "tokens" : "msats", tokens ? worst_->tokens : worst_->msats),
      "its claim stands in the record; use a lane that you can believe", tokens ? "budget.tokens" : "budget.msats");
}

Result<void> CallAccount::settle(const LmUsage& usage) {
  if (!reservation_) return {};
  Amount used{.calls = 1, .tokens = usage.prompt_tokens + usage.completion_tokens, .msats = usage.cost_msats.value_or(0)};
  auto honest = check_claim(used);
  if (!honest) used = {.calls = 1, .tokens = std::min(used.tokens, worst_->tokens), .msats = std::min(used.msats, worst_->msats)};
  reservation_->settle(used);
  return honest;
}

}  // namespace assay
