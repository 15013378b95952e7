#include "assay/program/signature.h"

#include <gtest/gtest.h>

#include "assay/program/schema.h"

namespace assay {
namespace {

TEST(Signature, ReadsNamesAndTypes) {
  const auto s =
      Signature::parse("ticket, n: int -> urgency: Literal['low','high'], tags: list[str], note: Optional[str], m: dict[str, list[int]]");
  ASSERT_TRUE(s) << s.error().text();
  EXPECT_EQ(s->inputs.size(), 2u);
  EXPECT_EQ(s->outputs.size(), 4u);
  EXPECT_EQ(literal_values(s->outputs[0].schema), (std::vector<std::string>{"low", "high"}));
  EXPECT_EQ(canonical(s->outputs[2].schema).value(), R"({"anyOf":[{"type":"string"},{"type":"null"}]})");
}

TEST(Signature, IsItsOwnInverseAsJson) {
  const auto s = Signature::parse("a: float -> b: bool", "S", "Do it.").value();
  const auto back = Signature::read(s.to_json());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->to_json(), s.to_json());
}

struct Bad {
  const char* text;
  const char* path;
};
TEST(Signature, NamesTheColumnOfWhatItRefuses) {
  for (const Bad& bad : {Bad{"a b", ""}, Bad{"a -> b -> c", ""}, Bad{"a ->", "column 5"}, Bad{"1a -> b", "column 1"}, Bad{"a -> b, b", ""},
                         Bad{"a -> a", ""}, Bad{"a -> b: strng", "b column 6"}, Bad{"a -> b: list[", "b column 6"},
                         Bad{"a -> b: Literal['x", "b column 9"}, Bad{"a -> b: Literal['x','x']", "b column 13"}}) {
    const auto s = Signature::parse(bad.text);
    ASSERT_FALSE(s) << bad.text;
    if (*bad.path != '\0') {
      EXPECT_EQ(s.error().path, bad.path) << bad.text;
    }
  }
}

TEST(Signature, KeepsItsLimits) {
  std::string text = "f0";
  for (int i = 1; i < 256; ++i) text += ", f" + std::to_string(i);
  EXPECT_TRUE(Signature::parse(text + " -> out"));
  EXPECT_EQ(Signature::parse(text + ", f256 -> out").error().code, ErrorCode::limit_exceeded);
  std::string deep = "str";
  for (int i = 0; i < 15; ++i) deep = "list[" + deep + "]";
  EXPECT_TRUE(schema_of_type(deep));
  EXPECT_EQ(schema_of_type("list[" + deep + "]").error().code, ErrorCode::limit_exceeded);
}

TEST(Signature, ChecksValuesBothWays) {
  const auto s = Signature::parse("q, n: Optional[int] -> a: list[int]").value();
  const auto inputs = s.check_inputs(JsonObject{{"q", "x"}});
  ASSERT_TRUE(inputs);
  EXPECT_TRUE(inputs->as_object().contains("n"));  // an absent Optional is null
  EXPECT_FALSE(s.check_inputs(JsonObject{{"q", 1}}));
  EXPECT_FALSE(s.check_inputs(JsonObject{{"q", "x"}, {"extra", 1}}));
  const auto outputs = s.check_outputs(JsonObject{{"a", JsonList{Json(1), Json("2")}}});
  ASSERT_FALSE(outputs);
  EXPECT_EQ(outputs.error().path, "outputs.a[1]");
}

}  // namespace
}  // namespace assay
