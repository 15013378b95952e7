#include "assay/market/held_purchases.h"

#include <sys/stat.h>

#include <filesystem>

namespace assay {

HeldPurchases::~HeldPurchases() {
  while (!locks_.empty()) let_go(std::string(locks_.begin()->first));  // ends: each takes one away
}

Result<void> HeldPurchases::tidy(std::int64_t before_unix_seconds) {
  ASSAY_CHECK(make_folders(folder_, 0700));
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(folder_, ignored)) {
    struct stat info{};
    if (::stat(file.path().c_str(), &info) == 0 && info.st_mtim.tv_sec < before_unix_seconds) std::filesystem::remove(file.path(), ignored);
  }
  return {};
}

Result<bool> HeldPurchases::take(const std::string& request_id, For purpose) {
  const std::scoped_lock lock(mutex_);
  if (locks_.contains(request_id)) return false;
  Locks locks;
  std::error_code ignored;
  if (purpose == For::fetch) {
    ASSAY_TRY(locks.fetch, try_lock_file(fetch_path(request_id)));
    if (!locks.fetch) return false;
  }
  ASSAY_TRY(std::optional<Fd> held, try_lock_file(path(request_id)));
  if (!held) {
    if (locks.fetch) std::filesystem::remove(fetch_path(request_id), ignored);
    return false;
  }
  locks.held = std::move(*held);
  locks_.emplace(request_id, std::move(locks));
  return true;
}

void HeldPurchases::let_go(const std::string& request_id) {
  const std::scoped_lock lock(mutex_);
  const auto at = locks_.find(request_id);
  if (at == locks_.end()) return;
  std::error_code ignored;
  std::filesystem::remove(path(request_id), ignored);
  at->second.held.close();
  if (at->second.fetch) std::filesystem::remove(fetch_path(request_id), ignored);
  locks_.erase(at);
}

Result<bool> HeldPurchases::is_being_fetched(const std::string& request_id) const {
  std::error_code ignored;
  if (!std::filesystem::exists(fetch_path(request_id), ignored)) return false;
  ASSAY_TRY(const std::optional<Fd> free, try_lock_file(fetch_path(request_id)));
  if (free) std::filesystem::remove(fetch_path(request_id), ignored);  // whoever had it is gone
  return !free;
}

}  // namespace assay
