#pragma once
/// @file
/// How a provider says what it sells (kind 31990, NIP-89), and how a buyer finds it.
///
///     ASSAY_TRY(const std::vector<ProviderInfo> sellers, find_providers(relay, {.job_type = text_job_type}, clock, wait));
///
/// An announcement is signed by the key that signs quotes and results. It lives for an hour (NIP-40) and is made again every twenty
/// minutes; who stops serving takes it back (NIP-09). One older than a day is dropped whatever it says. Thread safety: free functions.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/clock.h"
#include "assay/market/prices.h"
#include "assay/nostr/event.h"
#include "assay/nostr/relay_client.h"

namespace assay {

struct SoldModel {
  std::string id;
  std::optional<std::string> digest;  ///< sha256 of the model file
  std::string lane_id;                ///< of the seller's own lane
  std::vector<std::string> capabilities;
};

struct ProviderInfo {
  std::string pubkey;                   ///< from the event's author, never from its content
  std::string name;
  std::vector<SoldModel> models;        ///< empty: no text generation
  std::optional<std::string> profile;   ///< largest sandbox profile; empty: no sandbox
  MarketPrices prices;
  std::string network;                  ///< of its invoices: "bcrt", …
  std::string node_id;                  ///< who signs its invoices

  bool sells(std::string_view job_type) const;
};

UnsignedEvent announcement_event(const ProviderInfo& info, std::int64_t now);
/// Takes back what this key announced until now.
UnsignedEvent withdrawal_event(std::string_view pubkey, std::int64_t now);
/// Errors: `malformed`.
Result<ProviderInfo> read_announcement(const Event& event);

struct ProviderQuery {
  std::string_view job_type;  ///< empty: whatever is sold
  std::string pubkey;  ///< only this one; empty: any
  std::string model;   ///< only who has it; empty: any
};
/// In the order of their public keys, so that the choice does not depend on the relay. Unreadable ones are left out.
Result<std::vector<ProviderInfo>> find_providers(RelayClient& relay, const ProviderQuery& query, Clock& clock, const Wait& wait);

}  // namespace assay
