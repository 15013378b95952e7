#include "assay/hud/redact.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

TEST(RedactTest, HidesWhatLooksLikeASecret) {
  EXPECT_EQ(redact_text("use sk-live-0123456789abcdefghij now"), "use [REDACTED] now");
  EXPECT_EQ(redact_text("Authorization: Bearer abcdefghijkl0123"), "Authorization: Bearer [REDACTED]");
  EXPECT_EQ(redact_text("ghp_0123456789abcdefghijABCDEFGHIJ012345"), "[REDACTED]");
  EXPECT_EQ(redact_text("key=AKIAIOSFODNN7EXAMPLE;"), "key=[REDACTED];");
  EXPECT_EQ(redact_text("nsec1" + std::string(58, 'q')), "[REDACTED]");
  EXPECT_EQ(redact_text("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"), "[REDACTED]");
  EXPECT_EQ(redact_text("a -----BEGIN EC PRIVATE KEY-----\nMHc\n-----END EC PRIVATE KEY----- b"), "a [REDACTED] b");
  EXPECT_EQ(redact_text("-----BEGIN PRIVATE KEY-----\ncut off"), "[REDACTED]");
}

TEST(RedactTest, LeavesOrdinaryTextAlone) {
  for (const char* text :
       {"the token budget", "risk-averse and task-specific words", "sk-short", "password manager with a bearer of news", "eyJust a name",
        "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", "package desk-0123456789abcdefghijkl"}) {
    EXPECT_EQ(redact_text(text), text);
  }
}

TEST(RedactTest, HidesTextMembersByTheirName) {
  const Json value = JsonObject{{"Password", "x"},
                                {"input_tokens", 7},
                                {"token", 7},
                                {"list", JsonList{Json(JsonObject{{"api_key", "y"}, {"text", "sk-0123456789abcdefghij"}})}}};
  EXPECT_EQ(*canonical(redact_value(value)),
            R"({"Password":"[REDACTED]","input_tokens":7,"list":[{"api_key":"[REDACTED]","text":"[REDACTED]"}],"token":7})");
}

}  // namespace
}  // namespace assay
