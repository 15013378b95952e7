#include "assay/market/pylon_sandbox.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/sandbox/sandbox.h"

namespace assay {

Result<SandboxRunResponse> PylonSandboxProvider::run(const SandboxRunRequest& request) const {
  ASSAY_CHECK(check_sandbox_request(request, profile, {}));
  Order order;
  ASSAY_TRY(order.job, sandbox_job(request));
  const Wait wait{Deadline::after(*clock, std::chrono::seconds(request.resources.timeout_secs + wait_seconds)), stop};
  BuyerOptions buying{relay_url, keypair, wallet, folder};
  if (folder.empty()) buying.folder = fmt::format("{}/market/{}", data_folder(), keypair.public_hex().substr(0, 16));
  buying.budget_msats = budget_msats;
  ASSAY_TRY(const std::unique_ptr<Buyer> buyer, Buyer::open(buying, *clock, *entropy, wait));
  const auto price = [&](const ProviderInfo& info) { return info.prices.sandbox(request); };
  ASSAY_TRY(const ProviderInfo seller, buyer->choose({sandbox_job_type, provider, ""}, price, wait));
  order.provider = seller.pubkey;
  ASSAY_TRY(const std::int64_t announced, price(seller));
  order.bid_msats = wallet ? std::min(bid_msats, announced) : 0;  // who was chosen by a price is held to it
  order.on_paid = on_paid;
  order.sandbox_profile = std::string(profile.name);
  order.progress = progress;
  ASSAY_TRY(const Bought bought, buyer->request(order, wait));
  if (on_bought) on_bought(bought);
  return read_sandbox_response(bought.payload);
}

}  // namespace assay
