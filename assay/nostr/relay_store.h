#pragma once
/// @file
/// Private to the relay: events on disk (SQLite), with the rules of replaceable, addressable, deleted and expired events.
///
/// Thread safety: `put` and `commit` belong to the writer's thread; `query`, `json` and `known` to any thread.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "assay/base/database.h"
#include "assay/nostr/event.h"
#include "assay/nostr/filter.h"

namespace assay {

class RelayStore {
 public:
  enum class Put { stored, duplicate, outdated, deleted };
  struct Hit {
    std::int64_t created_at = 0;
    EventId id;
    std::int64_t seq = 0;
    bool operator==(const Hit&) const = default;
  };

  /// `folder` is made if missing. Errors: `io`.
  /// `on_damage` is told once of each row that is no longer the event of its id.
  static Result<std::unique_ptr<RelayStore>> open(const std::string& folder, bool durable,
                                                  std::function<void(const std::string&)> on_damage = {});

  /// One batch: nothing is visible or durable before `commit`.
  Result<void> begin();
  Result<Put> put(const VerifiedEvent& event);
  /// Sequence number of the last stored event.
  std::int64_t last_seq() const { return last_seq_; }
  Result<void> commit();
  void roll_back();

  /// Newest first, ties by id; at most `limit`; only events up to `seq_max` that have not expired at `now`.
  Result<std::vector<Hit>> query(const Filter& filter, std::int64_t seq_max, std::int64_t limit, std::int64_t now);
  /// The stored JSON; nothing if it has been deleted since, or is damaged.
  Result<std::optional<std::string>> json(std::int64_t seq);
  /// It is there, whole.
  Result<bool> known(const EventId& id);

 private:
  RelayStore(Database writer, Database reader, std::function<void(const std::string&)> on_damage)
      : writer_(std::move(writer)), reader_(std::move(reader)), on_damage_(std::move(on_damage)) {}
  Result<bool> is_deleted(const Event& event);
  enum class Row { absent, damaged, whole };
  static Result<Row> row_of(Database& database, const EventId& id);
  Result<bool> make_room(const Event& event);
  Result<void> insert(const Event& event);
  Result<void> apply_deletion(const Event& event);

  Database writer_;
  std::mutex reading_;
  Database reader_;
  std::function<void(const std::string&)> on_damage_;
  std::set<std::int64_t> damaged_;  // by seq; under reading_
  std::optional<Transaction> batch_;
  std::int64_t last_seq_ = 0;
  std::int64_t seq_before_batch_ = 0;
};

}  // namespace assay
