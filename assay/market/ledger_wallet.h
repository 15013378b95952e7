#pragma once
/// @file
/// A wallet on the local ledger: a client of the issuer, and a store of its own payments.
///
///     ASSAY_TRY(const std::shared_ptr<Wallet> wallet, LedgerWallet::connect({.issuer = {.url = url}, .folder = "buyer"}, key, clock,
///     entropy, wait));
///
/// Thread safety: as Wallet says.

#include <memory>
#include <string>

#include "assay/market/ledger_client.h"
#include "assay/market/payment_store.h"
#include "assay/market/wallet.h"

namespace assay {

struct LedgerWalletOptions {
  LedgerAddress issuer;
  std::string folder;                        ///< of this party: payments.sqlite
  std::int64_t day_cap_msats = 100'000'000;  ///< never more than this in 24 hours, whatever a caller allows
  std::int64_t margin_seconds = 5;           ///< an invoice must live at least that much longer
};

class LedgerWallet final : public Wallet {
 public:
  /// Finds out who the issuer is, opens the account if need be (with the issuer's start grant), and asks again about payments
  /// that were in flight when this party last stopped.
  static Result<std::shared_ptr<LedgerWallet>> connect(const LedgerWalletOptions& options, const SecretKey& key, Clock& clock,
                                                       Entropy& entropy, const Wait& wait);

  Bolt11Network network() const override { return Bolt11Network::regtest; }
  std::string node_id() const override { return client_.node_id(); }
  Result<Payment> pay(const std::string& invoice, std::int64_t cap_msats, const Wait& wait) override;
  Result<IssuedInvoice> make_invoice(const InvoiceTerms& terms, const Wait& wait) override { return client_.make_invoice(terms, wait); }
  Result<InvoiceStatus> lookup(const std::string& payment_hash, const Wait& wait) override { return client_.lookup(payment_hash, wait); }
  Result<std::int64_t> balance(const Wait& wait) override;
  Result<bool> came_to_nothing(const std::string& payment_hash) override;
  std::string address() const override { return options_.issuer.url; }

  std::int64_t granted_msats() const { return granted_; }  ///< when the account was opened just now
  PaymentStore& payments() { return *store_; }

 private:
  LedgerWallet(const LedgerWalletOptions& options, LedgerClient client, std::unique_ptr<PaymentStore> store, Clock& clock)
      : options_(options), client_(std::move(client)), store_(std::move(store)), clock_(clock) {}
  Result<Payment> ask_to_pay(const std::string& invoice, const std::string& payment_hash, std::int64_t cap_msats, const Wait& wait);
  Result<void> finish_in_flight(const Wait& wait);
  std::int64_t now() const { return clock_.unix_ns() / 1'000'000'000; }

  LedgerWalletOptions options_;
  LedgerClient client_;
  std::unique_ptr<PaymentStore> store_;
  Clock& clock_;
  std::mutex paying_;  // one payment at a time
  std::int64_t granted_ = 0;
};

}  // namespace assay
