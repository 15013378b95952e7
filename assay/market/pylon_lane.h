#pragma once
/// @file
/// The lane `pylon`: completions bought from a provider on a relay, paid from a wallet.
///
///     ASSAY_TRY(const std::shared_ptr<LM> lane, PylonLane::open({.relay_url = url, .key = key, .wallet = wallet, .folder = "buyer"},
///     clock, entropy, wait)); ASSAY_TRY(const LmResponse answer, lane->complete(request, wait)); answer.usage.cost_msats;            //
///     what was paid
///
/// The provider is chosen when the lane is opened (the cheapest that may be paid, or the one named), so that the lane has one
/// identity. Requests are encrypted to it; still it reads them: only `public_ok` and `no_pii` may go there.
/// Thread safety: as LM.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "assay/lm/lm.h"
#include "assay/market/buyer.h"

namespace assay {

struct PylonLaneOptions {
  std::string relay_url;
  SecretKey key;
  std::shared_ptr<Wallet> wallet;
  std::string folder;                                  ///< of the buyer: purchases.sqlite
  std::string provider;                                ///< public key; empty: the cheapest
  std::string model;                                   ///< empty: the provider's first
  std::int64_t bid_msats = 10'000;                     ///< the most for one call, whatever is announced
  std::optional<std::int64_t> day_msats = {};          ///< of all purchases of this folder in 24 hours; empty: BuyerOptions' own caps
  std::optional<double> min_reputation = {};
  std::int64_t call_seconds = 300;                     ///< for one call, if the caller's deadline is later
  std::function<void(const Bought&)> on_bought = {};   ///< e.g. to record the payment; called on the caller's thread
  std::function<void(std::string_view)> note = {};     ///< what a person should know: money that waits elsewhere; on the caller's thread
};

class PylonLane final : public LM {
 public:
  static Result<std::shared_ptr<PylonLane>> open(const PylonLaneOptions& options, Clock& clock, Entropy& entropy, const Wait& wait);

  const Lane& lane() const override { return lane_; }
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override { return complete_with(request, wait, {}); }
  Result<LmResponse> complete_with(const LmRequest& request, const Wait& wait, const Events& events) override;
  Result<void> takes(const LmRequest& request) const override;
  std::vector<PrivacyMode> privacy_modes() const override { return {PrivacyMode::NoPii, PrivacyMode::PublicOk}; }
  std::vector<std::string> capabilities() const override { return model_.capabilities; }
  /// The most a call can cost: the announced price of the longest prompt and answer, at most the bid. Never more is offered.
  Result<std::optional<std::int64_t>> cost_msats_max(const LmRequest& request) const override;
  /// What this buyer knows of the provider: the share of purchases that went well.
  std::optional<double> provider_reputation() const override { return reputation_; }
  const ProviderInfo& provider() const { return provider_; }
  Buyer& buyer() { return *buyer_; }

 private:
  PylonLane(const PylonLaneOptions& options, Clock& clock, std::unique_ptr<Buyer> buyer, ProviderInfo provider, SoldModel model);
  Result<std::int64_t> announced_msats(const LmRequest& request) const;
  Result<LmResponse> believed(const LmRequest& request, const Bought& bought) const;

  PylonLaneOptions options_;
  Clock& clock_;
  std::shared_ptr<Buyer> buyer_;  // shared with answers that are not kept yet
  ProviderInfo provider_;
  SoldModel model_;
  std::optional<double> reputation_;  // when the lane was opened
  Lane lane_;
};

}  // namespace assay
