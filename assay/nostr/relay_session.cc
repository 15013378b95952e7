// One client of the relay: reads its messages, checks them cheap things first, and pages stored events out as fast as it reads.
#include <algorithm>

#include "assay/nostr/relay_parts.h"

namespace assay::relay {
namespace {

constexpr std::size_t page_bytes = 256 * 1024;  // queued for one client before the next stored events are read

// The word before the colon that NIP-01 gives to a problem.
std::string problem_text(const Error& error) {
  std::string_view prefix = "invalid: ";
  if (error.code == ErrorCode::refused) prefix = "unsupported: ";
  if (error.code == ErrorCode::io || error.code == ErrorCode::timed_out || error.code == ErrorCode::internal) prefix = "error: ";
  std::string text = std::string(prefix) + error.message;
  if (!error.path.empty()) text += " (" + error.path + ")";
  return to_utf8(std::string_view(text).substr(0, 512));
}

// The stored part of one REQ.
struct Scan {
  std::string id;
  std::vector<RelayStore::Hit> hits;
  std::size_t next = 0;
  bool complete = true;
};

class Session final : public WebSocketSession {
 public:
  explicit Session(const Shared& shared) : shared_(shared) {}

  void on_open(std::shared_ptr<WebSocketPeer> peer) override {
    peer_ = std::move(peer);
    subscriptions_ = std::make_shared<Subscriptions>(peer_);
    shared_.hub.add(subscriptions_);
  }

  void on_close() override { shared_.hub.remove(subscriptions_); }

  void on_drained() override { send_pages(); }

  void on_text(std::string_view text) override {
    JsonLimits limits;
    limits.bytes_max = shared_.limits.message_bytes_max;
    limits.depth_max = 8;
    const auto message = read_json(text, limits);
    if (!message) return notice(problem_text(message.error()));
    if (!message->is_list() || message->as_list().empty() || !message->as_list()[0].is_string()) {
      return notice("invalid: a message is a list that begins with its type");
    }
    const JsonList& parts = message->as_list();
    const std::string& type = parts[0].as_string();
    if (type == "EVENT") return take_event(parts);
    if (type == "REQ") return take_request(parts);
    if (type == "CLOSE") return take_close(parts);
    notice("unsupported: message type");
  }

 private:
  void notice(std::string_view text) {
    peer_->send(notice_message(text));
    count_bad();
  }

  void count_bad() {
    if (++bad_ >= shared_.limits.bad_messages_max) peer_->close(1008, "too many bad messages");
  }

  void refuse(const EventId& id, std::string_view text) {
    ++shared_.counters.refused;
    peer_->send(ok_message(id, false, text));
  }

  void take_event(const JsonList& parts) {
    if (parts.size() != 2) return notice("invalid: EVENT takes one event");
    const auto event = read_event(parts[1], shared_.limits.event);
    const Json& id = parts[1].at("id");
    if (!event) {
      // Without a readable id there is nothing that an OK could name.
      if (!id.is_string() || !is_hex(id.as_string(), 64)) return notice(problem_text(event.error()));
      refuse(id.as_string(), problem_text(event.error()));
      return count_bad();
    }
    if (const auto timely = check_time(*event); !timely) return refuse(event->id, problem_text(timely.error()));
    if (const auto genuine = check_event_id(*event); !genuine) {
      refuse(event->id, "invalid: bad event id");
      return count_bad();
    }
    auto verified = verify_event(*event);  // first: an id that is known makes no false signature true
    if (!verified) {
      refuse(event->id, "invalid: bad signature");
      return count_bad();
    }
    if (const auto known = shared_.store.known(event->id); known && *known) {
      ++shared_.counters.duplicates;
      peer_->send(ok_message(event->id, true, "duplicate: already have this event"));
      return;
    }
    if (!shared_.writer.submit(std::move(*verified), peer_)) refuse(event->id, "rate-limited: too many events are waiting");
  }

  Result<void> check_time(const Event& event) const {
    const std::int64_t now = shared_.clock.unix_ns() / 1'000'000'000;
    if (event.created_at > now + shared_.limits.future_seconds_max) {
      return fail(ErrorCode::malformed, "created_at too far in the future");
    }
    const auto expiration = tag_value(event, "expiration");
    if (expiration && expiration->size() < 18 && !expiration->empty() && expiration->find_first_not_of("0123456789") == std::string::npos &&
        std::stoll(*expiration) <= now) {
      return fail(ErrorCode::malformed, "expired");
    }
    if (event.kind == 22242) return fail(ErrorCode::malformed, "kind 22242 is for AUTH and is never published");
    if (std::any_of(event.tags.begin(), event.tags.end(), [](const EventTag& tag) { return tag.size() == 1 && tag[0] == "-"; })) {
      return fail(ErrorCode::refused, "protected events need AUTH, which this relay does not offer");
    }
    return {};
  }

  void take_request(const JsonList& parts) {
    if (parts.size() < 2 || !parts[1].is_string()) return notice("invalid: REQ takes a subscription id and filters");
    const std::string& id = parts[1].as_string();
    if (id.empty() || id.size() > shared_.limits.subscription_id_bytes_max) return notice("invalid: a subscription id has 1 to 64 bytes");
    drop(id);
    auto filters = read_filters(parts);
    if (!filters) {
      peer_->send(closed_message(id, problem_text(filters.error())));
      return count_bad();
    }
    const auto cursor = shared_.hub.subscribe(*subscriptions_, id, *filters, shared_.limits.subscriptions_max);
    if (!cursor) {
      peer_->send(closed_message(id, "rate-limited: too many subscriptions"));
      return;
    }
    auto scan = stored(id, *filters, *cursor);
    if (!scan) {
      subscriptions_->remove(id);
      peer_->send(closed_message(id, problem_text(scan.error())));
      return;
    }
    scans_.push_back(std::move(*scan));
    send_pages();
  }

  Result<std::vector<Filter>> read_filters(const JsonList& parts) const {
    if (parts.size() < 3) return fail(ErrorCode::malformed, "REQ needs at least one filter");
    if (parts.size() - 2 > shared_.limits.filters_max) return fail(ErrorCode::limit_exceeded, "too many filters");
    std::vector<Filter> filters;
    for (std::size_t i = 2; i < parts.size(); ++i) {
      ASSAY_TRY(Filter filter, read_filter(parts[i], shared_.limits.filter));
      filters.push_back(std::move(filter));
    }
    return filters;
  }

  // Each filter's newest, then all in one order without duplicates.
  Result<Scan> stored(const std::string& id, const std::vector<Filter>& filters, std::int64_t cursor) {
    Scan scan;
    scan.id = id;
    const std::int64_t now = shared_.clock.unix_ns() / 1'000'000'000;
    for (const Filter& filter : filters) {
      const std::int64_t limit = std::min(filter.limit.value_or(shared_.limits.limit_default), shared_.limits.limit_max);
      ASSAY_TRY(auto hits, shared_.store.query(filter, cursor, limit + 1, now));
      if (hits.size() > static_cast<std::size_t>(limit)) {
        hits.resize(static_cast<std::size_t>(limit));
        scan.complete = false;
      }
      scan.hits.insert(scan.hits.end(), hits.begin(), hits.end());
    }
    std::sort(scan.hits.begin(), scan.hits.end(),
              [](const auto& a, const auto& b) { return a.created_at != b.created_at ? a.created_at > b.created_at : a.id < b.id; });
    scan.hits.erase(std::unique(scan.hits.begin(), scan.hits.end()), scan.hits.end());
    return scan;
  }

  // Sends stored events while the client keeps up; `on_drained` goes on. No read transaction stays open in between.
  void send_pages() {
    while (!scans_.empty() && peer_->open()) {  // ends: every round sends an event or finishes a scan
      Scan& scan = scans_.front();
      if (scan.next == scan.hits.size()) {
        subscriptions_->release(scan.id, eose_message(scan.id, scan.complete));
        scans_.pop_front();
        continue;
      }
      if (peer_->queued_bytes() >= page_bytes) return;
      const auto json = shared_.store.json(scan.hits[scan.next].seq);
      if (!json) {
        subscriptions_->remove(scan.id);
        peer_->send(closed_message(scan.id, problem_text(json.error())));
        scans_.pop_front();
        continue;
      }
      ++scan.next;
      if (*json) peer_->send(event_message(scan.id, **json));
    }
  }

  void take_close(const JsonList& parts) {
    if (parts.size() != 2 || !parts[1].is_string()) return notice("invalid: CLOSE takes a subscription id");
    drop(parts[1].as_string());
  }

  void drop(const std::string& id) {
    subscriptions_->remove(id);
    std::erase_if(scans_, [&](const Scan& scan) { return scan.id == id; });
  }

  const Shared shared_;
  std::shared_ptr<WebSocketPeer> peer_;
  std::shared_ptr<Subscriptions> subscriptions_;
  std::deque<Scan> scans_;
  std::size_t bad_ = 0;
};

}  // namespace

std::shared_ptr<WebSocketSession> make_session(const Shared& shared) { return std::make_shared<Session>(shared); }

}  // namespace assay::relay
