#pragma once
/// @file
/// What the market needs of money: ask for it, pay it, see that it came. Amounts are msats.
///
///     ASSAY_TRY(const IssuedInvoice mine, wallet.make_invoice({.amount_msats = 500, .description_hash = h}, wait));
///     ASSAY_TRY(const Payment paid, wallet.pay(theirs, 500, wait));          // at most 500 msats, once
///     paid.preimage;                                                         // sha256 of it is the payment hash
///
/// Thread safety: a Wallet may be used from many threads.

#include <cstdint>
#include <string>

#include "assay/base/clock.h"
#include "assay/market/bolt11.h"

namespace assay {

struct InvoiceTerms {
  std::int64_t amount_msats = 0;
  std::string description_hash;        ///< 64 hex digits: what the invoice commits to
  std::int64_t expiry_seconds = 600;
};

struct IssuedInvoice {
  std::string invoice;       ///< BOLT11 text
  std::string payment_hash;
  std::int64_t expires_at = 0;  ///< Unix seconds
};

struct InvoiceStatus {
  bool settled = false;
  std::int64_t amount_msats = 0;
  std::int64_t expires_at = 0;
  std::string preimage;      ///< once settled; checked against the payment hash
  std::int64_t settled_at = 0;
};

struct Payment {
  std::string payment_hash;
  std::string preimage;      ///< checked: sha256 of it is the payment hash
  std::int64_t amount_msats = 0;
  bool already = false;      ///< it had been paid before by this wallet; nothing moved now
};

class Wallet {
 public:
  virtual ~Wallet() = default;
  virtual Bolt11Network network() const = 0;
  /// The node that signs the invoices this wallet can pay; empty if any may.
  virtual std::string node_id() const = 0;
  /// Pays at most `cap_msats`, exactly once: a second call for the same invoice gives the same preimage and moves nothing.
  /// Errors: `refused` (network, amountless, expired, over the cap), `mismatch` (foreign node), `over_budget` (balance),
  /// `unavailable`, `timed_out`: then the payment is *in flight*; call again with the same invoice, never with another one.
  virtual Result<Payment> pay(const std::string& invoice, std::int64_t cap_msats, const Wait& wait) = 0;
  virtual Result<IssuedInvoice> make_invoice(const InvoiceTerms& terms, const Wait& wait) = 0;
  /// Of an invoice made here. Errors: `unavailable`, `refused` (not ours).
  virtual Result<InvoiceStatus> lookup(const std::string& payment_hash, const Wait& wait) = 0;
  virtual Result<std::int64_t> balance(const Wait& wait) = 0;
  /// True: this payment was begun, moved nothing, and will not be made. Asks nobody.
  virtual Result<bool> came_to_nothing(const std::string& /*payment_hash*/) { return false; }
  /// Where it pays, as a command line names it; empty if nowhere.
  virtual std::string address() const { return {}; }
};

}  // namespace assay
