#pragma once
/// @file
/// Responses by hash([request_hash, lane_id, null]) (docs/formats.md §4). One caller computes, the others wait for it.
///
///     ASSAY_TRY(const ResponseCache::Found found, cache.get_or_compute(key, wait, clock, [&] { return lane.complete(request, wait); }));
///     found.hit;
///
/// Thread safety: all calls.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "assay/lm/lm.h"
#include "assay/trace/record.h"

namespace assay {

class ResponseCache {
 public:
  /// In memory; with a folder also on disk: one file a key (0600), written atomically, verified when read. A file that is
  /// damaged counts as absent and is written anew; a folder that cannot be written keeps nothing, and no answer is lost (`not_kept`).
  explicit ResponseCache(std::string folder = {}) : folder_(std::move(folder)) {}
  static Result<std::string> key(const std::string& request_hash, const std::string& lane_id);

  struct Found {
    LmResponse response;
    bool hit = false;
  };
  /// A hit, or what `compute` gives (kept unless it is an error; then a caller that waits computes itself). Waiting for
  /// another caller's computation, in another process that has the same folder too, ends with `wait`. `compute` runs in the caller's
  /// thread, without a lock. Errors: those of `compute`, `timed_out`, `cancelled`.
  Result<Found> get_or_compute(const std::string& key, const Wait& wait, Clock& clock, const std::function<Result<LmResponse>()>& compute);
  /// Takes over the answered calls of a record (a journal that is resumed). Later ones win.
  Result<void> preload(const std::vector<RecordEntry>& entries);

  struct NotKept {
    std::size_t answers = 0;  ///< that stand in memory only
    std::optional<Error> why;  ///< of the first of them
  };
  /// Answers that the folder could not take (a full disk): a later run asks for them again.
  NotKept not_kept() const;

 private:
  /// `compute`, while no other process that keeps its answers in the same folder asks for the same.
  Result<Found> compute_alone(const std::string& key, const Wait& wait, Clock& clock, const std::function<Result<LmResponse>()>& compute);
  std::optional<LmResponse> find(const std::string& key);           // with mutex_ held
  void keep(const std::string& key, const LmResponse& response);    // with mutex_ held

  std::string folder_;
  mutable std::mutex mutex_;
  NotKept not_kept_;
  std::condition_variable_any ready_;
  std::map<std::string, LmResponse> responses_;
  std::set<std::string> computing_;
};

}  // namespace assay
