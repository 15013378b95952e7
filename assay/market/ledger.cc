#include "assay/market/ledger.h"

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/contract/key_file.h"

namespace assay {
namespace {

constexpr std::string_view issuer_account = "issuer";  // holds what has not been granted; no key can sign for it

// STRICT and CHECK: what the code promises, the file enforces too.
constexpr const char* tables = R"(
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS account(key TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK(balance >= 0), opened_at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS invoice(payment_hash TEXT PRIMARY KEY, text TEXT NOT NULL UNIQUE, payee TEXT NOT NULL REFERENCES account(key),
  msats INTEGER NOT NULL CHECK(msats > 0), preimage TEXT NOT NULL, expires_at INTEGER NOT NULL,
  payer TEXT REFERENCES account(key), settled_at INTEGER, CHECK((payer IS NULL) = (settled_at IS NULL))) STRICT;
CREATE INDEX IF NOT EXISTS invoice_open ON invoice(payee, expires_at) WHERE payer IS NULL;
CREATE TABLE IF NOT EXISTS movement(seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, from_key TEXT NOT NULL REFERENCES account(key),
  to_key TEXT NOT NULL REFERENCES account(key), msats INTEGER NOT NULL CHECK(msats > 0), payment_hash TEXT UNIQUE, at INTEGER NOT NULL) STRICT;
DROP TABLE IF EXISTS nonce;
CREATE TABLE IF NOT EXISTS reply(account TEXT NOT NULL, nonce TEXT NOT NULL, expires INTEGER NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY(account, nonce)) STRICT;
)";

}  // namespace

Ledger::Ledger(LedgerOptions options, Clock& clock, Entropy& entropy, SecretKey node, std::string node_id, Database database)
    : options_(std::move(options)),
      clock_(clock),
      entropy_(entropy),
      node_(node),
      node_id_(std::move(node_id)),
      database_(std::move(database)) {}

Result<std::unique_ptr<Ledger>> Ledger::open(const LedgerOptions& options, Clock& clock, Entropy& entropy) {
  if (options.grant_msats < 0 || options.supply_msats <= 0 || options.supply_msats > json_integer_max) {
    return fail(ErrorCode::usage, "expected a grant of at least 0 and a supply between 1 and 2^53-1 msats");
  }
  ASSAY_CHECK(make_folders(options.folder, 0700));
  ASSAY_TRY(SecretKey node, load_or_create_key(options.folder + "/keys", "node", entropy));
  ASSAY_TRY(std::string id, assay::node_id(node));
  ASSAY_TRY(Database database, Database::open(options.folder + "/ledger.sqlite", {}));
  std::unique_ptr<Ledger> ledger(new Ledger(options, clock, entropy, node, std::move(id), std::move(database)));
  if (auto ready = ledger->prepare_tables(); !ready) return std::unexpected(std::move(ready).error().in(options.folder));
  return ledger;
}

Result<void> Ledger::prepare_tables() {
  ASSAY_TRY(Transaction transaction, Transaction::begin(database_));
  ASSAY_CHECK(database_.execute(tables));
  ASSAY_TRY(Statement known, database_.prepare("SELECT value FROM meta WHERE name = 'supply'"));
  ASSAY_TRY(const bool found, known.step());
  if (!found) {
    ASSAY_TRY(Statement supply, database_.prepare("INSERT INTO meta(name, value) VALUES('supply', ?)"));
    ASSAY_CHECK(supply.bind(1, options_.supply_msats).run());
    ASSAY_TRY(Statement issuer, database_.prepare("INSERT INTO account(key, balance, opened_at) VALUES(?, ?, ?)"));
    ASSAY_CHECK(issuer.bind(1, issuer_account).bind(2, options_.supply_msats).bind(3, now()).run());
  } else {
    options_.supply_msats = known.integer(0);  // it was decided when the file was made
  }
  known.reset();
  ASSAY_CHECK(transaction.commit());
  ASSAY_TRY(const std::int64_t sum, sum_of_balances());
  if (sum != options_.supply_msats) {
    return fail(ErrorCode::refused, fmt::format("the balances add up to {} msats, the supply is {}", sum, options_.supply_msats),
                "the file was altered by hand: restore it from a copy");
  }
  return {};
}

void Ledger::step(std::string_view name) const {
  if (options_.at_step) options_.at_step(name);
}

// Holds the lock, begins, and commits only if the work succeeded.
template <class Work>
auto Ledger::in_transaction(Work&& work) -> decltype(work()) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction transaction, Transaction::begin(database_));
  auto done = work();
  if (!done) return done;
  step("before commit");
  ASSAY_CHECK(transaction.commit());
  step("after commit");
  return done;
}

Result<std::int64_t> Ledger::sum_of_balances() {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement sum, database_.prepare("SELECT sum(balance) FROM account"));
  ASSAY_CHECK(sum.step());
  return sum.integer(0);
}

Result<std::int64_t> Ledger::balance_of(const std::string& account) {
  ASSAY_TRY(Statement find, database_.prepare("SELECT balance FROM account WHERE key = ?"));
  ASSAY_TRY(const bool found, find.bind(1, account).step());
  if (!found) return fail(ErrorCode::refused, "this key has no account here", "open one first");
  return find.integer(0);
}

Result<void> Ledger::move(const std::string& from, const std::string& to, std::int64_t msats, std::string_view kind,
                          const std::string& payment_hash) {
  ASSAY_TRY(const std::int64_t held, balance_of(from));
  if (held < msats) {
    return fail(ErrorCode::over_budget, fmt::format("the balance is {} msats, needed are {}", held, msats),
                "earn or be granted more first");
  }
  ASSAY_TRY(Statement debit, database_.prepare("UPDATE account SET balance = balance - ? WHERE key = ?"));
  ASSAY_CHECK(debit.bind(1, msats).bind(2, from).run());
  step("debited");
  ASSAY_TRY(Statement credit, database_.prepare("UPDATE account SET balance = balance + ? WHERE key = ?"));
  ASSAY_CHECK(credit.bind(1, msats).bind(2, to).run());
  if (database_.changes() != 1) return fail(ErrorCode::internal, "the payee's account is missing");
  step("credited");
  ASSAY_TRY(Statement note,
            database_.prepare("INSERT INTO movement(kind, from_key, to_key, msats, payment_hash, at) VALUES(?, ?, ?, ?, ?, ?)"));
  note.bind(1, kind).bind(2, from).bind(3, to).bind(4, msats).bind(6, now());
  if (payment_hash.empty()) {
    note.bind_null(5);
  } else {
    note.bind(5, payment_hash);
  }
  ASSAY_CHECK(note.run());
  step("noted");
  return {};
}

Result<Ledger::Opened> Ledger::do_open(const std::string& account) {
  if (!is_hex(account, 64)) return fail(ErrorCode::malformed, "an account is a public key of 64 hex digits");
  if (auto held = balance_of(account); held) return Opened{*held, 0};
  ASSAY_TRY(Statement count, database_.prepare("SELECT count(*) FROM account"));
  ASSAY_CHECK(count.step());
  if (count.integer(0) > options_.accounts_max) return fail(ErrorCode::limit_exceeded, "no more accounts are opened here");
  ASSAY_TRY(Statement add, database_.prepare("INSERT INTO account(key, balance, opened_at) VALUES(?, 0, ?)"));
  ASSAY_CHECK(add.bind(1, account).bind(2, now()).run());
  if (options_.grant_msats > 0) ASSAY_CHECK(move(std::string(issuer_account), account, options_.grant_msats, "grant", ""));
  return Opened{options_.grant_msats, options_.grant_msats};
}

Result<IssuedInvoice> Ledger::do_invoice(const std::string& account, const InvoiceTerms& terms) {
  ASSAY_CHECK(balance_of(account));
  if (terms.amount_msats <= 0 || terms.amount_msats > options_.invoice_msats_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("expected 1 to {} msats, found {}", options_.invoice_msats_max, terms.amount_msats),
                {}, "amount_msats");
  }
  if (terms.expiry_seconds <= 0 || terms.expiry_seconds > options_.invoice_seconds_max) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("expected 1 to {} seconds, found {}", options_.invoice_seconds_max, terms.expiry_seconds), {},
                "expiry_seconds");
  }
  ASSAY_TRY(Statement count, database_.prepare("SELECT count(*) FROM invoice WHERE payee = ? AND payer IS NULL AND expires_at > ?"));
  ASSAY_CHECK(count.bind(1, account).bind(2, now()).step());
  if (count.integer(0) >= options_.open_invoices_max)
    return fail(ErrorCode::limit_exceeded, "too many unpaid invoices", "wait until some expire");

  const Bytes32 preimage = entropy_.bytes32();
  Bolt11Draft draft;
  draft.network = Bolt11Network::regtest;
  draft.amount_msats = terms.amount_msats;
  draft.timestamp = now();
  draft.expiry_seconds = terms.expiry_seconds;
  draft.payment_hash = sha256_hex(std::string_view(reinterpret_cast<const char*>(preimage.data()), preimage.size()));
  draft.payment_secret = entropy_.hex_bytes(32);
  draft.description_hash = terms.description_hash;
  ASSAY_TRY(const std::string text, write_bolt11(draft, node_));
  ASSAY_TRY(Statement add,
            database_.prepare("INSERT INTO invoice(payment_hash, text, payee, msats, preimage, expires_at) VALUES(?, ?, ?, ?, ?, ?)"));
  const std::int64_t expires_at = draft.timestamp + draft.expiry_seconds;
  add.bind(1, draft.payment_hash).bind(2, text).bind(3, account).bind(4, terms.amount_msats);
  ASSAY_CHECK(add.bind(5, hex(std::span<const std::uint8_t>(preimage))).bind(6, expires_at).run());
  return IssuedInvoice{text, draft.payment_hash, expires_at};
}

Result<Payment> Ledger::do_pay(const std::string& account, const std::string& text, std::int64_t cap_msats) {
  ASSAY_CHECK(balance_of(account));
  ASSAY_TRY(const Bolt11 invoice, read_bolt11(text));
  ASSAY_TRY(Statement find, database_.prepare("SELECT text, payee, msats, preimage, payer FROM invoice WHERE payment_hash = ?"));
  ASSAY_TRY(const bool found, find.bind(1, invoice.payment_hash).step());
  PayableTerms terms{.network = Bolt11Network::regtest, .payee = node_id_, .now = now(), .most_msats = cap_msats};
  const bool settled = found && !find.is_null(4);
  if (settled) {  // what has been paid does not expire, and no cap calls it off
    terms.now = 0;
    terms.most_msats = find.integer(2);
  }
  ASSAY_CHECK(check_payable(invoice, terms));
  if (!found || find.text(0) != text) return fail(ErrorCode::refused, "this invoice was not issued here", "pay it where it was made");
  Payment out{invoice.payment_hash, find.text(3), find.integer(2), settled};
  if (settled) {
    if (find.text(4) != account)
      return fail(ErrorCode::refused, "this invoice has been paid by someone else", "ask for an invoice of your own");
    return out;
  }
  if (find.text(1) == account) return fail(ErrorCode::refused, "payer and payee are the same account");
  ASSAY_CHECK(move(account, find.text(1), out.amount_msats, "payment", out.payment_hash));
  ASSAY_TRY(Statement settle, database_.prepare("UPDATE invoice SET payer = ?, settled_at = ? WHERE payment_hash = ? AND payer IS NULL"));
  ASSAY_CHECK(settle.bind(1, account).bind(2, now()).bind(3, out.payment_hash).run());
  if (database_.changes() != 1) return fail(ErrorCode::internal, "the invoice was settled meanwhile");
  step("settled");
  return out;
}

Result<InvoiceStatus> Ledger::do_lookup(const std::string& account, const std::string& payment_hash) {
  ASSAY_TRY(Statement find,
            database_.prepare("SELECT msats, expires_at, settled_at, preimage FROM invoice WHERE payment_hash = ? AND payee = ?"));
  ASSAY_TRY(const bool found, find.bind(1, payment_hash).bind(2, account).step());
  if (!found) return fail(ErrorCode::refused, "no invoice of yours has this payment hash");
  InvoiceStatus out;
  out.amount_msats = find.integer(0);
  out.expires_at = find.integer(1);
  out.settled = !find.is_null(2);
  if (out.settled) {
    out.settled_at = find.integer(2);
    out.preimage = find.text(3);
  }
  return out;
}

Result<Ledger::Opened> Ledger::open_account(const std::string& account) {
  return in_transaction([&] { return do_open(account); });
}
Result<std::int64_t> Ledger::balance(const std::string& account) {
  const std::scoped_lock lock(mutex_);
  return balance_of(account);
}
Result<IssuedInvoice> Ledger::make_invoice(const std::string& account, const InvoiceTerms& terms) {
  return in_transaction([&] { return do_invoice(account, terms); });
}
Result<Payment> Ledger::pay(const std::string& account, const std::string& invoice, std::int64_t cap_msats) {
  return in_transaction([&] { return do_pay(account, invoice, cap_msats); });
}
Result<InvoiceStatus> Ledger::lookup(const std::string& account, const std::string& payment_hash) {
  const std::scoped_lock lock(mutex_);
  return do_lookup(account, payment_hash);
}

}  // namespace assay
