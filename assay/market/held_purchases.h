#pragma once
/// @file
/// Who goes on with a purchase: of all processes on one folder, one at a time, by a lock file for each. A killed one holds nothing.
/// Private to `assay/market`.
///
///     HeldPurchases held("buyer/held");
///     ASSAY_TRY(const bool mine, held.take(request_id, HeldPurchases::For::order));
///     if (mine) held.let_go(request_id);
///
/// Thread safety: any number of threads; a purchase that one of them holds is not another's.

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "assay/base/files.h"

namespace assay {

class HeldPurchases {
 public:
  /// order: for itself. fetch: for whoever orders the same; it lets go soon, and who waits finds the result.
  enum class For { order, fetch };

  explicit HeldPurchases(std::string folder) : folder_(std::move(folder)) {}
  ~HeldPurchases();
  HeldPurchases(const HeldPurchases&) = delete;
  HeldPurchases& operator=(const HeldPurchases&) = delete;

  /// Makes the folder, and deletes lock files that were last taken before that time: to look at a lock is to hold it, so younger ones stay.
  Result<void> tidy(std::int64_t before_unix_seconds);
  /// False: somebody else has it, or another thread here.
  Result<bool> take(const std::string& request_id, For purpose);
  void let_go(const std::string& request_id);
  /// After `take` said no: is it held for a fetch?
  Result<bool> is_being_fetched(const std::string& request_id) const;

 private:
  struct Locks {
    std::optional<Fd> fetch;  // taken before `held` and let go after it: who finds `held` taken by a fetch finds this taken too
    Fd held;
  };
  std::string path(const std::string& request_id) const { return folder_ + "/" + request_id; }
  std::string fetch_path(const std::string& request_id) const { return path(request_id) + ".fetch"; }

  std::string folder_;
  std::mutex mutex_;
  std::map<std::string, Locks> locks_;
};

}  // namespace assay
