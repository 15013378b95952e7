#pragma once
/// @file
/// The work itself: can this provider do a job, for how much, and then do it. Knows nothing of relays or money.
///
///     const JobRunner runner({.lanes = {lane}, .sandbox = true}, key, clock, entropy);
///     ASSAY_TRY(const std::int64_t msats, runner.price(request));        // or `refused`, naming what is not honoured
///     ASSAY_TRY(const std::string content, runner.run(request, wait));   // the text of the result event
///
/// Thread safety: any number of threads; a lane takes care of itself.

#include <memory>
#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/market/announcement.h"
#include "assay/market/job_event.h"
#include "assay/market/prices.h"
#include "assay/sandbox/sandbox.h"

namespace assay {

struct JobRunnerOptions {
  std::vector<std::shared_ptr<LM>> lanes;                       ///< the first that can do a job does it
  bool sandbox = false;
  SandboxProfile profile = SandboxProfile::Small;               ///< the largest that is sold
  MarketPrices prices;
  JobLimits limits;
  std::int64_t max_tokens_max = 4096;                           ///< of one text job
  std::int64_t text_seconds_max = 300;                          ///< one text job may run
};

class JobRunner {
 public:
  JobRunner(JobRunnerOptions options, SecretKey key, Clock& clock, Entropy& entropy);

  /// What the whole job costs. Errors: `refused` ("unsupported: …"), `limit_exceeded`, `malformed`: nothing has run.
  Result<std::int64_t> price(const JobRequest& request) const;
  /// Errors: those of the lane or sandbox; `limit_exceeded` (the result does not fit an event).
  Result<std::string> run(const JobRequest& request, const Wait& wait) const;
  /// Models, sandbox and prices for the announcement.
  Result<ProviderInfo> info() const;

 private:
  Result<void> check_answerable(const SandboxRunRequest& job) const;
  Result<TextJob> read_text(const JobRequest& request) const;
  Result<LM*> lane_for(const TextJob& job) const;
  Result<void> check_context(const LM& lane, std::int64_t tokens) const;
  Result<SandboxProfile> profile_for(const JobRequest& request) const;
  Result<std::string> run_text(const JobRequest& request, const Wait& wait) const;
  Result<std::string> run_sandbox(const JobRequest& request, const Wait& wait) const;
  Result<std::string> envelope_text(const JobRequest& request, Json payload, const Json& receipt) const;

  JobRunnerOptions options_;
  SandboxLimits sandbox_limits_;
  SecretKey key_;
  Clock& clock_;
  Entropy& entropy_;
};

}  // namespace assay
