#include "assay/contract/compiled_id.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>

#include "assay/base/test_files.h"
#include "assay/contract/samples_test.h"

namespace assay {
namespace {

TEST(CompiledId, RefusesUppercaseAndNamesTheColumn) {
  const auto id = CompiledId::parse("44136FA355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
  ASSERT_FALSE(id.has_value());
  EXPECT_EQ(id.error().code, ErrorCode::malformed);
  EXPECT_EQ(id.error().path, "column 6");  // other tools compare ids as text: one spelling only
}

TEST(CompiledId, ParseIsTheInverseOfHexAndDropsThePrefix) {
  const auto id = CompiledId::parse(sample_compiled_id);
  ASSERT_TRUE(id);
  EXPECT_EQ(id->hex(), sample_compiled_id);
  EXPECT_EQ(*CompiledId::parse(std::string("sha256:") + sample_compiled_id), *id);
  EXPECT_EQ(CompiledId::parse("sha256:4X").error().path, "column 9");
  EXPECT_EQ(CompiledId::parse("abc").error().path, "column 4");
  EXPECT_EQ(CompiledId::parse(std::string(sample_compiled_id) + "0").error().path, "column 65");
  EXPECT_FALSE(CompiledId::parse(""));
  EXPECT_FALSE(CompiledId::parse("SHA256:" + std::string(sample_compiled_id)));
}

TEST(CompiledId, IsThatOfTheWorkedCase) { EXPECT_EQ(compiled_id(sample_artifact())->hex(), sample_compiled_id); }

TEST(CompiledId, RefusesWhatHasNoCanonicalForm) {
  EXPECT_FALSE(compiled_id_of_json(Json(std::numeric_limits<double>::quiet_NaN())));
  EXPECT_EQ(compiled_id_of_json(JsonObject{{"a", Json(std::int64_t{1} << 60)}}).error().path, "/a");
}

// Pointers of all leaves: scalars, and containers that are empty.
void leaves(const Json& value, const std::string& at, std::vector<std::string>& out) {
  if (value.is_object() && !value.as_object().empty()) {
    for (const auto& [key, inner] : value.as_object()) leaves(inner, at + "/" + pointer_token(key), out);
  } else if (value.is_list() && !value.as_list().empty()) {
    for (std::size_t i = 0; i < value.as_list().size(); ++i) leaves(value.as_list()[i], at + "/" + std::to_string(i), out);
  } else {
    out.push_back(at);
  }
}

Json& at_pointer(Json& root, const std::string& pointer) { return const_cast<Json&>(*root.pointer(pointer)); }

std::vector<std::pair<std::string, Json>> goldens() {
  std::vector<std::pair<std::string, Json>> out;
  for (const std::string name : {"pipeline", "react", "dspy", "code", "image"}) {
    out.emplace_back(name, read_json(source_text("tests/golden/" + name + ".artifact.json")).value());
  }
  return out;
}

// Some other value: of another kind, or of the same kind and close by.
Json other_than(const Json& leaf) {
  const Json choice = *rc::gen::element<Json>(Json(), true, false, 0, 1, 1.5, "", "x", JsonList{}, JsonObject{}, Json(JsonList{Json()}));
  if (leaf.is_string() && *rc::gen::arbitrary<bool>()) return leaf.as_string() + *rc::gen::element<std::string>(" ", "\n", "a", "\xCC\x81");
  if (leaf.is_int() && *rc::gen::arbitrary<bool>()) return leaf.as_int() + 1;
  // Upwards: below 1e21, which a golden artifact holds, lie the integral values without a canonical form.
  if (leaf.is_number() && *rc::gen::arbitrary<bool>()) return std::nextafter(leaf.as_double(), 1e300);
  return choice;
}

// Whatever single leaf of whatever artifact is changed, the id changes; put it back and the id is back.
RC_GTEST_PROP(CompiledIdProperty, EveryLeafCounts, ()) {
  static const auto artifacts = goldens();
  const Json before = artifacts[*rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::size_t>(0, artifacts.size()))].second;
  std::vector<std::string> paths;
  leaves(before, "", paths);
  const std::string path = paths[*rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::size_t>(0, paths.size()))];
  const Json leaf = *before.pointer(path);
  const Json other = other_than(leaf);
  RC_PRE(!(other == leaf));
  Json after = before;
  at_pointer(after, path) = other;
  RC_ASSERT(compiled_id_of_json(after).value() != compiled_id_of_json(before).value());
  at_pointer(after, path) = leaf;
  RC_ASSERT(compiled_id_of_json(after).value() == compiled_id_of_json(before).value());
}

// The same without chance: every leaf of every golden artifact.
TEST(CompiledId, EachSingleLeafOfEachGoldenArtifactCounts) {
  std::size_t seen = 0;
  for (const auto& [name, artifact] : goldens()) {
    const CompiledId before = compiled_id_of_json(artifact).value();
    std::vector<std::string> paths;
    leaves(artifact, "", paths);
    for (const std::string& path : paths) {
      Json after = artifact;
      Json& leaf = at_pointer(after, path);
      leaf = leaf.is_string() ? Json(leaf.as_string() + "!") : leaf.is_null() ? Json(false) : Json();
      EXPECT_NE(compiled_id_of_json(after).value(), before) << name << path;
      ++seen;
    }
  }
  EXPECT_GT(seen, 300u);
}

// Renaming, adding or removing a member counts too, and so does the order of a list.
TEST(CompiledId, NamesOfMembersAndOrderOfListsCount) {
  const CompiledId before = compiled_id_of_json(sample_json()).value();
  Json added = sample_json();
  added.set("x", Json());
  EXPECT_NE(compiled_id_of_json(added).value(), before);
  Json swapped = sample_json();
  JsonList& demos = at_pointer(swapped, "/predictors/classify/demos").as_list();
  std::swap(demos[0], demos[1]);
  EXPECT_NE(compiled_id_of_json(swapped).value(), before);
  Json enumerated = sample_json();
  JsonList& values = at_pointer(enumerated, "/predictors/classify/signature/outputs/0/schema/enum").as_list();
  std::swap(values[0], values[1]);
  EXPECT_NE(compiled_id_of_json(enumerated).value(), before);
}

// The hand-written sources have other key orders, white space and escapes than the canonical files.
TEST(CompiledId, KeyOrderAndWhiteSpaceDoNotCount) {
  for (const std::string name : {"pipeline", "react", "dspy", "code", "image"}) {
    const std::string canonical_text = source_text("tests/golden/" + name + ".artifact.json");
    const auto written = Artifact::parse(source_text("tests/golden/source/" + name + ".json"));
    ASSERT_TRUE(written) << name << written.error().text();
    EXPECT_EQ(written->id()->hex(), sha256_hex(canonical_text)) << name;
    EXPECT_EQ(written->text(), canonical_text) << name;
  }
}

}  // namespace
}  // namespace assay
