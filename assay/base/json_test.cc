#include "assay/base/json.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "assay/base/files.h"
#include "assay/base/keys.h"
#include "assay/base/random.h"

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

TEST(Json, RefusesWhatHasNoCanonicalForm) {
  for (const char* bad : {"9007199254740992", "1e20", "1e400", "-1e999999999999", "\"\\ud800\"", "\"\\udc00\"", "{\"a\":1,\"\\u0061\":2}",
                          "\xEF\xBB\xBF{}", "{} x", "[1,]", "01", "\"\x01\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"", "", "nul", "[", "{\"a\"}"}) {
    EXPECT_FALSE(read_json(bad)) << bad;
  }
}

TEST(Json, NamesThePlaceAsAPointer) {
  const auto value = read_json(R"({"a":{"b/c":[1,{"x":1,"x":2}]}})");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().path, "/a/b~1c/1/x");
}

TEST(Json, AllowsTheLastDepthAndRefusesTheNext) {
  EXPECT_TRUE(read_json(std::string(128, '[') + std::string(128, ']')));
  EXPECT_FALSE(read_json(std::string(129, '[') + std::string(129, ']')));
  EXPECT_FALSE(read_json(std::string(1000000, '[')));
}

}  // namespace
}  // namespace assay
