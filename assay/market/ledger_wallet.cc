#include "assay/market/ledger_wallet.h"

#include <fmt/format.h>

namespace assay {
namespace {

constexpr int attempts_max = 3;

// After these the issuer may or may not have moved the money: the payment stays in flight.
bool unknown_outcome(ErrorCode code) {
  switch (code) {
    case ErrorCode::unavailable:
    case ErrorCode::timed_out:
    case ErrorCode::cancelled:
    case ErrorCode::mismatch:
    case ErrorCode::malformed:
    case ErrorCode::io:
    case ErrorCode::internal: return true;
    default: return false;
  }
}

}  // namespace

Result<std::shared_ptr<LedgerWallet>> LedgerWallet::connect(const LedgerWalletOptions& options, const SecretKey& key, Clock& clock,
                                                            Entropy& entropy, const Wait& wait) {
  ASSAY_TRY(std::unique_ptr<PaymentStore> store, PaymentStore::open(options.folder, key.public_hex()));
  std::shared_ptr<LedgerWallet> wallet(
      new LedgerWallet(options, LedgerClient(options.issuer, key, clock, entropy), std::move(store), clock));
  ASSAY_CHECK(wallet->client_.connect(wait));
  ASSAY_TRY(const LedgerAccount account, wallet->client_.open(wait));
  wallet->granted_ = account.granted_msats;
  ASSAY_CHECK(wallet->store_->note_balance(account.balance_msats, wallet->now()));
  ASSAY_CHECK(wallet->finish_in_flight(wait));
  return wallet;
}

// The issuer pays an invoice once: asking again gives the preimage of a payment that went through, and makes one that did not.
// That is what was decided before the crash; if it cannot be had any more (expired), nothing has moved.
Result<void> LedgerWallet::finish_in_flight(const Wait& wait) {
  ASSAY_TRY(const std::vector<StoredPayment> open, store_->in_flight());
  for (const StoredPayment& payment : open) {
    const auto invoice = read_bolt11(payment.invoice);
    if (!invoice || invoice->payee != client_.node_id()) continue;  // another issuer's: only that one can say what became of it
    if (auto in_time = wait.check(clock_, "payments in flight"); !in_time) return in_time;
    // Whatever cannot be settled now stays in flight, counts as spent, and locks nothing else.
    (void)ask_to_pay(payment.invoice, payment.payment_hash, payment.amount_msats, wait);
  }
  return {};
}

Result<Payment> LedgerWallet::pay(const std::string& invoice, std::int64_t cap_msats, const Wait& wait) {
  const std::scoped_lock lock(paying_);
  ASSAY_TRY(const Bolt11 read, read_bolt11(invoice));
  ASSAY_TRY(const std::optional<StoredPayment> known, store_->find(read.payment_hash));
  if (known && known->state != "failed" && !known->payer.empty() && known->payer != client_.account())
    return fail(ErrorCode::usage, fmt::format("this invoice is paid from the account of {}", known->payer), "use that key: --key NAME",
                "key");
  const bool begun = known && known->invoice == invoice && known->state != "failed";
  if (begun && known->state == "settled") return Payment{known->payment_hash, known->preimage, known->amount_msats, true};
  if (!begun) {
    PayableTerms terms;
    terms.network = network();
    terms.payee = client_.node_id();
    terms.now = now();
    terms.margin_seconds = options_.margin_seconds;
    terms.most_msats = cap_msats;
    ASSAY_CHECK(check_payable(read, terms));
    ASSAY_CHECK(store_->begin(invoice, read.payment_hash, *read.amount_msats, now(), options_.day_cap_msats));
  }
  return ask_to_pay(invoice, read.payment_hash, cap_msats, wait);
}

Result<Payment> LedgerWallet::ask_to_pay(const std::string& invoice, const std::string& payment_hash, std::int64_t cap_msats,
                                         const Wait& wait) {
  for (int attempt = 1;; ++attempt) {  // ends: after attempts_max, or with an answer
    auto paid = client_.pay(invoice, cap_msats, wait);
    if (paid) {
      ASSAY_CHECK(store_->settle(payment_hash, paid->preimage, now()));
      return paid;
    }
    if (!unknown_outcome(paid.error().code)) {
      ASSAY_CHECK(store_->give_up(payment_hash, now()));
      return paid;
    }
    if (paid.error().code != ErrorCode::unavailable || attempt == attempts_max) return paid;
    ASSAY_CHECK(wait.check(clock_, "payment"));
    clock_.sleep_until(clock_.steady_ns() + attempt * 200'000'000LL, wait.stop);
  }
}

Result<bool> LedgerWallet::came_to_nothing(const std::string& payment_hash) {
  ASSAY_TRY(const std::optional<StoredPayment> known, store_->find(payment_hash));
  return known && known->state == "failed";
}

Result<std::int64_t> LedgerWallet::balance(const Wait& wait) {
  ASSAY_TRY(const std::int64_t msats, client_.balance(wait));
  ASSAY_CHECK(store_->note_balance(msats, now()));
  return msats;
}

}  // namespace assay
