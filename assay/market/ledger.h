#pragma once
/// @file
/// The local ledger: accounts by public key, invoices, movements, in one SQLite file. What the issuer process serves.
///
///     ASSAY_TRY(auto ledger, Ledger::open({.folder = "issuer"}, clock, entropy));
///     ledger->apply(signed_request);        // a reply, signed by the issuer's node key
///
/// Always true (ledger_test): the sum of all balances is the supply; no balance is negative; a payment hash is paid at most
/// once; a movement is there whole or not at all, also when the process dies between any two steps; a signed request counts once.
///
/// The issuer makes the preimages, so it is trusted with the money: it is a till for a demo and for one team, not a Lightning
/// node. Its invoices are BOLT11 for the regtest network, which no real wallet pays.
///
/// Thread safety: any number of threads; movements are serialised.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "assay/base/clock.h"
#include "assay/base/database.h"
#include "assay/base/keys.h"
#include "assay/market/wallet.h"

namespace assay {

struct LedgerOptions {
  std::string folder;                                   ///< ledger.sqlite and keys/node.key; made if missing
  std::int64_t grant_msats = 1'000'000;                 ///< to each account when it opens: play money, said in every answer to `open`
  std::int64_t supply_msats = 1'000'000'000'000;        ///< made once, with the file; grants come out of it
  std::int64_t invoice_msats_max = 1'000'000'000;
  std::int64_t invoice_seconds_max = 86'400;
  std::int64_t open_invoices_max = 1'000;               ///< unpaid and not expired, an account
  std::int64_t accounts_max = 100'000;
  std::int64_t request_seconds_max = 120;               ///< how far ahead a request may expire; its nonce is kept that long
  std::function<void(std::string_view)> at_step = {};   ///< called between the steps of a movement; for crash tests
};

class Ledger {
 public:
  /// Errors: `io`, `refused` (the node key can be read by others, or the sum of balances is not the supply).
  static Result<std::unique_ptr<Ledger>> open(const LedgerOptions& options, Clock& clock, Entropy& entropy);

  const std::string& node_id() const { return node_id_; }           ///< 66 hex digits
  const std::string& node_public_hex() const { return node_.public_hex(); }
  /// Who this is and what it gives, signed by the node: `assay.ledger.info/1`.
  Result<Json> info() const;

  /// One request `{"format": "assay.ledger/1", "issuer", "op", "params", "nonce", "expires", "signer", "signature"}`.
  /// The reply is always signed and names the request: `{"format": "assay.ledger.reply/1", "request", "taken", "result", "error", …}`. An
  /// error with `taken` false is about this copy of the request (expired, its nonce used) and says nothing of what became of another. The
  /// same request again gets the same reply until it expires, and does nothing. Errors: `malformed` (no object, so nothing to answer),
  /// `io`, `internal`: then it was not carried out, or nobody knows.
  Result<Json> apply(const Json& request);

  // What the operations do; `account` is the caller's public key. All are one transaction.
  struct Opened {
    std::int64_t balance = 0;
    std::int64_t granted = 0;  ///< 0 if the account was there
  };
  Result<Opened> open_account(const std::string& account);
  Result<std::int64_t> balance(const std::string& account);
  Result<IssuedInvoice> make_invoice(const std::string& account, const InvoiceTerms& terms);
  Result<Payment> pay(const std::string& account, const std::string& invoice, std::int64_t cap_msats);
  Result<InvoiceStatus> lookup(const std::string& account, const std::string& payment_hash);

  /// Sum over all accounts, the issuer's own rest included.
  Result<std::int64_t> sum_of_balances();

 private:
  Ledger(LedgerOptions options, Clock& clock, Entropy& entropy, SecretKey node, std::string node_id, Database database);
  Result<void> prepare_tables();
  Result<void> check_request(const Json& request) const;
  Result<Json> dispatch(const Json& request);
  Result<std::optional<Json>> answered(const std::string& account, const std::string& nonce);
  Result<Json> reply(const std::string& request_hash, bool taken, const Result<Json>& result) const;
  Result<std::int64_t> balance_of(const std::string& account);
  Result<Opened> do_open(const std::string& account);
  Result<IssuedInvoice> do_invoice(const std::string& account, const InvoiceTerms& terms);
  Result<Payment> do_pay(const std::string& account, const std::string& text, std::int64_t cap_msats);
  Result<InvoiceStatus> do_lookup(const std::string& account, const std::string& payment_hash);
  Result<void> move(const std::string& from, const std::string& to, std::int64_t msats, std::string_view kind,
                    const std::string& payment_hash);
  template <class Work>
  auto in_transaction(Work&& work) -> decltype(work());
  void step(std::string_view name) const;
  std::int64_t now() const { return clock_.unix_ns() / 1'000'000'000; }

  LedgerOptions options_;
  Clock& clock_;
  Entropy& entropy_;
  SecretKey node_;
  std::string node_id_;
  mutable std::mutex mutex_;
  Database database_;
};

}  // namespace assay
