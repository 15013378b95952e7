#include "assay/program/schema.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "assay/lm/json_shape.h"

namespace assay {
namespace {

/// A type as it stands in a signature, and one value of it.
struct Typed {
  std::string type;
  Json value;
};

Json any_text() { return *rc::gen::element<std::string>("", "a", "null", "a \"b\"\\", "é–😀", "line\nbreak\t\x01", "}]"); }

Typed any_typed(int depth) {
  switch (*rc::gen::inRange(0, depth == 0 ? 5 : 8)) {
    case 0: return {"str", any_text()};
    case 1: return {"int", *rc::gen::inRange<std::int64_t>(-99'999'999'999, 99'999'999'999)};
    case 2: return {"float", *rc::gen::element<Json>(0.1, -2.5e-7, 1e21, 3, 0.30000000000000004, 1.5e-90)};
    case 3: return {"bool", *rc::gen::arbitrary<bool>()};
    case 4: return {"Literal['x', 'é \\ ]', 'xy']", *rc::gen::element<std::string>("x", "é \\ ]", "xy")};
    case 5: {
      const Typed item = any_typed(depth - 1);
      return {"list[" + item.type + "]", JsonList(*rc::gen::inRange<std::size_t>(0, 3), item.value)};
    }
    case 6: {
      const Typed item = any_typed(depth - 1);
      JsonObject members;
      for (const std::string& key : *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>("", "k", "kk", "ü", "a b")))
        members.set(key, item.value);
      return {"dict[str, " + item.type + "]", members};
    }
    default: {
      const Typed inner = any_typed(depth - 1);
      return {"Optional[" + inner.type + "]", *rc::gen::arbitrary<bool>() ? Json() : inner.value};
    }
  }
}

/// Some text that the cursor admits, drawn byte by byte; empty if it did not come to an end.
std::string drawn(JsonCursor& cursor) {
  std::string text;
  while (!cursor.must_end() && text.size() < 400) {
    std::vector<char> next;
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      if (cursor.admits(std::string_view(&c, 1))) next.push_back(c);
    }
    RC_ASSERT(!next.empty() || cursor.may_end());
    if (next.empty() || (cursor.may_end() && *rc::gen::inRange(0, 3) == 0)) return text;
    // What closes is rare among 200 bytes: it gets every third draw.
    std::vector<char> closing;
    for (const char c : next) {
      if (std::string_view("\"]}:,el").find(c) != std::string_view::npos) closing.push_back(c);
    }
    const auto& from = !closing.empty() && *rc::gen::inRange(0, 3) != 0 ? closing : next;
    const char c = from[*rc::gen::inRange<std::size_t>(0, from.size())];
    RC_ASSERT(cursor.take(std::string_view(&c, 1)));
    text.push_back(c);
  }
  return cursor.may_end() ? text : std::string();
}

// Whatever a lane that keeps to the schema can write, the reader reads.
RC_GTEST_PROP(ConstrainedValue, IsReadByItsSchema, ()) {
  const Json schema = schema_of_type(any_typed(3).type).value();
  const auto shape = JsonShape::of(schema);
  RC_ASSERT(shape.has_value());
  JsonCursor cursor(*shape);
  const std::string text = drawn(cursor);
  RC_PRE(!text.empty());
  if (is_string_schema(schema) || !literal_values(schema).empty()) return;  // read as plain text, and kept to as a choice or not at all
  std::vector<Repair> repairs;
  const auto value = read_json(text);
  if (!value) RC_FAIL(canonical(schema).value() + " " + text + ": " + value.error().text());
  RC_ASSERT(value.has_value());
  RC_ASSERT(check_value(*value, schema).has_value());
  Json inner = schema;
  while (is_optional(inner)) inner = Json(inner.at("anyOf").as_list()[0]);
  if (is_string_schema(inner) || !literal_values(inner).empty()) return;
  const auto read = value_from_text(text, schema, &repairs);
  RC_ASSERT(read.has_value());
  RC_ASSERT(repairs.empty());
}

RC_GTEST_PROP(MayFit, IsTrueWhereAValueFitsBoth, ()) {
  const Typed one = any_typed(2), other = any_typed(2);
  const Json from = schema_of_type(one.type).value(), to = schema_of_type(other.type).value();
  RC_ASSERT(may_fit(from, from));
  if (check_value(one.value, to)) RC_ASSERT(may_fit(from, to));
  if (check_value(other.value, from)) RC_ASSERT(may_fit(from, to));
  RC_ASSERT(may_fit(from, to) == may_fit(to, from));
}

TEST(MayFit, IsFalseOnlyWhereNoValueDoes) {
  struct Pair {
    const char *from, *to;
    bool fits;
  };
  for (const Pair& pair :
       {Pair{"str", "int", false}, Pair{"int", "float", true}, Pair{"float", "int", true}, Pair{"bool", "int", false},
        Pair{"Optional[int]", "int", true}, Pair{"Optional[str]", "int", false}, Pair{"Optional[str]", "Optional[int]", true},
        Pair{"str", "Literal['a']", true}, Pair{"Literal['a','b']", "Literal['b','c']", true}, Pair{"Literal['a']", "Literal['b']", false},
        Pair{"list[str]", "list[int]", true}, Pair{"list[str]", "str", false}, Pair{"dict[str, int]", "list[int]", false}}) {
    EXPECT_EQ(may_fit(schema_of_type(pair.from).value(), schema_of_type(pair.to).value()), pair.fits) << pair.from << " " << pair.to;
  }
}

TEST(CheckSchema, RefusesWhatNobodyWouldCheck) {
  for (const char* text :
       {R"({"type":"integer","enum":["3"]})", R"({"type":"array","items":{"type":"string","properties":{}}})",
        R"({"anyOf":[{"type":"string"},{"type":"null"}],"enum":["a"]})", R"({"type":"object","properties":{},"required":["b"]})",
        R"({"type":"object","properties":{"a":{"type":"string"}},"required":[7],"additionalProperties":false})"}) {
    const auto fits = check_schema(read_json(text).value());
    ASSERT_FALSE(fits) << text;
    EXPECT_EQ(fits.error().code, ErrorCode::malformed) << text;
  }
  EXPECT_TRUE(check_schema(
      read_json(R"({"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false,"x-order":["a"]})")
          .value()));
}

// What a demo shows (canonical JSON) can always be written.
RC_GTEST_PROP(ConstrainedValue, AdmitsCanonicalJson, ()) {
  const Typed any = any_typed(3);
  const Json schema = schema_of_type(any.type).value();
  const std::string text = canonical(any.value).value();
  RC_PRE(text.find("\\u00") == std::string::npos || any.type.find("dict") == std::string::npos);
  JsonCursor cursor(JsonShape::of(schema).value());
  const bool whole = cursor.take(text) && cursor.may_end();
  RC_ASSERT(whole);
}

}  // namespace
}  // namespace assay
