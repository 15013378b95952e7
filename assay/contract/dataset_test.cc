#include "assay/contract/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "assay/base/sha256.h"
#include "assay/base/test_files.h"

namespace assay {
namespace {

Json text(const char* name, const char* value) { return JsonObject{{name, value}}; }

TEST(Dataset, HashesAsTheWorkedCase) {
  struct Row {
    const char *description, *section, *input, *example;
  };
  const Row train[] = {{"chess game for the terminal", "games", "b544161c979b458dc04d2162491f4b2a809f1494a2480ad5d5f23f3140836d3e",
                        "16f9aa557fbf22ff61f700d724fa986226d2074d26442d5855478d8fe94cace2"},
                       {"mail filter with Bayesian scoring", "mail", "8f0bf3cdd8c4341e3f4b8c6fa539e232775e7a9ff804de45b6c8c173d5b5a345",
                        "b791038b7b0c31c8b5621ef91eef6127d67973708a1c211ca8b00ccf4c4f7dfe"}};
  std::vector<std::string> hashes;
  for (const Row& row : train) {
    EXPECT_EQ(input_hash(text("description", row.description)).value(), row.input);
    EXPECT_EQ(example_hash(text("description", row.description), text("section", row.section)).value(), row.example);
    hashes.push_back(row.example);
  }
  EXPECT_EQ(set_id(hashes), "d4437b03d91c051193cde882a0329f7812e24951cce1c18ec96959331a45aae9");
  std::swap(hashes[0], hashes[1]);
  EXPECT_EQ(set_id(hashes), "d4437b03d91c051193cde882a0329f7812e24951cce1c18ec96959331a45aae9");
  hashes.push_back(hashes[0]);
  EXPECT_NE(set_id(hashes), "d4437b03d91c051193cde882a0329f7812e24951cce1c18ec96959331a45aae9");  // duplicates are kept
  EXPECT_EQ(set_id({"90a189e25b6bba586b5fa22983282abad6d14f8fa98c2c9277ef9dda9de35dc7"}),
            "70b7aa22d71a1ff06b565379e18617e7fc94c577e3ea9c64ce28c12fdd09098a");
  EXPECT_EQ(output_hash(text("section", "mail")).value(), "49449f41192539c4a0ac7893bcc829b553ea908077416d118b57b1c8f8985776");
}

TEST(Dataset, HashesAndSplitsAsTheSecondImplementation) {
  const Json golden = read_json(source_text("tests/golden/values.json")).value().at("data");
  std::vector<std::string> sets[3];
  for (std::size_t i = 0; i < golden.at("rows").as_list().size(); ++i) {
    const JsonList& row = golden.at("rows").as_list()[i].as_list();
    const std::string hash = input_hash(row[0]).value();
    EXPECT_EQ(hash, golden.at("input_hashes").as_list()[i].as_string());
    sets[split_of(hash, {0.5, 0.25, 0.25}, golden.at("salt").as_string())].push_back(example_hash(row[0], row[1]).value());
  }
  const char* names[] = {"train", "val", "test"};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(sets[i].size(), static_cast<std::size_t>(golden.at("sizes").at(names[i]).as_int())) << names[i];
    EXPECT_EQ(set_id(sets[i]), golden.at("set_ids").at(names[i]).as_string()) << names[i];
  }
}

TEST(Dataset, FieldsAreThoseOfTheSignatureAndAbsentOptionalsAreNull) {
  const Json fields =
      read_json(R"([{"name":"a","schema":{"type":"string"}},{"name":"b","schema":{"anyOf":[{"type":"integer"},{"type":"null"}]}}])")
          .value();
  const Json picked = pick_fields(fields, JsonObject{{"a", "x"}, {"id", 7}}).value();
  EXPECT_EQ(picked, Json(JsonObject{{"a", "x"}, {"b", Json()}}));
  EXPECT_EQ(input_hash(picked).value(), input_hash(pick_fields(fields, JsonObject{{"a", "x"}, {"b", Json()}, {"id", 8}}).value()).value());
  const auto missing = pick_fields(fields, JsonObject{{"b", 1}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().path, "a");
  EXPECT_FALSE(pick_fields(fields, Json("x")));
}

TEST(Dataset, SplitFollowsTheRunningSum) {
  const std::string hash(64, 'a');
  const double u = split_unit(hash);
  const Bytes32 digest = sha256("assay.split/1\n\n" + hash);
  std::uint64_t x = 0;
  for (std::size_t i = 0; i < 8; ++i) x = x << 8 | digest[i];
  EXPECT_EQ(u, static_cast<double>(x) / 18446744073709551616.0);
  EXPECT_NE(u, split_unit(hash, "salt"));
  EXPECT_EQ(split_of(hash, {1, 0, 0}), 0u);
  EXPECT_EQ(split_of(hash, {0, 1, 0}), 1u);
  EXPECT_EQ(split_of(hash, {0, 0, 0}), 2u);  // the last takes the rest
  EXPECT_EQ(split_of(hash, {u, 0, 0}), 2u);  // below, not at
  EXPECT_EQ(split_of(hash, {std::nextafter(u, 1.0), 0, 0}), 0u);
}

TEST(Dataset, RefusesFractionsThatAreNone) {
  EXPECT_TRUE(check_fractions({0.5, 0.2, 0.3}));
  EXPECT_TRUE(check_fractions({0.1, 0.2, 0.7}));  // more than 1 by rounding
  for (const SplitFractions bad :
       {SplitFractions{-0.1, 0.5, 0.5}, SplitFractions{0.6, 0.6, 0.1}, SplitFractions{std::nan(""), 0, 0}, SplitFractions{2, 0, 0}}) {
    EXPECT_EQ(check_fractions(bad).error().code, ErrorCode::usage);
  }
}

TEST(Dataset, OverlapsAreFoundByInput) {
  EXPECT_TRUE(check_no_overlap({"a", "a"}, {"b"}, {"c"}));  // a duplicate inside one set is none
  const std::vector<Overlap> found = find_overlaps({"c", "a", "a"}, {"b", "a"}, {"c", "b"});
  EXPECT_EQ(found, (std::vector<Overlap>{{"a", "train", "val"}, {"b", "val", "test"}, {"c", "train", "test"}}));
  const std::vector<Overlap> in_all = find_overlaps({"a", "b"}, {"a"}, {"a", "b"});
  EXPECT_EQ(in_all.size(), 4U) << "a pair each";
  EXPECT_EQ(inputs_of(in_all), 2U);
  const auto refused = check_no_overlap({"a"}, {}, {"a"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::refused);
  EXPECT_THAT(refused.error().message,
              testing::HasSubstr("1 input occurs in more than one of train, val and test; a is in train and test"));
}

// A row more or less moves no other row: the split of a row depends on the row alone.
RC_GTEST_PROP(DatasetProperty, SharesComeOutAsAskedFor, (const std::string& salt)) {
  int train = 0;
  for (int i = 0; i < 2000; ++i) train += split_of(sha256_hex(std::to_string(i)), {0.3, 0.3, 0.4}, salt) == 0 ? 1 : 0;
  RC_ASSERT(train > 450 && train < 750);  // 600 ± 7 standard deviations
}

}  // namespace
}  // namespace assay
