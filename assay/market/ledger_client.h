#pragma once
/// @file
/// Signed requests to an issuer (issuer.h), and its replies, checked.
///
///     LedgerClient client({.url = "http://127.0.0.1:41233", .node_id = "03…"}, key, clock, entropy);
///     ASSAY_TRY(const std::int64_t msats, client.balance(wait));
///
/// Every reply must be signed by the pinned node and name the request: another process on the port cannot invent a payment.
/// A request that is not answered may have been carried out; `pay` may be asked again, the others are harmless to repeat.
///
/// Thread safety: any number of threads.

#include <string>

#include "assay/base/keys.h"
#include "assay/market/wallet.h"

namespace assay {

struct LedgerInfo {
  std::string node_id;  ///< 66 hex digits
  Bolt11Network network = Bolt11Network::regtest;
  std::int64_t grant_msats = 0;
};

struct LedgerAccount {
  std::int64_t balance_msats = 0;
  std::int64_t granted_msats = 0;  ///< just now
};

struct LedgerAddress {
  std::string url;      ///< of the issuer
  std::string node_id;  ///< expected; empty: whoever answers the first `connect` (said to be so in docs)
};

class LedgerClient {
 public:
  LedgerClient(LedgerAddress address, SecretKey key, Clock& clock, Entropy& entropy)
      : address_(std::move(address)), key_(key), clock_(clock), entropy_(entropy) {}

  /// Fetches and checks `/v1/info`; pins the node if none was given. Errors: `mismatch` (another node), `unavailable`.
  Result<LedgerInfo> connect(const Wait& wait);
  const std::string& account() const { return key_.public_hex(); }
  const std::string& node_id() const { return address_.node_id; }

  // Errors of all: what the issuer says (over_budget, refused, limit_exceeded, …), `mismatch` (a reply not signed by the
  // node), `unavailable` (no answer of the issuer, whatever came), `timed_out`, `cancelled`.
  Result<LedgerAccount> open(const Wait& wait);
  Result<std::int64_t> balance(const Wait& wait);
  Result<IssuedInvoice> make_invoice(const InvoiceTerms& terms, const Wait& wait);
  Result<Payment> pay(const std::string& invoice, std::int64_t cap_msats, const Wait& wait);
  Result<InvoiceStatus> lookup(const std::string& payment_hash, const Wait& wait);

 private:
  Result<Json> send(std::string_view op, JsonObject params, const Wait& wait);

  LedgerAddress address_;
  SecretKey key_;
  Clock& clock_;
  Entropy& entropy_;
};

}  // namespace assay
