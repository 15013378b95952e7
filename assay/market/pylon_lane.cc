#include "assay/market/pylon_lane.h"

#include <algorithm>

#include <fmt/format.h>

namespace assay {
namespace {

// Providers are compared by what a call of a thousand tokens in and a hundred out would cost.
constexpr std::int64_t usual_prompt_tokens = 1000;
constexpr std::int64_t usual_completion_tokens = 100;

}  // namespace

PylonLane::PylonLane(const PylonLaneOptions& options, Clock& clock, std::unique_ptr<Buyer> buyer, ProviderInfo provider, SoldModel model)
    : options_(options), clock_(clock), buyer_(std::move(buyer)), provider_(std::move(provider)), model_(std::move(model)) {
  lane_.kind = "pylon";
  lane_.model = model_.id;
  lane_.model_sha256 = model_.digest;
  lane_.engine = fmt::format("nip90:{}:{}", provider_.pubkey, model_.lane_id);
}

Result<std::shared_ptr<PylonLane>> PylonLane::open(const PylonLaneOptions& options, Clock& clock, Entropy& entropy, const Wait& wait) {
  BuyerOptions buying{options.relay_url, options.key, options.wallet, options.folder};
  if (options.day_msats) buying.day_msats = buying.provider_day_msats = *options.day_msats;
  buying.min_reputation = options.min_reputation;
  ASSAY_TRY(std::unique_ptr<Buyer> buyer, Buyer::open(buying, clock, entropy, wait));
  const auto price = [](const ProviderInfo& info) { return info.prices.text(usual_prompt_tokens, usual_completion_tokens); };
  ASSAY_TRY(ProviderInfo provider, buyer->choose({text_job_type, options.provider, options.model}, price, wait));
  const auto wanted = std::find_if(provider.models.begin(), provider.models.end(),
                                   [&](const SoldModel& m) { return options.model.empty() || m.id == options.model; });
  if (wanted == provider.models.end())
    return fail(ErrorCode::unavailable, fmt::format("provider {} does not sell model {}", provider.pubkey, options.model));
  SoldModel model = *wanted;
  ASSAY_TRY(const Reputation reputation, buyer->store().reputation(provider.pubkey));
  std::shared_ptr<PylonLane> lane(new PylonLane(options, clock, std::move(buyer), std::move(provider), std::move(model)));
  lane->reputation_ = reputation.score();
  return lane;
}

Result<void> PylonLane::takes(const LmRequest& request) const {
  const auto& can = model_.capabilities;
  if (request.schema.is_null() || std::find(can.begin(), can.end(), "json_schema") != can.end()) return {};
  return fail(ErrorCode::refused, fmt::format("provider {} does not sell constrained answers", provider_.pubkey),
              "set constrain = false, or choose another provider (--provider)", "schema");
}

Result<std::int64_t> PylonLane::announced_msats(const LmRequest& request) const {
  ASSAY_TRY(const std::int64_t prompt, prompt_tokens_max(request));
  const Json& most = request.config.at("max_tokens");
  return provider_.prices.text(prompt, most.is_int() ? most.as_int() : 0);
}

Result<std::optional<std::int64_t>> PylonLane::cost_msats_max(const LmRequest& request) const {
  if (!options_.wallet) return std::optional<std::int64_t>(0);
  ASSAY_TRY(const std::int64_t price, announced_msats(request));
  return std::optional(std::min(price, options_.bid_msats));
}

Result<LmResponse> PylonLane::complete_with(const LmRequest& request, const Wait& wait, const Events& events) {
  Order order;
  order.on_paid = events.paid;
  order.record = events.record;
  order.keep_result = static_cast<bool>(events.paid);  // who keeps a record of payments says when the answer is in it
  ASSAY_TRY(order.job, text_job(request, {model_.id, model_.digest.value_or("")}));
  order.provider = provider_.pubkey;
  ASSAY_TRY(const std::optional<std::int64_t> bid, cost_msats_max(request));
  order.bid_msats = bid.value_or(0);
  ASSAY_TRY(order.announced_msats, announced_msats(request));
  order.progress = options_.note;
  ASSAY_CHECK(buyer_->tell_waiting(order));
  order.progress = {};
  const Wait limited{wait.deadline.sooner(Deadline::after(clock_, std::chrono::seconds(options_.call_seconds))), wait.stop};
  ASSAY_TRY(const Bought bought, buyer_->request(order, limited));
  if (options_.on_bought) options_.on_bought(bought);
  auto out = believed(request, bought);
  if (!out) {
    ASSAY_CHECK(buyer_->taken(bought.request_id));
    return out;
  }
  if (order.keep_result)
    out->kept = [buyer = buyer_, id = bought.request_id] { static_cast<void>(buyer->taken(id)); };  // else it is only given once more
  return out;
}

Result<LmResponse> PylonLane::believed(const LmRequest& request, const Bought& bought) const {
  ASSAY_TRY(TextAnswer answer, read_text_answer(bought.payload));
  LmResponse out{std::move(answer.content), std::move(answer.finish_reason), std::move(answer.usage)};
  ASSAY_TRY(const std::int64_t most, prompt_tokens_max(request));
  if (out.usage.prompt_tokens > 2 * most + usual_prompt_tokens)  // what a chat template may add is allowed for
    return fail(ErrorCode::mismatch, fmt::format("{} prompt tokens are claimed for a prompt of at most {}", out.usage.prompt_tokens, most),
                "choose another provider", "usage");
  out.usage.more.erase("cost_msats");  // what it costs is what was paid
  out.usage.cost_msats = bought.resumed ? 0 : bought.paid_msats;
  out.usage.from_cache = false;
  return out;
}

}  // namespace assay
