#include "assay/trace/price_book.h"

#include <gtest/gtest.h>

#include "assay/base/test_files.h"

namespace assay {
namespace {

LmUsage usage(std::int64_t prompt, std::int64_t completion) {
  LmUsage usage;
  usage.prompt_tokens = prompt;
  usage.completion_tokens = completion;
  return usage;
}

PriceBook book(std::int64_t prompt, std::int64_t completion) {
  Json price =
      JsonObject{{"lane_kind", "x"}, {"model", "*"},        {"prompt_msats_per_mtok", prompt}, {"completion_msats_per_mtok", completion},
                 {"source", "s"},    {"date", "2026-10-01"}};
  return PriceBook::read(JsonObject{{"format", "assay.prices/1"}, {"prices", JsonList{std::move(price)}}}).value();
}

TEST(PriceBook, PricesTheLocalLaneAndNotTheScriptedOne) {
  const PriceBook built_in = PriceBook::built_in();
  const Price price = built_in.find("local", "any model").value();
  EXPECT_GT(price.prompt_msats_per_mtok, 0);
  EXPECT_GT(price.completion_msats_per_mtok, 0);
  EXPECT_FALSE(price.source.empty());
  EXPECT_FALSE(price.date.empty());
  EXPECT_FALSE(built_in.cost("scripted", "any model", usage(1, 1)));  // unknown is not 0
}

TEST(PriceBook, RoundsUpOnceACall) {
  EXPECT_EQ(book(1000000, 2000000).cost("x", "m", usage(3, 4)), 11);
  EXPECT_EQ(book(1, 0).cost("x", "m", usage(1, 0)), 1);            // a millionth is one msat
  EXPECT_EQ(book(500000, 500000).cost("x", "m", usage(1, 1)), 1);  // the sum is rounded, not its parts
  EXPECT_EQ(book(500000, 500000).cost("x", "m", usage(0, 0)), 0);
  EXPECT_EQ(book(json_integer_max, json_integer_max).cost("x", "m", usage(json_integer_max, json_integer_max)), json_integer_max);
}

TEST(PriceBook, AnExactModelGoesBeforeTheStar) {
  Json json = book(1000000, 0).to_json();
  Json exact = json.at("prices").as_list()[0];
  exact.set("model", "m");
  exact.set("prompt_msats_per_mtok", 5000000);
  json.as_object().find("prices")->as_list().push_back(exact);
  const PriceBook both = PriceBook::read(json).value();
  EXPECT_EQ(both.cost("x", "m", usage(1, 0)), 5);
  EXPECT_EQ(both.cost("x", "other", usage(1, 0)), 1);
}

TEST(PriceBook, ReadsWhatItWritesAndItsIdIsItsHash) {
  const PriceBook built_in = PriceBook::built_in();
  const PriceBook again = PriceBook::read(built_in.to_json()).value();
  EXPECT_EQ(again.id().value(), built_in.id().value());
  EXPECT_EQ(built_in.id().value(), hash(built_in.to_json()).value());
}

TEST(PriceBook, RefusesWhatItDoesNotKnow) {
  const auto changed = [](const char* pointer_member, Json value, bool in_price) {
    Json json = book(1, 1).to_json();
    Json& target = in_price ? json.as_object().find("prices")->as_list()[0] : json;
    target.set(pointer_member, std::move(value));
    return PriceBook::read(json);
  };
  EXPECT_EQ(changed("format", "assay.prices/2", false).error().path, "/format");
  EXPECT_EQ(changed("currency", "usd", false).error().message, "unknown member 'currency'");
  EXPECT_NE(changed("per_second", 1, true).error().message.find("'per_second'"), std::string::npos);
  EXPECT_FALSE(changed("prompt_msats_per_mtok", -1, true));
  EXPECT_FALSE(changed("prompt_msats_per_mtok", 1.5, true));
  EXPECT_FALSE(changed("date", nullptr, true));
  Json twice = book(1, 1).to_json();
  twice.as_object().find("prices")->as_list().push_back(twice.at("prices").as_list()[0]);
  EXPECT_NE(PriceBook::read(twice).error().message.find("two prices"), std::string::npos);
  EXPECT_FALSE(PriceBook::read(Json(1)));
}

TEST(PriceBook, APriceTakesThePlaceOfTheOneBefore) {
  PriceBook book = PriceBook::built_in();
  const Price mine{"openai", "m", 1, 2, "a list", "2026-11-26"};
  ASSERT_TRUE(book.set(mine));
  ASSERT_TRUE(book.set({"local", "*", 7, 8, "ours", "2026-11-26"}));
  ASSERT_EQ(book.prices().size(), 2u);
  EXPECT_EQ(book.find("local", "any")->prompt_msats_per_mtok, 7);
  EXPECT_EQ(book.find("openai", "m"), mine);
  EXPECT_EQ(PriceBook::read(book.to_json())->prices(), book.prices());
  EXPECT_EQ(book.set({"openai", "m", -1, 2, "", ""}).error().code, ErrorCode::usage);
  EXPECT_EQ(book.set({"openai", "", 1, 2, "", ""}).error().code, ErrorCode::usage);
}

TEST(PriceBook, ChangesAreAddedGoneAndOther) {
  PriceBook before, after;
  ASSERT_TRUE(before.set({"a", "*", 1, 1, "s", "2026-01-01"}) && before.set({"b", "*", 1, 1, "s", "2026-01-01"}) &&
              before.set({"c", "*", 1, 1, "s", "2026-01-01"}));
  ASSERT_TRUE(after.set({"b", "*", 2, 1, "s", "2026-01-01"}) && after.set({"c", "*", 1, 1, "s", "2026-01-01"}) &&
              after.set({"d", "*", 1, 1, "s", "2026-01-01"}));
  const auto changes = before.changes_to(after);
  ASSERT_EQ(changes.size(), 3u);
  EXPECT_TRUE(changes[0].before && !changes[0].after);
  EXPECT_TRUE(changes[1].before && changes[1].after->prompt_msats_per_mtok == 2);
  EXPECT_TRUE(!changes[2].before && changes[2].after);
  EXPECT_TRUE(before.changes_to(before).empty());
}

TEST(PriceBook, ErrorsOfAFileNameTheLine) {
  const TestFolder folder;
  const std::string path = folder.path("p.json");
  ASSERT_TRUE(write_file(path, R"({"format": "assay.prices/1",
 "prices": [
  {"lane_kind": "local", "model": "*", "prompt_msats_per_mtok": 1, "completion_msats_per_mtok": 1, "source": "", "date": ""},
  {"lane_kind": "openai", "model": "m",
   "prompt_msats_per_mtok": -1,
   "completion_msats_per_mtok": 1, "source": "", "date": ""}]})"));
  const auto book = PriceBook::load(path);
  ASSERT_FALSE(book);
  EXPECT_EQ(book.error().path, path + ":5 /prices/1/prompt_msats_per_mtok");
}

TEST(LmUsage, KeepsFurtherCounters) {
  const Json json = JsonObject{{"prompt_tokens", 5}, {"completion_tokens", 2}, {"cached_tokens", 3}};
  EXPECT_EQ(LmUsage::read(json).value().to_json(), json);
  EXPECT_FALSE(LmUsage::read(JsonObject{{"prompt_tokens", 5}}));
  EXPECT_FALSE(LmUsage::read(JsonObject{{"prompt_tokens", -5}, {"completion_tokens", 2}}));
  EXPECT_FALSE(LmUsage::read(Json("x")));
}

TEST(Totals, StopAtTheLargestIntegerThatARecordHolds) {
  Totals totals;
  totals.add(usage(json_integer_max, 1));
  totals.add(usage(json_integer_max, 1));
  EXPECT_EQ(totals.prompt_tokens, json_integer_max);
  EXPECT_EQ(totals.calls, 2);
  EXPECT_EQ(totals.unpriced_calls, 2);
  EXPECT_TRUE(canonical(totals.totals_json()));
}

}  // namespace
}  // namespace assay
