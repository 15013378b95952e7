#include "assay/base/json.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "assay/base/test_files.h"

namespace assay {
namespace {

std::string round_trip(std::string_view text) {
  const auto value = read_json(text);
  if (!value) return "error: " + value.error().text();
  const auto out = canonical(*value);
  return out ? *out : "error: " + out.error().text();
}

TEST(Json, SortsKeysByUtf16CodeUnitsNotByCodePoint) {
  EXPECT_EQ(round_trip("{\"\\ue000\":1,\"\\ud83d\\ude00\":2}"), "{\"\xF0\x9F\x98\x80\":2,\"\xEE\x80\x80\":1}");
}

TEST(Json, PrintsNumbersAsEcmaScriptDoes) {
  EXPECT_EQ(round_trip("[1.0,-0,-0.0,1e21,1e-7,0.000001,5e-324,1.5e300,4.50,2e-3,1e-400,0e999]"),
            "[1,0,0,1e+21,1e-7,0.000001,5e-324,1.5e+300,4.5,0.002,0,0]");
}

// The table of RFC 8785 appendix B: bits of a double and its text.
TEST(Json, PrintsTheDoublesOfRfc8785) {
  struct Row {
    std::uint64_t bits;
    const char* text;
  };
  const Row rows[] = {
      {0x0000000000000000, "0"},
      {0x8000000000000000, "0"},
      {0x0000000000000001, "5e-324"},
      {0x8000000000000001, "-5e-324"},
      {0x7fefffffffffffff, "1.7976931348623157e+308"},
      {0xffefffffffffffff, "-1.7976931348623157e+308"},
      {0x4340000000000000, "9007199254740992"},
      {0xc340000000000000, "-9007199254740992"},
      {0x4430000000000000, "295147905179352830000"},
      {0x44b52d02c7e14af5, "9.999999999999997e+22"},
      {0x44b52d02c7e14af6, "1e+23"},
      {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
      {0x444b1ae4d6e2ef4e, "999999999999999700000"},
      {0x444b1ae4d6e2ef4f, "999999999999999900000"},
      {0x444b1ae4d6e2ef50, "1e+21"},
      {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
      {0x3eb0c6f7a0b5ed8d, "0.000001"},
      {0x41b3de4355555553, "333333333.3333332"},
      {0x41b3de4355555554, "333333333.33333325"},
      {0x41b3de4355555555, "333333333.3333333"},
      {0x41b3de4355555556, "333333333.3333334"},
      {0x41b3de4355555557, "333333333.33333343"},
      {0xbecbf647612f3696, "-0.0000033333333333333333"},
      {0x43143ff3c1cb0959, "1424953923781206.2"},
  };
  for (const Row& row : rows) {
    double value = 0;
    std::memcpy(&value, &row.bits, sizeof value);
    EXPECT_EQ(number_text(value), row.text);
  }
}

TEST(Json, ReproducesTheJcsVectors) {
  int seen = 0;
  for (const char* name : {"arrays", "french", "structures", "unicode", "values", "weird"}) {
    const auto input = shared_text(std::string("vectors/jcs/input/") + name + ".json");
    const auto output = shared_text(std::string("vectors/jcs/output/") + name + ".json");
    if (!input || !output) continue;
    ++seen;
    EXPECT_EQ(round_trip(*input), *output) << name;
  }
  if (seen == 0) GTEST_SKIP() << "the vectors are not on this machine; the cases below state the same rules";
}

TEST(Json, WritesTheRfcSampleByteForByte) {
  EXPECT_EQ(
      round_trip(
          R"({"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]})"),
      "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/"
      "\"}");
}

TEST(Json, ReadsWhatIsTooSmallAsZero) {
  EXPECT_EQ(round_trip("[0.001e-9223372036854775808,0.001e-9223372036854775809,1e-9223372036854775807,0e9223372036854775807]"),
            "[0,0,0,0]");
}

TEST(Json, RefusesWhatHasNoCanonicalForm) {
  for (const char* bad : {"9007199254740992",
                          "-9007199254740992",
                          "1e20",
                          "9007199254740992.0",
                          "1e400",
                          "-1e999999999999",
                          "4222e9223372036854775807",  // the digits before the point and the exponent are more than 64 bits hold
                          "4222e9223372036854775808",
                          "\"\\ud800\"",
                          "\"\\udc00\"",
                          "\"\\ud800\\u0041\"",
                          "{\"a\":1,\"\\u0061\":2}",
                          "\xEF\xBB\xBF{}",
                          "{} x",
                          "[1,]",
                          "[,1]",
                          "{\"a\":1,}",
                          "01",
                          "-01",
                          "+1",
                          ".5",
                          "1.",
                          "1e",
                          "1e+",
                          "-",
                          "0x1",
                          "NaN",
                          "Infinity",
                          "\"\x01\"",
                          "\"\t\"",
                          "\"\xC0\x80\"",
                          "\"\xED\xA0\x80\"",
                          "\"\xF5\x80\x80\x80\"",
                          "\"\xE2\x82\"",
                          "\"\x80\"",
                          "",
                          " ",
                          "nul",
                          "tru",
                          "[",
                          "{\"a\"}",
                          "{\"a\":}",
                          "{a:1}",
                          "\"a",
                          "\"\\",
                          "\"\\u12\"",
                          "\"\\x41\"",
                          "'a'",
                          "// c\n1",
                          "[1 2]"}) {
    EXPECT_FALSE(read_json(bad)) << bad;
  }
}

TEST(Json, ReadsWhatItsWriterMayNotWrite) {
  EXPECT_EQ(round_trip(" [ 9007199254740991 , -9007199254740991 ] \r\n\t"), "[9007199254740991,-9007199254740991]");
  EXPECT_EQ(round_trip("\"\\u0000\\u001f\\u007f\\/\\ud83d\\ude00\""), "\"\\u0000\\u001f\x7f/\xF0\x9F\x98\x80\"");
}

TEST(Json, WriterRefusesWhatItsReaderRefuses) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 9007199254740992.0, -1e20}) {
    const auto text = canonical(JsonObject{{"a", JsonList{Json(bad)}}});
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().path, "/a/0");
  }
  EXPECT_FALSE(canonical(Json(std::int64_t{9007199254740992})));
  EXPECT_FALSE(canonical(Json("\xED\xA0\x80")));
  EXPECT_FALSE(canonical(JsonObject{{"\xFF", 1}}));
  Json deep = 1;
  for (int i = 0; i < 128; ++i) deep = JsonList{deep};
  EXPECT_TRUE(canonical(deep));
  const auto deeper = canonical(JsonList{deep});
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().code, ErrorCode::limit_exceeded);
}

TEST(Json, NamesThePlaceAsAPointer) {
  const auto value = read_json(R"({"a":{"b/c":[1,{"x":1,"x":2}]}})");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().path, "/a/b~1c/1/x");
}

TEST(Json, AllowsTheLastDepthAndRefusesTheNext) {
  EXPECT_TRUE(read_json(std::string(128, '[') + std::string(128, ']')));
  const auto deeper = read_json(std::string(129, '[') + std::string(129, ']'));
  ASSERT_FALSE(deeper);
  EXPECT_EQ(deeper.error().code, ErrorCode::limit_exceeded);
  EXPECT_FALSE(read_json(std::string(1000000, '[')));
  EXPECT_FALSE(read_json("[" + std::string(1000000, ' ') + "1]", {.bytes_max = 1000}));
}

TEST(Json, FindsValuesByPointer) {
  const auto value = read_json(R"({"a":[{"~/":7}],"":8})");
  ASSERT_TRUE(value);
  EXPECT_EQ(*value->pointer("/a/0/~0~1"), Json(7));
  EXPECT_EQ(*value->pointer("/"), Json(8));
  EXPECT_EQ(value->pointer("/a/1"), nullptr);
  EXPECT_EQ(value->pointer("/a/x"), nullptr);
  EXPECT_EQ(value->pointer("a"), nullptr);
}

TEST(Json, NumbersCompareByValue) {
  EXPECT_EQ(Json(1), Json(1.0));
  EXPECT_NE(Json(1), Json(1.5));
  EXPECT_NE(Json(1), Json(true));
  EXPECT_NE(Json(), Json(0));
}

TEST(Json, ReplacesInvalidBytesAndCountsThem) {
  std::size_t replaced = 0;
  EXPECT_EQ(to_utf8("a\xFF\xC3(\xE2\x82\xAC", &replaced), "a\xEF\xBF\xBD\xEF\xBF\xBD(\xE2\x82\xAC");
  EXPECT_EQ(replaced, 2u);
}

TEST(Json, MembersAreReadWithErrorsThatNameThem) {
  const Json object = JsonObject{{"n", 1}, {"s", "x"}};
  EXPECT_EQ(*int_member(object, "n"), 1);
  EXPECT_EQ(*number_member(object, "n"), 1.0);
  const auto wrong = string_member(object, "n");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().path, "n");
  EXPECT_EQ(wrong.error().message, "expected a string, found an integer");
  EXPECT_FALSE(string_member(object, "gone"));
  EXPECT_FALSE(string_member(Json(3), "s"));
}

// Any finite double: its text reads back to the same bits, unless the value is one of those without a canonical form.
RC_GTEST_PROP(JsonProperty, DoublesReadBack, (std::uint64_t bits)) {
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  RC_PRE(std::isfinite(value));
  const double size = std::fabs(value);
  const auto text = canonical(Json(value));
  RC_ASSERT(text.has_value() == !(size >= 9007199254740992.0 && size < 1e21));
  if (text) {
    const auto back = read_json(*text);
    RC_ASSERT(back.has_value());
    RC_ASSERT(back->as_double() == value);
  }
}

// Ranges in RapidCheck grow with its size parameter, which starts at 0: asked for plainly, most trees would be single scalars.
template <class T>
T pick(T low, T high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(low, high));
}

std::string make_text() {
  static const char* const pieces[] = {"a",  "Z", " ", "0", "\"", "\\", "/", "\n", "\x01", "\x7f", "é", "\xEE\x80\x80", "\xEF\xBF\xBD",
                                       "😀", "𝄞", "~1"};
  std::string out;
  for (int i = pick(0, 6); i > 0; --i) out += pieces[pick<std::size_t>(0, std::size(pieces))];
  return out;
}

Json make_json(int depth) {
  switch (depth > 0 ? pick(4, 8) : pick(0, 5)) {
    case 0: return {};
    case 1: return pick(0, 2) == 1;
    case 2: return pick<std::int64_t>(-json_integer_max, json_integer_max);
    case 3: return static_cast<double>(pick(-100000, 100000)) / 64;
    case 4: return make_text();
    case 5: {
      JsonList out;
      for (int i = pick(0, 5); i > 0; --i) out.push_back(make_json(depth - 1));
      return out;
    }
    default: {
      JsonObject out;
      for (int i = pick(0, 5); i > 0; --i) out.set(make_text(), make_json(depth - 1));
      return out;
    }
  }
}

// The order in which members are written does not matter, and neither does white space.
std::string spelled_backwards(const Json& value) {
  std::string out = " ";
  if (value.is_object()) {
    out += "{";
    std::vector<JsonObject::Member> members(value.as_object().begin(), value.as_object().end());
    for (std::size_t i = members.size(); i-- > 0;) {
      append_json_string(out, members[i].first);
      out += " :\n" + spelled_backwards(members[i].second) + (i > 0 ? " , " : " ");
    }
    return out + "}";
  }
  if (value.is_list()) {
    out += "[\t";
    for (std::size_t i = 0; i < value.as_list().size(); ++i) out += (i > 0 ? "," : "") + spelled_backwards(value.as_list()[i]);
    return out + "\r]";
  }
  return out + canonical(value).value();
}

RC_GTEST_PROP(JsonProperty, CanonicalTextIsOneForAllSpellings, ()) {
  const Json value = make_json(4);
  const auto text = canonical(value);
  RC_ASSERT(text.has_value());
  const auto again = read_json(spelled_backwards(value));
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == value);
  RC_ASSERT(canonical(*again).value() == *text);
}

// What is read with containers deeper than `kept` and texts deeper than `texts` left out.
Json pruned(const Json& value, std::size_t kept, std::size_t texts, std::size_t depth = 0) {
  if (value.is_string() && depth > texts) return "";
  const bool leave_out = depth == kept;
  if (value.is_list()) {
    JsonList out;
    if (leave_out) return out;
    for (const Json& item : value.as_list()) out.push_back(pruned(item, kept, texts, depth + 1));
    return out;
  }
  if (value.is_object()) {
    JsonObject out;
    if (leave_out) return out;
    for (const auto& [key, item] : value.as_object()) out.set(key, pruned(item, kept, texts, depth + 1));
    return out;
  }
  return value;
}

// A shallow reader takes and refuses what the whole one does, except that it knows no member that occurs twice in what it leaves out: it
// calls such a text not canonical.
RC_GTEST_PROP(JsonProperty, AShallowReaderChecksAllAndKeepsLess, ()) {
  const Json value = make_json(4);
  std::string text = pick(0, 2) == 0 ? canonical(value).value() : spelled_backwards(value);
  for (int i = pick(0, 3); i > 0 && !text.empty(); --i) {
    const std::size_t at = pick<std::size_t>(0, text.size());
    switch (pick(0, 3)) {
      case 0: text.erase(at, 1); break;
      case 1: text[at] = static_cast<char>(pick(0, 256)); break;
      default: text.insert(at, 1, "{}[]\",:1"[pick(0, 8)]);
    }
  }
  const std::size_t kept = pick<std::size_t>(0, 4), texts = pick<std::size_t>(0, 4);
  bool whole_canonical = false, canonical_too = false;
  const auto whole = read_json(text, {}, &whole_canonical);
  const auto shallow = read_json(text, {.depth_kept = kept, .depth_texts = texts}, &canonical_too);
  if (whole) {
    RC_ASSERT(shallow.has_value());
    RC_ASSERT(*shallow == pruned(*whole, kept, texts));
    RC_ASSERT(canonical_too == whole_canonical);
  } else {
    const bool twice = whole.error().message.starts_with("the member occurs twice");
    RC_ASSERT(twice || !shallow.has_value());
    RC_ASSERT(!canonical_too);
    if (!twice) RC_ASSERT(shallow.error().message == whole.error().message && shallow.error().path == whole.error().path);
  }
}

// The reader's word on whether a text is canonical is what writing it again says.
RC_GTEST_PROP(JsonProperty, TheReaderKnowsCanonicalText, ()) {
  const Json value = make_json(4);
  const std::string text = canonical(value).value();
  bool as_written = false;
  RC_ASSERT(read_json(text, {}, &as_written).has_value());
  RC_ASSERT(as_written);
  RC_ASSERT(read_json(spelled_backwards(value), {}, &as_written).has_value());
  RC_ASSERT(!as_written);
  std::string bytes = text;
  bytes[pick<std::size_t>(0, bytes.size())] = static_cast<char>(pick(0, 256));
  const auto damaged = read_json(bytes, {}, &as_written);
  RC_ASSERT(as_written == (damaged.has_value() && canonical(*damaged).value() == bytes));
}

TEST(Json, OtherSpellingsAreNotCanonical) {
  const auto is_canonical = [](std::string_view text) {
    bool as_written = false;
    EXPECT_TRUE(read_json(text, {}, &as_written).has_value()) << text;
    return as_written;
  };
  for (const char* text : {R"("\"\\\b\f\n\r\t")", R"("\u0001\u000b\u001f")", "1.5", "-0.001", "1e+21", "1e-7", "0", "[]", R"({"":{}})"})
    EXPECT_TRUE(is_canonical(text)) << text;
  for (const char* text : {R"("\/")", R"("\u0041")", R"("\u000a")", R"("\u001F")", R"("\u00e9")", "1.0", "-0", "0.0", "-0.0", "1e5", "1e21",
                           "15e-1", "1e-400", " 1", "1 ", "[ ]", "[1, 2]", R"({"b":1,"a":2})"})
    EXPECT_FALSE(is_canonical(text)) << text;
}

TEST(Json, AVeryLongPlaceLosesItsMiddle) {
  const std::string key(300, 'k');
  std::string text;
  for (int i = 0; i < 100; ++i) text += "{\"" + key + "\":";
  const auto error = read_json(text + "oops").error();
  EXPECT_LT(error.path.size(), 1025U);
  EXPECT_TRUE(error.path.starts_with("/kkk"));
  EXPECT_TRUE(error.path.ends_with("kkk"));
  EXPECT_NE(error.path.find("…"), std::string::npos);
}

// Good text with a few bytes changed: most is refused, and what is read reads back.
RC_GTEST_PROP(JsonProperty, DamagedTextIsReadOrRefusedButNeverMisread, ()) {
  std::string bytes = canonical(make_json(3)).value();
  for (int i = pick(0, 4); i > 0 && !bytes.empty(); --i) bytes[pick<std::size_t>(0, bytes.size())] = static_cast<char>(pick(0, 256));
  const auto value = read_json(bytes);
  if (value) RC_ASSERT(read_json(canonical(*value).value()).value() == *value);
  else RC_ASSERT(!value.error().message.empty());
}

}  // namespace
}  // namespace assay
