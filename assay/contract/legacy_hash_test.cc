#include "assay/contract/legacy_hash.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>

#include "assay/base/test_files.h"

namespace assay {
namespace {

TEST(LegacyHash, GivesTheVectorsInBothDialects) {
  const Json golden = read_json(source_text("tests/golden/legacy_hash.json")).value();
  ASSERT_EQ(golden.at("vectors").as_list().size(), 40u);
  for (const Json& row : golden.at("vectors").as_list()) {
    const std::string& name = row.at("name").as_string();
    const auto value = legacy_read(row.at("input").as_string());
    ASSERT_TRUE(value) << name << value.error().text();
    EXPECT_EQ(legacy_text(*value), row.at("text").as_string()) << name;
    EXPECT_EQ(legacy_hash(*value), row.at("hash").as_string()) << name;
    const Json& plus = row.at("plus_hash").is_null() ? row.at("hash") : row.at("plus_hash");
    EXPECT_EQ(legacy_hash(*value, LegacyExponent::plus), plus.as_string()) << name;
  }
}

TEST(LegacyHash, PlusDialectWritesThePlus) {
  EXPECT_EQ(legacy_text(*legacy_read(R"({"e":[1e16,1e21,1.5e300,1e-6]})"), LegacyExponent::plus), R"({"e":[1e+16,1e+21,1.5e+300,1e-6]})");
}

// Built from typed values instead of text: what a job or a manifest of that crate holds.
TEST(LegacyHash, TypedValuesGiveTheSame) {
  EXPECT_EQ(legacy_text(LegacyObject{{"temperature", legacy_f32(0.7)}, {"top_p", legacy_f32(0.95)}}),
            R"({"temperature":0.699999988079071,"top_p":0.949999988079071})");
  EXPECT_EQ(
      legacy_text(LegacyList{legacy_f32(0.8), legacy_f32(0.85), legacy_f32(0.1), legacy_f32(0.25), legacy_f32(-1.5), legacy_f32(3.0)}),
      "[0.800000011920929,0.8500000238418579,0.10000000149011612,0.25,-1.5,3.0]");
  EXPECT_EQ(legacy_hash(LegacyObject{{"x", legacy_f32(3.4028234663852886e38)}}),
            "18ddddb63c712a3d366834530806d9a05b1f69adde52fbdf1b9a8eecfb46202f");
  EXPECT_EQ(legacy_hash(LegacyObject{{"x", legacy_f32(3.4028234663852886e38)}}, LegacyExponent::plus),
            "87696b6177a8c721f3169ddb84d8cecf755f6cea1d33494f060a456ca2c773c9");
  EXPECT_EQ(legacy_hash(LegacyObject{{"x", legacy_f32(1e-5)}}), "2e4ba9c2a050a15e658357d8affbc365dbf099c7192585dd86b85cec75bca177");
  EXPECT_EQ(legacy_hash(LegacyObject{{"x", legacy_f32(std::nan(""))}}), "c6b8df5aba33a39cbdee46ffaf77fae93ea2aa7d99d66408162b05a42105bd71");
  EXPECT_EQ(legacy_hash(LegacyObject{{"x", LegacyValue(std::numeric_limits<double>::infinity())}}),
            "c6b8df5aba33a39cbdee46ffaf77fae93ea2aa7d99d66408162b05a42105bd71");
  EXPECT_EQ(legacy_text(LegacyList{std::uint64_t{18446744073709551615u}, std::numeric_limits<std::int64_t>::min(), 1, 1.0, -0.0, true,
                                   LegacyValue()}),
            "[18446744073709551615,-9223372036854775808,1,1.0,-0.0,true,null]");
}

TEST(LegacyHash, CompiledIdAsWave3ComputedIt) {
  EXPECT_EQ(legacy_compiled_id("Sig", "GEPA", nullptr, 0), "19e5a5c75f0279d99c46cb0b09aafbee7034b8c08b839cd0809dc08748ed71f0");
  const std::string test = "Test instruction", a = "Instruction A", empty, german = "Zeile 1\nZeile „2“ \t✓ 😀";
  EXPECT_EQ(legacy_compiled_id("Sig", "GEPA", &test, 3), "b13d6dd8dfff22a29276c93827f62539fdd211c10baf4cfb5277b893cd6e73a9");
  EXPECT_EQ(legacy_compiled_id("Sig", "GEPA", &a, 0), "df587bac1c48c4cc2278ed6869ec64c8c05bb4656b4227ed1aa6472e4f5f728b");
  EXPECT_EQ(legacy_compiled_id("TestSig", "MIPROv2", &empty, 0), "8912b38fd6e25343d970eea97a2f9fda97660f253e91a7c00073bbaa235ac853");
  EXPECT_EQ(legacy_compiled_id("TestSig", "MIPROv2", &german, 12), "784650b1b338542ef6fa60cad719a63d16c17b50b29a373c324db0ea3f2bf3f4");
}

TEST(LegacyHash, FromOurValuesKeepsIntegersApartFromFloats) {
  EXPECT_EQ(legacy_text(legacy_from(read_json(R"({"b":1,"a":1.0,"c":[null,true,"x"]})").value())),
            R"({"a":1.0,"b":1,"c":[null,true,"x"]})");
}

TEST(LegacyHash, RefusesWhatIsNoJson) {
  for (const char* bad :
       {"", "{", "[1,]", "01", "1.", "NaN", "\"\\ud800\"", "1e400", "-1e400", "{} 1", "{\"a\" 1}", "\"a", "tru", "\"\\", "-"}) {
    EXPECT_FALSE(legacy_read(bad)) << bad;
  }
  EXPECT_TRUE(legacy_read(std::string(127, '[') + std::string(127, ']')));
  EXPECT_EQ(legacy_read(std::string(128, '[') + std::string(128, ']')).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(legacy_read(std::string(1000000, '[')).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(legacy_text(*legacy_read("[1e-400,-1e-400]")), "[0.0,-0.0]");
}

RC_GTEST_PROP(LegacyHashProperty, TextReadsBackToItself, (double x, std::int64_t i, std::uint64_t u)) {
  RC_PRE(std::isfinite(x));
  for (const LegacyExponent exponent : {LegacyExponent::plain, LegacyExponent::plus}) {
    const std::string text = legacy_text(LegacyList{x, i, u}, exponent);
    RC_ASSERT(legacy_text(legacy_read(text).value(), exponent) == text);
  }
}

}  // namespace
}  // namespace assay
