#pragma once
/// @file
/// Events on their way to viewers. A publisher never waits: the feed keeps the newest events within bounds, each viewer has its
/// own place in them, and one that falls behind loses the oldest and is told how many (`gap`).
///
///     feed.publish("lm_end", JsonObject{{"run_id", id}});     // any thread, returns at once
///     feed.subscribe(stream);                                 // a viewer: hears what comes from now on
///     feed.pump();                                            // the server's thread, some twenty times a second
///
/// Thread safety: all calls, from any thread.

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/net/http_server.h"

namespace assay {

struct EventFeedLimits {
  std::size_t events_max = 4096;                        ///< kept for viewers that are behind
  std::size_t bytes_max = std::size_t{8} << 20;         ///< of their texts
  std::size_t viewer_bytes_max = std::size_t{256} << 10;  ///< given to one connection before it must take some
  std::size_t viewers_max = 16;
};

class EventFeed {
 public:
  struct Counts {
    std::int64_t events = 0;   ///< published since the start
    std::int64_t dropped = 0;  ///< not delivered to some viewer, summed over viewers
    std::int64_t viewers = 0;
  };

  explicit EventFeed(const EventFeedLimits& limits = {}) : limits_(limits) {}
  /// Secrets are redacted here. What cannot be written as canonical JSON is left out.
  void publish(std::string_view name, const Json& data);
  /// False when `viewers_max` watch already. `hello` is the viewer's first event.
  bool subscribe(std::shared_ptr<EventStream> stream, const Json& hello);
  /// Hands out what viewers can take, forgets those that have gone.
  void pump();
  bool full() const;
  Counts counts() const;

 private:
  struct Event {
    std::string name, data;
  };
  using Shared = std::shared_ptr<const Event>;
  struct Viewer {
    std::shared_ptr<EventStream> stream;
    std::int64_t next = 0;    // number of the event that it hears next
    std::int64_t missed = 0;  // dropped, and not yet said
  };

  std::vector<Shared> take(Viewer& viewer);
  void serve(Viewer& viewer);

  const EventFeedLimits limits_;
  mutable std::mutex events_mutex_;  // held for moments only: publishers wait for nothing else
  std::deque<Shared> events_;
  std::int64_t first_ = 0;  // number of events_[0]
  std::size_t bytes_ = 0;
  mutable std::mutex viewers_mutex_;
  std::vector<Viewer> viewers_;
  std::int64_t dropped_ = 0;
};

}  // namespace assay
