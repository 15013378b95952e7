// What a buyer keeps on its disk: purchases of each key, results until they are safe, caps between processes, a seller's failures.
#include "assay/market/payment_store.h"
#include "assay/market/pylon_lane.h"
#include "assay/market/town_test.h"

namespace assay {
namespace {

class BuyerTest : public Town {
 protected:
  std::shared_ptr<LM> bought_lane(std::shared_ptr<Wallet> money) {
    PylonLaneOptions options{relay_->url(), buyer_key_, std::move(money), folder("buyer")};
    return PylonLane::open(options, clock_, entropy_, wait()).value();
  }
};

// Each process looks before it bids; what counts is what stands when one pays.
TEST_F(BuyerTest, TheCapsHoldBetweenProcesses) {
  const auto payments = PaymentStore::open(folder("pay"), "payer").value();
  const auto hash = [](int i) { return std::string(62, 'a') + std::to_string(10 + i); };
  ASSERT_TRUE(payments->begin("lnbcrt1", hash(1), 60, 1'000, 100));
  const auto other = PaymentStore::open(folder("pay"), "payer").value();
  EXPECT_EQ(other->begin("lnbcrt2", hash(2), 41, 1'001, 100).error().code, ErrorCode::over_budget);
  EXPECT_FALSE(other->find(hash(2)).value());  // nothing is half begun
  EXPECT_TRUE(other->begin("lnbcrt1", hash(1), 60, 1'001, 100));  // the same one again is no more
  EXPECT_TRUE(other->begin("lnbcrt2", hash(2), 40, 1'001, 100));
  EXPECT_TRUE(other->begin("lnbcrt3", hash(3), 100, 1'002 + 86'400, 100));  // another day

  const auto store = PurchaseStore::open(folder("buy")).value();
  const auto quote = [&](char id, int payment, std::int64_t msats, const std::string& provider) {
    const Purchase purchase{.request_id = std::string(64, id),
                            .job = "{}",
                            .provider = provider,
                            .payment_hash = hash(payment),
                            .amount_msats = msats,
                            .at = 1'000};
    EXPECT_TRUE(store->add(purchase));
    return store->accept(purchase, {100, 50}, 1'000);
  };
  EXPECT_TRUE(quote('1', 1, 50, "p").value());
  EXPECT_EQ(quote('2', 2, 1, "p").error().code, ErrorCode::over_budget);   // of that provider
  EXPECT_EQ(quote('3', 3, 51, "q").error().code, ErrorCode::over_budget);  // of all
  EXPECT_TRUE(quote('4', 4, 50, "q").value());
  // What was decided and never paid counts no more.
  EXPECT_EQ(store->spent_msats(0, "p").value(), 50);
  ASSERT_TRUE(store->failed(std::string(64, '1'), 1'000));
  EXPECT_EQ(store->spent_msats(0, "p").value(), 0);
  EXPECT_TRUE(quote('5', 5, 50, "p").value());
}

// A buyer that dies between the result and its record finds the result again, once, and pays once.
TEST_F(BuyerTest, AnAnswerThatWasNotRecordedIsNotBoughtAgain) {
  int asked = 0;
  auto scripted = std::make_shared<ScriptedLM>([&asked](const LmRequest&) { return ScriptedLM::answer(std::to_string(++asked), 21, 4); });
  const RunningPylon running = start(pylon_options(scripted));
  const auto money = wallet(buyer_key_, "buyer");
  std::int64_t payments = 0;  // msats, as records tell them
  const auto record = [&payments](const Json& payment) {
    payments += payment.at("amount_msats").as_int();
    return true;
  };
  const LM::Events events{record, [](bool) { return Result<void>(); }, folder("a.run.jsonl")};
  auto first = bought_lane(money)->complete_with(hello(), wait(), events);  // its `kept` is never called
  ASSERT_TRUE(first) << first.error().text();
  first->kept = {};  // who bought it is gone
  EXPECT_GT(first->usage.cost_msats.value(), 0);
  const std::int64_t left = held(buyer_key_);

  const auto lane = bought_lane(money);
  const auto again = lane->complete_with(hello(), wait(), events);
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(again->content, "1");
  EXPECT_EQ(again->usage.prompt_tokens, 21);
  EXPECT_EQ(again->usage.cost_msats, 0);  // the payment stands in the record of who made it
  EXPECT_EQ(held(buyer_key_), left);
  EXPECT_EQ(payments, first->usage.cost_msats);
  const auto meanwhile = lane->complete_with(hello(), wait(), events);  // one that is in hand is nobody else's
  EXPECT_EQ(meanwhile->content, "2");
  again->kept();
  meanwhile->kept();
  const auto anew = bought_lane(money)->complete_with(hello(), wait(), events);
  EXPECT_EQ(anew->content, "3");
  anew->kept();
  // Who takes no notice of payments keeps no record: each call is one of its own.
  EXPECT_EQ(bought_lane(money)->complete(hello(), wait())->content, "4");
}

// What one key bought is nobody else's, though they share a folder: not to fetch, not to go on with, not to fail.
TEST_F(BuyerTest, PurchasesBelongToTheKeyThatMadeThem) {
  const auto shop = buyer(wallet(buyer_key_, "buyer"));
  const SecretKey other_key = SecretKey::generate(entropy_).value();
  std::string request_id;
  {
    const RunningPylon running = start(pylon_options(silent_lane()));
    ASSERT_FALSE(shop->request(hello_order(), wait(milliseconds(800))));
    ASSERT_EQ(shop->unfinished()->size(), 1U);
    request_id = shop->unfinished().value()[0].request_id;
  }
  auto scripted = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("late"); });
  const RunningPylon again = start(pylon_options(scripted));
  const BuyerOptions options{relay_->url(), other_key, wallet(other_key, "buyer"), folder("buyer")};
  const auto other = Buyer::open(options, clock_, entropy_, wait()).value();
  const auto fetched = other->resume(request_id, wait());
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code, ErrorCode::usage);
  const auto own = other->request(hello_order(), wait());  // the same order, and a purchase of its own
  ASSERT_TRUE(own) << own.error().text();
  EXPECT_NE(own->request_id, request_id);
  EXPECT_TRUE(shop->check_reputation(seller_key_.public_hex()));
  const auto got = shop->resume(request_id, wait());
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(read_text_answer(got->payload).value().content, "late");
  const auto shown_again = shop->resume(request_id, wait());  // until somebody has used it
  ASSERT_TRUE(shown_again) << shown_again.error().text();
  EXPECT_EQ(shown_again->result_id, got->result_id);
}

// Of two buyers on one folder one has the kept result; the other buys. Counted once in the seller's favour, whoever waits.
TEST_F(BuyerTest, AKeptResultIsGivenToOne) {
  int asked = 0;
  auto scripted = std::make_shared<ScriptedLM>([&asked](const LmRequest&) { return ScriptedLM::answer(std::to_string(++asked), 1, 1); });
  const RunningPylon running = start(pylon_options(scripted));
  const auto money = wallet(buyer_key_, "buyer");
  Order order = hello_order();
  order.keep_result = true;
  ASSERT_TRUE(buyer(money)->request(order, wait()));  // and dies
  const auto one = buyer(money), two = buyer(money);
  const auto first = one->request(order, wait()), second = two->request(order, wait());
  ASSERT_TRUE(first && second);
  EXPECT_EQ(read_text_answer(first->payload).value().content, "1");
  EXPECT_EQ(read_text_answer(second->payload).value().content, "2");
  EXPECT_EQ(two->resume(first->request_id, wait()).error().code, ErrorCode::unavailable);  // in hand
  EXPECT_EQ(two->resume(second->request_id, wait()).error().code, ErrorCode::unavailable);
  EXPECT_TRUE(one->taken(first->request_id));
  EXPECT_EQ(one->store().reputation(seller_key_.public_hex())->completed, 2);
}

TEST_F(BuyerTest, ALateResultTakesBackItsOwnFailureOnly) {
  const auto store = PurchaseStore::open(folder("buy")).value();
  ASSERT_TRUE(store->note_failed("p", "sent rubbish", 1));
  ASSERT_TRUE(store->note_failed("p", "too late", 2, "r1"));
  ASSERT_TRUE(store->take_back_failure("p", "r2"));
  EXPECT_EQ(store->reputation("p")->failed_checks, 2);
  ASSERT_TRUE(store->take_back_failure("p", "r1"));
  ASSERT_TRUE(store->take_back_failure("p", "r1"));
  EXPECT_EQ(store->reputation("p")->failed_checks, 1);
}

}  // namespace
}  // namespace assay
