#pragma once
// Private to the relay: the hub of live subscriptions, the writer, and one session a connection.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "assay/base/clock.h"
#include "assay/net/http_server.h"
#include "assay/nostr/relay.h"
#include "assay/nostr/relay_store.h"

namespace assay::relay {

using Text = std::shared_ptr<const std::string>;

// `["EVENT",<subscription>,<event>]` and the other answers, as text.
std::string event_message(std::string_view subscription, std::string_view event);
std::string ok_message(std::string_view id, bool accepted, std::string_view text);
std::string eose_message(std::string_view subscription, bool complete);
std::string closed_message(std::string_view subscription, std::string_view text);
std::string notice_message(std::string_view text);

// One connection's live subscriptions. A subscription whose stored events are still being sent holds live ones back.
class Subscriptions {
 public:
  explicit Subscriptions(std::shared_ptr<WebSocketPeer> peer) : peer_(std::move(peer)) {}

  // Starts (or replaces) a subscription in the holding state. False: too many.
  bool hold(const std::string& id, std::vector<Filter> filters, std::size_t most);
  // The stored events have all been sent: `eose`, then what was held back, then live.
  void release(const std::string& id, std::string eose);
  void remove(const std::string& id);
  // From the writer's thread. Returns how many messages were queued.
  std::size_t deliver(const Event& event, std::string_view json);

 private:
  struct One {
    std::vector<Filter> filters;
    bool holding = true;
    std::vector<std::string> held;
  };
  std::mutex mutex_;
  std::map<std::string, One> all_;
  std::shared_ptr<WebSocketPeer> peer_;
};

// All connections, and the sequence number up to which live events have been passed on.
class Hub {
 public:
  void add(std::shared_ptr<Subscriptions> subscriptions);
  void remove(const std::shared_ptr<Subscriptions>& subscriptions);
  // Registers a subscription and returns the cursor that belongs to it: stored events up to it are its past, later ones come live.
  std::optional<std::int64_t> subscribe(Subscriptions& subscriptions, const std::string& id, std::vector<Filter> filters, std::size_t most);
  struct Fresh {
    Event event;
    std::string json;
  };
  std::size_t pass_on(const std::vector<Fresh>& events, std::int64_t last_seq);
  void start_at(std::int64_t seq) { cursor_ = seq; }

 private:
  std::mutex mutex_;
  std::set<std::shared_ptr<Subscriptions>> all_;
  std::int64_t cursor_ = 0;
};

struct Counters {
  std::atomic<std::uint64_t> stored = 0, duplicates = 0, refused = 0, delivered = 0;
};

// Commits checked events in batches and answers each with its OK.
class Writer {
 public:
  Writer(RelayStore& store, Hub& hub, Counters& counters, std::size_t waiting_max)
      : store_(store), hub_(hub), counters_(counters), waiting_max_(waiting_max), thread_([this](const std::stop_token& stop) {
          run(stop);
        }) {}
  ~Writer() { stop(); }
  // False: too many are waiting.
  bool submit(VerifiedEvent event, std::shared_ptr<WebSocketPeer> from);
  // Commits what waits, then ends.
  void stop();

 private:
  struct Job {
    VerifiedEvent event;
    std::shared_ptr<WebSocketPeer> from;
  };
  struct Answer {
    bool accepted = true;
    std::string text;
  };
  void run(const std::stop_token& stop);
  void write(std::vector<Job>& jobs);
  Result<std::vector<Answer>> store(const std::vector<Job>& jobs, std::vector<Hub::Fresh>& fresh);
  Result<Answer> store_one(const VerifiedEvent& event, std::vector<Hub::Fresh>& fresh);

  RelayStore& store_;
  Hub& hub_;
  Counters& counters_;
  const std::size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Job> waiting_;
  std::jthread thread_;  // last: it uses the rest
};

// What sessions share.
struct Shared {
  const RelayLimits& limits;
  RelayStore& store;
  Hub& hub;
  Writer& writer;
  Counters& counters;
  Clock& clock;
};

std::shared_ptr<WebSocketSession> make_session(const Shared& shared);

// NIP-11.
std::string information_json(const RelayLimits& limits);

}  // namespace assay::relay
