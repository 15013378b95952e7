#include "assay/market/job_store.h"

#include <array>

#include "assay/base/files.h"

namespace assay {
namespace {

constexpr std::array<std::string_view, 6> names{"received", "quoted", "paid", "done", "failed", "expired"};

constexpr const char* tables = R"(
CREATE TABLE IF NOT EXISTS job(request_id TEXT PRIMARY KEY, request TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN ('received', 'quoted', 'paid', 'done', 'failed', 'expired')),
  msats INTEGER NOT NULL DEFAULT 0 CHECK(msats >= 0), payment_hash TEXT UNIQUE, expires_at INTEGER NOT NULL DEFAULT 0,
  answer TEXT NOT NULL DEFAULT '', published INTEGER NOT NULL DEFAULT 1, was_paid INTEGER NOT NULL DEFAULT 0,
  received_at INTEGER NOT NULL, changed_at INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS job_state ON job(state);
CREATE INDEX IF NOT EXISTS job_buyer ON job(json_extract(request, '$.pubkey'));
)";
constexpr std::string_view columns = "SELECT request_id, request, state, msats, payment_hash, expires_at, answer, published FROM job ";

StoredJob read_row(const Statement& row) {
  StoredJob out;
  out.request_id = row.text(0);
  out.request = row.text(1);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (row.text(2) == names[i]) out.state = static_cast<JobState>(i);
  }
  out.amount_msats = row.integer(3);
  out.payment_hash = row.text(4);
  out.expires_at = row.integer(5);
  out.answer = row.text(6);
  out.published = row.integer(7) != 0;
  return out;
}

Result<std::vector<StoredJob>> read_rows(Statement row) {
  std::vector<StoredJob> out;
  while (true) {  // ends: with the rows
    ASSAY_TRY(const bool more, row.step());
    if (!more) return out;
    out.push_back(read_row(row));
  }
}

}  // namespace

std::string_view name(JobState state) { return names[static_cast<std::size_t>(state)]; }

Result<std::unique_ptr<JobStore>> JobStore::open(const std::string& folder, std::int64_t now) {
  ASSAY_CHECK(make_folders(folder, 0700));
  ASSAY_TRY(Database database, Database::open(folder + "/jobs.sqlite", {}));
  ASSAY_CHECK(database.execute(tables));
  {
    // What was refused or never paid is forgotten after a day: a request that old is not taken again (is_for_provider).
    ASSAY_TRY(
        Statement old,
        database.prepare("DELETE FROM job WHERE state IN ('failed', 'expired') AND was_paid = 0 AND published = 1 AND changed_at < ?"));
    ASSAY_CHECK(old.bind(1, now - 86'400).run());
  }
  return std::unique_ptr<JobStore>(new JobStore(std::move(database)));
}

Result<bool> JobStore::add(const std::string& request_id, const std::string& request, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(
      Statement add,
      database_.prepare("INSERT OR IGNORE INTO job(request_id, request, state, received_at, changed_at) VALUES(?, ?, 'received', ?, ?)"));
  ASSAY_CHECK(add.bind(1, request_id).bind(2, request).bind(3, now).bind(4, now).run());
  return database_.changes() == 1;
}

Result<void> JobStore::quote(const std::string& request_id, std::int64_t amount_msats, const std::string& payment_hash,
                             std::int64_t expires_at, const std::string& answer, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set,
            database_.prepare("UPDATE job SET state = 'quoted', msats = ?, payment_hash = ?, expires_at = ?, answer = ?, published = 0, "
                              "changed_at = ? WHERE request_id = ? AND state = 'received'"));
  return set.bind(1, amount_msats).bind(2, payment_hash).bind(3, expires_at).bind(4, answer).bind(5, now).bind(6, request_id).run();
}

Result<bool> JobStore::pay(const std::string& request_id, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("UPDATE job SET was_paid = (state = 'quoted'), state = 'paid', changed_at = ? "
                                             "WHERE request_id = ? AND state IN ('received', 'quoted')"));
  ASSAY_CHECK(set.bind(1, now).bind(2, request_id).run());
  return database_.changes() == 1;
}

Result<void> JobStore::finish(const std::string& request_id, JobState state, const std::string& answer, std::int64_t now) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(
      Statement set,
      database_.prepare("UPDATE job SET state = ?, answer = ?, published = ?, changed_at = ? WHERE request_id = ? AND state != 'done'"));
  set.bind(1, name(state)).bind(2, answer).bind(3, std::int64_t{answer.empty() ? 1 : 0}).bind(4, now).bind(5, request_id);
  return set.run();
}

Result<void> JobStore::mark_published(const std::string& request_id) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement set, database_.prepare("UPDATE job SET published = 1 WHERE request_id = ?"));
  return set.bind(1, request_id).run();
}

Result<std::vector<StoredJob>> JobStore::in_state(JobState state) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) + "WHERE state = ? ORDER BY received_at, request_id"));
  row.bind(1, name(state));
  return read_rows(std::move(row));
}

Result<std::vector<StoredJob>> JobStore::unpublished() {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) + "WHERE published = 0 ORDER BY changed_at, request_id"));
  return read_rows(std::move(row));
}

Result<std::optional<StoredJob>> JobStore::find(const std::string& request_id) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare(std::string(columns) + "WHERE request_id = ?"));
  ASSAY_TRY(const bool found, row.bind(1, request_id).step());
  return found ? std::optional(read_row(row)) : std::nullopt;
}

Result<std::int64_t> JobStore::count(JobState state) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT count(*) FROM job WHERE state = ?"));
  ASSAY_CHECK(row.bind(1, name(state)).step());
  return row.integer(0);
}

Result<JobStore::Standing> JobStore::standing(const std::string& buyer) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT coalesce(sum(state = 'quoted'), 0), coalesce(sum(was_paid), 0) FROM job "
                                             "WHERE json_extract(request, '$.pubkey') = ?"));
  ASSAY_CHECK(row.bind(1, buyer).step());
  return Standing{row.integer(0), row.integer(1)};
}

Result<std::int64_t> JobStore::earned_msats() {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Statement row, database_.prepare("SELECT coalesce(sum(msats), 0) FROM job WHERE was_paid = 1"));
  ASSAY_CHECK(row.step());
  return row.integer(0);
}

}  // namespace assay
