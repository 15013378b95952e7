// A paid result that comes late: fetched when it is there, waited for before anything more is paid, and nobody's failure while the buyer
// heard nothing.
#include "assay/market/pylon_lane.h"
#include "assay/market/town_test.h"

namespace assay {
namespace {

class LateTest : public Town {
 protected:
  std::string seller() const { return seller_key_.public_hex(); }
  std::shared_ptr<LM> says(std::string text) {
    return std::make_shared<ScriptedLM>([text](const LmRequest&) { return ScriptedLM::answer(text); });
  }
  Order other_order() {
    Order order = hello_order();
    order.job = text_job(hello(17), {}).value();
    return order;
  }
  // Pays, waits for longer than is fair, and goes.
  void buy_in_vain(Buyer& shop, const Order& order) {
    const RunningPylon running = start(pylon_options(silent_lane()));
    const auto got = shop.request(order, wait(seconds(3)));
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().code, ErrorCode::timed_out) << got.error().text();
    EXPECT_FALSE(shop.check_reputation(seller()));
  }
  static std::string said(const Result<Bought>& bought) { return read_text_answer(bought.value().payload).value().content; }
};

// Has money, and pays nothing.
class TightWallet final : public Wallet {
 public:
  explicit TightWallet(std::shared_ptr<Wallet> real) : real_(std::move(real)) {}
  Bolt11Network network() const override { return real_->network(); }
  std::string node_id() const override { return real_->node_id(); }
  Result<Payment> pay(const std::string&, std::int64_t, const Wait&) override { return fail(ErrorCode::cancelled, "not now"); }
  Result<IssuedInvoice> make_invoice(const InvoiceTerms& terms, const Wait& wait) override { return real_->make_invoice(terms, wait); }
  Result<InvoiceStatus> lookup(const std::string& payment_hash, const Wait& wait) override { return real_->lookup(payment_hash, wait); }
  Result<std::int64_t> balance(const Wait& wait) override { return real_->balance(wait); }

 private:
  std::shared_ptr<Wallet> real_;
};

TEST_F(LateTest, TheSameOrderGoesOnThoughTheSellerFailedAndItsFailureIsTakenBack) {
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money);
  buy_in_vain(*shop, hello_order());
  const std::int64_t left = held(buyer_key_);
  const RunningPylon again = start(pylon_options(says("late")));
  const auto got = shop->request(hello_order(), wait());  // as chosen by name: reputation is for what is paid
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(said(got), "late");
  EXPECT_EQ(held(buyer_key_), left);
  EXPECT_TRUE(shop->check_reputation(seller()));
  EXPECT_TRUE(shop->store().reputation(seller())->last_reason.empty());
}

TEST_F(LateTest, WhatCameWhileNobodyListenedIsThereWhenABuyerIsOpened) {
  const auto money = wallet(buyer_key_, "buyer");
  buy_in_vain(*buyer(money), hello_order());
  const std::int64_t left = held(buyer_key_);
  auto late = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("late"); });
  {
    const RunningPylon again = start(pylon_options(late));
    for (int i = 0; i < 100 && late->calls() == 0; ++i) clock_.sleep_until(clock_.steady_ns() + 50'000'000, {});
    clock_.sleep_until(clock_.steady_ns() + 500'000'000, {});
  }
  const auto shop = buyer(money);
  EXPECT_TRUE(shop->check_reputation(seller()));
  EXPECT_TRUE(shop->unfinished()->empty());
  Order anyone = hello_order();
  anyone.provider.reset();
  const auto got = shop->bought_before(anyone, wait());
  ASSERT_TRUE(got && *got) << "no provider is named, and none is there";
  EXPECT_EQ(read_text_answer((*got)->payload)->content, "late");
  EXPECT_EQ(held(buyer_key_), left);
  EXPECT_FALSE(shop->bought_before(other_order(), wait()).value());
}

TEST_F(LateTest, NothingMoreIsPaidBeforeWhatIsOwedHasCome) {
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money);
  buy_in_vain(*shop, hello_order());
  const std::int64_t left = held(buyer_key_);
  const auto price = [](const ProviderInfo& info) { return info.prices.text(1000, 100); };
  {
    const RunningPylon silent = start(pylon_options(silent_lane()));
    EXPECT_EQ(shop->choose({text_job_type, "", ""}, price, wait())->pubkey, seller());  // there is nobody else
    const auto refused = shop->request(other_order(), wait());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::refused);
    EXPECT_NE(refused.error().message.find("owes the result of an earlier job"), std::string::npos) << refused.error().text();
    EXPECT_NE(refused.error().remedy.find("assay pylon resume"), std::string::npos) << refused.error().text();
    EXPECT_EQ(held(buyer_key_), left);
  }
  const RunningPylon again = start(pylon_options(says("here")));
  // Both at once, as a compile that goes on asks: the one waits for the other's.
  Result<Bought> other = fail(ErrorCode::internal, "not asked");
  {
    const std::jthread beside([&] { other = shop->request(other_order(), wait()); });
    const auto got = shop->request(hello_order(), wait());
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_EQ(said(got), "here");
  }
  ASSERT_TRUE(other) << other.error().text();
  EXPECT_LT(held(buyer_key_), left);
  EXPECT_TRUE(shop->unfinished()->empty());
  EXPECT_EQ(shop->store().receipts()->size(), 2U);
}

TEST_F(LateTest, OthersAreAskedBeforeOneThatIsLate) {
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money);
  buy_in_vain(*shop, hello_order());
  const RunningPylon late = start(pylon_options(silent_lane()));
  const SecretKey second = SecretKey::generate(entropy_).value();
  PylonOptions options = pylon_options(says("other"));
  options.key = second;
  options.folder = folder("pylon2");
  options.wallet = wallet(second, "pylon2");
  const RunningPylon other = start(options);
  const auto price = [&](const ProviderInfo& info) { return info.pubkey == seller() ? std::int64_t{1} : std::int64_t{1'000}; };
  EXPECT_EQ(shop->choose({text_job_type, "", ""}, price, wait())->pubkey, second.public_hex());
  EXPECT_EQ(shop->choose({text_job_type, seller(), ""}, price, wait())->pubkey, seller());
  Order order = hello_order();
  order.provider = second.public_hex();
  std::string heard;
  order.progress = [&heard](std::string_view line) { heard += line; };
  ASSERT_TRUE(shop->tell_waiting(order));
  EXPECT_NE(heard.find("msats went, or may have gone, to " + seller()), std::string::npos) << heard;
}

TEST_F(LateTest, TimeInWhichTheRelayWasGoneIsNobodysFailure) {
  const auto shop = buyer(wallet(buyer_key_, "buyer"));
  const RunningPylon running = start(pylon_options(silent_lane()));
  Order order = hello_order();
  std::jthread away;
  order.progress = [&](std::string_view line) {
    if (line == "paid") away = std::jthread([this] { relay_.reset(); });
  };
  const auto got = shop->request(order, wait(seconds(3)));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::timed_out) << got.error().text();
  EXPECT_TRUE(got.error().message.starts_with("paid")) << got.error().text();
  EXPECT_TRUE(shop->check_reputation(seller()));
  EXPECT_EQ(shop->unfinished()->size(), 1U);
}

// Who only fetches a result does so for whoever orders it: the same order waits, and buys nothing.
TEST_F(LateTest, AnOrderWaitsForAFetchOfItsOwnPurchase) {
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money), other = buyer(money);
  {
    const RunningPylon silent = start(pylon_options(silent_lane()));
    ASSERT_FALSE(shop->request(hello_order(), wait(milliseconds(1500))));
  }
  ASSERT_EQ(shop->unfinished()->size(), 1U);
  const std::string request_id = shop->unfinished().value()[0].request_id;
  const std::int64_t left = held(buyer_key_);
  Result<Bought> fetched = fail(ErrorCode::internal, "not asked"), ordered = fetched;
  std::jthread fetch([&] { fetched = shop->resume(request_id, wait()); });
  clock_.sleep_until(clock_.steady_ns() + 100'000'000, {});
  std::jthread order([&] { ordered = other->request(hello_order(), wait()); });
  clock_.sleep_until(clock_.steady_ns() + 200'000'000, {});
  const RunningPylon again = start(pylon_options(says("late")));
  fetch.join();
  order.join();
  ASSERT_TRUE(fetched) << fetched.error().text();
  ASSERT_TRUE(ordered) << ordered.error().text();
  EXPECT_EQ(ordered->request_id, request_id);
  EXPECT_EQ(held(buyer_key_), left);
}

TEST_F(LateTest, ABuyerThatOpensTakesNoPurchaseFromItsOrder) {
  const auto money = wallet(buyer_key_, "buyer");
  {
    const RunningPylon silent = start(pylon_options(silent_lane()));
    ASSERT_FALSE(buyer(money)->request(hello_order(), wait(milliseconds(1500))));
  }
  const std::int64_t left = held(buyer_key_);
  const RunningPylon again = start(pylon_options(says("late")));
  const auto shop = buyer(money);
  Result<Bought> got = fail(ErrorCode::internal, "not asked");
  {
    std::vector<std::jthread> openers;
    for (int i = 0; i < 4; ++i) {
      openers.emplace_back([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) (void)buyer(money);
      });
    }
    got = shop->request(hello_order(), wait());
  }
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(said(got), "late");
  EXPECT_EQ(held(buyer_key_), left);
}

// A run's own time went by while the seller's process was stopped: what was paid for is run again, and once more only.
TEST_F(LateTest, APaidJobThatRanOutOfTimeIsRunOnceMore) {
  std::atomic<int> asked = 0;
  class Slow final : public LM {
   public:
    explicit Slow(std::atomic<int>& asked) : asked_(asked) { lane_.kind = "scripted", lane_.model = "slow"; }
    const Lane& lane() const override { return lane_; }
    Result<LmResponse> complete(const LmRequest&, const Wait&) override {
      if (++asked_ == 1) return fail(ErrorCode::timed_out, "the local model took longer than its deadline");
      return ScriptedLM::answer("at last", 1, 1).value();
    }

   private:
    std::atomic<int>& asked_;
    Lane lane_;
  };
  const RunningPylon running = start(pylon_options(std::make_shared<Slow>(asked)));
  const auto got = buyer(wallet(buyer_key_, "buyer"))->request(hello_order(), wait());
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(said(got), "at last");
  EXPECT_EQ(asked, 2);
}

TEST_F(LateTest, ASellerThatCameBackWithOtherGoodsKeepsWhatWasPaidFor) {
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money);
  {
    const RunningPylon silent = start(pylon_options(silent_lane()));
    ASSERT_FALSE(shop->request(hello_order(), wait(milliseconds(1500))));
  }
  {
    const RunningPylon other = start(pylon_options(nullptr, true));  // sells sandbox runs only
    clock_.sleep_until(clock_.steady_ns() + 500'000'000, {});
  }
  EXPECT_EQ(shop->unfinished()->size(), 1U);
  const RunningPylon again = start(pylon_options(says("kept")));
  const auto got = shop->request(hello_order(), wait());
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(said(got), "kept");
  EXPECT_EQ(shop->store().receipts()->size(), 1U);
}

// A start without an issuer cannot know whether an earlier start's quotes were paid: they wait, and everything else is served.
TEST_F(LateTest, AFreeStartLeavesTheQuotesOfAPaidOneAlone) {
  {
    const RunningPylon paid = start(pylon_options(says("never")));
    EXPECT_FALSE(buyer(std::make_shared<TightWallet>(wallet(buyer_key_, "buyer")))->request(hello_order(), wait()));
  }
  auto options = pylon_options(says("free"));
  options.wallet = nullptr;
  options.work.prices = {0, 0, 0, 0, 0, 0};
  std::string logged;
  std::mutex mutex;
  options.log = [&](std::string_view line) {
    const std::scoped_lock lock(mutex);
    logged += line;
  };
  const RunningPylon free = start(options);
  Order order = other_order();
  order.bid_msats = 0;
  const auto got = buyer(nullptr)->request(order, wait());
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(said(got), "free");
  const std::scoped_lock lock(mutex);
  EXPECT_NE(logged.find("start with --issuer"), std::string::npos) << logged;
}

TEST_F(LateTest, ForgivingForgetsWhatWasLate) {
  const auto store = PurchaseStore::open(folder("buy")).value();
  const Purchase purchase{.request_id = std::string(64, 'a'), .job = "{}", .at = 1};
  ASSERT_TRUE(store->add(purchase));
  Purchase quoted = purchase;
  quoted.provider = "p";
  quoted.payment_hash = std::string(64, 'b');
  quoted.amount_msats = 5;
  ASSERT_TRUE(store->accept(quoted, {100, 100}, 1).value());
  ASSERT_TRUE(store->paid(purchase.request_id, std::string(64, 'c'), 1));
  ASSERT_TRUE(store->note_failed("p", "late", 2, purchase.request_id));
  EXPECT_EQ(store->late("p")->size(), 1U);
  ASSERT_TRUE(store->forgive("p"));
  EXPECT_TRUE(store->late("p")->empty());
  ASSERT_TRUE(store->note_failed("p", "sent rubbish", 3));
  ASSERT_TRUE(store->take_back_failure("p", purchase.request_id));  // forgiven is forgiven: nothing of it is left to take back
  EXPECT_EQ(store->reputation("p")->failed_checks, 1);
}

}  // namespace
}  // namespace assay
