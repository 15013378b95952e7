#pragma once
/// @file
/// A client of one relay. Relays are not trusted: every event is verified and matched to its filter here before it is handed out.
///
///     ASSAY_TRY(auto client, RelayClient::connect("ws://127.0.0.1:7777", wait, clock));
///     ASSAY_CHECK(client->publish(event, wait));                                // until the relay's OK
///     ASSAY_TRY(auto answers, client->subscribe({{.kinds = {{7000, 6050}}, .tags = {{'e', {event->id}}}}}, wait));
///     ASSAY_TRY(const VerifiedEvent first, answers->next(wait));                // stored and live ones, as they come
///
/// One thread of its own verifies and sorts what arrives. There is no reconnecting: when a call says `unavailable`, connect again.
/// Thread safety: all calls from any thread. A Subscription may outlive its client (it then says `unavailable`).

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/nostr/event.h"
#include "assay/nostr/filter.h"

namespace assay {

struct RelayClientLimits {
  EventLimits event = {.event_bytes_max = 256 * 1024};
  std::size_t message_bytes_max = 512 * 1024;
  std::size_t waiting_events_max = 10'000;  ///< received for one subscription and not yet taken; beyond: the connection ends
  std::size_t bad_events_max = 100;         ///< forged, foreign or unreadable ones; beyond: the connection ends with `mismatch`
};

struct Published {
  bool duplicate = false;  ///< the relay had it already
  std::string message;     ///< the relay's words, printable and short
};

class RelayClient;

/// Events of one REQ. Closed when it goes.
class Subscription {
 public:
  ~Subscription();
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  /// The next event, stored or live. Errors: `timed_out`, `cancelled` (nothing is lost: call again), `unavailable` (the
  /// connection ended), `refused` (the relay closed the subscription).
  Result<VerifiedEvent> next(const Wait& wait);
  /// The next stored event; nothing once the relay has said that there are no more (EOSE).
  Result<std::optional<VerifiedEvent>> next_stored(const Wait& wait);
  void close();

 private:
  friend class RelayClient;
  struct State;
  explicit Subscription(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

class RelayClient {
 public:
  /// Errors: as WebSocketClient::connect.
  static Result<std::unique_ptr<RelayClient>> connect(const std::string& url, const Wait& wait, Clock& clock,
                                                      const RelayClientLimits& limits = {});
  ~RelayClient();
  RelayClient(const RelayClient&) = delete;
  RelayClient& operator=(const RelayClient&) = delete;

  /// Until the relay's OK. Errors: `refused` (its words are in the message), `unavailable` ("rate-limited", "error", or gone),
  /// `timed_out` (it may be stored or not: publish again, the relay answers "duplicate"), `cancelled`.
  Result<Published> publish(const VerifiedEvent& event, const Wait& wait);
  /// All at once, answers in order: for many events this takes one round trip, not many. Stops at the first error.
  Result<std::vector<Published>> publish_all(const std::vector<VerifiedEvent>& events, const Wait& wait);

  Result<std::unique_ptr<Subscription>> subscribe(std::vector<Filter> filters, const Wait& wait);
  /// All stored events that the relay has for the filters (its own limits apply), in its order.
  Result<std::vector<VerifiedEvent>> fetch(std::vector<Filter> filters, const Wait& wait);

  const std::string& url() const;
  bool open() const;
  void close();

 private:
  friend class Subscription;
  struct Impl;
  explicit RelayClient(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

}  // namespace assay
