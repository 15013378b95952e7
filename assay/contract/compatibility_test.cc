#include "assay/contract/compatibility.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace assay {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Compatibility needs_nothing() {
  Compatibility needed;
  needed.privacy_modes_allowed = {PrivacyMode::PublicOk};
  return needed;
}
Offered offers_nothing() {
  return {.tools = {}, .lanes = {}, .capabilities = {}, .privacy_mode = PrivacyMode::PublicOk, .provider_reputation = {}};
}

TEST(Compatibility, AllUnmetRequirementsComeAtOnce) {
  Compatibility needed;
  needed.required_lanes = {"bm25", "lm:any"};
  needed.required_tools = {"search"};
  needed.capabilities = {"context:4096", "vision"};
  needed.privacy_modes_allowed = {PrivacyMode::NoPii, PrivacyMode::PublicOk};
  needed.min_provider_reputation = 0.75;
  const Offered offered{.tools = {"calc"},
                        .lanes = {"exec:native"},
                        .capabilities = {"context:2048"},
                        .privacy_mode = PrivacyMode::PrivateRepoAllowed,
                        .provider_reputation = 0.5};
  EXPECT_THAT(check_compatibility(needed, offered),
              ElementsAre(Unmet{"lane", "retrieval:bm25", "exec:native"}, Unmet{"lane", "lm:any", "exec:native"},
                          Unmet{"tool", "search", "calc"}, Unmet{"capability", "context:4096", "context:2048"},
                          Unmet{"capability", "vision", "context:2048"}, Unmet{"privacy_mode", "no_pii, public_ok", "private_repo_allowed"},
                          Unmet{"provider_reputation", "at least 0.75", "0.5"}));
  const auto refused = require_compatible(needed, offered);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::refused);
  for (const char* part : {"retrieval:bm25", "lm:any", "search", "context:4096", "vision", "no_pii", "0.75"}) {
    EXPECT_THAT(refused.error().message, testing::HasSubstr(part));
  }
}

TEST(Compatibility, NothingNeededIsMet) { EXPECT_TRUE(require_compatible(needs_nothing(), offers_nothing())); }

TEST(Compatibility, LanesAreMetByNameOrByAnyOfTheirKind) {
  struct Row {
    const char* required;
    const char* offered;
    bool met;
  };
  const Row rows[] = {{"lm:any", "lm:local", true},     {"lm:any", "retrieval:lm", false}, {"lm:local", "lm:local", true},
                      {"lm:local", "lm:any", false},    {"lm:local", "lm:localx", false},  {"bm25", "retrieval:bm25", true},
                      {"retrieval:bm25", "bm25", true}, {"bm25", "lm:bm25", false},        {"exec:any", "exec:native", true},
                      {"tool:any", "lm:local", false}};
  for (const Row& row : rows) {
    Compatibility needed = needs_nothing();
    needed.required_lanes = {row.required};
    Offered offered = offers_nothing();
    offered.lanes = {row.offered};
    EXPECT_EQ(check_compatibility(needed, offered).empty(), row.met) << row.required << " by " << row.offered;
  }
}

TEST(Compatibility, ContextIsANumberNotAText) {
  Compatibility needed = needs_nothing();
  needed.capabilities = {"context:4096"};
  Offered offered = offers_nothing();
  offered.capabilities = {"context:16384"};  // as text it comes before "context:4096"
  EXPECT_THAT(check_compatibility(needed, offered), IsEmpty());
  offered.capabilities = {"context:4095"};
  EXPECT_FALSE(check_compatibility(needed, offered).empty());
  offered.capabilities = {"context:4096"};
  EXPECT_THAT(check_compatibility(needed, offered), IsEmpty());
  for (const char* nonsense : {"context:", "context:x", "context:-1", "context:99999999999999999999", "context:5000x"}) {
    offered.capabilities = {nonsense};
    EXPECT_FALSE(check_compatibility(needed, offered).empty()) << nonsense;
  }
}

TEST(Compatibility, UnknownReputationDoesNotMeetAMinimum) {
  Compatibility needed = needs_nothing();
  needed.min_provider_reputation = 0;
  Offered offered = offers_nothing();
  EXPECT_THAT(check_compatibility(needed, offered), ElementsAre(Unmet{"provider_reputation", "at least 0", "unknown"}));
  offered.provider_reputation = 0;
  EXPECT_THAT(check_compatibility(needed, offered), IsEmpty());
}

TEST(Compatibility, AnEmptyListOfModesAllowsNone) {
  Compatibility needed;
  for (const PrivacyMode mode : all_privacy_modes()) {
    Offered offered = offers_nothing();
    offered.privacy_mode = mode;
    EXPECT_THAT(check_compatibility(needed, offered), ElementsAre(Unmet{"privacy_mode", "none", std::string(privacy_name(mode))}));
  }
}

TEST(Privacy, NamesReadBackAndOthersAreRefused) {
  for (const PrivacyMode mode : all_privacy_modes()) EXPECT_EQ(parse_privacy(privacy_name(mode)).value(), mode);
  for (const char* bad : {"", "PublicOk", "public", "private"}) EXPECT_FALSE(parse_privacy(bad)) << bad;
  EXPECT_EQ(privacy_name(PrivacyMode::PrivateRepoRedacted), "private_repo_redacted");
}

TEST(Privacy, ARunNeedsModuleAndLane) {
  using enum PrivacyMode;
  EXPECT_TRUE(check_privacy(NoPii, {NoPii, PublicOk}, {NoPii}, "lane a"));
  const auto module = check_privacy(NoPii, {PublicOk}, {NoPii}, "lane a");
  ASSERT_FALSE(module);
  EXPECT_THAT(module.error().message, testing::HasSubstr("the module does not allow"));
  const auto lane = check_privacy(NoPii, {NoPii}, {PublicOk}, "lane a");
  ASSERT_FALSE(lane);
  EXPECT_EQ(lane.error().code, ErrorCode::refused);
  EXPECT_THAT(lane.error().message, testing::HasSubstr("lane a"));
  EXPECT_FALSE(check_privacy(PublicOk, {}, {PublicOk}, "lane a"));  // membership, no order: the mildest mode is not "less" than another
  EXPECT_FALSE(check_privacy(PublicOk, {PrivateRepoAllowed}, all_privacy_modes(), "lane a"));
}

}  // namespace
}  // namespace assay
