#include "assay/market/payment_store.h"

#include <fmt/format.h>

#include "assay/base/files.h"

namespace assay {
namespace {

constexpr std::int64_t day_seconds = 86'400;

constexpr const char* tables = R"(
CREATE TABLE IF NOT EXISTS payment(payment_hash TEXT PRIMARY KEY, invoice TEXT NOT NULL, msats INTEGER NOT NULL CHECK(msats > 0),
  state TEXT NOT NULL CHECK(state IN ('in_flight', 'settled', 'failed')), preimage TEXT, at INTEGER NOT NULL,
  CHECK((state = 'settled') = (preimage IS NOT NULL))) STRICT;
CREATE TABLE IF NOT EXISTS paid_by(payment_hash TEXT PRIMARY KEY, payer TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS balance(one INTEGER PRIMARY KEY CHECK(one = 1), msats INTEGER NOT NULL, at INTEGER NOT NULL) STRICT;
)";
constexpr std::string_view columns =
    "SELECT payment_hash, invoice, msats, state, preimage, at, coalesce((SELECT payer FROM paid_by b "
    "WHERE b.payment_hash = payment.payment_hash), '') AS payer FROM payment ";

StoredPayment read_row(const Statement& row) {
  return {row.text(0), row.text(1), row.integer(2), row.text(3), row.text(4), row.integer(5), row.text(6)};
}

}  // namespace

Result<std::unique_ptr<PaymentStore>> PaymentStore::open(const std::string& folder, std::string payer) {
  ASSAY_CHECK(make_folders(folder, 0700));
  ASSAY_TRY(Database database, Database::open(folder + "/payments.sqlite", {}));
  ASSAY_CHECK(database.execute(tables));
  return std::unique_ptr<PaymentStore>(new PaymentStore(std::move(database), std::move(payer)));
}

Result<void> PaymentStore::begin(const std::string& invoice, const std::string& payment_hash, std::int64_t amount_msats, std::int64_t now,
                                 std::int64_t day_cap_msats) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction transaction, Transaction::begin(database_));
  ASSAY_TRY(Statement add, database_.prepare("INSERT INTO payment(payment_hash, invoice, msats, state, at) VALUES(?, ?, ?, 'in_flight', ?) "
                                             "ON CONFLICT(payment_hash) DO UPDATE SET state = 'in_flight', at = excluded.at "
                                             "WHERE state = 'failed' AND invoice = excluded.invoice"));
  ASSAY_CHECK(add.bind(1, payment_hash).bind(2, invoice).bind(3, amount_msats).bind(4, now).run());
  ASSAY_TRY(Statement whose, database_.prepare("INSERT OR IGNORE INTO paid_by(payment_hash, payer) VALUES(?, ?)"));
  ASSAY_CHECK(whose.bind(1, payment_hash).bind(2, payer_).run());
  {
    ASSAY_TRY(Statement find, database_.prepare("SELECT invoice FROM payment WHERE payment_hash = ?"));
    ASSAY_CHECK(find.bind(1, payment_hash).step());
    if (find.text(0) != invoice) {
      return fail(ErrorCode::mismatch, "this payment hash belongs to another invoice",
                  "do not pay: whoever knows the first preimage could keep the money", "payment_hash");
    }
  }
  ASSAY_CHECK(check_cap(payment_hash, amount_msats, now - day_seconds, day_cap_msats));
  return transaction.commit();
}

// All settled payments of the day and those in flight count, without this one.
Result<void> PaymentStore::check_cap(const std::string& payment_hash, std::int64_t amount_msats, std::int64_t since,
                                     std::int64_t cap_msats) {
  ASSAY_TRY(Statement sum, database_.prepare("SELECT coalesce(sum(msats), 0) FROM payment "
                                             "WHERE state != 'failed' AND at >= ? AND payment_hash != ?"));
  ASSAY_CHECK(sum.bind(1, since).bind(2, payment_hash).step());
  const std::int64_t spent = sum.integer(0);
  if (amount_msats <= cap_msats - spent) return {};
  return fail(ErrorCode::over_budget,
              fmt::format("{} msats were spent in 24 hours and {} are asked, the cap is {}", spent, amount_msats, cap_msats),
              "wait, or raise the cap: --day-cap MSATS");
}

Result<void> PaymentStore::settle(const std::string& payment_hash, const std::string& preimage, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set,
            database_.prepare("UPDATE payment SET state = 'settled', preimage = ?, at = ? WHERE payment_hash = ? AND state != 'settled'"));
  return set.bind(1, preimage).bind(2, now).bind(3, payment_hash).run();
}

Result<void> PaymentStore::give_up(const std::string& payment_hash, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("UPDATE payment SET state = 'failed', at = ? WHERE payment_hash = ? AND state = 'in_flight'"));
  return set.bind(1, now).bind(2, payment_hash).run();
}

Result<std::optional<StoredPayment>> PaymentStore::find(const std::string& payment_hash) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) + "WHERE payment_hash = ?"));
  ASSAY_TRY(const bool found, row.bind(1, payment_hash).step());
  return found ? std::optional(read_row(row)) : std::nullopt;
}

Result<std::vector<StoredPayment>> PaymentStore::in_flight() {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) + "WHERE state = 'in_flight' AND payer IN (?, '') ORDER BY at"));
  row.bind(1, payer_);
  std::vector<StoredPayment> out;
  while (true) {  // ends: with the rows
    ASSAY_TRY(const bool more, row.step());
    if (!more) return out;
    out.push_back(read_row(row));
  }
}

Result<void> PaymentStore::note_balance(std::int64_t msats, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("INSERT OR REPLACE INTO balance(one, msats, at) VALUES(1, ?, ?)"));
  return set.bind(1, msats).bind(2, now).run();
}

Result<std::optional<std::int64_t>> PaymentStore::last_balance() {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT msats FROM balance"));
  ASSAY_TRY(const bool found, row.step());
  return found ? std::optional(row.integer(0)) : std::nullopt;
}

}  // namespace assay
