#include "assay/market/pylon_sandbox.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/sandbox/sandbox.h"

namespace assay {

Result<SandboxRunResponse> PylonSandboxProvider::run(const SandboxRunRequest& request) const {
  ASSAY_CHECK(check_sandbox_request(request, profile, {}));
  Order order;
  ASSAY_TRY(order.job, sandbox_job(request));
  const Wait wait{Deadline::after(*clock, std::chrono::seconds(request.resources.timeout_secs + wait_seconds)), stop};
  BuyerOptions buying{relay_url, keypair, wallet, buyer_folder()};
  if (day_msats) buying.day_msats = buying.provider_day_msats = *day_msats;
  buying.answer_seconds = answer_seconds;
  ASSAY_TRY(std::unique_ptr<Buyer> opened, Buyer::open(buying, *clock, *entropy, wait));
  const std::shared_ptr<Buyer> buyer = std::move(opened);
  const auto price = [&](const ProviderInfo& info) { return info.prices.sandbox(request); };
  bool money_moved = false;
  order.on_paid = [&](const Json& payment) {
    money_moved = true;
    return on_paid && on_paid(payment);
  };
  order.record = record;
  order.keep_result = keep_result;
  order.sandbox_profile = std::string(profile.name);
  order.progress = progress;
  const auto brought = [&](const Bought& bought) {
    if (on_bought) on_bought(bought);
    if (on_held && keep_result) on_held(buyer);
    return read_sandbox_response(bought.payload);
  };
  if (!provider.empty()) order.provider = provider;
  order.bid_msats = wallet ? bid_msats : 0;
  ASSAY_TRY(const std::optional<Bought> before, buyer->bought_before(order, wait));
  if (before) {
    if (!keep_result) ASSAY_CHECK(buyer->taken(before->request_id));
    return brought(*before);
  }
  std::set<std::string> asked;
  Error last;
  while (true) {  // ends: with a result, an error, or when nobody is left who was not asked
    ASSAY_TRY(const ProviderInfo seller, buyer->choose({sandbox_job_type, provider, ""}, price, wait));
    if (!asked.insert(seller.pubkey).second) return std::unexpected(std::move(last));
    if (progress && asked.size() > 1) progress(last.message + ": asking the next");
    order.provider = seller.pubkey;
    if (asked.size() == 1) ASSAY_CHECK(buyer->tell_waiting(order));
    ASSAY_TRY(const std::int64_t announced, price(seller));
    order.announced_msats = announced;
    order.bid_msats = wallet ? std::min(bid_msats, announced) : 0;  // who was chosen by a price is held to it
    const Result<Bought> bought = buyer->request(order, wait);
    if (bought) return brought(*bought);
    // Who said nothing, no, or another price than announced was paid nothing: the next in line is asked.
    ASSAY_TRY(const bool silent, buyer->store().silent_since(seller.pubkey, clock->unix_ns() / 1'000'000'000 - wait_seconds));
    last = bought.error();
    const bool next = !money_moved && provider.empty() && (silent || !buyer->check_reputation(seller.pubkey));
    if (!next) return std::unexpected(std::move(last));
  }
}

std::string PylonSandboxProvider::buyer_folder() const {
  return folder.empty() ? fmt::format("{}/market/{}", data_folder(), keypair.public_hex().substr(0, 16)) : folder;
}

}  // namespace assay
