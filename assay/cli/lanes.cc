#include "assay/cli/lanes.h"

#include <thread>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/lm/local_lane.h"
#include "assay/market/ledger_wallet.h"
#include "assay/market/pylon_lane.h"
#include "assay_models.h"

namespace assay {
namespace {

Result<std::shared_ptr<LM>> open_local(const CommonOptions& options, const LaneSpec& spec, Cli& cli) {
  const std::string wanted = options.model.empty() ? spec.model : options.model;
  LocalLaneOptions how;
  const std::int64_t slots = options.threads > 0 ? options.threads : spec.threads;
  how.model.slots = static_cast<int>(std::min<std::int64_t>(slots, 256));
  if (wanted.ends_with(".gguf")) {
    how.model.path = wanted;
  } else {
    ASSAY_TRY(const auto models, known_models());
    for (const KnownModel& model : models) {
      if (model.name != wanted && !(wanted.empty() && model.is_default)) continue;
      how.name = model.name;
    }
    if (how.name.empty())
      return fail(ErrorCode::usage, fmt::format("unknown model '{}'", wanted), "assay doctor lists the models; a path ends with .gguf",
                  "--model");
    auto path = find_model(how.name);
    if (!path) return fail(path.error().code, path.error().message, "scripts/fetch-model " + how.name, path.error().path);
    how.model.path = std::move(*path);
  }
  ASSAY_TRY(std::shared_ptr<LM> lane, LocalLane::open(how, cli.clock));
  return lane;
}

Result<std::shared_ptr<LM>> open_pylon(const CommonOptions& options, const LaneSpec& spec, Cli& cli) {
  const std::string relay = options.relay.empty() ? spec.endpoint : options.relay;
  if (relay.empty()) return fail(ErrorCode::usage, "a pylon lane needs a relay", "--relay ws://127.0.0.1:7447", "--lane pylon");
  ASSAY_TRY(const SecretKey key, open_key(options, cli));
  const std::string folder = buyer_folder();
  const Wait wait = cli.wait(std::chrono::seconds(30));
  PylonLaneOptions how{.relay_url = relay,
                       .key = key,
                       .wallet = nullptr,
                       .folder = folder,
                       .provider = options.provider,
                       .model = options.model.empty() ? spec.model : options.model};
  if (!options.issuer.empty()) {
    ASSAY_TRY(how.wallet, LedgerWallet::connect({.issuer = {.url = options.issuer, .node_id = ""}, .folder = folder}, key, cli.clock,
                                                cli.entropy, wait));
  }
  ASSAY_TRY(std::shared_ptr<LM> lane, PylonLane::open(how, cli.clock, cli.entropy, wait));
  return lane;
}

}  // namespace

Result<std::vector<KnownModel>> known_models() {
  ASSAY_TRY(const Json catalogue, read_json(models_json));
  ASSAY_TRY(const std::string chosen, string_member(catalogue, "default"));
  std::vector<KnownModel> out;
  for (const auto& [name, model] : catalogue.at("models").as_object()) {
    KnownModel known;
    known.name = name;
    known.path = find_model(name).value_or("");
    ASSAY_TRY(known.licence, string_member(model, "licence"));
    ASSAY_TRY(known.sha256, string_member(model, "sha256"));
    known.is_default = name == chosen;
    known.present = !known.path.empty();
    out.push_back(std::move(known));
  }
  return out;
}

Result<std::shared_ptr<LM>> open_lane(const CommonOptions& options, const LaneSpec& spec, Cli& cli) {
  const std::string kind = options.lane.empty() ? spec.kind : options.lane;
  if (kind == "local") return open_local(options, spec, cli);
  if (kind == "pylon") return open_pylon(options, spec, cli);
  return fail(ErrorCode::usage, fmt::format("unknown lane '{}'", kind), "local or pylon", "--lane");
}

}  // namespace assay
