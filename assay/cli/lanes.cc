#include "assay/cli/lanes.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/lm/http_lane.h"
#include "assay/lm/local_lane.h"
#include "assay/market/ledger_wallet.h"
#include "assay/market/pylon_lane.h"
#include "assay/net/url.h"
#include "assay_models.h"

namespace assay {
namespace {

Result<std::shared_ptr<LM>> open_local(const CommonOptions& options, const LaneSpec& spec, Cli& cli) {
  // A name of the file is one of its own kind of lane.
  const std::string wanted = !options.model.empty() ? options.model : spec.kind == "local" ? spec.model : "";
  LocalLaneOptions how;
  // Each slot holds a context of its own in memory, and more than the processors gain nothing.
  const std::int64_t cores = std::max(1U, std::thread::hardware_concurrency());
  const std::int64_t slots = options.threads > 0 ? options.threads : spec.threads;
  how.model.slots = static_cast<int>(std::min<std::int64_t>(slots, 2 * cores));
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
                       .model = !options.model.empty() ? options.model
                                : spec.kind == "pylon" ? spec.model
                                                       : ""};
  how.day_msats = options.day_cap;
  how.min_reputation = options.min_reputation;
  how.note = [&cli](std::string_view line) { cli.terminal.note(line); };
  ASSAY_TRY(how.wallet, open_wallet(options, folder, key, wait, cli));
  ASSAY_TRY(std::shared_ptr<LM> lane, PylonLane::open(how, cli.clock, cli.entropy, wait));
  return lane;
}

// The key is named, never given: what stands on a command line or in a file is read by others. OpenAI's own variable is for OpenAI only.
Result<std::string> key_of(const std::string& variable, const std::string& endpoint) {
  if (!variable.empty()) {
    const char* value = std::getenv(variable.c_str());
    if (value != nullptr && *value != '\0') return std::string(value);
    const auto usual = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
    const bool is_name = std::all_of(variable.begin(), variable.end(), usual);  // else the key itself, perhaps: not repeated
    return fail(ErrorCode::usage, fmt::format("the environment variable {} is not set", is_name ? variable : "that was named"),
                "export it, or leave --key-env out; it takes the variable's name, never the key", "--key-env");
  }
  const auto url = parse_url(endpoint);
  if (url && url->tls() && url->host == "api.openai.com") {
    if (const char* value = std::getenv("OPENAI_API_KEY"); value != nullptr) return std::string(value);
  }
  return std::string();
}

Result<std::shared_ptr<LM>> open_http(const CommonOptions& options, const LaneSpec& spec, Cli& cli) {
  HttpLaneOptions how;
  how.base_url = options.endpoint.empty() ? spec.endpoint : options.endpoint;
  if (how.base_url.empty())
    return fail(ErrorCode::usage, "an openai lane needs an endpoint", "--endpoint http://127.0.0.1:8080/v1", "--lane openai");
  how.model = options.model.empty() ? spec.model : options.model;
  // A key belongs to the server that it was named for: the file's goes nowhere but to the file's endpoint.
  const bool as_in_file = options.endpoint.empty() || options.endpoint == spec.endpoint;
  const std::string variable = !options.key_env.empty() ? options.key_env : as_in_file ? spec.key_env : "";
  ASSAY_TRY(how.api_key, key_of(variable, how.base_url));
  if (options.key_env.empty() && !variable.empty())
    cli.terminal.note(fmt::format("the program file sends ${} to {} as its key", variable, how.base_url));
  if (const std::string& dialect = options.dialect.empty() ? spec.dialect : options.dialect; !dialect.empty()) {
    ASSAY_TRY(how.dialect, parse_dialect(dialect));
  }
  how.context_tokens = spec.context;
  how.privacy = spec.privacy;
  // That a server may have private inputs is for the person to say who runs the program, not for its file, unless it is this machine's own.
  const auto url = parse_url(how.base_url);
  if (options.privacy.empty() && !(url && is_loopback_host(url->host)))
    std::erase_if(how.privacy, [](PrivacyMode mode) { return mode != PrivacyMode::PublicOk && mode != PrivacyMode::NoPii; });
  if (const std::int64_t threads = options.threads > 0 ? options.threads : spec.threads; threads > 0) how.concurrency = threads;
  ASSAY_TRY(std::shared_ptr<LM> lane, HttpLane::open(how, cli.clock, cli.entropy));
  return lane;
}

}  // namespace

Result<std::shared_ptr<Wallet>> open_wallet(const CommonOptions& options, const std::string& folder, const SecretKey& key, const Wait& wait,
                                            Cli& cli) {
  if (options.issuer.empty()) return std::shared_ptr<Wallet>();
  const std::string path = folder + "/issuers.json";
  Json known = JsonObject{};
  if (const auto text = read_file(path, std::size_t{1} << 20)) {
    auto list = read_json(*text);
    if (!list)
      return fail(ErrorCode::malformed, "the list of issuers is damaged: " + list.error().message,
                  "remove the file: issuers are pinned anew", path);
    known = std::move(*list);
    if (!known.is_object()) return fail(ErrorCode::malformed, "the list of issuers is no object", "remove the file", path);
  }
  std::string node = options.issuer_node;
  if (const Json& kept = known.at(options.issuer); node.empty() && kept.is_string()) node = kept.as_string();
  LedgerWalletOptions how{.issuer = {.url = options.issuer, .node_id = node}, .folder = folder};
  if (options.day_cap) how.day_cap_msats = *options.day_cap;
  auto wallet = LedgerWallet::connect(how, key, cli.clock, cli.entropy, wait);
  if (!wallet) {
    if (wallet.error().code == ErrorCode::mismatch && options.issuer_node.empty())
      wallet.error().remedy = "another program may hold the port; if the issuer was replaced, name its node with --issuer-node";
    return std::unexpected(std::move(wallet.error()));
  }
  if (known.at(options.issuer) != Json((*wallet)->node_id())) {
    known.set(options.issuer, (*wallet)->node_id());
    ASSAY_TRY(const std::string text, canonical(known));
    ASSAY_CHECK(make_folders(folder, 0700));
    ASSAY_CHECK(write_file(path, text + "\n", 0600));
  }
  return std::shared_ptr<Wallet>(std::move(*wallet));
}

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
  if (!valid_utf8(options.model + options.endpoint)) return fail(ErrorCode::usage, "names of models and servers are UTF-8", "", "--model");
  if (kind == "local") return open_local(options, spec, cli);
  if (kind == "pylon") return open_pylon(options, spec, cli);
  if (kind == "openai") return open_http(options, spec, cli);
  return fail(ErrorCode::usage, fmt::format("unknown lane '{}'", kind), "local, pylon or openai", "--lane");
}

}  // namespace assay
