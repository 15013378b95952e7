#include "assay/trace/record_costs.h"

#include <gtest/gtest.h>

#include "assay/trace/record_line.h"

namespace assay {
namespace {

constexpr std::string_view hex64 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct CostCase {
  explicit CostCase(std::string lane_kind = "local") {
    const Json lane = JsonObject{{"kind", lane_kind}, {"model", "m"}, {"engine", "e"}};
    lane_id = hash(lane).value();
    add("run_start", "", JsonObject{{"price_book", PriceBook::built_in().id().value()}, {"lanes", JsonList{lane}}});
  }
  void add(std::string type, std::string node, Json data) {
    entries.push_back({static_cast<std::int64_t>(entries.size()), 0, std::move(type), std::move(node), "", std::move(data)});
  }
  void call(const std::string& node, Json cost) {
    add("lm_request", node, JsonObject{{"lane_id", lane_id}, {"request_hash", hex64}});
    answer(node, std::move(cost));
  }
  void answer(const std::string& node, Json cost) {
    add("lm_response", node,
        JsonObject{
            {"request_hash", hex64}, {"usage", JsonObject{{"prompt_tokens", 100}, {"completion_tokens", 10}}}, {"cost_msats", cost}});
  }
  std::string lane_id;
  std::vector<RecordEntry> entries;
};

// 100 · 125,000 + 10 · 250,000 = 15,000,000: 15 msats by the built-in book.
TEST(RecordCosts, EveryCallCostsPriceTimesUsage) {
  CostCase good;
  good.call("a", 15);
  const CostCheck check = check_costs(good.entries, PriceBook::built_in());
  EXPECT_TRUE(check.book_known);
  EXPECT_EQ(check.calls, 1);
  EXPECT_TRUE(check.problems.empty());
}

TEST(RecordCosts, NamesTheCallThatCostsSomethingElse) {
  CostCase bad;
  bad.call("a", 15);
  bad.call("b", 14);
  bad.call("c", nullptr);
  const CostCheck check = check_costs(bad.entries, PriceBook::built_in());
  ASSERT_EQ(check.problems.size(), 2U);
  EXPECT_EQ(check.problems[0].line, 5);
  EXPECT_EQ(check.problems[0].message, "the call in line 5 is said to cost 14 msats; its price and usage give 15 msats");
  EXPECT_EQ(check.problems[1].message, "the call in line 7 is said to cost nothing known; its price and usage give 15 msats");
}

TEST(RecordCosts, ABoughtCallCostsWhatWasPaid) {
  CostCase bought("pylon");
  const auto buy = [&](const std::string& node, std::int64_t paid, std::int64_t said) {
    bought.add("lm_request", node, JsonObject{{"lane_id", bought.lane_id}, {"request_hash", hex64}});
    bought.add("payment", node, JsonObject{{"payment_hash", hex64}, {"amount_msats", paid}});
    bought.answer(node, said);
  };
  buy("a", 700, 700);
  buy("b", 700, 600);
  const CostCheck check = check_costs(bought.entries, PriceBook::built_in());
  ASSERT_EQ(check.problems.size(), 1U);
  EXPECT_EQ(check.problems[0].line, 7);
  buy("c", 700, 0);  // it was paid for in this very call
  EXPECT_EQ(check_costs(bought.entries, PriceBook::built_in()).problems.size(), 2U);
  buy("d", 0, 0);    // paid for by an earlier run
  EXPECT_EQ(check_costs(bought.entries, PriceBook::built_in()).problems.size(), 2U);
}

// A lane of one's own making may know its price, or pay: the book, which does not, contradicts nothing. One that is in the book is held to
// it.
TEST(RecordCosts, ALaneOfOnesOwnMayKnowItsPrice) {
  CostCase own("mine");
  own.call("a", 77);
  own.add("lm_request", "b", JsonObject{{"lane_id", own.lane_id}, {"request_hash", hex64}});
  own.add("payment", "b", JsonObject{{"payment_hash", hex64}, {"amount_msats", 9}});
  own.answer("b", 9);
  EXPECT_TRUE(check_costs(own.entries, PriceBook::built_in()).problems.empty());
  own.entries.back().data.set("cost_msats", 8);
  EXPECT_EQ(check_costs(own.entries, PriceBook::built_in()).problems.size(), 1U);
  CostCase built_in("openai");
  built_in.call("a", 77);
  EXPECT_EQ(check_costs(built_in.entries, PriceBook::built_in()).problems.size(), 1U);
}

// A stop after a payment, and a resume that buys the same call again: both were paid, and the answer is the second one's.
TEST(RecordCosts, AnAnswerIsHeldToItsOwnPayment) {
  CostCase twice("pylon");
  TotalsFold fold;
  for (const char digit : {'a', 'b'}) {
    twice.add("lm_request", "a", JsonObject{{"lane_id", twice.lane_id}, {"request_hash", hex64}});
    twice.add("payment", "a", JsonObject{{"payment_hash", std::string(64, digit)}, {"amount_msats", digit == 'a' ? 500 : 700}});
  }
  twice.answer("a", 700);
  const CostCheck check = check_costs(twice.entries, PriceBook::built_in());
  EXPECT_TRUE(check.problems.empty()) << check.problems.front().message;
  for (const RecordEntry& entry : twice.entries) fold.add(entry.type, entry.node, entry.data);
  EXPECT_EQ(fold.totals().cost_msats, 1200);
}

TEST(RecordCosts, APaymentToldTwiceIsOne) {
  CostCase resumed("pylon");
  for (const char* state : {"unknown", "settled"}) {  // a stop in payment, then the pass that went on
    resumed.add("lm_request", "a", JsonObject{{"lane_id", resumed.lane_id}, {"request_hash", hex64}});
    resumed.add("payment", "a", JsonObject{{"payment_hash", hex64}, {"amount_msats", 700}, {"state", state}});
  }
  resumed.answer("a", 700);
  const CostCheck check = check_costs(resumed.entries, PriceBook::built_in());
  EXPECT_EQ(check.calls, 1);
  EXPECT_TRUE(check.problems.empty());
}

TEST(RecordCosts, AnotherBookCannotJudge) {
  CostCase other;
  other.entries[0].data.set("price_book", hex64);
  other.call("a", 1);
  const CostCheck check = check_costs(other.entries, PriceBook::built_in());
  EXPECT_FALSE(check.book_known);
  EXPECT_EQ(check.calls, 0);
  EXPECT_TRUE(check.problems.empty());
}

}  // namespace
}  // namespace assay
