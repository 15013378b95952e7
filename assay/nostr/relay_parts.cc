#include "assay/nostr/relay_parts.h"
#include "assay_version.h"

namespace assay::relay {
namespace {

constexpr std::size_t held_max = 10'000;  // live events during one stored scan
constexpr std::size_t batch_max = 500;    // events in one transaction

void append_text(std::string& out, std::string_view text) { append_json_string(out, text); }

}  // namespace

std::string event_message(std::string_view subscription, std::string_view event) {
  std::string out = "[\"EVENT\",";
  out.reserve(event.size() + subscription.size() + 16);
  append_text(out, subscription);
  return out.append(",").append(event).append("]");
}

std::string ok_message(std::string_view id, bool accepted, std::string_view text) {
  std::string out = "[\"OK\",";
  append_text(out, id);
  out += accepted ? ",true," : ",false,";
  append_text(out, text);
  return out + "]";
}

std::string eose_message(std::string_view subscription, bool complete) {
  std::string out = "[\"EOSE\",";
  append_text(out, subscription);
  return out + (complete ? ",[\"finish\"]]" : ",[\"more\"]]");  // NIP-67
}

std::string closed_message(std::string_view subscription, std::string_view text) {
  std::string out = "[\"CLOSED\",";
  append_text(out, subscription);
  out += ',';
  append_text(out, text);
  return out + "]";
}

std::string notice_message(std::string_view text) {
  std::string out = "[\"NOTICE\",";
  append_text(out, text);
  return out + "]";
}

bool Subscriptions::hold(const std::string& id, std::vector<Filter> filters, std::size_t most) {
  const std::lock_guard lock(mutex_);
  if (!all_.contains(id) && all_.size() >= most) return false;
  all_[id] = One{std::move(filters), true, {}};
  return true;
}

void Subscriptions::release(const std::string& id, std::string eose) {
  const std::lock_guard lock(mutex_);  // held while sending, so that no live event overtakes those held back
  const auto at = all_.find(id);
  if (at == all_.end()) return;
  peer_->send(std::move(eose));
  for (std::string& message : at->second.held) peer_->send(std::move(message));
  at->second.held.clear();
  at->second.holding = false;
}

void Subscriptions::remove(const std::string& id) {
  const std::lock_guard lock(mutex_);
  all_.erase(id);
}

std::size_t Subscriptions::deliver(const Event& event, std::string_view json) {
  std::size_t count = 0;
  const std::lock_guard lock(mutex_);
  for (auto& [id, one] : all_) {
    if (!matches_any(one.filters, event)) continue;
    ++count;
    if (!one.holding) {
      peer_->send(event_message(id, json));
    } else if (one.held.size() < held_max) {
      one.held.push_back(event_message(id, json));
    } else {
      peer_->close(1008, "slow consumer");
    }
  }
  return count;
}

void Hub::add(std::shared_ptr<Subscriptions> subscriptions) {
  const std::lock_guard lock(mutex_);
  all_.insert(std::move(subscriptions));
}

void Hub::remove(const std::shared_ptr<Subscriptions>& subscriptions) {
  const std::lock_guard lock(mutex_);
  all_.erase(subscriptions);
}

std::optional<std::int64_t> Hub::subscribe(Subscriptions& subscriptions, const std::string& id, std::vector<Filter> filters,
                                           std::size_t most) {
  const std::lock_guard lock(mutex_);
  if (!subscriptions.hold(id, std::move(filters), most)) return std::nullopt;
  return cursor_;
}

std::size_t Hub::pass_on(const std::vector<Fresh>& events, std::int64_t last_seq) {
  std::size_t count = 0;
  const std::lock_guard lock(mutex_);
  cursor_ = last_seq;
  for (const auto& [event, json] : events) {
    for (const auto& subscriptions : all_) count += subscriptions->deliver(event, json);
  }
  return count;
}

bool Writer::submit(VerifiedEvent event, std::shared_ptr<WebSocketPeer> from) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() >= waiting_max_ || thread_.get_stop_token().stop_requested()) return false;
  waiting_.push_back({std::move(event), std::move(from)});
  changed_.notify_one();
  return true;
}

void Writer::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void Writer::run(const std::stop_token& stop) {
  while (true) {  // ends: on a stop, when nothing waits any more
    std::vector<Job> jobs;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, stop, [this] { return !waiting_.empty(); });
      if (waiting_.empty()) return;
      while (!waiting_.empty() && jobs.size() < batch_max) {
        jobs.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
    }
    write(jobs);
  }
}

// One transaction for the batch: one sync to disk is shared by all its events.
void Writer::write(std::vector<Job>& jobs) {
  std::vector<Hub::Fresh> fresh;
  const auto answers = store(jobs, fresh);
  if (!answers) {
    store_.roll_back();
    for (const Job& job : jobs) job.from->send(ok_message(job.event->id, false, "error: the event could not be stored"));
    counters_.refused += jobs.size();
    return;
  }
  // The cursor moves before the OKs go out: who asks after an OK finds the event among the stored ones.
  counters_.delivered += hub_.pass_on(fresh, store_.last_seq());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].from->send(ok_message(jobs[i].event->id, (*answers)[i].accepted, (*answers)[i].text));
  }
}

Result<std::vector<Writer::Answer>> Writer::store(const std::vector<Job>& jobs, std::vector<Hub::Fresh>& fresh) {
  std::vector<Answer> answers;
  ASSAY_CHECK(store_.begin());
  for (const Job& job : jobs) {
    ASSAY_TRY(Answer answer, store_one(job.event, fresh));
    answers.push_back(std::move(answer));
  }
  ASSAY_CHECK(store_.commit());
  return answers;
}

Result<Writer::Answer> Writer::store_one(const VerifiedEvent& event, std::vector<Hub::Fresh>& fresh) {
  if (is_ephemeral(event->kind)) {
    fresh.push_back({*event, event_json(*event)});
    return Answer{};
  }
  ASSAY_TRY(const RelayStore::Put put, store_.put(event));
  switch (put) {
    case RelayStore::Put::stored:
      ++counters_.stored;
      fresh.push_back({*event, event_json(*event)});
      return Answer{};
    case RelayStore::Put::duplicate: ++counters_.duplicates; return Answer{true, "duplicate: already have this event"};
    case RelayStore::Put::outdated: ++counters_.refused; return Answer{false, "replaced: have newer event"};
    case RelayStore::Put::deleted: ++counters_.refused; return Answer{false, "blocked: deleted by its author"};
  }
  return Answer{};
}

std::string information_json(const RelayLimits& limits) {
  const JsonObject limitation{{"max_message_length", limits.message_bytes_max},
                              {"max_subscriptions", limits.subscriptions_max},
                              {"max_subid_length", limits.subscription_id_bytes_max},
                              {"max_limit", limits.limit_max},
                              {"default_limit", limits.limit_default},
                              {"max_event_tags", limits.event.tags_max},
                              {"max_content_length", limits.event.event_bytes_max},
                              {"created_at_upper_limit", limits.future_seconds_max},
                              {"auth_required", false},
                              {"payment_required", false}};
  const Json information = JsonObject{{"name", "Assay Nexus"},
                                      {"description", "The relay inside Assay: traces and compute jobs"},
                                      {"software", "assay"},
                                      {"version", assay_version},
                                      {"supported_nips", JsonList{1, 9, 11, 40, 67}},
                                      {"limitation", limitation}};
  return canonical(information).value_or("{}");
}

}  // namespace assay::relay
