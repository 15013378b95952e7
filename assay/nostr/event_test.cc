#include "assay/nostr/event.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "assay/nostr/filter.h"

namespace assay {
namespace {

// Made and signed by nostr-tools 2.25.2 with the secret key 0102…20: escapes, U+2028, an astral character, U+0001.
const std::string foreign =
    R"({"kind":1,"created_at":1700000000,"tags":[["e","abababababababababababababababababababababababababababababababab"],["t","grüße / <&> )"
    "\xE2\x80\xA8"
    R"("],["x"]],"content":"line\nquote\" back\\ tab\t 😀 \u0001 /","pubkey":"84bf7562262bbd6940085748f3be6afa52ae317155181ece31b66351ccffa4b0","id":"cfe18551cf44fba2a116936bd95acac5ee71c3ab3f374cf42b6683c406b49479","sig":"87df9f7671abdcfe6784aef15af509695bedbb76b1bebb4528f6e20a360d48c0371646fa823106f90f3102c97a343229d6bb50f7409ebda69e671aed701d2d26"})";

SecretKey key() { return SecretKey::parse("0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20").value(); }

Json changed(std::string_view member, Json value) {
  Json json = read_json(foreign).value();
  json.set(std::string(member), std::move(value));
  return json;
}

TEST(Event, AgreesWithNostrTools) {
  const auto event = verify_event(foreign);
  ASSERT_TRUE(event.has_value()) << event.error().text();
  EXPECT_EQ((*event)->tags[2], EventTag{"x"});
  EXPECT_EQ(tag_value(**event, "x"), "");
  EXPECT_EQ(verify_event(event_json(**event)).value().event(), **event);
  EXPECT_EQ(read_event(to_json(**event)).value(), **event);
}

TEST(Event, EscapesOnTheWireDoNotMatter) {
  std::string escaped = foreign;
  const std::size_t at = escaped.find("line");
  escaped.replace(at, 4, "\\u006c\\u0069ne");
  escaped.replace(escaped.find("<&>"), 3, "\\u003c&>");
  EXPECT_TRUE(verify_event(escaped).has_value());
}

TEST(Event, AnyChangedMemberIsNoticed) {
  EXPECT_EQ(verify_event_json(changed("content", "other")).error().code, ErrorCode::mismatch);
  EXPECT_EQ(verify_event_json(changed("created_at", 1700000001)).error().code, ErrorCode::mismatch);
  EXPECT_EQ(verify_event_json(changed("kind", 2)).error().code, ErrorCode::mismatch);
  EXPECT_EQ(verify_event_json(changed("tags", JsonList{})).error().code, ErrorCode::mismatch);
  EXPECT_EQ(verify_event_json(changed("pubkey", std::string(64, 'a'))).error().code, ErrorCode::mismatch);
  const auto forged = verify_event_json(changed("sig", std::string(128, '1')));
  ASSERT_FALSE(forged.has_value());
  EXPECT_NE(forged.error().message.find("bad signature"), std::string::npos);
}

TEST(Event, RefusesWrongShapes) {
  EXPECT_EQ(verify_event_json(changed("id", std::string(64, 'A'))).error().path, "id");
  EXPECT_EQ(verify_event_json(changed("id", std::string(63, 'a'))).error().path, "id");
  EXPECT_EQ(verify_event_json(changed("kind", 65536)).error().path, "kind");
  EXPECT_EQ(verify_event_json(changed("kind", -1)).error().path, "kind");
  EXPECT_EQ(verify_event_json(changed("kind", 1.5)).error().path, "kind");
  EXPECT_EQ(verify_event_json(changed("created_at", "1700000000")).error().path, "created_at");
  EXPECT_EQ(verify_event_json(changed("tags", JsonList{JsonList{}})).error().path, "tags");
  EXPECT_EQ(verify_event_json(changed("tags", JsonList{JsonList{1}})).error().path, "tags");
  EXPECT_EQ(verify_event_json(changed("content", nullptr)).error().path, "content");
  for (const char* text : {"", "[]", "{}", "1", "{\"id\":\"a\",\"id\":\"a\"}", "[[[[[[[[[[]]]]]]]]]]"})
    EXPECT_FALSE(verify_event(text).has_value()) << text;
  EXPECT_TRUE(verify_event_json(changed("extra", 1)).has_value());  // not authenticated, so dropped
}

TEST(Event, HoldsItsLimitsAtMaxAndOneBeyond) {
  FixedEntropy entropy(1);
  EventLimits limits;
  limits.tags_max = 3;
  const auto with_tags = [&](std::size_t count) {
    return sign_event({.created_at = 1, .kind = 1, .tags = EventTags(count, {"t", "x"}), .content = ""}, key(), entropy).value();
  };
  EXPECT_TRUE(verify_event(event_json(*with_tags(3)), limits).has_value());
  EXPECT_EQ(verify_event(event_json(*with_tags(4)), limits).error().code, ErrorCode::limit_exceeded);
  limits.event_bytes_max = event_json(*with_tags(3)).size();
  EXPECT_TRUE(verify_event(event_json(*with_tags(3)), limits).has_value());
  --limits.event_bytes_max;
  EXPECT_EQ(verify_event(event_json(*with_tags(3)), limits).error().code, ErrorCode::limit_exceeded);
}

TEST(Event, SignsOnlyWhatAllHashAlike) {
  FixedEntropy entropy(1);
  const auto sign = [&](std::string content) {
    return sign_event({.created_at = 1, .kind = 1, .tags = {}, .content = std::move(content)}, key(), entropy);
  };
  EXPECT_TRUE(sign("\n\r\t\b\f\"\\ /<>&\xE2\x80\xA8").has_value());
  EXPECT_EQ(sign("\x01").error().path, "content");
  EXPECT_EQ(sign("\x7F").error().path, "content");
  EXPECT_EQ(sign("\xFF").error().path, "content");
  EXPECT_EQ(sign_event({.created_at = 1, .kind = 65536}, key(), entropy).error().path, "kind");
  EXPECT_EQ(sign_event({.created_at = 1, .kind = 1, .tags = {{}}}, key(), entropy).error().path, "tags");
}

RC_GTEST_PROP(EventProperty, WhatIsSignedVerifiesAndReadsBack,
              (const std::vector<std::uint8_t>& bytes, std::uint16_t kind, std::uint32_t time)) {
  FixedEntropy entropy(3);
  std::string text;
  for (const std::uint8_t b : bytes) text += static_cast<char>(b < 0x20 || b >= 0x7F ? 'x' : b);
  const auto made = sign_event({.created_at = time, .kind = kind, .tags = {{"t", text}}, .content = text + "\n"}, key(), entropy);
  RC_ASSERT(made.has_value());
  RC_ASSERT(verify_event(event_json(**made)).value().event() == **made);
}

Event event_of(std::int64_t kind, std::int64_t time, EventTags tags) {
  Event event;
  event.id = std::string(64, 'a');
  event.pubkey = std::string(64, 'b');
  event.kind = kind;
  event.created_at = time;
  event.tags = std::move(tags);
  return event;
}

Filter filter_of(std::string_view text) { return read_filter(read_json(text).value()).value(); }

TEST(Filter, MatchesByTheRules) {
  const Event event = event_of(7000, 100, {{"e", std::string(64, 'c'), "relay"}, {"t", "One", "two"}, {"status", "x"}});
  EXPECT_TRUE(matches(filter_of("{}"), event));
  EXPECT_TRUE(matches(filter_of(R"({"kinds":[1,7000]})"), event));
  EXPECT_FALSE(matches(filter_of(R"({"kinds":[]})"), event));
  EXPECT_FALSE(matches(filter_of(R"({"kinds":[70000]})"), event));
  EXPECT_TRUE(matches(filter_of(R"({"since":100,"until":100})"), event));
  EXPECT_FALSE(matches(filter_of(R"({"since":101})"), event));
  EXPECT_FALSE(matches(filter_of(R"({"until":99})"), event));
  EXPECT_TRUE(matches(filter_of(R"({"#t":["x","One"]})"), event));
  EXPECT_FALSE(matches(filter_of(R"({"#t":["one"]})"), event));
  EXPECT_FALSE(matches(filter_of(R"({"#t":["two"]})"), event));  // only the first value counts
  EXPECT_TRUE(matches(filter_of(R"({"#e":[")" + std::string(64, 'c') + R"("],"#t":["One"]})"), event));
  EXPECT_FALSE(matches(filter_of(R"({"#e":[")" + std::string(64, 'c') + R"("],"#t":["Two"]})"), event));
  EXPECT_FALSE(matches(filter_of(R"({"ids":[")" + std::string(64, 'd') + R"("]})"), event));
}

TEST(Filter, RefusesWhatItDoesNotUnderstand) {
  const auto code = [](std::string_view text, const FilterLimits& limits = {}) {
    return read_filter(read_json(text).value(), limits).error().code;
  };
  EXPECT_EQ(code("[]"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"ids":["abc"]})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"authors":"a"})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"kinds":[1.0]})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"kinds":[-1]})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"limit":-1})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"limit":"1"})"), ErrorCode::malformed);
  EXPECT_EQ(code(R"({"search":"x"})"), ErrorCode::refused);
  EXPECT_EQ(code(R"({"#tt":["x"]})"), ErrorCode::refused);
  EXPECT_EQ(code(R"({"#t":["a","b","c"]})", {.items_max = 2}), ErrorCode::limit_exceeded);
  EXPECT_TRUE(read_filter(read_json(R"({"#t":["a","b"]})").value(), {.items_max = 2}).has_value());
  const Filter filter = filter_of(R"({"authors":[],"kinds":[1],"#d":["x"],"since":1,"until":2,"limit":3})");
  EXPECT_EQ(read_filter(to_json(filter)).value(), filter);
}

}  // namespace
}  // namespace assay
