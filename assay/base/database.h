#pragma once
/// @file
/// SQLite as values and results: a connection and its statements. Names no SQLite type.
///
///     ASSAY_TRY(Database db, Database::open("events.db", {}));
///     ASSAY_TRY(Statement find, db.prepare("SELECT json FROM event WHERE id = ?"));
///     find.bind(1, id);
///     ASSAY_TRY(const bool row, find.step());                // true: a row is there
///
/// Thread safety: a Database and its statements belong to one thread at a time.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "assay/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace assay {

class Statement {
 public:
  Statement(Statement&&) noexcept;
  Statement& operator=(Statement&&) noexcept;
  ~Statement();
  Statement& bind(int at, std::int64_t value);
  Statement& bind(int at, std::string_view text);  ///< copied
  Statement& bind_null(int at);
  /// True while rows come. Errors: `io` with SQLite's words, `timed_out` (the connection's query time is used up).
  Result<bool> step();
  /// `step` that expects no row, then ready for new values.
  Result<void> run();
  void reset();
  std::int64_t integer(int column) const;
  std::string text(int column) const;
  bool is_null(int column) const;

 private:
  friend class Database;
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  sqlite3_stmt* statement_ = nullptr;
};

struct DatabaseOptions {
  bool full_sync = true;                             ///< every commit survives a power loss (synchronous=FULL), else only a crash
  bool read_only = false;
  std::chrono::milliseconds busy_wait{5000};         ///< for another process's lock
  std::chrono::milliseconds query_time{0};           ///< longer queries end with `timed_out`; 0: no limit
};

class Database {
 public:
  /// Opens or makes the file, in write-ahead mode. Errors: `io` with the path.
  static Result<Database> open(const std::string& path, const DatabaseOptions& options);
  Database(Database&&) noexcept;
  Database& operator=(Database&&) noexcept;
  ~Database();
  /// Statements without values, separated by ';'.
  Result<void> execute(const std::string& sql);
  Result<Statement> prepare(std::string_view sql);
  std::int64_t last_row() const;
  std::int64_t changes() const;

 private:
  struct State;
  explicit Database(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// BEGIN IMMEDIATE now; ROLLBACK when it goes without `commit`.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(other.database_) { other.database_ = nullptr; }
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace assay
