#pragma once
/// @file
/// A buyer's memory: what it asked for, from whom, what it paid, the receipts, and how providers behaved.
///
///     requested → paying → paid → done          or: failed, at any point before done
///
/// Thread safety: any number of threads.

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/database.h"
#include "assay/base/json.h"

namespace assay {

/// How long an order for the same job goes on with a purchase that has no result yet.
inline constexpr std::int64_t purchase_pick_up_seconds = 3600;
/// How long a result that was paid for and that nobody is known to have used is given to an order for the same job.
inline constexpr std::int64_t result_kept_seconds = 7 * 86'400;

enum class PurchaseState { requested, paying, paid, done, failed };
std::string_view name(PurchaseState state);

struct Purchase {
  std::string request_id;
  std::string job;             ///< the envelope's canonical JSON
  bool encrypted = false;      ///< the request was; so must be the result
  std::string provider;        ///< once a quote is accepted; final from then on
  std::string invoice, payment_hash, preimage;
  std::int64_t amount_msats = 0;
  PurchaseState state = PurchaseState::requested;
  std::int64_t at = 0;         ///< Unix seconds of the last change
  std::string buyer;           ///< public key that asks and pays
  bool told = false;           ///< the payment stands in a run record
  std::string telling;         ///< the record that was about to tell it when this was written last; a kill may have come before
};

struct Reputation {
  std::string provider;
  std::int64_t completed = 0;
  std::int64_t failed_checks = 0;
  std::string last_reason;
  bool trusted() const { return failed_checks == 0; }
  /// Share of purchases that went well; nothing while there is none.
  std::optional<double> score() const;
};

class PurchaseStore {
 public:
  /// `folder`/purchases.sqlite, every commit durable.
  static Result<std::unique_ptr<PurchaseStore>> open(const std::string& folder);
  Result<void> add(const Purchase& purchase);
  /// The most of 24 hours: of all purchases of this folder, and of those from one provider.
  struct Caps {
    std::int64_t day_msats = 0, provider_day_msats = 0;
  };
  /// Accepts the first quote. False if one was accepted before: that one is final. Errors: `over_budget` (other processes on this folder
  /// count too), `mismatch` (the payment hash was used for another job).
  Result<bool> accept(const Purchase& quoted, const Caps& caps, std::int64_t now);
  Result<void> paid(const std::string& request_id, const std::string& preimage, std::int64_t now);
  /// With the receipt, null for what cost nothing. `result`, unless null, is kept until it is `taken`. False: it was done before.
  Result<bool> done(const std::string& request_id, const Json& receipt, const Json& result, std::int64_t now);
  /// Purchases of that job whose result is kept; `provider` empty: from anyone.
  struct Kept {
    Purchase purchase;
    Json result;
  };
  Result<std::vector<Kept>> kept(const std::string& job, const std::string& provider, std::int64_t since);
  Result<bool> is_kept(const std::string& request_id);
  /// Its result has reached who asked for it: it is not given to anyone again.
  Result<void> taken(const std::string& request_id);
  Result<void> failed(const std::string& request_id, std::int64_t now);
  /// The payment is about to be told in that run record; then: it stands there.
  Result<void> telling(const std::string& request_id, const std::string& record);
  Result<void> told(const std::string& request_id);
  Result<std::optional<Purchase>> find(const std::string& request_id);
  /// Paid or being paid, without a result: a crash or a deadline came between.
  Result<std::vector<Purchase>> unfinished();
  Result<std::vector<Json>> receipts();
  /// Of purchases paid or being paid; `provider` empty: of all.
  Result<std::int64_t> spent_msats(std::int64_t since = 0, const std::string& provider = {});

  Result<Reputation> reputation(const std::string& provider);
  Result<std::vector<Reputation>> reputations();
  Result<void> note_completed(const std::string& provider, std::int64_t now);
  /// Asked, and nothing came of it (not a word, an error, a price above the bid): others are asked first for a while. Any later answer ends
  /// that.
  Result<void> note_silent(const std::string& provider, std::int64_t now);
  Result<void> note_heard(const std::string& provider);
  Result<bool> silent_since(const std::string& provider, std::int64_t since);
  /// A check failed or a paid result did not come: the provider is not paid again. `late_request`: a result of that request takes it back.
  Result<void> note_failed(const std::string& provider, const std::string& reason, std::int64_t now, const std::string& late_request = {});
  /// Purchases from that provider which were noted as failed for being late, and whose result may still come.
  Result<std::vector<Purchase>> late(const std::string& provider);
  /// One failure less, if it was noted for this request: its late result did come after all.
  Result<void> take_back_failure(const std::string& provider, const std::string& request_id);
  Result<void> forgive(const std::string& provider);

 private:
  Result<std::int64_t> spent(std::int64_t since, const std::string& provider);
  explicit PurchaseStore(Database database) : database_(std::move(database)) {}
  std::mutex mutex_;
  Database database_;
};

}  // namespace assay
