// The whole market in one process: real relay, real issuer, real sandbox; only the LM is scripted.
#include "assay/market/pylon_lane.h"
#include "assay/market/pylon_sandbox.h"
#include "assay/market/receipt.h"
#include "assay/market/town_test.h"

namespace assay {
namespace {

class MarketTest : public Town {
 protected:
  std::shared_ptr<LM> bought_lane(std::shared_ptr<Wallet> money, std::function<void(const Bought&)> on_bought = {}) {
    PylonLaneOptions options{relay_->url(), buyer_key_, std::move(money), folder("buyer")};
    options.on_bought = std::move(on_bought);
    return PylonLane::open(options, clock_, entropy_, wait()).value();
  }
};

TEST_F(MarketTest, ACompletionIsBoughtPaidAndReceipted) {
  LmRequest seen;
  auto scripted = std::make_shared<ScriptedLM>([&seen](const LmRequest& request) {
    seen = request;
    return ScriptedLM::answer("hello \x01\x7f buyer", 21, 4);
  });
  auto options = pylon_options(scripted);
  const RunningPylon running = start(options);
  std::vector<Bought> bought;
  const auto lane = bought_lane(wallet(buyer_key_, "buyer"), [&](const Bought& b) { bought.push_back(b); });
  EXPECT_EQ(lane->lane().kind, "pylon");
  EXPECT_EQ(lane->lane().model, "scripted");
  EXPECT_FALSE(allows(lane->privacy_modes(), PrivacyMode::PrivateRepoAllowed));

  const auto answer = lane->complete(hello(), wait());
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->content, "hello \x01\x7f buyer");
  EXPECT_EQ(answer->usage.prompt_tokens, 21);
  EXPECT_EQ(answer->usage.completion_tokens, 4);

  // The lane saw the buyer's request, not a prompt made of it.
  ASSERT_EQ(seen.messages.size(), 2U);
  EXPECT_EQ(seen.messages[0].role, "system");
  EXPECT_EQ(seen.messages[1].content.as_string(), "Say hello");
  EXPECT_EQ(seen.config, hello().config);
  EXPECT_EQ(seen.seed, 11);

  // The price is that of the announced formula, and exactly it moved.
  const std::int64_t price = options.work.prices.text(scripted->prompt_tokens_max(hello()).value(), 16).value();
  EXPECT_GT(price, 0);
  EXPECT_EQ(answer->usage.cost_msats, price);
  EXPECT_EQ(held(buyer_key_), 100'000 - price);
  EXPECT_EQ(held(seller_key_), 100'000 + price);
  EXPECT_EQ(running.pylon->jobs().earned_msats().value(), price);

  ASSERT_EQ(bought.size(), 1U);
  const PaymentFacts facts = verify_payment_receipt(bought[0].receipt).value();
  EXPECT_EQ(facts.amount_msats, price);
  EXPECT_EQ(facts.provider, seller_key_.public_hex());
  EXPECT_EQ(facts.request_id, bought[0].request_id);
  EXPECT_TRUE(issuer_->ledger().lookup(seller_key_.public_hex(), facts.payment_hash).value().settled);
}

TEST_F(MarketTest, ASandboxRunIsBoughtWithTheBuyersNonceInIt) {
  const RunningPylon running = start(pylon_options(nullptr, true));
  PylonSandboxProvider provider{relay_->url(), buyer_key_, SandboxProfile::Small};
  provider.wallet = wallet(buyer_key_, "buyer");
  provider.folder = folder("buyer");
  std::vector<Bought> bought;
  provider.on_bought = [&](const Bought& b) { bought.push_back(b); };
  const std::string nonce = entropy_.hex_bytes(16);
  SandboxRunRequest request;
  request.commands = {{.cmd = "printf '%s' " + nonce + " | sha256sum"}};
  const auto response = provider.run(request);
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->status, SandboxStatus::success);
  ASSERT_EQ(response->runs.size(), 1U);
  EXPECT_EQ(response->runs[0].out.stored, sha256_hex(nonce) + "  -\n");  // computed there: it was not in what we sent
  EXPECT_EQ(response->provenance.at("provider_pubkey").as_string(), seller_key_.public_hex());
  ASSERT_EQ(bought.size(), 1U);
  EXPECT_EQ(bought[0].paid_msats, MarketPrices().sandbox(request).value());
  EXPECT_EQ(held(buyer_key_), 100'000 - bought[0].paid_msats);
  EXPECT_TRUE(verify_payment_receipt(bought[0].receipt));

  SandboxRunRequest greedy = request;
  greedy.network_policy = "full";
  EXPECT_FALSE(provider.run(greedy));
  EXPECT_EQ(bought.size(), 1U);
}

TEST_F(MarketTest, AFreeProviderNeedsNoWallet) {
  auto options = pylon_options(std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("free"); }));
  options.wallet = nullptr;
  options.work.prices = {0, 0, 0, 0, 0, 0};
  const RunningPylon running = start(options);
  const auto answer = bought_lane(nullptr)->complete(hello(), wait());
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->content, "free");
  EXPECT_EQ(answer->usage.cost_msats, 0);
}

TEST_F(MarketTest, WhoStopsServingIsListedNoMoreAndMayComeBackAtOnce) {
  const auto client = RelayClient::connect(relay_->url(), wait(), clock_).value();
  const auto listed = [&] { return find_providers(*client, {text_job_type, "", ""}, clock_, wait()).value().size(); };
  const auto lane = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("yes", 1, 1); });
  for (int round = 0; round < 3; ++round) {
    const RunningPylon running = start(pylon_options(lane));
    EXPECT_EQ(listed(), 1U) << round;
  }
  EXPECT_EQ(listed(), 0U);
}

// A relay gives a few hundred events at once: whoever announces more than that hides nobody.
TEST_F(MarketTest, AFloodOfAnnouncementsHidesNoSeller) {
  const auto scripted = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("yes", 1, 1); });
  const RunningPylon running = start(pylon_options(scripted));
  const auto client = RelayClient::connect(relay_->url(), wait(), clock_).value();
  ProviderInfo flood;
  flood.models = {{"scripted", std::nullopt, "x", {}}};
  flood.prices = MarketPrices{1'000'000, 0, 0, 0, 0, 0};
  const std::int64_t time = clock_.unix_ns() / 1'000'000'000;
  for (int i = 0; i < 520; ++i) {
    const SecretKey key = SecretKey::generate(entropy_).value();
    const auto event = sign_event(announcement_event(flood, time + 1 + i / 100), key, entropy_);
    ASSERT_TRUE(event && client->publish(*event, wait()));
  }
  const auto found = find_providers(*client, {text_job_type, "", ""}, clock_, wait()).value();
  EXPECT_EQ(found.size(), 521U);
  EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](const ProviderInfo& one) { return one.prices.text_base != 1'000'000; }));
}

// Announced for nothing, and never answers: a machine that has died, or bait.
TEST_F(MarketTest, AProviderThatDoesNotAnswerIsPassedOver) {
  const auto client = RelayClient::connect(relay_->url(), wait(), clock_).value();
  const SecretKey dead = SecretKey::generate(entropy_).value();
  ProviderInfo bait;
  bait.models = {{"scripted", std::nullopt, "x", {}}};
  bait.profile = "small";
  bait.prices = MarketPrices{0, 0, 0, 0, 0, 0};
  const auto event = sign_event(announcement_event(bait, clock_.unix_ns() / 1'000'000'000), dead, entropy_);
  ASSERT_TRUE(event && client->publish(*event, wait()));
  const auto scripted = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("yes", 1, 1); });
  const RunningPylon running = start(pylon_options(scripted, true));

  BuyerOptions options{relay_->url(), buyer_key_, wallet(buyer_key_, "buyer"), folder("buyer")};
  options.answer_seconds = 1;
  const auto buyer = Buyer::open(options, clock_, entropy_, wait()).value();
  const auto price = [](const ProviderInfo& info) { return info.prices.text(1000, 100); };
  const auto first = buyer->choose({text_job_type, "", ""}, price, wait());
  ASSERT_TRUE(first);
  EXPECT_EQ(first->pubkey, dead.public_hex());
  Order order = hello_order(0);
  order.provider = first->pubkey;
  const auto answer = buyer->request(order, wait(seconds(300)));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::unavailable);
  EXPECT_NE(answer.error().message.find("has not answered within 1 s"), std::string::npos) << answer.error().text();
  EXPECT_TRUE(buyer->unfinished().value().empty());
  EXPECT_EQ(buyer->choose({text_job_type, "", ""}, price, wait())->pubkey, seller_key_.public_hex());
  // Whom the buyer names itself is asked all the same.
  EXPECT_EQ(buyer->choose({text_job_type, dead.public_hex(), ""}, price, wait())->pubkey, dead.public_hex());
}

TEST_F(MarketTest, ASandboxJobGoesToTheNextWhenTheFirstDoesNotAnswer) {
  const auto client = RelayClient::connect(relay_->url(), wait(), clock_).value();
  ProviderInfo bait;
  bait.profile = "small";
  bait.prices = MarketPrices{0, 0, 0, 0, 0, 0};
  const SecretKey dead = SecretKey::generate(entropy_).value();
  const auto event = sign_event(announcement_event(bait, clock_.unix_ns() / 1'000'000'000), dead, entropy_);
  ASSERT_TRUE(event && client->publish(*event, wait()));
  const RunningPylon running = start(pylon_options(nullptr, true));
  PylonSandboxProvider provider{relay_->url(), buyer_key_, SandboxProfile::Small};
  provider.wallet = wallet(buyer_key_, "buyer");
  provider.folder = folder("buyer");
  provider.answer_seconds = 2;
  SandboxRunRequest request;
  request.commands = {{.cmd = "echo from the living"}};
  const auto ran = provider.run(request);
  ASSERT_TRUE(ran) << ran.error().text();
  EXPECT_EQ(ran->runs.at(0).out.stored, "from the living\n");
}

TEST_F(MarketTest, WhatIsNotSoldIsRefusedByNameAndCostsNothing) {
  auto scripted = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("no"); });
  const RunningPylon running = start(pylon_options(scripted));
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money);

  Order order = hello_order();
  LmRequest strange = hello();
  strange.config.set("top_k", 40);
  order.job = text_job(strange, {}).value();
  auto got = shop->request(order, wait());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::refused);
  EXPECT_NE(got.error().message.find("unsupported: config.top_k"), std::string::npos) << got.error().message;

  order.job = text_job(hello(), {"another-model", ""}).value();
  got = shop->request(order, wait());
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("unsupported: model another-model"), std::string::npos) << got.error().message;

  SandboxRunRequest run;
  run.commands = {{.cmd = "true"}};
  order.job = sandbox_job(run).value();
  got = shop->request(order, wait());
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("unsupported: job_type oa.sandbox_run.v1"), std::string::npos) << got.error().message;

  got = shop->request(hello_order(1), wait());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::refused);
  EXPECT_NE(got.error().message.find("the price is"), std::string::npos) << got.error().message;

  EXPECT_EQ(scripted->calls(), 0);
  EXPECT_EQ(held(buyer_key_), 100'000);
  EXPECT_TRUE(shop->check_reputation(seller_key_.public_hex()));  // saying no is no failure
}

// Too much is the job's fault, as on a lane of one's own: a list goes on with the next input.
TEST_F(MarketTest, WhatIsTooMuchForTheSellerIsOverALimit) {
  auto options = pylon_options(std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("yes", 1, 1); }));
  options.work.max_tokens_max = 8;
  const RunningPylon running = start(options);
  const auto got = buyer(wallet(buyer_key_, "buyer"))->request(hello_order(), wait());  // it asks for 16
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::limit_exceeded) << got.error().text();
  EXPECT_EQ(held(buyer_key_), 100'000);
}

TEST_F(MarketTest, OneFolderHasOneServer) {
  const auto second = Relay::start({.port = 0, .data_folder = folder("relay")}, clock_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  EXPECT_NE(second.error().message.find(std::to_string(::getpid())), std::string::npos) << second.error().text();
  const auto lane = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("yes", 1, 1); });
  const RunningPylon running = start(pylon_options(lane));
  EXPECT_EQ(Pylon::open(pylon_options(lane), clock_, entropy_, wait()).error().code, ErrorCode::unavailable);
}

TEST_F(MarketTest, ABudgetIsCheckedBeforeAnythingIsSent) {
  BuyerOptions options{relay_->url(), buyer_key_, wallet(buyer_key_, "buyer"), folder("buyer")};
  options.day_msats = 999;
  const auto shop = Buyer::open(options, clock_, entropy_, wait()).value();
  EXPECT_EQ(shop->request(hello_order(1'000), wait()).error().code, ErrorCode::over_budget);
  EXPECT_EQ(relay_->counts().stored, 0U);
}

// The seller is stopped after it was paid. A new process on the same folder runs the job once; the buyer fetches the result
// without paying again.
TEST_F(MarketTest, ARestartLosesNoPaidJobAndServesNoneTwice) {
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money);
  std::string request_id;
  {
    const RunningPylon running = start(pylon_options(silent_lane()));
    Order order = hello_order();
    order.record = folder("a.run.jsonl");
    order.on_paid = [](const Json&) { return true; };
    const auto got = shop->request(order, wait(seconds(3)));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::timed_out);
    EXPECT_TRUE(got.error().message.starts_with("paid")) << got.error().message;
    EXPECT_FALSE(shop->check_reputation(seller_key_.public_hex()));
  }
  const std::int64_t after_payment = held(buyer_key_);
  EXPECT_LT(after_payment, 100'000);
  ASSERT_EQ(shop->unfinished().value().size(), 1U);
  request_id = shop->unfinished().value()[0].request_id;

  auto scripted = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("late"); });
  {
    const RunningPylon again = start(pylon_options(scripted));
    const auto got = shop->resume(request_id, wait());
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_EQ(read_text_answer(got->payload).value().content, "late");
    EXPECT_TRUE(verify_payment_receipt(got->receipt));
  }
  // A third start is sent the same request by the relay again, and does nothing.
  const RunningPylon third = start(pylon_options(scripted));
  clock_.sleep_until(clock_.steady_ns() + 500'000'000, {});
  EXPECT_EQ(scripted->calls(), 1);
  EXPECT_EQ(held(buyer_key_), after_payment);
  EXPECT_TRUE(shop->check_reputation(seller_key_.public_hex()));
  EXPECT_TRUE(shop->unfinished().value().empty());

  // What `resume` fetched is for who asks for that job next; whoever asks after that buys anew.
  const auto given = buyer(money)->request(hello_order(), wait());
  ASSERT_TRUE(given) << given.error().text();
  EXPECT_TRUE(given->resumed);
  EXPECT_EQ(given->request_id, request_id);
  EXPECT_EQ(read_text_answer(given->payload).value().content, "late");
  EXPECT_TRUE(verify_payment_receipt(given->receipt));
  EXPECT_EQ(held(buyer_key_), after_payment);
  const auto anew = buyer(money)->request(hello_order(), wait());
  ASSERT_TRUE(anew) << anew.error().text();
  EXPECT_FALSE(anew->resumed);
  EXPECT_LT(held(buyer_key_), after_payment);
}

// A wallet whose first answer is lost on the way: the money has moved, and its owner does not know.
class ForgetfulWallet final : public Wallet {
 public:
  explicit ForgetfulWallet(std::shared_ptr<Wallet> real) : real_(std::move(real)) {}
  Bolt11Network network() const override { return real_->network(); }
  std::string node_id() const override { return real_->node_id(); }
  Result<Payment> pay(const std::string& invoice, std::int64_t cap_msats, const Wait& wait) override {
    auto paid = real_->pay(invoice, cap_msats, wait);
    if (std::exchange(forgets_, false)) return fail(ErrorCode::cancelled, "the response was cancelled");
    return paid;
  }
  Result<IssuedInvoice> make_invoice(const InvoiceTerms& terms, const Wait& wait) override { return real_->make_invoice(terms, wait); }
  Result<InvoiceStatus> lookup(const std::string& payment_hash, const Wait& wait) override { return real_->lookup(payment_hash, wait); }
  Result<std::int64_t> balance(const Wait& wait) override { return real_->balance(wait); }

 private:
  std::shared_ptr<Wallet> real_;
  bool forgets_ = true;
};

TEST_F(MarketTest, TheSameOrderAfterAStopInPaymentPaysNothingTwice) {
  const RunningPylon running =
      start(pylon_options(std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("here"); })));
  const auto shop = buyer(std::make_shared<ForgetfulWallet>(wallet(buyer_key_, "buyer")));
  std::vector<std::string> states;
  std::vector<std::int64_t> amounts;
  Order order = hello_order();
  order.record = folder("a.run.jsonl");
  order.on_paid = [&](const Json& payment) {
    states.push_back(payment.at("state").as_string());
    amounts.push_back(payment.at("amount_msats").as_int());
    return true;
  };
  const auto stopped = shop->request(order, wait());
  ASSERT_FALSE(stopped);
  EXPECT_TRUE(stopped.error().message.starts_with("the payment may still be made")) << stopped.error().text();
  EXPECT_NE(stopped.error().remedy.find("--relay " + relay_->url()), std::string::npos) << "a remedy that can be pasted";
  const auto poor = buyer(nullptr)->resume(shop->unfinished().value().at(0).request_id, wait());
  EXPECT_EQ(poor.error().code, ErrorCode::usage);  // nobody to ask whether it was paid
  EXPECT_EQ(states, std::vector<std::string>{"unknown"});
  const std::int64_t after = held(buyer_key_);
  EXPECT_LT(after, 100'000);
  const auto got = shop->request(order, wait());
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(read_text_answer(got->payload).value().content, "here");
  EXPECT_EQ(held(buyer_key_), after);
  EXPECT_TRUE(got->resumed);
  EXPECT_EQ(states, (std::vector<std::string>{"unknown", "settled"}));
  EXPECT_EQ(amounts, (std::vector<std::int64_t>{100'000 - after, 0}));  // it counts in one record
  EXPECT_TRUE(shop->unfinished().value().empty());
  ASSERT_TRUE(shop->request(order, wait()));  // done is done: the next one is a purchase of its own
  EXPECT_LT(held(buyer_key_), after);
}

// --- hostile buyers ---

TEST_F(MarketTest, NobodyIsServedWithoutPayingOrOnAnotherId) {
  auto scripted = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("work"); });
  auto options = pylon_options(scripted);
  options.limits.quoted_max = 2;
  const RunningPylon running = start(options);
  const auto relay = RelayClient::connect(relay_->url(), wait(), clock_).value();
  const std::int64_t now = clock_.unix_ns() / 1'000'000'000;
  const auto answers = relay->subscribe({{.authors = {{seller_key_.public_hex()}}, .kinds = {{7000, 6050}}}}, wait()).value();
  const auto send = [&](EventTags tags) {
    tags.push_back({"i", "work for me", "text"});
    const VerifiedEvent event = sign_event({.created_at = now, .kind = 5050, .tags = std::move(tags)}, buyer_key_, entropy_).value();
    EXPECT_TRUE(relay->publish(event, wait()));
    return event->id;
  };
  const auto next = [&] { return read_feedback(*answers->next(wait()).value()).value(); };

  send({{"p", std::string(64, '1')}});             // another's job
  send({{"p", buyer_key_.public_hex()}});          // a trace
  const EventId unpaid = send({});
  EXPECT_EQ(next().status, "payment-required");    // the first two got no answer at all
  const EventId second = send({{"alt", "2"}});
  EXPECT_EQ(next().status, "payment-required");
  send({{"alt", "3"}});
  const JobFeedback busy = next();
  EXPECT_EQ(busy.status, "error");
  EXPECT_EQ(busy.text, "busy: ask again later");

  // A buyer's own claim that it has paid changes nothing; only the issuer's word does.
  for (const EventId& id : {unpaid, second}) {
    const VerifiedEvent claim =
        sign_event(feedback_event(id, seller_key_.public_hex(), {"success", "paid", 150, ""}, "", now), buyer_key_, entropy_).value();
    EXPECT_TRUE(relay->publish(claim, wait()));
  }
  clock_.sleep_until(clock_.steady_ns() + 500'000'000, {});
  EXPECT_EQ(scripted->calls(), 0);
  EXPECT_EQ(running.pylon->jobs().find(unpaid).value()->state, JobState::quoted);

  // Paid, it is done; the payment of one request does not serve the other.
  const StoredJob job = running.pylon->jobs().find(unpaid).value().value();
  const Event quote = verify_event(job.answer).value().event();
  const auto money = wallet(buyer_key_, "buyer");
  ASSERT_TRUE(money->pay(read_feedback(quote).value().invoice, 100'000, wait()));
  EXPECT_EQ(next().status, "processing");
  const VerifiedEvent result = answers->next(wait()).value();
  EXPECT_EQ(result->kind, 6050);
  EXPECT_EQ(result->content, "work");
  EXPECT_EQ(tag_value(*result, "e"), unpaid);
  EXPECT_EQ(scripted->calls(), 1);
  EXPECT_EQ(running.pylon->jobs().find(second).value()->state, JobState::quoted);
}

// An issuer that was restored from an older copy, or another one: it knows nothing of the invoice, so nobody can pay it, and it ends in
// time.
TEST_F(MarketTest, AQuoteThatTheIssuerDoesNotKnowExpiresToo) {
  const auto options = pylon_options(std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("work"); }));
  const std::int64_t now = clock_.unix_ns() / 1'000'000'000;
  const auto ask = [&](std::string_view text) {
    return sign_event({.created_at = now, .kind = 5050, .tags = {{"i", std::string(text), "text"}}}, buyer_key_, entropy_).value();
  };
  const VerifiedEvent old = ask("an hour ago"), fresh = ask("just now");
  {
    const auto store = JobStore::open(options.folder, now).value();
    for (const auto& [event, expires] : {std::pair{old, now - 100}, {fresh, now + 600}}) {
      ASSERT_TRUE(store->add(event->id, event_json(*event), now).value());
      ASSERT_TRUE(store->quote(event->id, 50, sha256_hex(event->id), expires, "", now));
    }
  }
  const RunningPylon running = start(options);
  for (int i = 0; i < 200 && running.pylon->jobs().find(old->id).value()->state == JobState::quoted; ++i)
    clock_.sleep_until(clock_.steady_ns() + 50'000'000, {});
  EXPECT_EQ(running.pylon->jobs().find(old->id).value()->state, JobState::expired);
  EXPECT_EQ(running.pylon->jobs().find(fresh->id).value()->state, JobState::quoted) << "it may still become known";
}

TEST_F(MarketTest, KeepsRoomForBuyersThatPaid) {
  auto options = pylon_options(std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("work"); }));
  options.limits.quoted_max = 4;  // three for newcomers, two for one of them
  const RunningPylon running = start(options);
  const auto relay = RelayClient::connect(relay_->url(), wait(), clock_).value();
  const std::int64_t now = clock_.unix_ns() / 1'000'000'000;
  const auto answers = relay->subscribe({{.authors = {{seller_key_.public_hex()}}, .kinds = {{7000, 6050}}}}, wait()).value();
  const auto next = [&] { return answers->next(wait()).value(); };
  int asked = 0;
  const auto ask = [&](const SecretKey& buyer) {
    EventTags tags{{"i", "work for me", "text"}, {"alt", std::to_string(++asked)}};
    const VerifiedEvent event = sign_event({.created_at = now, .kind = 5050, .tags = std::move(tags)}, buyer, entropy_).value();
    EXPECT_TRUE(relay->publish(event, wait()));
    return read_feedback(*next()).value();
  };
  const auto stranger = [](char digit) { return SecretKey::parse(std::string(64, digit)).value(); };

  const JobFeedback quote = ask(buyer_key_);
  ASSERT_EQ(quote.status, "payment-required");
  ASSERT_TRUE(wallet(buyer_key_, "buyer")->pay(quote.invoice, 100'000, wait()));
  EXPECT_EQ(read_feedback(*next()).value().status, "processing");
  EXPECT_EQ(next()->content, "work");

  EXPECT_EQ(ask(stranger('5')).status, "payment-required");
  EXPECT_EQ(ask(stranger('5')).status, "payment-required");
  EXPECT_EQ(ask(stranger('5')).text, "busy: ask again later") << "one buyer";
  EXPECT_EQ(ask(stranger('6')).status, "payment-required");
  EXPECT_EQ(ask(stranger('7')).text, "busy: ask again later") << "newcomers together";
  EXPECT_EQ(ask(buyer_key_).status, "payment-required") << "has paid before";
}

}  // namespace
}  // namespace assay
