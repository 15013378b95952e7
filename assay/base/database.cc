#include "assay/base/database.h"

#include <sqlite3.h>

#include "assay/base/clock.h"

namespace assay {

struct Database::State {
  sqlite3* handle = nullptr;
  std::int64_t query_ns = 0;
  std::int64_t query_until_ns = 0;
  ~State() { sqlite3_close_v2(handle); }
};

namespace {

std::unexpected<Error> sqlite_error(sqlite3* handle, std::string_view doing) {
  const int code = sqlite3_errcode(handle);
  const std::string message = std::string(doing) + ": " + sqlite3_errmsg(handle);
  if (code == SQLITE_INTERRUPT) return fail(ErrorCode::timed_out, message, "ask for less");
  if (code == SQLITE_FULL) return fail(ErrorCode::io, message, "make room on the disk");
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) return fail(ErrorCode::io, message, "another process holds it: wait for it, or end it");
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT)
    return fail(ErrorCode::io, message, "it was not made here, or is damaged: name another file, or move this one away");
  return fail(ErrorCode::io, message, "check the disk and the file's permissions");
}

int out_of_time(void* until) { return system_clock().steady_ns() > *static_cast<const std::int64_t*>(until) ? 1 : 0; }

}  // namespace

Statement::Statement(Statement&& other) noexcept : statement_(std::exchange(other.statement_, nullptr)) {}
Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(statement_, other.statement_);
  return *this;
}
Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int at, std::int64_t value) {
  sqlite3_bind_int64(statement_, at, value);
  return *this;
}
Statement& Statement::bind(int at, std::string_view text) {
  sqlite3_bind_text64(statement_, at, text.data() == nullptr ? "" : text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}
Statement& Statement::bind_null(int at) {
  sqlite3_bind_null(statement_, at);
  return *this;
}

Result<bool> Statement::step() {
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW: return true;
    case SQLITE_DONE: return false;
    default: return sqlite_error(sqlite3_db_handle(statement_), "the database refused");
  }
}

Result<void> Statement::run() {
  const auto row = step();
  reset();
  if (!row) return std::unexpected(row.error());
  return {};
}

void Statement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }
std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return bytes == nullptr ? std::string() : std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}
bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Database::Database(std::unique_ptr<State> state) : state_(std::move(state)) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

Result<Database> Database::open(const std::string& path, const DatabaseOptions& options) {
  auto state = std::make_unique<State>();
  const int flags = options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  if (sqlite3_open_v2(path.c_str(), &state->handle, flags | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK) {
    const std::string why = state->handle == nullptr ? "out of memory" : sqlite3_errmsg(state->handle);
    return fail(ErrorCode::io, "cannot open the database: " + why, "check the folder and its permissions", path);
  }
  sqlite3_extended_result_codes(state->handle, 0);
  sqlite3_busy_timeout(state->handle, static_cast<int>(options.busy_wait.count()));
  if (options.query_time.count() > 0) {
    state->query_ns = std::chrono::nanoseconds(options.query_time).count();
    sqlite3_progress_handler(state->handle, 10000, out_of_time, &state->query_until_ns);
  }
  Database database(std::move(state));
  if (!options.read_only) {
    if (auto set = database.execute("PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;"); !set)
      return std::unexpected(std::move(set).error().in(path));
  }
  ASSAY_CHECK(database.execute(options.full_sync ? "PRAGMA synchronous=FULL;" : "PRAGMA synchronous=NORMAL;"));
  return database;
}

Result<void> Database::execute(const std::string& sql) {
  state_->query_until_ns = system_clock().steady_ns() + state_->query_ns;
  if (sqlite3_exec(state_->handle, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return sqlite_error(state_->handle, "the database refused");
  }
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  state_->query_until_ns = system_clock().steady_ns() + state_->query_ns;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(state_->handle, sql.data(), static_cast<int>(sql.size()), &statement, nullptr) != SQLITE_OK) {
    return sqlite_error(state_->handle, "the database cannot read the query");
  }
  return Statement(statement);
}

std::int64_t Database::last_row() const { return sqlite3_last_insert_rowid(state_->handle); }
std::int64_t Database::changes() const { return sqlite3_changes(state_->handle); }

Result<Transaction> Transaction::begin(Database& database) {
  ASSAY_CHECK(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ != nullptr) (void)database_->execute("ROLLBACK");
}

Result<void> Transaction::commit() {
  ASSAY_CHECK(database_->execute("COMMIT"));  // on an error the destructor rolls back
  database_ = nullptr;
  return {};
}

}  // namespace assay
