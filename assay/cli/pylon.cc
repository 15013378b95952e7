// assay pylon: a node of the compute market. `serve` sells, `issuer` keeps the local ledger, `ls` lists who sells.
// Exit: 0 stopped or done · 1 port or folder · 2 wrong usage · 7 relay or issuer away.
#include <algorithm>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/lanes.h"
#include "assay/cli/serve.h"
#include "assay/contract/key_file.h"
#include "assay/market/buyer.h"
#include "assay/market/issuer.h"
#include "assay/market/pylon.h"

namespace assay {
namespace {

struct PylonCommand {
  std::string data, log, id;
  std::int64_t seconds = 120;
  std::uint16_t port = 7070;
  bool lm = false, sandbox = false, only_addressed = false;
  std::string profile = "small";
  CommonOptions common;
};

void issuer(const PylonCommand& options, Cli& cli) {
  IssuerOptions how;
  how.port = options.port;
  how.ledger.folder = options.data.empty() ? data_folder() + "/issuer" : options.data;
  const auto server = Issuer::start(how, cli.clock, cli.entropy);
  if (!server) return cli.fail_with(server.error());
  ready(cli, fmt::format("issuer {} node {}", (*server)->url(), (*server)->node_id()),
        JsonObject{{"ready", true}, {"url", (*server)->url()}, {"node_id", (*server)->node_id()}});
  wait_for_stop(cli);
}

void serve(const PylonCommand& options, Cli& cli) {
  if (options.common.relay.empty())
    return cli.fail_with({ErrorCode::usage, "a provider needs a relay", "--relay", "--relay ws://127.0.0.1:7447 (assay relay)"});
  if (!options.lm && !options.sandbox)
    return cli.fail_with({ErrorCode::usage, "there is nothing to sell", "pylon serve", "--lm, --sandbox or both"});
  const auto key = open_key(options.common, cli);
  if (!key) return cli.fail_with(key.error());
  const std::string folder = options.data.empty() ? data_folder() + "/pylon/" + key->public_hex().substr(0, 16) : options.data;
  PylonOptions how{.relay_url = options.common.relay, .key = *key, .wallet = nullptr, .folder = folder, .work = {}, .limits = {}};
  const Wait start = cli.wait(std::chrono::seconds(30));
  auto wallet = open_wallet(options.common, folder, *key, start, cli);
  if (!wallet) return cli.fail_with(wallet.error());
  how.wallet = std::move(*wallet);
  if (how.wallet == nullptr) how.work.prices = {0, 0, 0, 0, 0, 0};  // without a ledger there is no money: everything is given away
  if (options.lm) {
    CommonOptions local = options.common;
    local.lane = "local";
    auto lane = open_lane(local, LaneSpec{}, cli);
    if (!lane) return cli.fail_with(lane.error());
    how.work.lanes.push_back(*lane);
  }
  how.work.sandbox = options.sandbox;
  const auto profile = sandbox_profile(options.profile);
  if (!profile) return cli.fail_with(profile.error());
  how.work.profile = *profile;
  how.open_requests = !options.only_addressed;
  how.log = [&cli](std::string_view line) { cli.terminal.note(line); };
  const auto pylon = Pylon::open(how, cli.clock, cli.entropy, start);
  if (!pylon) return cli.fail_with(pylon.error());
  ready(cli, "pylon " + (*pylon)->pubkey(), JsonObject{{"ready", true}, {"pubkey", (*pylon)->pubkey()}, {"relay", options.common.relay}});
  if (const auto served = (*pylon)->serve(cli.stop); !served) return cli.fail_with(served.error());
}

void list(const PylonCommand& options, Cli& cli) {
  if (options.common.relay.empty()) return cli.fail_with({ErrorCode::usage, "name a relay", "--relay", "--relay ws://127.0.0.1:7447"});
  const auto key = open_key(options.common, cli);
  if (!key) return cli.fail_with(key.error());
  const Wait wait = cli.wait(std::chrono::seconds(20));
  const auto buyer =
      Buyer::open({.relay_url = options.common.relay, .key = *key, .wallet = nullptr, .folder = buyer_folder(), .limits = {}}, cli.clock,
                  cli.entropy, wait);
  if (!buyer) return cli.fail_with(buyer.error());
  const auto providers = (*buyer)->providers({}, wait);
  if (!providers) return cli.fail_with(providers.error());
  if (providers->empty()) cli.terminal.note("no provider has announced itself on this relay");
  for (const ProviderInfo& provider : *providers) {
    std::string sells;
    JsonList models;
    for (const SoldModel& model : provider.models) {
      sells += " " + model.id;
      models.push_back(Json(model.id));
    }
    if (provider.profile) sells += " sandbox:" + *provider.profile;
    cli.terminal.out(provider.pubkey + " " + sells);
    cli.terminal.out_json(JsonObject{{"pubkey", provider.pubkey},
                                     {"models", models},
                                     {"sandbox", provider.profile ? Json(*provider.profile) : Json()},
                                     {"prices", provider.prices.to_json()}});
  }
}

// Purchases that were paid, or may have been, and brought nothing yet; and how providers behaved.
void purchases(Cli& cli) {
  const auto store = PurchaseStore::open(buyer_folder());
  if (!store) return cli.fail_with(store.error());
  const auto open = (*store)->unfinished();
  if (!open) return cli.fail_with(open.error());
  if (open->empty()) cli.terminal.note("no purchase waits for its result");
  for (const Purchase& purchase : *open) {
    cli.terminal.out(
        fmt::format("{}  {}  {} msats to {}", purchase.request_id, name(purchase.state), purchase.amount_msats, purchase.provider));
    cli.terminal.out_json(JsonObject{{"request_id", purchase.request_id},
                                     {"state", name(purchase.state)},
                                     {"amount_msats", purchase.amount_msats},
                                     {"provider", purchase.provider},
                                     {"at", purchase.at}});
  }
  const auto reputations = (*store)->reputations();
  if (!reputations) return cli.fail_with(reputations.error());
  for (const Reputation& provider : *reputations) {
    cli.terminal.out(fmt::format("provider {}  {} good, {} failed{}", provider.provider, provider.completed, provider.failed_checks,
                                 provider.last_reason.empty() ? "" : ": " + provider.last_reason));
    cli.terminal.out_json(JsonObject{{"provider", provider.provider},
                                     {"completed", provider.completed},
                                     {"failed_checks", provider.failed_checks},
                                     {"last_reason", provider.last_reason}});
  }
}

// What was paid for and came: one line each, or the receipt of one, to be kept or verified.
void receipts(const PylonCommand& options, Cli& cli) {
  const auto store = PurchaseStore::open(buyer_folder());
  if (!store) return cli.fail_with(store.error());
  const auto all = (*store)->receipts();
  if (!all) return cli.fail_with(all.error());
  bool any = false;
  for (const Json& receipt : *all) {
    const std::string& id = receipt.at("request_id").as_string();
    if (!options.id.empty() && id != options.id) continue;
    any = true;
    cli.terminal.out_json(receipt);
    if (cli.terminal.json) continue;
    if (!options.id.empty()) cli.terminal.raw(canonical(receipt).value_or("") + "\n");
    else
      cli.terminal.out(fmt::format("{}  {} msats to {} for {}", id, receipt.at("amount_msats").as_int(), receipt.at("provider").as_string(),
                                   receipt.at("job_type").as_string()));
  }
  if (!any && !options.id.empty())
    return cli.fail_with({ErrorCode::usage, "no receipt of that request id here", "",
                          "assay pylon receipts lists them, assay pylon purchases what has not come"});
  if (!any) cli.terminal.note("nothing was paid for here yet");
}

// The key that a purchase was made with, where none is named.
Result<CommonOptions> with_buyers_key(const PylonCommand& options, bool named) {
  CommonOptions out = options.common;
  ASSAY_TRY(const auto store, PurchaseStore::open(buyer_folder()));
  ASSAY_TRY(const auto purchase, store->find(options.id));
  const auto keys = list_keys(default_key_folder());
  for (const KeyInfo& key : keys ? *keys : std::vector<KeyInfo>()) {
    if (!named && purchase && key.public_hex == purchase->buyer) out.key = key.name;
  }
  return out;
}

void resume(const PylonCommand& options, bool key_named, Cli& cli) {
  if (options.common.relay.empty()) return cli.fail_with({ErrorCode::usage, "name a relay", "--relay", "--relay ws://127.0.0.1:7447"});
  const auto common = with_buyers_key(options, key_named);
  if (!common) return cli.fail_with(common.error());
  const auto key = open_key(*common, cli);
  if (!key) return cli.fail_with(key.error());
  const Wait wait = cli.wait(std::chrono::seconds(options.seconds));
  auto wallet = open_wallet(*common, buyer_folder(), *key, wait, cli);
  if (!wallet) return cli.fail_with(wallet.error());
  const auto buyer =
      Buyer::open({.relay_url = options.common.relay, .key = *key, .wallet = std::move(*wallet), .folder = buyer_folder(), .limits = {}},
                  cli.clock, cli.entropy, wait);
  if (!buyer) return cli.fail_with(buyer.error());
  const auto bought = (*buyer)->resume(options.id, wait);
  if (!bought) return cli.fail_with(bought.error());
  cli.terminal.out(canonical(bought->payload).value_or(""));
  cli.terminal.out_json(JsonObject{{"request_id", bought->request_id},
                                   {"result_id", bought->result_id},
                                   {"provider", bought->provider},
                                   {"paid_msats", bought->paid_msats},
                                   {"payload", bought->payload},
                                   {"receipt", bought->receipt}});
}

void forgive(const PylonCommand& options, Cli& cli) {
  if (!is_hex(options.id, 64))
    return cli.fail_with({ErrorCode::usage, "a provider is a public key of 64 hex digits", "", "assay pylon purchases"});
  const auto store = PurchaseStore::open(buyer_folder());
  if (!store) return cli.fail_with(store.error());
  const auto known = (*store)->reputations();
  if (!known) return cli.fail_with(known.error());
  const auto before = std::find_if(known->begin(), known->end(), [&](const Reputation& one) { return one.provider == options.id; });
  if (before == known->end())
    return cli.fail_with(
        {ErrorCode::usage, fmt::format("nothing is known of a provider {}", options.id), "", "assay pylon purchases lists them"});
  if (before->failed_checks == 0) cli.terminal.note("it has failed nothing");
  if (const auto done = (*store)->forgive(options.id); !done) return cli.fail_with(done.error());
  cli.terminal.out_json(JsonObject{{"forgiven", options.id}});
}

}  // namespace

void add_pylon(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<PylonCommand>();
  CLI::App* command = app.add_subcommand("pylon", "Sell and find compute on the market");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  assay pylon issuer --port 0 --data ./issuer\n  assay pylon serve --relay ws://127.0.0.1:7447 --issuer "
      "http://127.0.0.1:7071 --lm --sandbox\n"
      "  assay pylon ls --relay ws://127.0.0.1:7447");
  CLI::App* ledger = command->add_subcommand("issuer", "Keep the local ledger (play money) that invoices are paid from");
  ledger->add_option("--port", options->port, "Port on 127.0.0.1; 0 takes a free one")->default_val(7071);
  ledger->add_option("--data", options->data, "Folder of the ledger (default: the data folder)");
  ledger->callback([options, &cli] { issuer(*options, cli); });
  CLI::App* selling = command->add_subcommand("serve", "Sell text generation (--lm) and sandbox runs (--sandbox)");
  selling->add_flag("--lm", options->lm, "Sell text generation of the local lane");
  selling->add_flag("--sandbox", options->sandbox, "Sell sandbox runs");
  selling->add_option("--profile", options->profile, "Largest sandbox that is sold: small, medium or large")->capture_default_str();
  selling->add_flag("--only-addressed", options->only_addressed, "Leave requests alone that name no provider");
  selling->add_option("--data", options->data, "Folder of its jobs and payments (default: the data folder)");
  selling->add_option("--relay", options->common.relay, "Relay, ws://…");
  selling->add_option("--issuer", options->common.issuer, "Ledger that pays, http://…; none: everything is free");
  selling->add_option("--issuer-node", options->common.issuer_node, "The issuer's node id (default: the one that answered there first)");
  selling->add_option("--key", options->common.key, "Name of the provider's key")->capture_default_str();
  selling->add_option("--model", options->common.model, "Model of the local lane");
  selling->add_option("--threads", options->common.threads, "Answers at once (default: one a processor)");
  selling->callback([options, &cli] { serve(*options, cli); });
  CLI::App* looking = command->add_subcommand("purchases", "What was paid and brought nothing yet, and how providers behaved");
  looking->callback([&cli] { purchases(cli); });
  CLI::App* kept = command->add_subcommand("receipts", "What was paid for and came, with preimage and signature");
  kept->add_option("id", options->id, "request id: its receipt alone, as assay verify takes it");
  kept->footer("Example:\n  assay pylon receipts REQUEST_ID > receipt.json && assay verify receipt.json");
  kept->callback([options, &cli] { receipts(*options, cli); });
  CLI::App* fetching = command->add_subcommand("resume", "Fetch the result of a purchase; nothing is paid twice");
  fetching->add_option("id", options->id, "request id, as assay pylon purchases lists it")->required();
  fetching->add_option("--relay", options->common.relay, "Relay, ws://…");
  fetching->add_option("--issuer", options->common.issuer, "Ledger that the purchase is paid from, http://…");
  fetching->add_option("--issuer-node", options->common.issuer_node, "The issuer's node id");
  fetching->add_option("--key", options->common.key, "Name of the own key (default: the one that it was bought with)");
  fetching->add_option("--seconds", options->seconds, "How long to wait")->capture_default_str()->check(CLI::Range(1, 3600));
  fetching->callback([options, fetching, &cli] { resume(*options, fetching->get_option("--key")->count() > 0, cli); });
  CLI::App* pardoning = command->add_subcommand("forgive", "Pay a provider again that failed a check or a deadline");
  pardoning->add_option("provider", options->id, "its public key")->required();
  pardoning->callback([options, &cli] { forgive(*options, cli); });
  CLI::App* listing = command->add_subcommand("ls", "List who sells what on a relay");
  listing->add_option("--relay", options->common.relay, "Relay, ws://…");
  listing->add_option("--key", options->common.key, "Name of the own key")->capture_default_str();
  listing->callback([options, &cli] { list(*options, cli); });
}

}  // namespace assay
