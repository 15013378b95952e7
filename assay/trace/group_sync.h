#pragma once
/// @file
/// Group commit: threads that wait for the same file share one fsync (docs/formats.md §4, Durability `power`).
///
///     sync.wrote(bytes);                        // after each whole write, with the file's new length
///     if (const int number = sync.wait(bytes)) …  // an errno, or 0: the first `bytes` bytes are on the disk
///
/// One caller at a time syncs, for all that is written by then; who comes meanwhile waits for the sync after, which covers him and
/// everybody beside him. So n threads that append at once cost about two syncs and not n.
///
/// Thread safety: all calls.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

namespace assay {

class GroupSync {
 public:
  /// Makes what was written durable; an errno, or 0.
  using Sync = std::function<int()>;

  explicit GroupSync(Sync sync) : sync_(std::move(sync)) {}
  GroupSync(const GroupSync&) = delete;
  GroupSync& operator=(const GroupSync&) = delete;

  void wrote(std::int64_t length);
  /// Waits until the first `length` bytes are durable. After a failed sync every wait fails with its errno: what the kernel dropped then
  /// is not known, and a second sync that succeeds says nothing about it.
  int wait(std::int64_t length);

 private:
  Sync sync_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::int64_t written_ = 0, synced_ = 0;
  bool syncing_ = false;
  int error_ = 0;
};

}  // namespace assay
