#include "assay/net/server_shared.h"

#include <vector>

namespace assay::net {

std::shared_ptr<Connections::Seat> Connections::take(const std::shared_ptr<Connections>& all, std::size_t most) {
  const std::lock_guard lock(all->mutex_);
  if (all->open_.size() >= most && (all->open_.size() >= most + leaving_max || !all->cut_oldest_idle())) return nullptr;
  const std::uint64_t number = all->next_++;
  all->open_.emplace(number, Entry{});
  return std::make_shared<Seat>(all, number);
}

bool Connections::cut_oldest_idle() {
  auto oldest = open_.end();
  for (auto at = open_.begin(); at != open_.end(); ++at) {
    if (at->second.idle && at->second.executor && (oldest == open_.end() || at->first < oldest->first)) oldest = at;
  }
  if (oldest == open_.end()) return false;
  oldest->second.idle = false;
  asio::post(oldest->second.executor, [connection = oldest->second.connection] {
    if (const auto alive = connection.lock()) alive->cut();
  });
  return true;
}

void Connections::set_idle(std::uint64_t number, bool idle) {
  const std::lock_guard lock(mutex_);
  if (const auto at = open_.find(number); at != open_.end()) at->second.idle = idle;
}

void Connections::tell_all(void (Connection::*what)()) {
  const std::lock_guard lock(mutex_);
  for (const auto& [number, entry] : open_) {
    if (!entry.executor) continue;
    asio::post(entry.executor, [connection = entry.connection, what] {
      if (const auto alive = connection.lock()) ((*alive).*what)();
    });
  }
}

void Connections::cut_all_here() {
  std::vector<std::shared_ptr<Connection>> alive;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, entry] : open_) {
      if (auto connection = entry.connection.lock()) alive.push_back(std::move(connection));
    }
  }
  for (const auto& connection : alive) connection->cut();
}

bool Connections::wait_until_none(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  return none_.wait_for(lock, at_most, [this] { return open_.empty(); });
}

void Connections::erase(std::uint64_t number) {
  Entry gone;  // destroyed after the lock: it may hold the last reference to a strand
  const std::lock_guard lock(mutex_);
  const auto at = open_.find(number);
  if (at == open_.end()) return;
  std::swap(gone, at->second);
  open_.erase(at);
  if (open_.empty()) none_.notify_all();
}

void Connections::set(std::uint64_t number, Entry entry) {
  const std::lock_guard lock(mutex_);
  const auto at = open_.find(number);
  if (at != open_.end()) std::swap(at->second, entry);
}

Outbox::Pushed Outbox::push(Text text) {
  const std::lock_guard lock(mutex_);
  if (finished_ || !wake_) return Pushed::closed;
  if (bytes_ + text->size() > bytes_max_) {
    finished_ = true;
    overflowed_ = true;
    wake_();
    return Pushed::overflowed;
  }
  bytes_ += text->size();
  texts_.push_back(std::move(text));
  if (texts_.size() == 1) wake_();
  return Pushed::queued;
}

void Outbox::finish(std::uint16_t code, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  if (finished_ || !wake_) return;
  finished_ = true;
  farewell_ = {code, std::string(reason)};
  wake_();
}

std::pair<std::uint16_t, std::string> Outbox::farewell() const {
  const std::lock_guard lock(mutex_);
  return overflowed_ ? std::pair<std::uint16_t, std::string>{1008, "slow consumer"} : farewell_;
}

void Outbox::detach() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
  finished_ = true;
}

bool Outbox::open() const {
  const std::lock_guard lock(mutex_);
  return !finished_ && wake_;
}

bool Outbox::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

std::size_t Outbox::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

Outbox::Text Outbox::front() const {
  const std::lock_guard lock(mutex_);
  return texts_.empty() ? nullptr : texts_.front();
}

void Outbox::pop() {
  const std::lock_guard lock(mutex_);
  bytes_ -= texts_.front()->size();
  texts_.pop_front();
}

}  // namespace assay::net
