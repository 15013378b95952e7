#pragma once
/// @file
/// Nexus, the embedded Nostr relay: checks id and signature of every event, keeps them in SQLite, answers filters, passes
/// new events on. NIPs 1, 9, 11, 40.
///
///     ASSAY_TRY(auto relay, Relay::start({.port = 7777, .data_folder = folder}, clock));
///     relay->url();                          // "ws://127.0.0.1:7777"
///     relay->stop();
///
/// An OK is sent after the event's transaction has been committed (with `durable`, synced to disk). What is stored before a
/// REQ comes before its EOSE, what is stored after it comes after, and nothing is lost or sent twice in between.
/// Threads: those of HttpServer read messages and check signatures; one writer commits in batches and delivers live events.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "assay/base/clock.h"
#include "assay/nostr/event.h"
#include "assay/nostr/filter.h"

namespace assay {

struct RelayLimits {
  std::size_t message_bytes_max = 128 * 1024;   ///< one message; beyond: the connection is closed with 1009
  EventLimits event = {};
  FilterLimits filter = {};
  std::size_t filters_max = 16;                 ///< in one REQ
  std::size_t subscriptions_max = 64;           ///< on one connection
  std::size_t subscription_id_bytes_max = 64;
  std::int64_t limit_max = 1000;                ///< stored events for one filter; larger limits are lowered to it
  std::int64_t limit_default = 500;             ///< for a filter without a limit
  std::int64_t future_seconds_max = 900;        ///< created_at may be so far ahead of the relay's clock
  std::size_t connections_max = 512;
  std::size_t waiting_events_max = 10'000;      ///< checked and not yet committed; beyond: OK false "rate-limited:"
  std::size_t bad_messages_max = 100;           ///< unreadable messages or bad signatures on one connection, then it is closed
};

struct RelayOptions {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;      ///< 0: a free one
  std::string data_folder;     ///< events.db goes there; made if missing
  RelayLimits limits = {};
  bool durable = true;         ///< false: a commit survives a crash of the program, not a power loss
  std::function<void(const std::string&)> on_note = {};  ///< told what its operator should know (a damaged event); from any thread
};

struct RelayCounts {
  std::uint64_t stored = 0, duplicates = 0, refused = 0, delivered = 0;
};

class Relay {
 public:
  /// Errors: `unavailable` (another process serves from the folder), `io` (port or folder), `usage`. `clock` must outlive the relay.
  static Result<std::unique_ptr<Relay>> start(const RelayOptions& options, Clock& clock);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  std::uint16_t port() const;
  std::string url() const;
  RelayCounts counts() const;
  /// Commits what waits, says goodbye to all and ends. Idempotent.
  void stop();

 private:
  struct Impl;
  explicit Relay(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
