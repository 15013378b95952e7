#include "assay/market/announcement.h"

#include <algorithm>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "assay/market/job_event.h"

namespace assay {
namespace {

constexpr std::int64_t day_seconds = 86'400, hour_seconds = 3600;
constexpr std::string_view announcement_name = "assay-pylon";
constexpr std::size_t models_max = 32;
constexpr std::size_t name_bytes_max = 80;

Json texts(const std::vector<std::string>& list) {
  JsonList out;
  for (const std::string& text : list) out.emplace_back(text);
  return out;
}

Json model_json(const SoldModel& model) {
  return JsonObject{{"id", model.id},
                    {"digest", model.digest ? Json(*model.digest) : Json()},
                    {"lane_id", model.lane_id},
                    {"capabilities", texts(model.capabilities)}};
}

Result<SoldModel> read_model(const Json& value) {
  SoldModel out;
  ASSAY_TRY(out.id, string_member(value, "id"));
  ASSAY_TRY(out.lane_id, string_member(value, "lane_id"));
  if (value.at("digest").is_string()) {
    out.digest = value.at("digest").as_string();
    if (!is_hex(*out.digest, 64)) return fail(ErrorCode::malformed, "expected 64 hex digits", {}, "digest");
  }
  ASSAY_TRY(const Json* capabilities, member(value, "capabilities", Json::Kind::list));
  for (const Json& item : capabilities->as_list()) {
    if (!item.is_string()) return fail(ErrorCode::malformed, "expected a text", {}, "capabilities");
    out.capabilities.push_back(item.as_string());
  }
  return out;
}

}  // namespace

bool ProviderInfo::sells(std::string_view job_type) const { return job_type == sandbox_job_type ? profile.has_value() : !models.empty(); }

UnsignedEvent announcement_event(const ProviderInfo& info, std::int64_t now) {
  JsonList models;
  for (const SoldModel& model : info.models) models.push_back(model_json(model));
  JsonObject content{{"name", info.name}, {"models", std::move(models)}, {"prices", info.prices.to_json()}};
  content.set("sandbox_profile", info.profile ? Json(*info.profile) : Json());
  content.set("network", info.network);
  content.set("node_id", info.node_id);
  UnsignedEvent out;
  out.created_at = now;
  out.kind = provider_info_kind;
  out.content = event_json_text(Json(std::move(content))).value_or("{}");
  // "handler", "capability", "price" and "network" are what older readers look for; "d" and "k" are NIP-89's.
  out.tags = {{"d", std::string(announcement_name)},
              {"k", std::to_string(job_request_kind)},
              {"handler", "compute_provider"},
              {"network", info.network}};
  if (!info.models.empty()) {
    out.tags.push_back({"capability", "text-generation"});
    out.tags.push_back({"price", std::to_string(info.prices.text_base), "per-request", "msats"});
  }
  for (const SoldModel& model : info.models) out.tags.push_back({"model", model.id});
  if (info.profile) out.tags.push_back({"capability", std::string(sandbox_job_type)});
  out.tags.push_back({"expiration", std::to_string(now + hour_seconds)});
  return out;
}

UnsignedEvent withdrawal_event(std::string_view pubkey, std::int64_t now) {
  UnsignedEvent out;
  out.created_at = now;
  out.kind = 5;  // NIP-09
  out.tags = {{"a", fmt::format("{}:{}:{}", provider_info_kind, pubkey, announcement_name)}, {"k", std::to_string(provider_info_kind)}};
  return out;
}

Result<ProviderInfo> read_announcement(const Event& event) {
  ASSAY_TRY(const Json content, read_json(event.content, {.bytes_max = 64 * 1024, .depth_max = 8}));
  ProviderInfo out;
  out.pubkey = event.pubkey;
  ASSAY_TRY(out.name, string_member(content, "name"));
  if (out.name.size() > name_bytes_max) return fail(ErrorCode::limit_exceeded, "longer than 80 bytes", {}, "name");
  ASSAY_TRY(out.network, string_member(content, "network"));
  ASSAY_TRY(out.node_id, string_member(content, "node_id"));
  ASSAY_TRY(out.prices, MarketPrices::read(content.at("prices")));
  ASSAY_TRY(const Json* models, member(content, "models", Json::Kind::list));
  if (models->as_list().size() > models_max) return fail(ErrorCode::limit_exceeded, "more than 32 models", {}, "models");
  for (const Json& item : models->as_list()) {
    ASSAY_TRY(SoldModel model, read_model(item));
    out.models.push_back(std::move(model));
  }
  if (content.at("sandbox_profile").is_string()) out.profile = content.at("sandbox_profile").as_string();
  return out;
}

namespace {

// Page by page, newest first: a relay gives a few hundred at once, and whoever floods it must not hide the others.
Result<std::vector<VerifiedEvent>> announcements(RelayClient& relay, Filter filter, const Wait& wait) {
  constexpr std::size_t short_page = 100;  // no relay cuts its answers below that: it was all
  constexpr std::size_t most = 20'000;
  std::map<EventId, VerifiedEvent> found;
  while (found.size() < most) {  // ends: each round finds another event, or looks further back
    ASSAY_TRY(const std::vector<VerifiedEvent> events, relay.fetch({filter}, wait));
    const std::size_t before = found.size();
    std::int64_t oldest = filter.until.value_or(std::numeric_limits<std::int64_t>::max());
    for (const VerifiedEvent& event : events) {
      oldest = std::min(oldest, event->created_at);
      found.emplace(event->id, event);
    }
    if (events.size() < short_page) break;
    filter.until = found.size() > before ? oldest : oldest - 1;  // the page's last second may go on in the next one
  }
  std::vector<VerifiedEvent> out;
  for (auto& [id, event] : found) out.push_back(std::move(event));
  return out;
}

}  // namespace

Result<std::vector<ProviderInfo>> find_providers(RelayClient& relay, const ProviderQuery& query, Clock& clock, const Wait& wait) {
  Filter filter;
  filter.kinds = {provider_info_kind};
  filter.tags['k'] = {std::to_string(job_request_kind)};
  if (!query.pubkey.empty()) filter.authors = {query.pubkey};
  filter.tags['d'] = {std::string(announcement_name)};
  const std::int64_t now = clock.unix_ns() / 1'000'000'000;
  filter.since = now - day_seconds;
  ASSAY_TRY(const std::vector<VerifiedEvent> events, announcements(relay, filter, wait));
  std::vector<ProviderInfo> out;
  for (const VerifiedEvent& event : events) {
    auto info = read_announcement(*event);
    if (!info || (!query.job_type.empty() && !info->sells(query.job_type))) continue;
    const auto has = [&](const SoldModel& model) { return model.id == query.model; };
    if (!query.model.empty() && std::none_of(info->models.begin(), info->models.end(), has)) continue;
    out.push_back(std::move(*info));
  }
  std::sort(out.begin(), out.end(), [](const ProviderInfo& a, const ProviderInfo& b) { return a.pubkey < b.pubkey; });
  return out;
}

}  // namespace assay
