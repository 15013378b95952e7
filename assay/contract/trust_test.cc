#include "assay/contract/trust.h"

#include <gtest/gtest.h>

#include "assay/base/test_files.h"

namespace assay {
namespace {

const std::string alice(64, 'a');
const std::string bob(64, 'b');

TEST(Trust, KeepsScopesThroughAFile) {
  const TestFolder folder;
  const std::string path = folder.path("config/trust.json");
  TrustStore store = TrustStore::load(path).value();  // a missing file is an empty store
  ASSERT_TRUE(store.add(alice, {"triage", "router"}, "Alice"));
  ASSERT_TRUE(store.add(bob, {"triage"}));
  store.trust_own(std::string(64, 'c'));
  ASSERT_TRUE(store.save(path));
  const TrustStore back = TrustStore::load(path).value();
  EXPECT_EQ(back.signers(), store.signers());
  EXPECT_EQ(back.signers().at(alice).note, "Alice");
  EXPECT_TRUE(back.trusts(alice, "router"));
  EXPECT_FALSE(back.trusts(bob, "router"));
  EXPECT_FALSE(back.trusts(alice, "Router"));
  EXPECT_FALSE(back.trusts(alice, "route"));
  EXPECT_TRUE(store.trusts(std::string(64, 'c'), "anything"));
  EXPECT_FALSE(back.trusts(std::string(64, 'c'), "anything"));  // one's own key is not written
}

TEST(Trust, RemovesProgramsAndSigners) {
  TrustStore store;
  ASSERT_TRUE(store.add(alice, {"a", "b"}));
  ASSERT_TRUE(store.remove(alice, {"a"}));
  EXPECT_FALSE(store.trusts(alice, "a"));
  EXPECT_TRUE(store.trusts(alice, "b"));
  ASSERT_TRUE(store.remove(alice, {"b"}));
  EXPECT_TRUE(store.signers().empty());
  ASSERT_TRUE(store.add(alice, {"a", "b"}));
  ASSERT_TRUE(store.remove(alice));
  EXPECT_TRUE(store.signers().empty());
}

TEST(Trust, RefusesWhatMakesNoSense) {
  TrustStore store;
  EXPECT_EQ(store.add("AB", {"a"}).error().code, ErrorCode::malformed);
  EXPECT_EQ(store.add(std::string(64, 'A'), {"a"}).error().code, ErrorCode::malformed);
  EXPECT_EQ(store.add(alice, {}).error().code, ErrorCode::usage);
  EXPECT_EQ(store.add(alice, {"*"}).error().code, ErrorCode::usage);
  EXPECT_EQ(store.remove(alice).error().code, ErrorCode::usage);
  ASSERT_TRUE(store.add(alice, {"a"}));
  EXPECT_EQ(store.remove(alice, {"b"}).error().code, ErrorCode::usage);
  EXPECT_FALSE(store.trusts("", "a"));
}

TEST(Trust, ADamagedFileIsAnErrorNotAnEmptyStore) {
  const TestFolder folder;
  for (const char* text :
       {"", "{", "{}", R"({"format":"assay.trust/2","signers":{}})", R"({"format":"assay.trust/1"})",
        R"({"format":"assay.trust/1","signers":{"AB":{"note":null,"programs":[]}}})", R"({"format":"assay.trust/1","signers":{"ab":3}})"}) {
    ASSERT_TRUE(write_file(folder.path("trust.json"), text));
    const auto store = TrustStore::load(folder.path("trust.json"));
    ASSERT_FALSE(store) << text;
    EXPECT_NE(store.error().path.find("trust.json"), std::string::npos);
  }
}

}  // namespace
}  // namespace assay
