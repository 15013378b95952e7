#include "assay/nostr/relay_store.h"

#include <algorithm>
#include <charconv>
#include <variant>

#include <fmt/format.h>

#include "assay/base/files.h"

namespace assay {
namespace {

constexpr const char* tables =
    "CREATE TABLE IF NOT EXISTS event(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, pubkey TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, kind INTEGER NOT NULL, address TEXT, expiration INTEGER, json TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS event_time ON event(created_at);"
    "CREATE INDEX IF NOT EXISTS event_author ON event(pubkey, kind, created_at);"
    "CREATE INDEX IF NOT EXISTS event_kind ON event(kind, created_at);"
    "CREATE INDEX IF NOT EXISTS event_address ON event(address) WHERE address IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS tag(seq INTEGER NOT NULL REFERENCES event(seq) ON DELETE CASCADE, name TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY(name, value, seq)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS tag_seq ON tag(seq);"
    // What authors took back, also for events that have not come yet.
    "CREATE TABLE IF NOT EXISTS deleted_id(id TEXT NOT NULL, pubkey TEXT NOT NULL, PRIMARY KEY(id, pubkey)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS deleted_address(address TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;";

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool has_address(std::int64_t kind) { return is_replaceable(kind) || is_addressable(kind); }

// The text of a query and its values, in order.
struct QueryText {
  std::string sql;
  std::vector<std::variant<std::int64_t, std::string>> values;

  void add(std::string_view text) { sql += text; }
  void value(std::variant<std::int64_t, std::string> v) { values.push_back(std::move(v)); }
  void in(std::string_view before, const auto& list) {
    sql.append(" AND ").append(before).append(" IN (");
    for (std::size_t i = 0; i < list.size(); ++i) {
      sql += i == 0 ? "?" : ",?";
      value(list[i]);
    }
    sql += ")";
  }
  void bind_all(Statement& statement) const {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::visit([&](const auto& v) { statement.bind(static_cast<int>(i) + 1, v); }, values[i]);
    }
  }
};

QueryText query_text(const Filter& filter, std::int64_t seq_max, std::int64_t limit, std::int64_t now) {
  QueryText query;
  query.add("SELECT created_at, id, seq FROM event WHERE seq <= ? AND (expiration IS NULL OR expiration > ?)");
  query.value(seq_max);
  query.value(now);
  if (filter.ids) query.in("id", *filter.ids);
  if (filter.authors) query.in("pubkey", *filter.authors);
  if (filter.kinds) query.in("kind", *filter.kinds);
  for (const auto& [name, values] : filter.tags) {
    query.add(" AND seq IN (SELECT seq FROM tag WHERE name = ?");
    query.value(std::string(1, name));
    query.in("value", values);
    query.add(")");
  }
  if (filter.since) {
    query.add(" AND created_at >= ?");
    query.value(*filter.since);
  }
  if (filter.until) {
    query.add(" AND created_at <= ?");
    query.value(*filter.until);
  }
  query.add(" ORDER BY created_at DESC, id ASC LIMIT ?");
  query.value(limit);
  return query;
}

// A query with an empty list has no answer, and SQLite's limit of 32766 values bounds the others (FilterLimits is lower).
bool asks_for_nothing(const Filter& filter) {
  return (filter.ids && filter.ids->empty()) || (filter.authors && filter.authors->empty()) || (filter.kinds && filter.kinds->empty()) ||
         std::any_of(filter.tags.begin(), filter.tags.end(), [](const auto& entry) { return entry.second.empty(); });
}

// The row's JSON is still the event of its id. A byte that is no UTF-8 would end the connection of everybody who is sent it.
bool intact(std::string_view json, const EventId& id) {
  const auto value = read_json(json);
  const auto event = value ? read_event(*value, {.event_bytes_max = json.size()}) : std::unexpected(value.error());
  return event && event->id == id && event_id(*event) == id;
}

}  // namespace

Result<std::unique_ptr<RelayStore>> RelayStore::open(const std::string& folder, bool durable,
                                                     std::function<void(const std::string&)> on_damage) {
  ASSAY_CHECK(make_folders(folder, 0700));
  const std::string path = folder + "/events.db";
  ASSAY_TRY(Database writer, Database::open(path, {.full_sync = durable}));
  ASSAY_CHECK(writer.execute(tables));
  ASSAY_TRY(Database reader, Database::open(path, {.read_only = true, .query_time = std::chrono::milliseconds(2000)}));
  std::unique_ptr<RelayStore> store(new RelayStore(std::move(writer), std::move(reader), std::move(on_damage)));
  ASSAY_TRY(Statement last, store->writer_.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'event'"));
  ASSAY_TRY(const bool any, last.step());
  if (any) store->last_seq_ = last.integer(0);
  return store;
}

Result<void> RelayStore::begin() {
  ASSAY_TRY(Transaction batch, Transaction::begin(writer_));
  batch_.emplace(std::move(batch));
  seq_before_batch_ = last_seq_;
  return {};
}

Result<void> RelayStore::commit() {
  ASSAY_CHECK(batch_->commit());
  batch_.reset();
  return {};
}

void RelayStore::roll_back() {
  batch_.reset();
  last_seq_ = seq_before_batch_;
}

Result<RelayStore::Row> RelayStore::row_of(Database& database, const EventId& id) {
  ASSAY_TRY(Statement find, database.prepare("SELECT json FROM event WHERE id = ?"));
  ASSAY_TRY(const bool row, find.bind(1, id).step());
  if (!row) return Row::absent;
  return intact(find.text(0), id) ? Row::whole : Row::damaged;
}

Result<bool> RelayStore::known(const EventId& id) {
  const std::lock_guard lock(reading_);
  ASSAY_TRY(const Row row, row_of(reader_, id));
  return row == Row::whole;
}

Result<bool> RelayStore::is_deleted(const Event& event) {
  ASSAY_TRY(Statement by_id, writer_.prepare("SELECT 1 FROM deleted_id WHERE id = ? AND pubkey = ?"));
  ASSAY_TRY(const bool id_deleted, by_id.bind(1, event.id).bind(2, event.pubkey).step());
  if (id_deleted || !has_address(event.kind)) return id_deleted;
  ASSAY_TRY(Statement by_address, writer_.prepare("SELECT 1 FROM deleted_address WHERE address = ? AND until >= ?"));
  return by_address.bind(1, event_address(event)).bind(2, event.created_at).step();
}

// For replaceable and addressable kinds: false if what is stored is newer (or as old with a lower id), else the old one goes.
Result<bool> RelayStore::make_room(const Event& event) {
  const std::string address = event_address(event);
  ASSAY_TRY(Statement find,
            writer_.prepare("SELECT 1 FROM event WHERE address = ?1 AND (created_at > ?2 OR (created_at = ?2 AND id < ?3))"));
  ASSAY_TRY(const bool newer, find.bind(1, address).bind(2, event.created_at).bind(3, event.id).step());
  if (newer) return false;
  ASSAY_TRY(Statement remove, writer_.prepare("DELETE FROM event WHERE address = ?"));
  ASSAY_CHECK(remove.bind(1, address).run());
  return true;
}

Result<void> RelayStore::insert(const Event& event) {
  ASSAY_TRY(Statement add,
            writer_.prepare("INSERT INTO event(id, pubkey, created_at, kind, address, expiration, json) VALUES(?,?,?,?,?,?,?)"));
  add.bind(1, event.id).bind(2, event.pubkey).bind(3, event.created_at).bind(4, event.kind).bind(7, event_json(event));
  if (has_address(event.kind)) add.bind(5, event_address(event));
  const auto expiration = tag_value(event, "expiration");
  if (const auto seconds = expiration ? number(*expiration) : std::nullopt) add.bind(6, *seconds);
  ASSAY_CHECK(add.run());
  last_seq_ = writer_.last_row();
  ASSAY_TRY(Statement tag, writer_.prepare("INSERT OR IGNORE INTO tag(seq, name, value) VALUES(?,?,?)"));
  for (const EventTag& entry : event.tags) {
    if (entry.size() < 2 || entry[0].size() != 1) continue;
    ASSAY_CHECK(tag.bind(1, last_seq_).bind(2, entry[0]).bind(3, entry[1]).run());
  }
  return {};
}

// NIP-09: an author takes back own events, by id or by address up to the request's time. Others' are not touched.
Result<void> RelayStore::apply_deletion(const Event& event) {
  for (const std::string& id : tag_values(event, "e")) {
    if (!is_hex(id, 64)) continue;
    ASSAY_TRY(Statement remove, writer_.prepare("DELETE FROM event WHERE id = ? AND pubkey = ? AND kind != 5"));
    ASSAY_CHECK(remove.bind(1, id).bind(2, event.pubkey).run());
    ASSAY_TRY(Statement note, writer_.prepare("INSERT OR IGNORE INTO deleted_id(id, pubkey) VALUES(?,?)"));
    ASSAY_CHECK(note.bind(1, id).bind(2, event.pubkey).run());
  }
  for (const std::string& address : tag_values(event, "a")) {
    const std::size_t first = address.find(':');
    if (first == std::string::npos || address.compare(first + 1, 65, event.pubkey + ":") != 0) continue;
    ASSAY_TRY(Statement remove, writer_.prepare("DELETE FROM event WHERE address = ? AND created_at <= ?"));
    ASSAY_CHECK(remove.bind(1, address).bind(2, event.created_at).run());
    ASSAY_TRY(Statement note,
              writer_.prepare(
                  "INSERT INTO deleted_address(address, until) VALUES(?1,?2) ON CONFLICT(address) DO UPDATE SET until = max(until, ?2)"));
    ASSAY_CHECK(note.bind(1, address).bind(2, event.created_at).run());
  }
  return {};
}

Result<RelayStore::Put> RelayStore::put(const VerifiedEvent& event) {
  ASSAY_TRY(const Row row, row_of(writer_, event->id));
  if (row == Row::whole) return Put::duplicate;
  if (row == Row::damaged) {  // whoever has it whole puts it right
    ASSAY_TRY(Statement remove, writer_.prepare("DELETE FROM event WHERE id = ?"));
    ASSAY_CHECK(remove.bind(1, event->id).run());
  }
  ASSAY_TRY(const bool deleted, is_deleted(*event));
  if (deleted && event->kind != 5) return Put::deleted;
  if (has_address(event->kind)) {
    ASSAY_TRY(const bool room, make_room(*event));
    if (!room) return Put::outdated;
  }
  ASSAY_CHECK(insert(*event));
  if (event->kind == 5) ASSAY_CHECK(apply_deletion(*event));
  return Put::stored;
}

Result<std::vector<RelayStore::Hit>> RelayStore::query(const Filter& filter, std::int64_t seq_max, std::int64_t limit, std::int64_t now) {
  std::vector<Hit> hits;
  if (asks_for_nothing(filter) || limit <= 0) return hits;
  const QueryText query = query_text(filter, seq_max, limit, now);
  const std::lock_guard lock(reading_);
  ASSAY_TRY(Statement find, reader_.prepare(query.sql));
  query.bind_all(find);
  while (true) {  // ends: at most `limit` rows
    ASSAY_TRY(const bool row, find.step());
    if (!row) return hits;
    hits.push_back({find.integer(0), find.text(1), find.integer(2)});
  }
}

Result<std::optional<std::string>> RelayStore::json(std::int64_t seq) {
  const std::lock_guard lock(reading_);
  ASSAY_TRY(Statement find, reader_.prepare("SELECT json, id FROM event WHERE seq = ?"));
  ASSAY_TRY(const bool row, find.bind(1, seq).step());
  if (!row) return std::optional<std::string>();
  std::string json = find.text(0);
  if (intact(json, find.text(1))) return std::optional<std::string>(std::move(json));
  if (damaged_.insert(seq).second && on_damage_) {
    on_damage_(fmt::format("the stored event {} is damaged and sent to nobody: publish it again, or restore events.db from a copy",
                           to_utf8(find.text(1))));
  }
  return std::optional<std::string>();
}

}  // namespace assay
