#pragma once
/// @file
/// One purchase as a state machine: events of the provider go in, checks are made, money moves once, a result comes out.
/// Private to market; Buyer drives it. Knows no relay.
///
///     Deal deal(parts, job, purchase, bid, progress);
///     ASSAY_TRY(std::optional<Bought> bought, deal.take(event, wait));    // for each verified event that matches deal.filter()
///
/// Thread safety: one thread.

#include <functional>
#include <optional>
#include <string>

#include "assay/market/buyer.h"
#include "assay/nostr/filter.h"

namespace assay {

struct DealParts {
  const BuyerOptions& options;
  PurchaseStore& store;
  Clock& clock;
  Entropy& entropy;
  std::function<Result<void>(const std::string&)> check_reputation;
};

/// The most that is paid, and what the provider announced that this job costs, if it was chosen by that.
struct DealTerms {
  std::int64_t bid_msats = 0;
  std::optional<std::int64_t> announced_msats;
  bool keep_result = false;
};

/// A result as the purchase store keeps it.
Json to_json(const Bought& bought);
Result<Bought> read_kept(const Json& value);

/// What its caller hears of on the way; both may be empty.
struct DealNews {
  std::function<void(std::string_view)> progress;
  std::function<bool(const Json& payment)> on_paid;
  std::string record;  // where that goes
};

class Deal {
 public:
  /// `purchase.provider` empty: anyone may quote. `purchase.state` says where to go on.
  Deal(DealParts parts, JobEnvelope job, Purchase purchase, DealTerms terms, DealNews news);

  Filter filter() const;
  /// Makes sure that what was being paid is paid. Moves no money twice.
  Result<void> pick_up(const Wait& wait);
  /// Tells the payment of one that has its result. True: an earlier order's record had it.
  Result<bool> told_before();
  /// The relay answers, or does not: what passes while the buyer hears nothing is nobody's failure.
  void listening(bool can_hear);
  /// A result when the event was one that holds. Errors end the deal; an event that proves nothing is passed over.
  Result<std::optional<Bought>> take(const Event& event, const Wait& wait);
  /// True after an error that another connection would not mend.
  bool over() const { return over_; }
  bool is_paid() const { return purchase_.state == PurchaseState::paid; }
  /// True while the provider that was chosen has not said anything to this request.
  bool unheard() const { return named_ && !heard_ && purchase_.state == PurchaseState::requested; }
  /// Ends a request that nobody answered: nothing was paid, and the provider is passed over for a while.
  std::unexpected<Error> nobody_there();
  /// Books how it ended: a paid result that did not come in time is the provider's failure. Returns the error for the caller.
  std::unexpected<Error> ended(Error error);

 private:
  bool is_word(const Event& event) const;
  Result<std::optional<Bought>> take_feedback(const Event& event, const Wait& wait);
  Result<void> refuse_price(const std::string& provider, std::int64_t asked_msats);
  Result<void> take_quote(const Event& event, const JobFeedback& quote, const Wait& wait);
  Result<std::string> check_quote(const Event& event, const JobFeedback& quote) const;
  Result<void> pay(const Wait& wait);
  Result<std::optional<Bought>> take_result(const Event& event);
  Result<Bought> check_result(const Event& event) const;
  Result<void> check_payload(const JobEnvelope& response, const Json& provider_receipt) const;
  std::unexpected<Error> failed_check(const std::string& provider, Error error);
  void tell(const std::string& what) const;
  Result<void> find_told();
  std::string resume_command() const;
  Result<void> tell_payment(std::string_view state);
  std::int64_t now() const { return parts_.clock.unix_ns() / 1'000'000'000; }

  DealParts parts_;
  JobEnvelope job_;
  Purchase purchase_;
  DealTerms terms_;
  bool named_;   // the buyer chose the provider itself
  bool resumed_;
  bool over_ = false, heard_ = false, listening_ = false;
  std::int64_t paid_ns_ = 0, listening_since_ns_ = 0;  // on the steady clock
  DealNews news_;
};

}  // namespace assay
