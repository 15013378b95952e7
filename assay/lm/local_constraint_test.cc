#include "assay/lm/local_constraint.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace assay {
namespace {

/// A byte a token: enough to see what the planner asks for.
std::vector<std::int32_t> bytes_as_tokens(std::string_view text) { return {text.begin(), text.end()}; }

Json schema_of(std::string_view text) { return read_json(text).value(); }

std::vector<AnswerSegment> plan_of(std::string_view schema) {
  return answer_plan(answer_parts(schema_of(schema)).value(), bytes_as_tokens).value();
}

/// The index of the text that these tokens spell in the trie, or -1.
int walk(const TokenTrie& trie, std::string_view text) {
  std::size_t at = 0;
  for (const char c : text) {
    const auto& next = trie.node(at).next;
    const auto edge = std::find_if(next.begin(), next.end(), [&](const auto& e) { return e.first == c; });
    if (edge == next.end()) return -1;
    at = edge->second;
  }
  return trie.node(at).text;
}

TEST(AnswerParts, ReadsAnEnumAsOneChoiceWithoutDuplicates) {
  const auto parts = answer_parts(schema_of(R"({"type":"string","enum":["low","high","low"]})")).value();
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].kind, AnswerPart::Kind::choice);
  EXPECT_EQ(parts[0].values, (std::vector<std::string>{"low", "high"}));
}

TEST(AnswerParts, TakesWhatIsNoEnumerationAsFreeText) {
  for (const char* schema : {"null", R"({"type":"string"})", R"({})"}) {
    const auto parts = answer_parts(schema_of(schema)).value();
    ASSERT_EQ(parts.size(), 1u);
    EXPECT_EQ(parts[0].kind, AnswerPart::Kind::text);
  }
}

TEST(AnswerParts, RefusesASchemaThatItCannotKeepTo) {
  for (const char* schema : {R"({"type":"date"})", R"({"type":"integer","minimum":3})", R"({"type":["integer"]})", R"({"nonsense":1})",
                             R"({"type":"string","minLength":4})", R"({"anyOf":[{"type":"integer"},{"type":"number"}]})",
                             R"({"x-parts":[{"schema":{"type":"array","items":{"type":"date"}}}]})"}) {
    const auto parts = answer_parts(schema_of(schema));
    ASSERT_FALSE(parts) << schema;
    EXPECT_EQ(parts.error().code, ErrorCode::refused) << schema;
  }
}

TEST(AnswerParts, ReadsPartsInOrder) {
  const auto parts =
      answer_parts(
          schema_of(
              R"({"type":"string","x-parts":["A: ",{"schema":{"type":"string"},"until":"\n"},"\nB: ",{"schema":{"type":"boolean"}}]})"))
          .value();
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[0].literal, "A: ");
  EXPECT_EQ(parts[1].until, "\n");
  EXPECT_EQ(parts[3].values, (std::vector<std::string>{"true", "false"}));
}

TEST(AnswerParts, ReadsOtherTypesAsJsonAndAnOptionalByItsType) {
  struct Case {
    const char* schema;
    AnswerPart::Kind kind;
    std::vector<std::string> values;
  };
  const Case cases[] = {
      {R"({"type":"integer"})", AnswerPart::Kind::json, {}},
      {R"({"type":"object","additionalProperties":{"type":"number"}})", AnswerPart::Kind::json, {}},
      {R"({"anyOf":[{"type":"integer"},{"type":"null"}]})", AnswerPart::Kind::json, {}},
      {R"({"anyOf":[{"type":"string"},{"type":"null"}]})", AnswerPart::Kind::text, {}},
      {R"({"anyOf":[{"type":"boolean"},{"type":"null"}]})", AnswerPart::Kind::choice, {"true", "false", "null"}},
      {R"({"anyOf":[{"enum":["a","null"],"type":"string"},{"type":"null"}]})", AnswerPart::Kind::choice, {"a", "null"}},
  };
  for (const Case& c : cases) {
    const auto parts = answer_parts(schema_of(c.schema));
    ASSERT_TRUE(parts) << c.schema << parts.error().text();
    ASSERT_EQ(parts->size(), 1u);
    EXPECT_EQ(parts->front().kind, c.kind) << c.schema;
    EXPECT_EQ(parts->front().values, c.values) << c.schema;
    EXPECT_EQ(parts->front().shape != nullptr, c.kind == AnswerPart::Kind::json) << c.schema;
  }
}

TEST(AnswerParts, NamesThePlaceOfEachMistake) {
  struct Case {
    const char* schema;
    ErrorCode code;
    const char* path;
  };
  const Case cases[] = {{R"({"enum":[]})", ErrorCode::malformed, "/enum"},
                        {R"({"enum":"low"})", ErrorCode::malformed, "/enum"},
                        {R"({"x-parts":[]})", ErrorCode::malformed, "/x-parts"},
                        {R"({"x-parts":["a",7]})", ErrorCode::malformed, "/x-parts/1"},
                        {R"({"x-parts":[{"schema":{"type":"string"},"until":7}]})", ErrorCode::malformed, "/x-parts/0"}};
  for (const Case& c : cases) {
    const auto parts = answer_parts(schema_of(c.schema));
    ASSERT_FALSE(parts.has_value()) << c.schema;
    EXPECT_EQ(parts.error().code, c.code) << c.schema;
    EXPECT_TRUE(parts.error().path.starts_with(c.path)) << c.schema << ": " << parts.error().path;
  }
}

TEST(AnswerParts, HoldsItsLimitsAtMaxAndOneMore) {
  const auto enum_of = [](int count) {
    JsonList values;
    for (int i = 0; i < count; ++i) values.push_back(Json(std::to_string(i)));
    return Json(JsonObject{{"enum", std::move(values)}});
  };
  const ConstraintLimits limits{.parts_max = 2, .texts_max = 3, .bytes_max = 8};
  EXPECT_TRUE(answer_parts(enum_of(3), limits).has_value());
  EXPECT_EQ(answer_parts(enum_of(4), limits).error().code, ErrorCode::limit_exceeded);
  EXPECT_TRUE(answer_parts(schema_of(R"({"x-parts":["1234","5678"]})"), limits).has_value());
  EXPECT_EQ(answer_parts(schema_of(R"({"x-parts":["1234","56789"]})"), limits).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(answer_parts(schema_of(R"({"x-parts":["1","2","3"]})"), limits).error().code, ErrorCode::limit_exceeded);
}

TEST(AnswerPlan, JoinsLiteralAndChoiceIntoWholeTexts) {
  const auto plan = plan_of(R"({"x-parts":["Section: ",{"schema":{"enum":["net","news"]}}]})");
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_TRUE(plan[0].choice);
  EXPECT_EQ(plan[0].texts, (std::vector<std::string>{"Section: net", "Section: news"}));
  EXPECT_EQ(walk(plan[0].trie, "Section: news"), 1);
  EXPECT_EQ(walk(plan[0].trie, "Section: ne"), -1);
}

TEST(AnswerPlan, LeavesTheSpaceBeforeFreeTextToTheModel) {
  const auto plan = plan_of(R"({"x-parts":["Why: ",{"schema":{"type":"string"},"until":"\n"},"\nSo: ",{"schema":{"enum":["yes","no"]}}]})");
  ASSERT_EQ(plan.size(), 3u);
  EXPECT_EQ(plan[0].texts, std::vector<std::string>{"Why:"});
  EXPECT_FALSE(plan[1].choice);
  EXPECT_EQ(plan[1].prefix, " ");
  EXPECT_EQ(plan[1].until, "\n");
  EXPECT_EQ(plan[2].texts, (std::vector<std::string>{"\nSo: yes", "\nSo: no"}));
}

TEST(AnswerPlan, AValueIsASegmentThatEndsBeforeTheNextMarker) {
  const auto plan = plan_of(
      R"({"x-parts":["N: ",{"schema":{"type":"integer"},"until":"\n Ok: "},"\n Ok: ",{"schema":{"type":"array","items":{"type":"integer"}}}]})");
  ASSERT_EQ(plan.size(), 4u);
  EXPECT_EQ(plan[0].texts, std::vector<std::string>{"N:"});
  ASSERT_NE(plan[1].shape, nullptr);
  EXPECT_EQ(plan[1].prefix, " ");
  EXPECT_EQ(plan[1].until, "\n Ok: ");
  EXPECT_EQ(marker_of(plan[1].until), "Ok:");
  EXPECT_EQ(plan[3].until, "");
  EXPECT_EQ(marker_of(" \n"), " \n") << "there is nothing else to end by";
}

TEST(AnswerPlan, CutsWhereCombinationsWouldBeTooMany) {
  const auto parts = answer_parts(schema_of(R"({"x-parts":[{"schema":{"enum":["a","b"]}},"-",{"schema":{"enum":["c","d"]}}]})")).value();
  const auto plan = answer_plan(parts, bytes_as_tokens, {.texts_max = 3}).value();
  ASSERT_EQ(plan.size(), 2u);
  EXPECT_EQ(plan[0].texts, (std::vector<std::string>{"a-", "b-"}));
  EXPECT_EQ(plan[1].texts, (std::vector<std::string>{"c", "d"}));
}

TEST(TokenTrie, KeepsATextThatBeginsAnother) {
  const auto plan = plan_of(R"({"enum":["lib","libdevel"]})");
  EXPECT_EQ(walk(plan[0].trie, "lib"), 0);
  EXPECT_EQ(walk(plan[0].trie, "libdevel"), 1);
  EXPECT_EQ(plan[0].trie.depth(), 8u);
}

// Whatever the texts: each is found under its own index, and nothing else ends in the trie.
RC_GTEST_PROP(TokenTrieProperty, HoldsExactlyItsTexts, (const std::set<std::string>& texts)) {
  TokenTrie trie;
  int index = 0;
  for (const auto& text : texts) trie.add(bytes_as_tokens(text), index++);
  index = 0;
  for (const auto& text : texts) {
    RC_ASSERT(walk(trie, text) == index++);
    if (!texts.contains(text + "x")) RC_ASSERT(walk(trie, text + "x") == -1);
  }
}

}  // namespace
}  // namespace assay
