#include "assay/trace/budget_ledger.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "assay/base/database.h"
#include "assay/base/files.h"

namespace assay {
namespace {

constexpr const char* tables = R"(
CREATE TABLE IF NOT EXISTS budget(one INTEGER PRIMARY KEY CHECK(one = 1), calls INTEGER, tokens INTEGER, msats INTEGER,
  spent_calls INTEGER NOT NULL, spent_tokens INTEGER NOT NULL, spent_msats INTEGER NOT NULL,
  lost_calls INTEGER NOT NULL, lost_tokens INTEGER NOT NULL, lost_msats INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reservation(id INTEGER PRIMARY KEY, holder TEXT NOT NULL, calls INTEGER NOT NULL, tokens INTEGER NOT NULL,
  msats INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS reservation_holder ON reservation(holder);
)";

std::optional<std::int64_t> limit_at(const Statement& row, int column) {
  return row.is_null(column) ? std::nullopt : std::optional(row.integer(column));
}

bool same_limits(const BudgetLimits& a, const BudgetLimits& b) { return a.calls == b.calls && a.tokens == b.tokens && a.msats == b.msats; }
bool has_limit(const BudgetLimits& limits) { return limits.calls || limits.tokens || limits.msats; }

void bind_limit(Statement& statement, int at, const std::optional<std::int64_t>& value) {
  if (value) statement.bind(at, *value);
  else statement.bind_null(at);
}

std::string limits_text(const BudgetLimits& limits) {
  std::string out;
  const std::pair<const char*, const std::optional<std::int64_t>*> parts[] = {
      {"calls", &limits.calls}, {"tokens", &limits.tokens}, {"msats", &limits.msats}};
  for (const auto& [name, value] : parts) {
    if (*value) out += fmt::format("{}{}={}", out.empty() ? "" : ",", name, **value);
  }
  return out;
}

}  // namespace

Amount LedgerState::free() const {
  const auto left = [](const std::optional<std::int64_t>& limit, std::int64_t used) { return limit ? *limit - used : 0; };
  return {left(limits.calls, spent.calls + lost.calls + reserved.calls), left(limits.tokens, spent.tokens + lost.tokens + reserved.tokens),
          left(limits.msats, spent.msats + lost.msats + reserved.msats)};
}

Json LedgerState::to_json() const {
  // Where there is no limit, what is left is no number.
  const auto limited = [&](const Amount& a) {
    return JsonObject{{"calls", limits.calls ? Json(a.calls) : Json()},
                      {"tokens", limits.tokens ? Json(a.tokens) : Json()},
                      {"msats", limits.msats ? Json(a.msats) : Json()}};
  };
  return JsonObject{{"limits", limits.to_json()},
                    {"spent", assay::to_json(spent)},
                    {"lost", assay::to_json(lost)},
                    {"reserved", assay::to_json(reserved)},
                    {"free", limited(free())}};
}

struct BudgetLedger::Impl {
  Database database;
  std::string path, holder;
  Fd lock;

  std::string lock_path(const std::string& of) const { return fmt::format("{}.{}.lock", path, of); }

  Result<Amount> sum_reserved() {
    ASSAY_TRY(Statement sum,
              database.prepare("SELECT coalesce(sum(calls), 0), coalesce(sum(tokens), 0), coalesce(sum(msats), 0) FROM reservation"));
    ASSAY_CHECK(sum.step());
    return Amount{sum.integer(0), sum.integer(1), sum.integer(2)};
  }

  Result<LedgerState> read() {
    ASSAY_TRY(Statement row,
              database.prepare("SELECT calls, tokens, msats, spent_calls, spent_tokens, spent_msats, lost_calls, lost_tokens, "
                               "lost_msats FROM budget"));
    ASSAY_TRY(const bool found, row.step());
    if (!found) return fail(ErrorCode::malformed, "the budget ledger holds no budget", "make a new one", path);
    LedgerState out;
    out.limits = {.calls = limit_at(row, 0), .tokens = limit_at(row, 1), .msats = limit_at(row, 2), .seconds = {}};
    out.spent = {row.integer(3), row.integer(4), row.integer(5)};
    out.lost = {row.integer(6), row.integer(7), row.integer(8)};
    ASSAY_TRY(out.reserved, sum_reserved());
    return out;
  }

  // True: nobody holds that lock, so the process has ended. Its lock file goes with it; names are never used again.
  bool is_dead(const std::string& other) const {
    if (other == holder) return false;
    const Fd file(::open(lock_path(other).c_str(), O_RDWR | O_CLOEXEC));
    // Anything but its absence says nothing: who may not open the file, or has no descriptor left, must not bury the living.
    if (!file.open()) return errno == ENOENT;
    if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return false;
    ::unlink(lock_path(other).c_str());
    return true;
  }

  // Within a transaction: reservations of the dead become lost.
  Result<void> bury() {
    std::vector<std::string> dead;
    {
      ASSAY_TRY(Statement holders, database.prepare("SELECT DISTINCT holder FROM reservation"));
      while (true) {  // ends: with the rows
        ASSAY_TRY(const bool more, holders.step());
        if (!more) break;
        if (std::string other = holders.text(0); is_dead(other)) dead.push_back(std::move(other));
      }
    }
    for (const std::string& other : dead) {
      ASSAY_TRY(Statement move,
                database.prepare(
                    "UPDATE budget SET lost_calls = min(lost_calls + r.calls, 9007199254740991), lost_tokens = min(lost_tokens + r.tokens, "
                    "9007199254740991), "
                    "lost_msats = min(lost_msats + r.msats, 9007199254740991) FROM (SELECT sum(calls) AS calls, sum(tokens) AS tokens, "
                    "sum(msats) AS msats FROM reservation WHERE holder = ?) AS r"));
      ASSAY_CHECK(move.bind(1, other).run());
      ASSAY_TRY(Statement remove, database.prepare("DELETE FROM reservation WHERE holder = ?"));
      ASSAY_CHECK(remove.bind(1, other).run());
    }
    return {};
  }

  Result<void> hold(Entropy& entropy) {
    holder = entropy.hex_bytes(8);
    lock = Fd(::open(lock_path(holder).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!lock.open() || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
      return fail(ErrorCode::io, "no lock file can be made beside the budget ledger", "check the folder's permissions", path);
    return {};
  }

  Result<BudgetLimits> agree(const BudgetLimits& limits) {
    ASSAY_TRY(Transaction transaction, Transaction::begin(database));
    ASSAY_CHECK(database.execute(tables));
    bool found = false;
    {
      ASSAY_TRY(Statement there, database.prepare("SELECT 1 FROM budget"));
      ASSAY_TRY(found, there.step());
    }
    if (!found) {
      if (!has_limit(limits)) return fail(ErrorCode::usage, "a new budget ledger needs a limit", "--budget msats=5000", path);
      ASSAY_TRY(Statement make, database.prepare("INSERT INTO budget VALUES(1, ?, ?, ?, 0, 0, 0, 0, 0, 0)"));
      bind_limit(make, 1, limits.calls);
      bind_limit(make, 2, limits.tokens);
      bind_limit(make, 3, limits.msats);
      ASSAY_CHECK(make.run());
    }
    ASSAY_CHECK(bury());
    ASSAY_TRY(const LedgerState state, read());
    ASSAY_CHECK(transaction.commit());
    if (has_limit(limits) && !same_limits(limits, state.limits)) {
      return fail(ErrorCode::refused,
                  fmt::format("the budget ledger has the limits {}, not {}", limits_text(state.limits), limits_text(limits)),
                  "leave --budget out, or name another ledger", path);
    }
    BudgetLimits out = state.limits;
    out.seconds = limits.seconds;
    return out;
  }
};

BudgetLedger::BudgetLedger(BudgetLimits limits, std::unique_ptr<Impl> impl) : Budget(limits), impl_(std::move(impl)) {}

BudgetLedger::~BudgetLedger() {
  // A clean end leaves no reservation: the lock file has done its work.
  ::unlink(impl_->lock_path(impl_->holder).c_str());
}

namespace {
// Looked at before anything is set in it: a database that keeps other things stays as it is.
Result<void> check_own(const std::string& path) {
  auto database = Database::open(path, {.read_only = true, .busy_wait = std::chrono::seconds(30)});
  if (!database) return {};  // opening it for good says why
  // Names alone do not make a ledger: its two tables have these columns, and nobody's mark is on it.
  auto others = database->prepare(R"(
SELECT type || ' ' || name FROM sqlite_master WHERE name NOT LIKE 'sqlite#_%' ESCAPE '#' AND name NOT IN ('budget', 'reservation', 'reservation_holder')
UNION ALL SELECT 'table budget of something else' WHERE coalesce((SELECT group_concat(name) FROM pragma_table_info('budget')), 'none') NOT IN
  ('none', 'one,calls,tokens,msats,spent_calls,spent_tokens,spent_msats,lost_calls,lost_tokens,lost_msats')
UNION ALL SELECT 'table reservation of something else' WHERE coalesce((SELECT group_concat(name) FROM pragma_table_info('reservation')), 'none') NOT IN
  ('none', 'id,holder,calls,tokens,msats')
UNION ALL SELECT 'mark of another program' FROM pragma_application_id, pragma_user_version WHERE application_id != 0 OR user_version != 0)");
  if (!others) return {};
  const auto one = others->step();
  if (!one || !*one) return {};
  return fail(ErrorCode::refused, fmt::format("this database is no budget ledger: it has the {}", others->text(0)), "name another file",
              path);
}
}  // namespace

Result<std::unique_ptr<BudgetLedger>> BudgetLedger::open(const std::string& named, const BudgetLimits& limits, Entropy& entropy) {
  if (const auto parent = std::filesystem::path(named).parent_path(); !parent.empty()) ASSAY_CHECK(make_folders(parent.string()));
  std::error_code ignored;
  const bool there = std::filesystem::exists(named, ignored);
  if (there && !std::filesystem::is_regular_file(named, ignored))  // a pipe would be waited for
    return fail(ErrorCode::io, "a budget ledger is a file, and this is none", "name another one", named);
  if (there && std::filesystem::hard_link_count(named, ignored) > 1)  // SQLite keeps its log by name: two names would be two budgets
    return fail(ErrorCode::refused, "this ledger has another name too (a hard link)",
                "use a symbolic link: remove one name, or take another ledger", named);
  if (!there || std::filesystem::is_empty(named, ignored)) {
    if (!has_limit(limits)) return fail(ErrorCode::usage, "a new budget ledger needs a limit", "--budget msats=5000", named);
  } else {
    ASSAY_CHECK(check_own(named));
  }
  ASSAY_TRY(Database database, Database::open(named, {.full_sync = limits.msats.has_value(), .busy_wait = std::chrono::seconds(30)}));
  // Whatever name leads to it: lock files stand beside the ledger itself, where every process finds them.
  std::string path = std::filesystem::canonical(named, ignored).string();
  if (path.empty()) path = named;
  auto impl = std::unique_ptr<Impl>(new Impl{std::move(database), path, "", Fd()});
  ASSAY_CHECK(impl->hold(entropy));
  auto agreed = impl->agree(limits);
  if (!agreed) {
    ::unlink(impl->lock_path(impl->holder).c_str());
    return std::unexpected(std::move(agreed.error()));
  }
  return std::unique_ptr<BudgetLedger>(new BudgetLedger(*agreed, std::move(impl)));
}

Result<Budget::Reservation> BudgetLedger::reserve(const Amount& worst_case) {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction transaction, Transaction::begin(impl_->database));
  ASSAY_TRY(LedgerState state, impl_->read());
  Amount used = state.spent;
  add_amount(used, state.lost);
  if (auto fits = check_fits(state.limits, used, state.reserved, worst_case); !fits) {
    if (fits.error().code == ErrorCode::over_budget)
      fits.error().remedy = "the limits of a ledger stay as they are: name another one (--ledger)";
    return std::unexpected(std::move(fits.error()));
  }
  ASSAY_TRY(Statement add, impl_->database.prepare("INSERT INTO reservation(holder, calls, tokens, msats) VALUES(?, ?, ?, ?)"));
  ASSAY_CHECK(add.bind(1, impl_->holder).bind(2, worst_case.calls).bind(3, worst_case.tokens).bind(4, worst_case.msats).run());
  const std::int64_t id = impl_->database.last_row();
  ASSAY_CHECK(transaction.commit());
  return granted(id, worst_case);
}

void BudgetLedger::release(std::int64_t id, const Amount& /*reserved*/, const Amount& used) {
  const std::scoped_lock lock(mutex_);
  // If the disk refuses, the reservation stays: it becomes lost when this process ends, and nothing is spent twice.
  const auto settle = [&]() -> Result<void> {
    ASSAY_TRY(Transaction transaction, Transaction::begin(impl_->database));
    ASSAY_TRY(Statement remove, impl_->database.prepare("DELETE FROM reservation WHERE id = ?"));
    ASSAY_CHECK(remove.bind(1, id).run());
    ASSAY_TRY(Statement removed, impl_->database.prepare("SELECT changes()"));
    ASSAY_CHECK(removed.step());
    if (removed.integer(0) == 0) return transaction.commit();  // it was counted as lost already
    ASSAY_TRY(Statement add, impl_->database.prepare("UPDATE budget SET spent_calls = min(spent_calls + ?, 9007199254740991), spent_tokens "
                                                     "= min(spent_tokens + ?, 9007199254740991), "
                                                     "spent_msats = min(spent_msats + ?, 9007199254740991)"));
    ASSAY_CHECK(add.bind(1, used.calls).bind(2, used.tokens).bind(3, used.msats).run());
    return transaction.commit();
  };
  (void)settle();
}

Result<LedgerState> BudgetLedger::state() const {
  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction transaction, Transaction::begin(impl_->database));
  ASSAY_CHECK(impl_->bury());
  ASSAY_TRY(LedgerState state, impl_->read());
  ASSAY_CHECK(transaction.commit());
  return state;
}

Amount BudgetLedger::spent() const {
  const auto now = state();
  Amount out;
  if (!now) return out;
  out = now->spent;
  add_amount(out, now->lost);
  return out;
}

Amount BudgetLedger::reserved() const {
  const auto now = state();
  return now ? now->reserved : Amount{};
}

}  // namespace assay
