#include "assay/base/keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "assay/base/test_files.h"

namespace assay {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

struct Vector {
  std::string secret, public_hex, aux, message, signature;
  bool good = false;
};

void check(const Vector& v, const std::string& which) {
  const auto message = bytes32_from_hex(v.message);
  if (!message) return;  // BIP-340 also has messages of other lengths; ours are always 32 bytes
  EXPECT_EQ(verify_signature(v.public_hex, *message, v.signature).has_value(), v.good) << which;
  if (v.secret.empty()) return;
  const auto key = SecretKey::parse(v.secret);
  ASSERT_TRUE(key) << which;
  EXPECT_EQ(key->public_hex(), v.public_hex) << which;
  EXPECT_EQ(key->sign_with_aux(*message, *bytes32_from_hex(v.aux)).value(), v.signature) << which;
}

// Vectors 0, 1 and 6 of BIP-340.
TEST(Keys, SignsAndVerifiesAsBip340Says) {
  check({std::string(63, '0') + "3", "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9", std::string(64, '0'),
         std::string(64, '0'),
         "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca821525f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
         true},
        "vector 0");
  check({"b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef",
         "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659", std::string(63, '0') + "1",
         "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
         "6896bd60eeae296db48a229ff71dfe071bde413e6d43f917dc8dcf8c78de33418906d11ac976abccb20b091292bff4ea897efcb639ea871cfa95f6de339e4b0a",
         true},
        "vector 1");
  check({"", "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659", "",
         "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
         "fff97bd5755eeea420453a14355235d382f6472f8568a18b2f057a14602975563cc27944640ac607cd107ae10923d9ef7a73c643e166be5ebeafa34b1ac553e2",
         false},
        "vector 6");
}

TEST(Keys, AgreesWithAllVectorsOfBip340) {
  const auto text = shared_text("vectors/bip340.csv");
  if (!text) GTEST_SKIP() << "bip340.csv is not on this machine; three of its rows are stated above";
  std::istringstream lines(*text);
  std::string line;
  std::getline(lines, line);
  int rows = 0;
  while (std::getline(lines, line)) {
    std::vector<std::string> cells;
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
    ASSERT_GE(cells.size(), 7u);
    check({lower(cells[1]), lower(cells[2]), lower(cells[3]), lower(cells[4]), lower(cells[5]), cells[6] == "TRUE"}, "vector " + cells[0]);
    ++rows;
  }
  EXPECT_GE(rows, 15);
}

TEST(Keys, SignedObjectsVerifyAndAnyChangeIsFound) {
  FixedEntropy entropy(1);
  const auto key = SecretKey::generate(entropy);
  ASSERT_TRUE(key);
  const auto object = sign_object(JsonObject{{"format", "x/1"}, {"a", JsonList{1, 2}}}, *key, entropy);
  ASSERT_TRUE(object);
  EXPECT_TRUE(verify_object(*object));
  Json changed = *object;
  changed.set("a", JsonList{1, 3});
  EXPECT_EQ(verify_object(changed).error().code, ErrorCode::mismatch);
  changed = *object;
  changed.set("extra", true);
  EXPECT_EQ(verify_object(changed).error().code, ErrorCode::mismatch);
  changed = *object;
  changed.as_object().erase("signature");
  EXPECT_EQ(verify_object(changed).error().code, ErrorCode::malformed);
}

TEST(Keys, NestedSignaturesAreSigned) {
  // Only the top-level "signature" is left out of what is signed.
  const auto a = signing_hash(JsonObject{{"inner", JsonObject{{"signature", "1"}}}, {"signature", "x"}});
  const auto b = signing_hash(JsonObject{{"inner", JsonObject{{"signature", "2"}}}, {"signature", "x"}});
  EXPECT_NE(*a, *b);
  EXPECT_EQ(*a, *signing_hash(JsonObject{{"inner", JsonObject{{"signature", "1"}}}}));
}

TEST(Keys, RefusesBadKeysWithoutRepeatingThem) {
  for (const std::string& bad :
       {std::string(64, '0'), std::string("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
        std::string("B7E151628AED2A6ABF7158809CF4F3C762E7160F38B4DA56A784D9045190CFEF"), std::string("abc"), std::string()}) {
    const auto key = SecretKey::parse(bad);
    ASSERT_FALSE(key) << bad;
    if (!bad.empty()) {
      EXPECT_EQ(key.error().text().find(bad), std::string::npos);
    }
  }
  const Bytes32 message{};
  EXPECT_EQ(verify_signature(std::string(64, 'f'), message, std::string(128, '0')).error().path, "signer");
  EXPECT_EQ(verify_signature("dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659", message, "00").error().path, "signature");
}

}  // namespace
}  // namespace assay
