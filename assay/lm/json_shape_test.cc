#include "assay/lm/json_shape.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace assay {
namespace {

JsonCursor cursor_of(std::string_view schema, std::string lead = {}, std::string avoid = {}) {
  return JsonCursor(JsonShape::of(read_json(schema).value()).value(), std::move(lead), std::move(avoid));
}

/// The whole text, and it may end there.
bool whole(std::string_view schema, std::string_view text) {
  JsonCursor cursor = cursor_of(schema);
  return cursor.take(text) && cursor.may_end();
}

/// The bytes of a text that can stand, up to the first that cannot.
std::size_t stands(std::string_view schema, std::string_view text) {
  JsonCursor cursor = cursor_of(schema);
  std::size_t count = 0;
  while (count < text.size() && cursor.take(text.substr(count, 1))) ++count;
  return count;
}

constexpr auto integer = R"({"type":"integer"})";
constexpr auto number = R"({"type":"number"})";
constexpr auto texts = R"({"type":"array","items":{"type":"string"}})";
constexpr auto dict = R"({"type":"object","additionalProperties":{"type":"integer"}})";
constexpr auto record =
    R"({"type":"object","additionalProperties":false,"properties":{"city":{"type":"string"},"note":{"anyOf":[{"type":"string"},{"type":"null"}]},
        "size":{"enum":["large","small"],"type":"string"}},"required":["city","size"]})";

TEST(JsonCursor, IntegersAreThoseOfTheStrictReader) {
  for (const char* text : {"0", "7", "-7", "120", "999999999999999"}) EXPECT_TRUE(whole(integer, text)) << text;
  for (const char* text : {"", "-", "-0", "01", "1.0", "1e3", "+1", " 1", "1 ", "1000000000000000", "\"1\"", "null"})
    EXPECT_FALSE(whole(integer, text)) << text;
}

TEST(JsonCursor, NumbersAreFinite) {
  for (const char* text : {"0", "-0.5", "3", "3.25", "1E-09", "0.5e-3", "1e+21", "-1.5e+99", "0.30000000000000004"})
    EXPECT_TRUE(whole(number, text)) << text;
  for (const char* text : {".5", "1.", "1e", "1e9", "1e+16", "1e+20", "0.1e+21", "1e100", "1e+100", "1e+", "0x1", "NaN", "--1", "1.5.5"})
    EXPECT_FALSE(whole(number, text)) << text;
}

TEST(JsonCursor, ListsHaveASpaceAfterACommaAtMost) {
  for (const char* text : {"[]", "[\"a\"]", "[\"a\", \"b\",\"\"]", R"(["\n\u00e9\"\\"])"}) EXPECT_TRUE(whole(texts, text)) << text;
  EXPECT_EQ(stands(texts, "[ "), 1u);
  EXPECT_EQ(stands(texts, "[\"a\",  "), 6u);
  EXPECT_EQ(stands(texts, "[\"a\",]"), 5u);
  EXPECT_EQ(stands(texts, "[\"a\" "), 4u);
  EXPECT_EQ(stands(texts, "[1"), 1u);
  EXPECT_EQ(stands(texts, "[]]"), 2u);
}

TEST(JsonCursor, StringsAreWellFormed) {
  for (const char* text : {"[\"é–😀\"]", R"(["\ud7ff"])", R"(["\uDeAd"])"})
    EXPECT_EQ(whole(texts, text), text[2] != '\\' || text[5] != 'e') << text;
  EXPECT_EQ(stands(texts, "[\"\n"), 2u);
  EXPECT_EQ(stands(texts, "[\"\xC0"), 2u);           // overlong
  EXPECT_EQ(stands(texts, "[\"\xED\xA0"), 3u);       // a surrogate
  EXPECT_EQ(stands(texts, "[\"\xF4\x90"), 3u);       // above U+10FFFF
  EXPECT_EQ(stands(texts, "[\"\xE2\x82\""), 4u);     // a character that is cut
  EXPECT_EQ(stands(texts, "[\"\\ud8"), 5u);          // half a pair
  EXPECT_EQ(stands(texts, "[\"\\uD"), 5u);
  EXPECT_EQ(stands(texts, "[\"\\x"), 3u);
}

TEST(JsonCursor, ADictHasEachKeyOnce) {
  EXPECT_TRUE(whole(dict, R"({"a": 1, "b":2})"));
  EXPECT_TRUE(whole(dict, "{}"));
  EXPECT_EQ(stands(dict, R"({"a":1,"a")"), 9u);
  EXPECT_TRUE(whole(dict, R"({"a":1,"ab":2})"));
  EXPECT_EQ(stands(dict, "{\"\\"), 2u);              // no escapes: two spellings would be one key
}

TEST(JsonCursor, ARecordHasItsMembersInOrder) {
  EXPECT_TRUE(whole(record, R"({"city": "Bonn", "note": null, "size": "small"})"));
  EXPECT_TRUE(whole(record, R"({"city":"Bonn","note":"n","size":"large"})"));
  EXPECT_TRUE(whole(record, R"({"city":"Bonn","size":"large"})"));
  EXPECT_EQ(stands(record, "{}"), 1u);
  EXPECT_EQ(stands(record, R"({"size)"), 2u);
  EXPECT_EQ(stands(record, R"({"city":"Bonn"})"), 14u);
  EXPECT_EQ(stands(record, R"({"city":"Bonn","size":"m)"), 23u);
  EXPECT_EQ(stands(record, R"({"city":"Bonn","size":"large",)"), 29u);
}

TEST(JsonCursor, KnowsWhereAValueMayEndAndWhereItMust) {
  JsonCursor cursor = cursor_of(integer, "  ");
  EXPECT_FALSE(cursor.admits("1"));
  EXPECT_TRUE(cursor.take(" "));
  EXPECT_TRUE(cursor.admits(" 12"));
  EXPECT_FALSE(cursor.may_end());
  EXPECT_TRUE(cursor.take(" 12"));
  EXPECT_TRUE(cursor.may_end());
  EXPECT_FALSE(cursor.must_end());
  EXPECT_FALSE(cursor.admits("\n"));
  JsonCursor list = cursor_of(texts);
  EXPECT_TRUE(list.take("[]"));
  EXPECT_TRUE(list.must_end());
}

// A reader splits the answer at the next field's marker, wherever that stands.
TEST(JsonCursor, NeverWritesTheNextMarker) {
  JsonCursor cursor = cursor_of(texts, "", "aab:");
  EXPECT_TRUE(cursor.take("[\"aaa"));
  EXPECT_FALSE(cursor.admits("b:"));
  EXPECT_TRUE(cursor.admits("b;"));
  EXPECT_TRUE(cursor.take("b"));
  EXPECT_FALSE(cursor.admits(": x"));
  EXPECT_TRUE(cursor.admits("aab"));
}

TEST(JsonShape, NamesThePlaceOfWhatItDoesNotKeepTo) {
  struct Case {
    const char* schema;
    ErrorCode code;
    const char* path;
  };
  const Case cases[] = {
      {R"({"type":"array","items":{"type":"integer","minimum":3}})", ErrorCode::refused, "/items/minimum"},
      {R"({"type":"object","properties":{"a/b":{"type":"date"}}})", ErrorCode::refused, "/properties/a~1b/type"},
      {R"({"anyOf":[{"type":"string"},{"type":"integer"}]})", ErrorCode::refused, "/anyOf"},
      {R"({"type":"array","items":{"type":"string","enum":[]}})", ErrorCode::malformed, "/items/enum"},
      {R"({"type":"array","items":{"type":"string","enum":[1]}})", ErrorCode::malformed, "/items/enum"},
      {R"({"type":"array"})", ErrorCode::malformed, "/items"},
      {R"({"type":"object"})", ErrorCode::malformed, "/properties"},
      {R"({"type":7})", ErrorCode::refused, "/type"},
      {R"({"type":"integer","enum":["3"]})", ErrorCode::malformed, "/enum"},
      {R"({"type":"string","items":{"type":"string"}})", ErrorCode::malformed, "/items"},
      {R"({"anyOf":[{"type":"string"},{"type":"null"}],"type":"string"})", ErrorCode::malformed, "/type"},
      {R"({"type":"object","properties":{"a":{"type":"string"}},"required":["b"]})", ErrorCode::malformed, "/required"},
      {R"({"type":"object","properties":{"a":{"type":"string"}},"required":[1]})", ErrorCode::malformed, "/required"},
      {R"({"type":"object","properties":{"a":{"type":"string"}},"x-order":"a"})", ErrorCode::malformed, "/x-order"},
      {R"({"type":"object","additionalProperties":{"type":"string"},"properties":{}})", ErrorCode::malformed, "/properties"},
  };
  for (const Case& c : cases) {
    const auto shape = JsonShape::of(read_json(c.schema).value());
    ASSERT_FALSE(shape) << c.schema;
    EXPECT_EQ(shape.error().code, c.code) << c.schema;
    EXPECT_EQ(shape.error().path, c.path) << c.schema;
  }
}

TEST(JsonShape, HoldsItsLimitsAtMaxAndOneMore) {
  const auto nested = [](int levels) {
    Json schema = JsonObject{{"type", "integer"}};
    for (int i = 0; i < levels; ++i) schema = JsonObject{{"type", "array"}, {"items", std::move(schema)}};
    return schema;
  };
  EXPECT_TRUE(JsonShape::of(nested(JsonShape::depth_max)));
  EXPECT_EQ(JsonShape::of(nested(JsonShape::depth_max + 1)).error().code, ErrorCode::limit_exceeded);
  const auto wide = [](std::size_t members) {
    JsonObject properties;
    for (std::size_t i = 0; i < members; ++i) properties.set(std::to_string(i), JsonObject{{"type", "integer"}});
    return Json(JsonObject{{"type", "object"}, {"properties", std::move(properties)}});
  };
  EXPECT_TRUE(JsonShape::of(wide(JsonShape::members_max)));
  EXPECT_EQ(JsonShape::of(wide(JsonShape::members_max + 1)).error().code, ErrorCode::limit_exceeded);
}

// To ask moves nothing, and gives what taking would.
RC_GTEST_PROP(JsonCursorProperty, AdmitsExactlyWhatItTakes, (const std::string& noise)) {
  constexpr std::string_view text = R"({"city": "Bon\n\u00e9n", "note": null, "size": "small"})";
  const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
  JsonCursor cursor = cursor_of(record, "", "mall");
  RC_PRE(cursor.take(text.substr(0, at)));
  for (const std::string& next : {noise, std::string(text.substr(at, 1 + noise.size())), "\"" + noise}) {
    const bool admits = cursor.admits(next);
    RC_ASSERT(cursor.admits(next) == admits);
    JsonCursor copy = cursor;
    RC_ASSERT(copy.take(next) == admits);
  }
}

}  // namespace
}  // namespace assay
