#pragma once
/// @file
/// A payer's own memory of its payments, so that a crash between paying and hearing of it neither loses nor repeats one.
///
///     ASSAY_CHECK(store.begin(invoice, hash, 500, now, 10'000));   // durable before the money may move
///     ASSAY_CHECK(store.settle(hash, preimage, now));
///     store.in_flight();                                    // after a crash: ask the issuer about these again
///
/// Thread safety: any number of threads.

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/database.h"

namespace assay {

struct StoredPayment {
  std::string payment_hash;
  std::string invoice;
  std::int64_t amount_msats = 0;
  std::string state;     ///< "in_flight", "settled" or "failed"
  std::string preimage;  ///< once settled
  std::int64_t at = 0;   ///< Unix seconds of the last change
  std::string payer;     ///< public key whose account it is paid from
};

class PaymentStore {
 public:
  /// `folder`/payments.sqlite, every commit durable; `payer` is the public key whose payments begin here. Errors: `io`.
  static Result<std::unique_ptr<PaymentStore>> open(const std::string& folder, std::string payer);
  /// Notes a payment in flight, if what all processes on this folder paid in 24 hours then stays within the cap. One that is in flight or
  /// settled stays as it is; one that failed may begin again.
  /// Errors: `over_budget`, `mismatch` (the hash is known with another invoice: somebody reuses it), `io`.
  Result<void> begin(const std::string& invoice, const std::string& payment_hash, std::int64_t amount_msats, std::int64_t now,
                     std::int64_t day_cap_msats);
  Result<void> settle(const std::string& payment_hash, const std::string& preimage, std::int64_t now);
  /// Only for an answer that says that nothing moved.
  Result<void> give_up(const std::string& payment_hash, std::int64_t now);
  Result<std::optional<StoredPayment>> find(const std::string& payment_hash);
  Result<std::vector<StoredPayment>> in_flight();  ///< of this payer
  Result<void> note_balance(std::int64_t msats, std::int64_t now);  ///< as the issuer last said
  Result<std::optional<std::int64_t>> last_balance();

 private:
  Result<void> check_cap(const std::string& payment_hash, std::int64_t amount_msats, std::int64_t since, std::int64_t cap_msats);
  PaymentStore(Database database, std::string payer) : database_(std::move(database)), payer_(std::move(payer)) {}
  std::mutex mutex_;
  Database database_;
  const std::string payer_;
};

}  // namespace assay
