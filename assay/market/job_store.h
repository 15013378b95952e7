#pragma once
/// @file
/// A provider's memory: each request id once, and what became of it, so that a restart neither loses a paid job nor serves twice.
///
///     received → quoted → paid → done (published or not yet)      or: failed, expired
///
/// Thread safety: any number of threads.

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/database.h"

namespace assay {

enum class JobState { received, quoted, paid, done, failed, expired };
std::string_view name(JobState state);

struct StoredJob {
  std::string request_id;
  std::string request;        ///< the request event's JSON
  JobState state = JobState::received;
  std::int64_t amount_msats = 0;
  std::string payment_hash;   ///< once quoted
  std::int64_t expires_at = 0;
  std::string answer;         ///< the last event for the buyer, signed: quote, result or error
  bool published = false;     ///< the relay has said OK to `answer`
};

class JobStore {
 public:
  /// `folder`/jobs.sqlite, every commit durable. Drops what was refused or never paid more than a day before `now`.
  static Result<std::unique_ptr<JobStore>> open(const std::string& folder, std::int64_t now);
  /// False if this request id is known: it has been or will be served.
  Result<bool> add(const std::string& request_id, const std::string& request, std::int64_t now);
  Result<void> quote(const std::string& request_id, std::int64_t amount_msats, const std::string& payment_hash, std::int64_t expires_at,
                     const std::string& answer, std::int64_t now);
  /// From received (nothing to pay) or quoted. False if it was no longer in that state: someone else was faster.
  Result<bool> pay(const std::string& request_id, std::int64_t now);
  Result<void> finish(const std::string& request_id, JobState state, const std::string& answer, std::int64_t now);
  Result<void> mark_published(const std::string& request_id);
  Result<std::vector<StoredJob>> in_state(JobState state);
  Result<std::vector<StoredJob>> unpublished();  ///< answers of any state that the relay has not taken yet
  Result<std::optional<StoredJob>> find(const std::string& request_id);
  Result<std::int64_t> count(JobState state);
  /// What a buyer (public key) has open here, and how many of its quotes it has paid so far.
  struct Standing {
    std::int64_t quoted = 0, paid = 0;
  };
  Result<Standing> standing(const std::string& buyer);
  Result<std::int64_t> earned_msats();  ///< of jobs that were paid

 private:
  explicit JobStore(Database database) : database_(std::move(database)) {}
  std::mutex mutex_;
  Database database_;
};

}  // namespace assay
