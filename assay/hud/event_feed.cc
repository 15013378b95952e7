#include "assay/hud/event_feed.h"

#include <algorithm>
#include <utility>

#include "assay/hud/redact.h"

namespace assay {

void EventFeed::publish(std::string_view name, const Json& data) {
  auto text = canonical(redact_value(data));
  if (!text) return;
  const auto event = std::make_shared<const Event>(Event{std::string(name), *std::move(text)});
  const std::lock_guard lock(events_mutex_);
  events_.push_back(event);
  bytes_ += event->data.size();
  while (events_.size() > limits_.events_max || (bytes_ > limits_.bytes_max && events_.size() > 1)) {  // ends: every round drops one
    bytes_ -= events_.front()->data.size();
    events_.pop_front();
    ++first_;
  }
}

bool EventFeed::subscribe(std::shared_ptr<EventStream> stream, const Json& hello) {
  const std::lock_guard lock(viewers_mutex_);
  std::erase_if(viewers_, [](const Viewer& viewer) { return !viewer.stream->open(); });
  if (viewers_.size() >= limits_.viewers_max) return false;
  Viewer viewer{std::move(stream), 0};
  {
    const std::lock_guard events_lock(events_mutex_);
    viewer.next = first_ + static_cast<std::int64_t>(events_.size());
  }
  if (auto text = canonical(hello)) viewer.stream->send("hello", *text);
  viewers_.push_back(std::move(viewer));
  return true;
}

std::vector<EventFeed::Shared> EventFeed::take(Viewer& viewer) {
  const std::size_t queued = viewer.stream->queued_bytes();
  std::size_t room = limits_.viewer_bytes_max - std::min(limits_.viewer_bytes_max, queued);
  std::vector<Shared> taken;
  const std::lock_guard lock(events_mutex_);
  const std::int64_t missed = std::max<std::int64_t>(0, first_ - viewer.next);
  viewer.next += missed;
  viewer.missed += missed;
  dropped_ += missed;
  for (auto at = static_cast<std::size_t>(viewer.next - first_); at < events_.size(); ++at) {
    // One event larger than the whole allowance still goes to an idle viewer.
    if (events_[at]->data.size() > room && !(queued == 0 && taken.empty())) break;
    room -= std::min(room, events_[at]->data.size());
    taken.push_back(events_[at]);
    ++viewer.next;
  }
  return taken;
}

void EventFeed::serve(Viewer& viewer) {
  const std::vector<Shared> events = take(viewer);
  if (viewer.missed > 0 && !events.empty()) {
    const auto text = canonical(JsonObject{{"dropped", std::exchange(viewer.missed, 0)}});
    if (text) viewer.stream->send("gap", *text);
  }
  for (const Shared& event : events) {
    if (!viewer.stream->send(event->name, event->data)) return;
  }
}

void EventFeed::pump() {
  const std::lock_guard lock(viewers_mutex_);
  std::erase_if(viewers_, [](const Viewer& viewer) { return !viewer.stream->open(); });
  for (Viewer& viewer : viewers_) serve(viewer);
}

bool EventFeed::full() const {
  const std::lock_guard lock(viewers_mutex_);
  const auto open = std::count_if(viewers_.begin(), viewers_.end(), [](const Viewer& viewer) { return viewer.stream->open(); });
  return static_cast<std::size_t>(open) >= limits_.viewers_max;
}

EventFeed::Counts EventFeed::counts() const {
  Counts counts;
  {
    const std::lock_guard lock(viewers_mutex_);
    counts.dropped = dropped_;
    counts.viewers = std::count_if(viewers_.begin(), viewers_.end(), [](const Viewer& viewer) { return viewer.stream->open(); });
  }
  const std::lock_guard lock(events_mutex_);
  counts.events = first_ + static_cast<std::int64_t>(events_.size());
  return counts;
}

}  // namespace assay
