#pragma once
/// @file
/// A sandbox run bought from a provider: nothing is started on this machine. Source: the plan's Phase 3.
///
///     PylonSandboxProvider provider{relay_url, keypair, SandboxProfile::Small};
///     provider.wallet = wallet;
///     SandboxRunRequest request;
///     request.commands = {{.cmd = "echo " + nonce}};
///     ASSAY_TRY(const SandboxRunResponse response, provider.run(request));
///
/// The response is checked against the provider's signed receipt. The job is encrypted to the provider, which reads it.
/// Thread safety: `run` may be called from many threads.

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "assay/market/buyer.h"
#include "assay/sandbox/profile.h"
#include "assay/sandbox/request.h"

namespace assay {

struct PylonSandboxProvider {
  std::string relay_url;
  SecretKey keypair;
  SandboxProfile profile;

  std::shared_ptr<Wallet> wallet = {};                 ///< null: only providers that ask nothing
  std::string provider = {};                           ///< public key; empty: the cheapest
  std::int64_t bid_msats = 100'000;                    ///< the most for one run
  std::optional<std::int64_t> day_msats = {};          ///< of all purchases of this folder in 24 hours; empty: BuyerOptions' own caps
  std::string folder = {};                             ///< purchases.sqlite; empty: market/KEY under the data folder
  std::int64_t answer_seconds = 30;  ///< who says nothing within that time, or no, is passed over, and the next is asked
  std::int64_t wait_seconds = 60;  ///< beyond the job's own timeout_secs
  std::stop_token stop = {};
  Clock* clock = &system_clock();
  Entropy* entropy = &system_entropy();
  std::function<void(const Bought&)> on_bought = {};  ///< receipts, for a record
  /// With `keep_result`: gets what holds the purchase. While it lives no other process is given the result.
  std::function<void(std::shared_ptr<Buyer>)> on_held = {};
  std::function<void(std::string_view)> progress = {};
  /// Data of a record's `payment` line, as soon as money moved or may have. True: it stands in a record now.
  std::function<bool(const Json&)> on_paid = {};
  std::string record = {};   ///< path of that record; empty: none
  bool keep_result = false;  ///< what was paid for is given to the same request again, for nothing, until `Buyer::taken`: `on_held`

  /// Errors: `limit_exceeded` (the request asks for more than `profile`), and those of Buyer::request.
  Result<SandboxRunResponse> run(const SandboxRunRequest& request) const;

 private:
  std::string buyer_folder() const;
};

}  // namespace assay
