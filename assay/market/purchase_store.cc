#include "assay/market/purchase_store.h"

#include <array>

#include <fmt/format.h>

#include "assay/base/files.h"

namespace assay {
namespace {

constexpr std::int64_t day_seconds = 86'400;
constexpr std::array<std::string_view, 5> names{"requested", "paying", "paid", "done", "failed"};

// What came later has tables of its own, so that an older file is read as it is.
constexpr const char* tables = R"(
CREATE TABLE IF NOT EXISTS purchase(request_id TEXT PRIMARY KEY, job TEXT NOT NULL, encrypted INTEGER NOT NULL,
  state TEXT NOT NULL CHECK(state IN ('requested', 'paying', 'paid', 'done', 'failed')), provider TEXT NOT NULL DEFAULT '',
  invoice TEXT NOT NULL DEFAULT '', payment_hash TEXT UNIQUE, preimage TEXT NOT NULL DEFAULT '',
  msats INTEGER NOT NULL DEFAULT 0 CHECK(msats >= 0), receipt TEXT, at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS bought_by(request_id TEXT PRIMARY KEY, buyer TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS telling(request_id TEXT PRIMARY KEY, record TEXT NOT NULL, told INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS late(request_id TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS kept_result(request_id TEXT PRIMARY KEY, result TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reputation(provider TEXT PRIMARY KEY, completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '', at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS silence(provider TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
)";
constexpr std::string_view columns =
    "SELECT request_id, job, encrypted, provider, invoice, payment_hash, preimage, msats, state, at, "
    "(SELECT buyer FROM bought_by b WHERE b.request_id = purchase.request_id), "
    "(SELECT told FROM telling t WHERE t.request_id = purchase.request_id), "
    "(SELECT record FROM telling t WHERE t.request_id = purchase.request_id) FROM purchase ";

Purchase read_row(const Statement& row) {
  Purchase out{row.text(0),    row.text(1), row.integer(2) != 0, row.text(3),  row.text(4),          row.text(5), row.text(6),
               row.integer(7), {},          row.integer(9),      row.text(10), row.integer(11) != 0, row.text(12)};
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (row.text(8) == names[i]) out.state = static_cast<PurchaseState>(i);
  }
  return out;
}

Result<std::vector<Purchase>> read_rows(Statement& row) {
  std::vector<Purchase> out;
  while (true) {  // ends: with the rows
    ASSAY_TRY(const bool more, row.step());
    if (!more) return out;
    out.push_back(read_row(row));
  }
}

Reputation read_reputation(const Statement& row) { return {row.text(0), row.integer(1), row.integer(2), row.text(3)}; }

}  // namespace

std::string_view name(PurchaseState state) { return names[static_cast<std::size_t>(state)]; }

std::optional<double> Reputation::score() const {
  if (completed + failed_checks == 0) return std::nullopt;
  return static_cast<double>(completed) / static_cast<double>(completed + failed_checks);
}

Result<std::unique_ptr<PurchaseStore>> PurchaseStore::open(const std::string& folder) {
  ASSAY_CHECK(make_folders(folder, 0700));
  ASSAY_TRY(Database database, Database::open(folder + "/purchases.sqlite", {}));
  ASSAY_CHECK(database.execute(tables));
  return std::unique_ptr<PurchaseStore>(new PurchaseStore(std::move(database)));
}

Result<void> PurchaseStore::add(const Purchase& purchase) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction both, Transaction::begin(database_));
  ASSAY_TRY(Statement add,
            database_.prepare("INSERT INTO purchase(request_id, job, encrypted, state, at) VALUES(?, ?, ?, 'requested', ?)"));
  add.bind(1, purchase.request_id).bind(2, purchase.job).bind(3, std::int64_t{purchase.encrypted ? 1 : 0}).bind(4, purchase.at);
  ASSAY_CHECK(add.run());
  ASSAY_TRY(Statement whose, database_.prepare("INSERT INTO bought_by(request_id, buyer) VALUES(?, ?)"));
  ASSAY_CHECK(whose.bind(1, purchase.request_id).bind(2, purchase.buyer).run());
  return both.commit();
}

Result<bool> PurchaseStore::accept(const Purchase& quoted, const Caps& caps, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction transaction, Transaction::begin(database_));
  ASSAY_TRY(Statement known, database_.prepare("SELECT 1 FROM purchase WHERE payment_hash = ? AND request_id != ?"));
  ASSAY_TRY(const bool reused, known.bind(1, quoted.payment_hash).bind(2, quoted.request_id).step());
  if (reused)
    return fail(ErrorCode::mismatch, "this payment hash was used for another job", "do not pay: its preimage is known already",
                "payment_hash");
  ASSAY_TRY(const std::int64_t of_all, spent(now - day_seconds, ""));
  ASSAY_TRY(const std::int64_t of_one, spent(now - day_seconds, quoted.provider));
  const bool all = quoted.amount_msats > caps.day_msats - of_all;
  if (all || quoted.amount_msats > caps.provider_day_msats - of_one) {
    return fail(ErrorCode::over_budget,
                fmt::format("{} msats went, or may have gone, to {} in 24 hours and {} are asked, the cap is {}", all ? of_all : of_one,
                            all ? "all providers" : "this provider", quoted.amount_msats, all ? caps.day_msats : caps.provider_day_msats),
                "wait, or raise the cap: --day-cap MSATS");
  }
  ASSAY_TRY(Statement set,
            database_.prepare("UPDATE purchase SET state = 'paying', provider = ?, invoice = ?, payment_hash = ?, msats = ?, at = ? "
                              "WHERE request_id = ? AND state = 'requested'"));
  set.bind(1, quoted.provider).bind(2, quoted.invoice).bind(3, quoted.payment_hash).bind(4, quoted.amount_msats).bind(5, now);
  ASSAY_CHECK(set.bind(6, quoted.request_id).run());
  const bool first = database_.changes() == 1;
  ASSAY_CHECK(transaction.commit());
  return first;
}

Result<void> PurchaseStore::paid(const std::string& request_id, const std::string& preimage, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set,
            database_.prepare("UPDATE purchase SET state = 'paid', preimage = ?, at = ? WHERE request_id = ? AND state = 'paying'"));
  return set.bind(1, preimage).bind(2, now).bind(3, request_id).run();
}

Result<bool> PurchaseStore::done(const std::string& request_id, const Json& receipt, const Json& result, std::int64_t now) {
  std::string text;
  if (!receipt.is_null()) {
    ASSAY_TRY(text, canonical(receipt));
  }
  // One that is too deep to be kept is bought again after a crash: no reason to lose it now.
  const std::string result_text = result.is_null() ? "" : canonical(result).value_or("");
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction both, Transaction::begin(database_));
  ASSAY_TRY(Statement set,
            database_.prepare("UPDATE purchase SET state = 'done', receipt = ?, at = ? WHERE request_id = ? AND state != 'done'"));
  if (text.empty()) {
    set.bind_null(1);
  } else {
    set.bind(1, text);
  }
  ASSAY_CHECK(set.bind(2, now).bind(3, request_id).run());
  const bool first = database_.changes() == 1;
  if (first && !result_text.empty()) {
    ASSAY_TRY(Statement keep, database_.prepare("INSERT OR REPLACE INTO kept_result(request_id, result) VALUES(?, ?)"));
    ASSAY_CHECK(keep.bind(1, request_id).bind(2, result_text).run());
  }
  ASSAY_CHECK(both.commit());
  return first;
}

Result<std::vector<PurchaseStore::Kept>> PurchaseStore::kept(const std::string& job, const std::string& provider, std::int64_t since) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) + "JOIN kept_result USING(request_id) WHERE state = 'done' AND job = ? "
                                                                    "AND (? = '' OR provider = ?) AND at >= ? ORDER BY at, request_id"));
  row.bind(1, job).bind(2, provider).bind(3, provider).bind(4, since);
  ASSAY_TRY(std::vector<Purchase> purchases, read_rows(row));
  std::vector<Kept> out;
  for (Purchase& purchase : purchases) out.push_back({std::move(purchase), Json()});
  for (Kept& one : out) {
    ASSAY_TRY(Statement text, database_.prepare("SELECT result FROM kept_result WHERE request_id = ?"));
    ASSAY_TRY(const bool found, text.bind(1, one.purchase.request_id).step());
    if (!found) continue;
    if (auto result = read_json(text.text(0))) one.result = *std::move(result);
  }
  return out;
}

Result<void> PurchaseStore::telling(const std::string& request_id, const std::string& record) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("INSERT OR REPLACE INTO telling(request_id, record) VALUES(?, ?)"));
  return set.bind(1, request_id).bind(2, record).run();
}

Result<void> PurchaseStore::told(const std::string& request_id) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("UPDATE telling SET told = 1 WHERE request_id = ?"));
  return set.bind(1, request_id).run();
}

Result<bool> PurchaseStore::is_kept(const std::string& request_id) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT 1 FROM kept_result WHERE request_id = ?"));
  return row.bind(1, request_id).step();
}

Result<void> PurchaseStore::taken(const std::string& request_id) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("DELETE FROM kept_result WHERE request_id = ?"));
  return set.bind(1, request_id).run();
}

Result<void> PurchaseStore::failed(const std::string& request_id, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("UPDATE purchase SET state = 'failed', at = ? WHERE request_id = ? AND state != 'done'"));
  return set.bind(1, now).bind(2, request_id).run();
}

Result<std::optional<Purchase>> PurchaseStore::find(const std::string& request_id) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) + "WHERE request_id = ?"));
  ASSAY_TRY(const bool found, row.bind(1, request_id).step());
  return found ? std::optional(read_row(row)) : std::nullopt;
}

Result<std::vector<Purchase>> PurchaseStore::unfinished() {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) + "WHERE state IN ('paying', 'paid') ORDER BY at, request_id"));
  return read_rows(row);
}

Result<std::vector<Purchase>> PurchaseStore::late(const std::string& provider) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) +
                                             "JOIN late USING(request_id) WHERE provider = ? AND state = 'paid' ORDER BY at, request_id"));
  row.bind(1, provider);
  return read_rows(row);
}

Result<std::vector<Json>> PurchaseStore::receipts() {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT receipt FROM purchase WHERE receipt IS NOT NULL ORDER BY at, request_id"));
  std::vector<Json> out;
  while (true) {  // ends: with the rows
    ASSAY_TRY(const bool more, row.step());
    if (!more) return out;
    ASSAY_TRY(Json receipt, read_json(row.text(0)));
    out.push_back(std::move(receipt));
  }
}

Result<std::int64_t> PurchaseStore::spent(std::int64_t since, const std::string& provider) {
  ASSAY_TRY(Statement sum, database_.prepare("SELECT coalesce(sum(msats), 0) FROM purchase "
                                             "WHERE (state IN ('paying', 'paid', 'done') OR preimage != '') AND at >= ? "
                                             "AND (? = '' OR provider = ?)"));
  ASSAY_CHECK(sum.bind(1, since).bind(2, provider).bind(3, provider).step());
  return sum.integer(0);
}

Result<std::int64_t> PurchaseStore::spent_msats(std::int64_t since, const std::string& provider) {
  const std::scoped_lock lock(mutex_);
  return spent(since, provider);
}

Result<Reputation> PurchaseStore::reputation(const std::string& provider) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT provider, completed, failed, reason FROM reputation WHERE provider = ?"));
  ASSAY_TRY(const bool found, row.bind(1, provider).step());
  return found ? read_reputation(row) : Reputation{provider, 0, 0, ""};
}

Result<std::vector<Reputation>> PurchaseStore::reputations() {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT provider, completed, failed, reason FROM reputation ORDER BY provider"));
  std::vector<Reputation> out;
  while (true) {  // ends: with the rows
    ASSAY_TRY(const bool more, row.step());
    if (!more) return out;
    out.push_back(read_reputation(row));
  }
}

Result<void> PurchaseStore::note_completed(const std::string& provider, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("INSERT INTO reputation(provider, completed, at) VALUES(?, 1, ?) "
                                             "ON CONFLICT(provider) DO UPDATE SET completed = completed + 1, at = excluded.at"));
  return set.bind(1, provider).bind(2, now).run();
}

Result<void> PurchaseStore::note_silent(const std::string& provider, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("INSERT INTO silence(provider, at) VALUES(?, ?) "
                                             "ON CONFLICT(provider) DO UPDATE SET at = excluded.at"));
  return set.bind(1, provider).bind(2, now).run();
}

Result<void> PurchaseStore::note_heard(const std::string& provider) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("DELETE FROM silence WHERE provider = ?"));
  return set.bind(1, provider).run();
}

Result<bool> PurchaseStore::silent_since(const std::string& provider, std::int64_t since) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT 1 FROM silence WHERE provider = ? AND at >= ?"));
  row.bind(1, provider).bind(2, since);
  return row.step();
}

Result<void> PurchaseStore::note_failed(const std::string& provider, const std::string& reason, std::int64_t now,
                                        const std::string& late_request) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction both, Transaction::begin(database_));
  ASSAY_TRY(Statement set,
            database_.prepare("INSERT INTO reputation(provider, failed, reason, at) VALUES(?, 1, ?, ?) "
                              "ON CONFLICT(provider) DO UPDATE SET failed = failed + 1, reason = excluded.reason, at = excluded.at"));
  ASSAY_CHECK(set.bind(1, provider).bind(2, reason).bind(3, now).run());
  if (!late_request.empty()) {
    ASSAY_TRY(Statement late, database_.prepare("INSERT OR IGNORE INTO late(request_id) VALUES(?)"));
    ASSAY_CHECK(late.bind(1, late_request).run());
  }
  return both.commit();
}

Result<void> PurchaseStore::take_back_failure(const std::string& provider, const std::string& request_id) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction both, Transaction::begin(database_));
  ASSAY_TRY(Statement late, database_.prepare("DELETE FROM late WHERE request_id = ?"));
  ASSAY_CHECK(late.bind(1, request_id).run());
  if (database_.changes() == 1) {
    ASSAY_TRY(Statement set,
              database_.prepare("UPDATE reputation SET reason = CASE failed WHEN 1 THEN '' ELSE reason END, failed = failed - 1 "
                                "WHERE provider = ? AND failed > 0"));
    ASSAY_CHECK(set.bind(1, provider).run());
  }
  return both.commit();
}

Result<void> PurchaseStore::forgive(const std::string& provider) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction both, Transaction::begin(database_));
  ASSAY_TRY(Statement late, database_.prepare("DELETE FROM late WHERE request_id IN (SELECT request_id FROM purchase WHERE provider = ?)"));
  ASSAY_CHECK(late.bind(1, provider).run());
  ASSAY_TRY(Statement set, database_.prepare("UPDATE reputation SET failed = 0, reason = '' WHERE provider = ?"));
  ASSAY_CHECK(set.bind(1, provider).run());
  return both.commit();
}

}  // namespace assay
