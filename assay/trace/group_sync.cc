#include "assay/trace/group_sync.h"

#include <algorithm>

namespace assay {

void GroupSync::wrote(std::int64_t length) {
  const std::scoped_lock lock(mutex_);
  written_ = std::max(written_, length);
}

int GroupSync::wait(std::int64_t length) {
  std::unique_lock lock(mutex_);
  while (error_ == 0 && synced_ < length) {  // ends: every round waits for a sync or makes one, and each covers all that is written by then
    if (syncing_) {
      // No deadline: it ends with a thread that is inside fsync, which cannot be cancelled either.
      ready_.wait(lock, [this] { return !syncing_; });
      continue;
    }
    syncing_ = true;
    const std::int64_t covered = std::max(written_, length);
    lock.unlock();
    const int number = sync_();
    lock.lock();
    syncing_ = false;
    if (number == 0) synced_ = std::max(synced_, covered);
    else error_ = number;
    ready_.notify_all();
  }
  return error_;
}

}  // namespace assay
