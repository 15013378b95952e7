#include "assay/contract/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "assay/base/test_files.h"
#include "assay/contract/samples_test.h"

namespace assay {
namespace {

using testing::HasSubstr;

TEST(Manifest, ReadIsTheInverseOfToJson) {
  ZeroEntropy zeros;
  CompiledModuleManifest unmeasured;
  unmeasured.signature_name = "S";
  unmeasured.compiled_id = std::string(64, '0');
  unmeasured.trainset_id = empty_set_id();
  for (const auto& manifest : {sample_manifest(), sign_manifest(sample_manifest(), sample_key(), zeros).value(), unmeasured}) {
    CompiledModuleManifest written = manifest;
    for (const char* key : {"seed", "order_seed"}) {
      if (!written.optimizer_config.contains(key)) written.optimizer_config.set(key, Json());
    }
    written.compatibility.privacy_modes_allowed = sorted_privacy(written.compatibility.privacy_modes_allowed);
    const auto json = to_json(written);
    ASSERT_TRUE(json);
    const auto back = read_manifest(*json);
    ASSERT_TRUE(back) << back.error().text();
    EXPECT_EQ(*back, written);
    EXPECT_EQ(canonical(to_json(*back).value()).value(), canonical(*json).value());
  }
}

TEST(Manifest, UnknownMembersAreKeptEverywhere) {
  const Json golden = read_json(source_text("tests/golden/pipeline.module.json")).value().at("manifest");
  const char* places[] = {"",
                          "/scorecard",
                          "/scorecard/interval",
                          "/scorecard/baseline",
                          "/scorecard/per_call",
                          "/scorecard/per_call/tokens",
                          "/compatibility",
                          "/provenance",
                          "/provenance/task",
                          "/provenance/assay",
                          "/provenance/usage"};
  for (const char* place : places) {
    Json with = golden;
    const_cast<Json&>(*with.pointer(place)).set("x-new", JsonObject{{"deep", JsonList{1, Json()}}});
    const auto manifest = read_manifest(with);
    ASSERT_TRUE(manifest) << place << manifest.error().text();
    EXPECT_EQ(canonical(to_json(*manifest).value()).value(), canonical(with).value()) << place;
  }
}

// Each member of each object of the golden manifest, taken out one by one; and set to a value of a kind that it never has.
void walk(const Json& manifest, const std::string& pointer, const std::set<std::string>& free, int& seen) {
  const Json& here = *manifest.pointer(pointer);
  for (const auto& [key, value] : here.as_object()) {
    const std::string at = pointer + "/" + key;
    if (free.contains(at)) continue;
    ++seen;
    Json without = manifest;
    const_cast<Json&>(*without.pointer(pointer)).as_object().erase(key);
    const auto missing = read_manifest(without);
    ASSERT_FALSE(missing) << at;
    EXPECT_THAT(missing.error().message, HasSubstr(key)) << at;
    Json wrong = manifest;
    const_cast<Json&>(*wrong.pointer(pointer)).set(key, value.is_bool() ? Json(1) : Json(true));
    EXPECT_FALSE(read_manifest(wrong)) << at;
    if (value.is_object()) walk(manifest, at, free, seen);
  }
}

TEST(Manifest, EveryMemberShownMustBePresentWithItsType) {
  const Json golden = read_json(source_text("tests/golden/pipeline.module.json")).value().at("manifest");
  int seen = 0;
  const std::set<std::string> free = {"/x_unknown_member",
                                      "/signature",
                                      "/signer",  // an absent signature reads as null: unsigned
                                      "/scorecard/gain_interval/seed",
                                      "/scorecard/gain_interval/b",
                                      "/provenance/usage/reasoning_tokens",
                                      "/optimizer_config/max_bootstrapped_demos",
                                      "/optimizer_config/metric_threshold",
                                      "/scorecard/truth_metrics/exact",
                                      "/scorecard/proxy_metrics/judge",
                                      "/scorecard/proxy_metrics/exact_val"};
  walk(golden, "", free, seen);
  EXPECT_GT(seen, 60);
}

TEST(Manifest, RefusesNaNWhenWritingAndReading) {
  CompiledModuleManifest manifest = sample_manifest();
  manifest.scorecard.truth_metrics["accuracy"] = std::numeric_limits<double>::quiet_NaN();
  const auto json = to_json(manifest);
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().path, "scorecard.truth_metrics.accuracy");
  manifest = sample_manifest();
  manifest.scorecard.gain_interval->high = std::numeric_limits<double>::infinity();
  EXPECT_EQ(to_json(manifest).error().path, "scorecard.gain_interval.high");
  Json bad = to_json(sample_manifest()).value();
  const_cast<Json&>(*bad.pointer("/scorecard/score")) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(read_manifest(bad).error().path, "/scorecard/score");
}

TEST(Manifest, SaysHowManyRowsOverlapOnlyAsACount) {
  Json json = to_json(sample_manifest()).value();
  Json* card = json.as_object().find("scorecard");
  for (const Json& bad : {Json(-1), Json("lots"), Json(), Json(1.5), Json(true), Json(JsonList{})}) {
    card->set("overlaps", bad);
    EXPECT_FALSE(read_manifest(json)) << canonical(bad).value();
  }
  card->set("overlaps", 3);
  EXPECT_EQ(Json(read_manifest(json)->scorecard.extra).at("overlaps"), Json(3));
}

TEST(Manifest, RefusesAScoreOfNothingAndAGainOfOneScore) {
  const Json json = to_json(sample_manifest()).value();
  ASSERT_TRUE(read_manifest(json));
  for (const std::vector<std::string>& nulls : std::vector<std::vector<std::string>>{{"primary"},
                                                                                     {"baseline"},
                                                                                     {"score", "interval"},
                                                                                     {"gain"},
                                                                                     {"primary", "baseline"},
                                                                                     {"score", "interval", "primary"},
                                                                                     {"score"}}) {
    Json bad = json;
    for (const std::string& key : nulls) bad.as_object().find("scorecard")->set(key, Json());
    EXPECT_FALSE(read_manifest(bad)) << nulls.front();
  }
  Json none = json;  // nothing was measured
  for (const char* key : {"primary", "score", "interval", "baseline", "gain", "gain_interval"})
    none.as_object().find("scorecard")->set(key, Json());
  EXPECT_TRUE(read_manifest(none));
}

TEST(Manifest, SetsAreSortedWithoutDuplicates) {
  CompiledModuleManifest manifest = sample_manifest();
  manifest.compatibility.required_tools = {"b", "a", "b"};
  const Json json = to_json(manifest).value();
  EXPECT_EQ(*json.pointer("/compatibility/required_tools"), Json(JsonList{"a", "b"}));
  EXPECT_EQ(*json.pointer("/compatibility/privacy_modes_allowed"), Json(JsonList{"no_pii", "public_ok"}));
  for (const JsonList& bad : {JsonList{"b", "a"}, JsonList{"a", "a"}, JsonList{1}}) {
    Json wrong = json;
    const_cast<Json&>(*wrong.pointer("/compatibility/required_tools")) = bad;
    EXPECT_THAT(read_manifest(wrong).error().path, HasSubstr("compatibility.required_tools["));
  }
}

TEST(Manifest, RefusesFiguresThatCannotBe) {
  const Json json = to_json(sample_manifest()).value();
  const std::pair<const char*, Json> rows[] = {{"/scorecard/p_fail", 1.5},
                                               {"/scorecard/score", 7.5},
                                               {"/scorecard/score", 0.8},  // truth_metrics says 0.8133…
                                               {"/scorecard/primary", "f1"},
                                               {"/scorecard/gain", 0.4},
                                               {"/scorecard/interval/high", 1.2},
                                               {"/scorecard/interval/level", 95},
                                               {"/scorecard/interval/method", "sure/1"},
                                               {"/scorecard/baseline/score", 0.6},
                                               {"/scorecard/p_fail", -0.1},
                                               {"/scorecard/interval/low", 0.9},  // above the score that it is of
                                               {"/scorecard/n_test", -1},
                                               {"/scorecard/rollouts", 1.5},
                                               {"/scorecard/interval/low", 2},
                                               {"/compiled_id", "AB"},
                                               {"/created_at", -5},
                                               {"/provenance/cost_msats", -1},
                                               {"/compatibility/privacy_modes_allowed", JsonList{"all"}},
                                               {"/format", "assay.manifest/2"},
                                               {"/signature", std::string(128, '0')}};
  for (const auto& [pointer, value] : rows) {
    Json wrong = json;
    const_cast<Json&>(*wrong.pointer(pointer)) = value;
    EXPECT_FALSE(read_manifest(wrong)) << pointer;
  }
  EXPECT_FALSE(read_manifest(Json()));
  EXPECT_FALSE(read_manifest(JsonList{}));
}

TEST(Manifest, AnySpellingOfAnIntegerIsTheInteger) {
  Json json = to_json(sample_manifest()).value();
  const_cast<Json&>(*json.pointer("/created_at")) = Json(1790000000.0);
  EXPECT_EQ(read_manifest(json)->created_at, 1790000000);
}

TEST(Manifest, SignsAsTheWorkedCase) {
  ZeroEntropy zeros;
  const auto manifest = sign_manifest(sample_manifest(), sample_key(), zeros);
  ASSERT_TRUE(manifest);
  const Json json = to_json(*manifest).value();
  EXPECT_EQ(hex(std::span<const std::uint8_t>(*signing_hash(json))), "01cc68a42b98775e22fd59568415f32656b08cf393274dfc0946c0df296c91cd");
  EXPECT_EQ(manifest->signer, "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659");
  EXPECT_EQ(
      manifest->signature,
      "e74b694e15351fbb62de347043ef535d6c05ee69e439e6d0f99bf9f70a2d064c58cbf064071f9eee17db502c226931f0ca78578037cb9ae3c82e853723c42546");
  EXPECT_TRUE(verify_object(json));
}

TEST(Manifest, CanonicalHashIsThePlansNameForHash) {
  static_assert(Hashable<CompiledModuleManifest> && Hashable<Json> && Hashable<Compatibility> && !Hashable<int*>);
  EXPECT_EQ(canonical_hash(Json(JsonObject{})).value(), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
  EXPECT_EQ(canonical_hash(sample_manifest()).value(), hash(to_json(sample_manifest()).value()).value());
  CompiledModuleManifest nan = sample_manifest();
  nan.scorecard.score = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(canonical_hash(nan));
}

TEST(Usage, AddsUp) {
  Usage a{.calls = 1, .cached_calls = 2, .prompt_tokens = 3, .completion_tokens = 4, .extra = {{"reasoning_tokens", 5}}};
  a += Usage{.calls = 10,
             .cached_calls = 20,
             .prompt_tokens = 30,
             .completion_tokens = 40,
             .extra = {{"reasoning_tokens", 50}, {"audio_tokens", 1}}};
  EXPECT_EQ(a, (Usage{.calls = 11,
                      .cached_calls = 22,
                      .prompt_tokens = 33,
                      .completion_tokens = 44,
                      .extra = {{"audio_tokens", 1}, {"reasoning_tokens", 55}}}));
}

}  // namespace
}  // namespace assay
