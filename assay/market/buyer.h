#pragma once
/// @file
/// The buyer: asks for a job through a relay, checks the quote, pays once, checks the result, keeps a receipt.
/// Source: docs/formats.md §7; which check stops what: README.md of this folder.
///
///     ASSAY_TRY(auto buyer, Buyer::open({.relay_url = url, .key = key, .wallet = wallet, .folder = "buyer"}, clock, entropy, wait));
///     ASSAY_TRY(const Bought got, buyer->request({.job = job, .provider = seller, .bid_msats = 500}, wait));
///     got.payload;  got.paid_msats;  got.receipt;
///
/// The first quote that holds is accepted and final. Before money moves it is on disk which invoice is paid; after a crash
/// `unfinished()` lists what was paid for and not received, and `resume` fetches it without paying again.
///
/// Thread safety: any number of requests at once.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/market/announcement.h"
#include "assay/market/job_event.h"
#include "assay/market/purchase_store.h"
#include "assay/market/wallet.h"

namespace assay {

struct BuyerOptions {
  std::string relay_url;
  SecretKey key;
  std::shared_ptr<Wallet> wallet;                    ///< null: only what is free
  std::string folder;                                ///< purchases.sqlite
  std::int64_t day_msats = 10'000'000;            ///< of all purchases of this folder in 24 hours
  std::int64_t provider_day_msats = 5'000'000;       ///< to one provider in 24 hours
  std::int64_t answer_seconds = 30;                  ///< a provider that was chosen says something within that time, or is passed over
  std::int64_t fair_seconds = 60;                    ///< a paid provider that the caller gave less time than that has failed nothing
  std::int64_t margin_seconds = 10;                  ///< an invoice must live at least that much longer
  std::optional<double> min_reputation = {};         ///< a provider without a history does not meet a minimum
  JobLimits limits;
};

struct Order {
  JobEnvelope job;
  std::optional<std::string> provider;   ///< public key; empty: the first good quote of anyone
  std::int64_t bid_msats = 0;            ///< the most that is paid; 0: only free offers
  std::optional<std::int64_t> announced_msats = {};  ///< what the provider was chosen for: one that asks more has failed a check
  bool encrypt = true;                   ///< to the provider; needs one
  std::string sandbox_profile = {};
  /// What was paid for is kept on disk until `Buyer::taken`, so that a crash in between does not lose it: the same order gets it then.
  bool keep_result = false;
  std::function<void(std::string_view)> progress = {};  ///< "quoted 150 msats", "paid", "processing", …
  /// Data of a run record's `payment` line, as soon as the payment is made ("state": "settled") or may have been made ("unknown").
  /// One that another order for the same job has told of already has an amount of 0. True: it stands in a record now.
  std::function<bool(const Json&)> on_paid = {};
  std::string record = {};  ///< path of that record; empty: none
};

struct Bought {
  std::string request_id, result_id, provider;
  Json payload;                 ///< of the response envelope; of a plain job: its text
  Json provider_receipt;        ///< a sandbox job's, signed by the provider; else null
  std::int64_t paid_msats = 0;
  Json receipt;                 ///< assay.receipt/1 of kind payment, signed by the buyer; null if free
  bool resumed = false;         ///< the payment stands in the record of an earlier order for the same job
};

class Buyer {
 public:
  /// Fetches what came to the relay for purchases that wait; it is kept for the next order for the same job.
  static Result<std::unique_ptr<Buyer>> open(const BuyerOptions& options, Clock& clock, Entropy& entropy, const Wait& wait);
  ~Buyer();
  Buyer(const Buyer&) = delete;
  Buyer& operator=(const Buyer&) = delete;

  /// Errors: `over_budget` (the bid does not fit the budget: nothing is sent), `refused` (the provider says no, or may not be
  /// paid), `mismatch` (a check failed: the provider is noted and not paid again), `unavailable`, `timed_out`, `cancelled`.
  /// After payment the error's message begins with "paid": then `resume` may still fetch the result. Asking for the same job of the same
  /// provider again within an hour does that by itself, instead of paying twice; a result that is kept is given for a week. A provider that
  /// is late with other jobs is not paid before it brings what it owes: those results are fetched first, and kept for their orders.
  Result<Bought> request(const Order& order, const Wait& wait);
  /// What an earlier purchase of this job brought, or brings now: as `request`, but nothing is bought. An order without a provider gets
  /// what anyone was paid for. Nothing: there is no such purchase.
  Result<std::optional<Bought>> bought_before(const Order& order, const Wait& wait);
  /// Says (`Order::progress`) what went for this job to others than the order's provider in the last hour and brought nothing yet.
  Result<void> tell_waiting(const Order& order);
  Result<std::vector<Purchase>> unfinished();
  /// Asks the wallet about the payment again if need be, and waits for the result of that request. It is kept for the next order for the
  /// same job of the same provider, which then pays nothing. Errors: as `request`; `usage` (no such purchase, another key's, or no wallet
  /// for one that is being paid), `unavailable` (another process waits for it).
  Result<Bought> resume(const std::string& request_id, const Wait& wait);
  /// What a request with `keep_result` brought is safe with the caller now.
  Result<void> taken(const std::string& request_id);

  Result<std::vector<ProviderInfo>> providers(const ProviderQuery& query, const Wait& wait);
  /// The cheapest that sells this and may be paid; who did not answer in the last ten minutes comes after all others, and last who is late
  /// with what was paid for in the last hour. `price` gives what the job would cost there. Errors: `unavailable`, `refused`.
  Result<ProviderInfo> choose(const ProviderQuery& query, const std::function<Result<std::int64_t>(const ProviderInfo&)>& price,
                              const Wait& wait);
  /// `refused` if this provider failed a check before, or has less than the minimal reputation.
  Result<void> check_reputation(const std::string& provider);
  PurchaseStore& store();
  const std::string& pubkey() const;

 private:
  struct Impl;
  explicit Buyer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
