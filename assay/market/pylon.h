#pragma once
/// @file
/// Pylon, the provider: announces what it sells, quotes, waits for the money, runs, answers. Source: docs/formats.md §7.
///
///     PylonOptions options{.relay_url = relay->url(), .key = key, .wallet = wallet, .folder = "pylon"};
///     options.work.lanes = {lane};
///     options.work.sandbox = true;
///     ASSAY_TRY(auto pylon, Pylon::open(options, clock, entropy, wait));
///     ASSAY_CHECK(pylon->serve(stop));             // until stop is asked
///
/// A job runs only after its invoice is settled, and a request id is served once: its state is on disk before each step. A
/// restart quotes again what it had only received, runs what was paid, and publishes what the relay has not taken.
/// Money is not given back: a job that fails after payment ends in feedback `error`, and the buyer's reputation store notes it.
///
/// Threads: serve() reads requests on the caller's thread, one thread watches invoices, `running_max` threads work.

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "assay/market/job_runner.h"
#include "assay/market/job_store.h"
#include "assay/market/wallet.h"

namespace assay {

struct PylonLimits {
  /// Unpaid quotes at once; more requests get `error: busy`. A quarter of them is kept for buyers that have paid here before, so that a
  /// flood from throwaway keys does not shut them out; and one buyer has at most a quarter.
  std::int64_t quoted_max = 256;
  std::int64_t queued_max = 64;         ///< paid and not done
  unsigned running_max = 1;             ///< jobs at once
  std::int64_t quote_seconds = 60;      ///< an invoice's life
  std::int64_t poll_ms = 200;           ///< between looks at unpaid invoices
};

struct PylonOptions {
  std::string relay_url;
  SecretKey key;
  std::shared_ptr<Wallet> wallet;       ///< null: only free jobs, so all prices must be 0
  std::string folder;                   ///< jobs.sqlite
  JobRunnerOptions work;
  PylonLimits limits;
  std::string name = "assay pylon";
  bool open_requests = true;            ///< also answer requests that name no provider
  std::function<void(std::string_view)> log = {};  ///< one line a step: ids, states and prices, never contents or keys
};

class Pylon {
 public:
  /// Connects, opens the store and announces. Errors: `unavailable` (also where another process serves from the folder), `usage`, `io`.
  static Result<std::unique_ptr<Pylon>> open(const PylonOptions& options, Clock& clock, Entropy& entropy, const Wait& wait);
  ~Pylon();
  Pylon(const Pylon&) = delete;
  Pylon& operator=(const Pylon&) = delete;

  const std::string& pubkey() const;
  JobStore& jobs();
  /// Blocks until `stop`. A relay that goes away is dialled again, ever more slowly up to 10 s. Errors: `io` (the store).
  Result<void> serve(const std::stop_token& stop);

 private:
  struct Impl;
  explicit Pylon(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
