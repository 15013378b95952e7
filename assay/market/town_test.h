#pragma once
// For tests: a relay, an issuer, and folders, in one process over loopback.

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "assay/lm/scripted_lane.h"
#include "assay/market/buyer.h"
#include "assay/market/issuer.h"
#include "assay/market/ledger_wallet.h"
#include "assay/market/pylon.h"
#include "assay/nostr/relay.h"

namespace assay {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Town : public testing::Test {
 protected:
  Town() : root_(std::filesystem::temp_directory_path() / ("assay-market-" + system_entropy().hex_bytes(8))) {}
  ~Town() override { std::filesystem::remove_all(root_); }

  void SetUp() override {
    RelayOptions relay;
    relay.data_folder = folder("relay");
    relay.durable = false;
    relay.limits.event.event_bytes_max = 256 * 1024;  // a relay that lets more through than the market takes
    relay.limits.message_bytes_max = 512 * 1024;
    relay_ = Relay::start(relay, clock_).value();
    IssuerOptions issuer;
    issuer.ledger.folder = folder("issuer");
    issuer.ledger.grant_msats = 100'000;
    issuer_ = Issuer::start(issuer, clock_, entropy_).value();
  }

  std::string folder(std::string_view name) const { return (root_ / name).string(); }
  Wait wait(milliseconds time = seconds(30)) { return {Deadline::after(clock_, time), {}}; }

  std::shared_ptr<LedgerWallet> wallet(const SecretKey& key, std::string_view name) {
    LedgerWalletOptions options;
    options.issuer = {issuer_->url(), issuer_->node_id()};
    options.folder = folder(name);
    return LedgerWallet::connect(options, key, clock_, entropy_, wait()).value();
  }

  std::unique_ptr<Buyer> buyer(std::shared_ptr<Wallet> money) {
    BuyerOptions options{relay_->url(), buyer_key_, std::move(money), folder("buyer")};
    options.fair_seconds = 1;
    return Buyer::open(options, clock_, entropy_, wait()).value();
  }

  // A lane that never answers, for a seller that takes the money and falls silent.
  std::shared_ptr<LM> silent_lane() {
    ScriptedLM::Options hanging;
    hanging.hangs = true;
    hanging.clock = &clock_;
    return std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("never"); }, hanging);
  }

  std::int64_t held(const SecretKey& key) { return issuer_->ledger().balance(key.public_hex()).value(); }

  // A real provider with a scripted lane; stopped when it goes.
  struct RunningPylon {
    std::unique_ptr<Pylon> pylon;
    std::jthread thread;
  };
  PylonOptions pylon_options(std::shared_ptr<LM> lane, bool sandbox = false) {
    PylonOptions options{relay_->url(), seller_key_, nullptr, folder("pylon")};
    options.wallet = wallet(seller_key_, "pylon");
    if (lane) options.work.lanes = {std::move(lane)};
    options.work.sandbox = sandbox;
    options.limits.poll_ms = 50;
    return options;
  }
  RunningPylon start(const PylonOptions& options) {
    RunningPylon out;
    out.pylon = Pylon::open(options, clock_, entropy_, wait()).value();
    out.thread = std::jthread([pylon = out.pylon.get()](const std::stop_token& stop) { EXPECT_TRUE(pylon->serve(stop)); });
    return out;
  }

  static LmRequest hello(std::int64_t max_tokens = 16) {
    LmRequest out;
    out.messages = {{"system", "Be brief."}, {"user", "Say hello"}};
    out.config =
        JsonObject{{"temperature", 0}, {"top_p", 1}, {"max_tokens", max_tokens}, {"stop", JsonList{}}, {"n", 1}, {"seed_policy", "fixed"}};
    out.seed = 11;
    return out;
  }
  Order hello_order(std::int64_t bid_msats = 1'000) {
    Order order;
    order.job = text_job(hello(), {}).value();
    order.provider = seller_key_.public_hex();
    order.bid_msats = bid_msats;
    return order;
  }

  std::filesystem::path root_;
  Clock& clock_ = system_clock();
  Entropy& entropy_ = system_entropy();
  SecretKey buyer_key_ = SecretKey::generate(entropy_).value();
  SecretKey seller_key_ = SecretKey::generate(entropy_).value();
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<Issuer> issuer_;
};

}  // namespace assay
