#include "assay/nostr/relay_client.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "assay/net/websocket_client.h"

namespace assay {
namespace {

// A relay's words may hold anything: short, printable, or they are not shown.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 200)) out += c >= ' ' && c < 0x7F ? c : '?';
  return out;
}

struct OkAnswer {
  bool accepted = false;
  std::string message;
};

// `rate-limited:` and `error:` may pass with time; the rest is the relay's decision.
Result<Published> read_answer(const OkAnswer& answer) {
  const std::string_view prefix = std::string_view(answer.message).substr(0, answer.message.find(':'));
  if (answer.accepted) return Published{prefix == "duplicate", answer.message};
  const bool passing = prefix == "rate-limited" || prefix == "error";
  const bool of_time = answer.message.find("created_at") != std::string::npos || answer.message.find("expired") != std::string::npos;
  return fail(passing ? ErrorCode::unavailable : ErrorCode::refused, "the relay refused the event: " + answer.message,
              passing   ? "publish it again later"
              : of_time ? "check the clocks: yours and the relay's differ, or the event waited too long"
                        : "use another relay, or ask whoever runs this one");
}

}  // namespace

// What the client's callers and its reading thread share for one REQ.
struct Subscription::State {
  std::weak_ptr<RelayClient::Impl> client;
  std::string id;
  std::vector<Filter> filters;
  std::deque<VerifiedEvent> events;
  std::size_t stored_waiting = 0;  // of `events`, from the front, those that came before EOSE
  bool stored_done = false;
  std::optional<Error> ended;
};

struct RelayClient::Impl : std::enable_shared_from_this<RelayClient::Impl> {
  Impl(Clock& the_clock, const RelayClientLimits& the_limits, std::string the_url)
      : clock(the_clock), limits(the_limits), url(std::move(the_url)) {}

  Clock& clock;
  const RelayClientLimits limits;
  const std::string url;
  std::unique_ptr<WebSocketClient> socket;
  std::mutex mutex;
  std::condition_variable_any changed;
  std::map<std::string, std::shared_ptr<Subscription::State>> subscriptions;
  std::map<EventId, int> expected;  // ids whose OK someone waits for
  std::map<EventId, OkAnswer> answers;
  std::optional<Error> ended;
  std::size_t bad = 0;
  std::uint64_t next_id = 0;
  std::mutex closing;
  std::jthread reader;

  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {  // ends: on a stop, or with the connection
      auto text = socket->receive({Deadline::never(), stop});
      if (!text) return end(std::move(text).error());
      auto taken = take(*text);
      if (!taken) return end(std::move(taken).error());
    }
  }

  void end(Error error) {
    const std::lock_guard lock(mutex);
    if (!ended) ended = std::move(error);
    for (const auto& [id, state] : subscriptions) {
      if (!state->ended) state->ended = ended;
    }
    changed.notify_all();
  }

  Result<void> take(std::string_view text) {
    JsonLimits json_limits;
    json_limits.bytes_max = limits.message_bytes_max;
    json_limits.depth_max = 16;
    const auto message = read_json(text, json_limits);
    if (!message || !message->is_list() || message->as_list().size() < 2 || !message->as_list()[0].is_string()) return count_bad();
    const JsonList& parts = message->as_list();
    const std::string& type = parts[0].as_string();
    if (type == "EVENT" && parts.size() == 3 && parts[1].is_string()) return take_event(parts[1].as_string(), parts[2]);
    if (type == "OK" && parts.size() >= 3 && parts[1].is_string() && parts[2].is_bool()) {
      take_ok(parts[1].as_string(), {parts[2].as_bool(), parts.size() > 3 && parts[3].is_string() ? printable(parts[3].as_string()) : ""});
    } else if (type == "EOSE" && parts[1].is_string()) {
      take_eose(parts[1].as_string());
    } else if (type == "CLOSED" && parts[1].is_string()) {
      take_closed(parts[1].as_string(), parts.size() > 2 && parts[2].is_string() ? printable(parts[2].as_string()) : "");
    }
    return {};  // NOTICE, AUTH and what is not known ask for nothing
  }

  Result<void> count_bad() {
    if (++bad <= limits.bad_events_max) return {};
    return fail(ErrorCode::mismatch, "the relay sent too many forged, foreign or unreadable messages", "use another relay", url);
  }

  Result<void> take_event(const std::string& id, const Json& json) {
    std::shared_ptr<Subscription::State> state;
    {
      const std::lock_guard lock(mutex);
      const auto at = subscriptions.find(id);
      if (at != subscriptions.end()) state = at->second;
    }
    if (!state) return {};  // closed a moment ago
    const auto event = read_event(json, limits.event);
    if (!event || !matches_any(state->filters, *event)) return count_bad();
    auto verified = verify_event(*event);  // outside the lock: it is the costly part
    if (!verified) return count_bad();
    const std::lock_guard lock(mutex);
    if (state->events.size() >= limits.waiting_events_max) {
      return fail(ErrorCode::limit_exceeded, "the relay sent more events than were asked for or taken", "narrow the filter", url);
    }
    state->events.push_back(std::move(*verified));
    if (!state->stored_done) ++state->stored_waiting;
    changed.notify_all();
    return {};
  }

  void take_ok(const std::string& id, OkAnswer answer) {
    const std::lock_guard lock(mutex);
    if (!expected.contains(id)) return;
    answers[id] = std::move(answer);
    changed.notify_all();
  }

  void take_eose(const std::string& id) {
    const std::lock_guard lock(mutex);
    const auto at = subscriptions.find(id);
    if (at == subscriptions.end()) return;
    at->second->stored_done = true;
    changed.notify_all();
  }

  void take_closed(const std::string& id, const std::string& message) {
    const std::lock_guard lock(mutex);
    const auto at = subscriptions.find(id);
    if (at == subscriptions.end()) return;
    at->second->ended = Error{ErrorCode::refused, "the relay closed the subscription: " + message, url, ""};
    subscriptions.erase(at);
    changed.notify_all();
  }

  template <class Ready>
  Result<void> wait_for(std::unique_lock<std::mutex>& lock, const Wait& wait, std::string_view what, Ready ready) {
    while (!ready()) {  // ends: when ready, at the deadline or on a stop
      ASSAY_CHECK(wait.check(clock, what));
      const auto slice = std::min(wait.deadline.left(clock), std::chrono::nanoseconds(std::chrono::milliseconds(200)));
      changed.wait_for(lock, wait.stop, slice, ready);
    }
    return {};
  }

  Result<Published> wait_for_ok(const EventId& id, const Wait& wait) {
    std::unique_lock lock(mutex);
    const auto waited = wait_for(lock, wait, "the relay's answer", [&] { return answers.contains(id) || ended; });
    const auto found = answers.find(id);
    std::optional<OkAnswer> answer;
    if (found != answers.end()) answer = found->second;
    stop_expecting(id);
    if (answer) return read_answer(*answer);
    if (!waited) return std::unexpected(waited.error());
    return std::unexpected(*ended);
  }

  // With the lock held.
  void stop_expecting(const EventId& id) {
    const auto at = expected.find(id);
    if (at == expected.end() || --at->second > 0) return;
    expected.erase(at);
    answers.erase(id);
  }

  Result<void> send_event(const VerifiedEvent& event, const Wait& wait) {
    {
      const std::lock_guard lock(mutex);
      if (ended) return std::unexpected(*ended);
      ++expected[event->id];
    }
    auto sent = socket->send_text("[\"EVENT\"," + event_json(*event) + "]", wait);
    if (sent) return {};
    const std::lock_guard lock(mutex);
    stop_expecting(event->id);
    return sent;
  }

  void forget(const std::string& id) {
    {
      const std::lock_guard lock(mutex);
      if (subscriptions.erase(id) == 0 || ended) return;
    }
    std::string message = "[\"CLOSE\",";
    append_json_string(message, id);
    (void)socket->send_text(message + "]", {Deadline::after(clock, std::chrono::seconds(1)), {}});
  }
};

Subscription::~Subscription() { close(); }

void Subscription::close() {
  if (const auto client = state_->client.lock()) client->forget(state_->id);
}

Result<VerifiedEvent> Subscription::next(const Wait& wait) {
  const auto client = state_->client.lock();
  if (!client) return fail(ErrorCode::unavailable, "the relay client has gone");
  std::unique_lock lock(client->mutex);
  ASSAY_CHECK(client->wait_for(lock, wait, "waiting for an event", [&] { return !state_->events.empty() || state_->ended; }));
  if (state_->events.empty()) return std::unexpected(*state_->ended);
  VerifiedEvent event = std::move(state_->events.front());
  state_->events.pop_front();
  if (state_->stored_waiting > 0) --state_->stored_waiting;
  return event;
}

Result<std::optional<VerifiedEvent>> Subscription::next_stored(const Wait& wait) {
  const auto client = state_->client.lock();
  if (!client) return fail(ErrorCode::unavailable, "the relay client has gone");
  std::unique_lock lock(client->mutex);
  ASSAY_CHECK(client->wait_for(lock, wait, "waiting for stored events",
                               [&] { return state_->stored_waiting > 0 || state_->stored_done || state_->ended; }));
  if (state_->stored_waiting > 0) {
    std::optional<VerifiedEvent> event = std::move(state_->events.front());
    state_->events.pop_front();
    --state_->stored_waiting;
    return event;
  }
  if (!state_->stored_done) return std::unexpected(*state_->ended);
  return std::optional<VerifiedEvent>();
}

Result<std::unique_ptr<RelayClient>> RelayClient::connect(const std::string& url, const Wait& wait, Clock& clock,
                                                          const RelayClientLimits& limits) {
  WebSocketLimits socket_limits;
  socket_limits.message_bytes_max = limits.message_bytes_max;
  auto impl = std::make_shared<Impl>(clock, limits, url);
  ASSAY_TRY(impl->socket, WebSocketClient::connect(url, wait, clock, socket_limits));
  // The thread holds a plain pointer: `close` joins it before the last owner goes.
  impl->reader = std::jthread([self = impl.get()](const std::stop_token& stop) { self->run(stop); });
  return std::unique_ptr<RelayClient>(new RelayClient(std::move(impl)));
}

RelayClient::~RelayClient() { close(); }

Result<Published> RelayClient::publish(const VerifiedEvent& event, const Wait& wait) {
  ASSAY_CHECK(impl_->send_event(event, wait));
  return impl_->wait_for_ok(event->id, wait);
}

Result<std::vector<Published>> RelayClient::publish_all(const std::vector<VerifiedEvent>& events, const Wait& wait) {
  std::vector<Published> out;
  constexpr std::size_t window = 200;  // on their way at once: bounds what the relay must queue
  for (std::size_t begin = 0; begin < events.size(); begin += window) {
    const std::size_t end = std::min(begin + window, events.size());
    for (std::size_t i = begin; i < end; ++i) ASSAY_CHECK(impl_->send_event(events[i], wait));
    for (std::size_t i = begin; i < end; ++i) {
      auto answer = impl_->wait_for_ok(events[i]->id, wait);
      if (!answer) {
        const std::lock_guard lock(impl_->mutex);
        for (std::size_t rest = i + 1; rest < end; ++rest) impl_->stop_expecting(events[rest]->id);
        return std::unexpected(std::move(answer).error().in(fmt::format("event {} of {}", i + 1, events.size())));
      }
      out.push_back(std::move(*answer));
    }
  }
  return out;
}

Result<std::unique_ptr<Subscription>> RelayClient::subscribe(std::vector<Filter> filters, const Wait& wait) {
  if (filters.empty()) return fail(ErrorCode::usage, "a subscription needs at least one filter");
  auto state = std::make_shared<Subscription::State>();
  state->client = impl_;
  state->filters = std::move(filters);
  JsonList message{"REQ", ""};
  for (const Filter& filter : state->filters) message.push_back(to_json(filter));
  {
    const std::lock_guard lock(impl_->mutex);
    if (impl_->ended) return std::unexpected(*impl_->ended);
    state->id = "s" + std::to_string(impl_->next_id++);
    impl_->subscriptions[state->id] = state;
  }
  message[1] = state->id;
  std::unique_ptr<Subscription> subscription(new Subscription(state));  // from here on its end closes it
  ASSAY_TRY(const std::string text, canonical(message));
  ASSAY_CHECK(impl_->socket->send_text(text, wait));
  return subscription;
}

Result<std::vector<VerifiedEvent>> RelayClient::fetch(std::vector<Filter> filters, const Wait& wait) {
  ASSAY_TRY(const auto subscription, subscribe(std::move(filters), wait));
  std::vector<VerifiedEvent> out;
  while (true) {  // ends: at EOSE, on an error, at the deadline
    ASSAY_TRY(std::optional<VerifiedEvent> event, subscription->next_stored(wait));
    if (!event) return out;
    out.push_back(std::move(*event));
  }
}

const std::string& RelayClient::url() const { return impl_->url; }

bool RelayClient::open() const {
  const std::lock_guard lock(impl_->mutex);
  return !impl_->ended;
}

void RelayClient::close() {
  impl_->end(Error{ErrorCode::unavailable, "the relay client was closed", impl_->url, ""});
  const std::lock_guard one(impl_->closing);
  impl_->reader.request_stop();
  if (impl_->reader.joinable()) impl_->reader.join();
  impl_->socket->close();
}

}  // namespace assay
