#include "assay/contract/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "assay/base/test_files.h"
#include "assay/contract/encrypted_key.h"

namespace assay {
namespace {

TEST(KeyFile, CreatesOnceAndLoadsTheSame) {
  const TestFolder folder;
  const std::string keys = folder.path("keys");
  FixedEntropy entropy(1);
  const auto made = load_or_create_key(keys, "default", entropy);
  ASSERT_TRUE(made);
  EXPECT_EQ(load_key(keys, "default")->public_hex(), made->public_hex());
  EXPECT_EQ(load_or_create_key(keys, "default", entropy)->public_hex(), made->public_hex());
  struct stat info{};
  ASSERT_EQ(::stat((keys + "/default.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  ASSERT_EQ(::stat(keys.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0u);
}

TEST(KeyFile, NeverReplacesAKey) {
  const TestFolder folder;
  FixedEntropy entropy(2);
  const auto first = create_key(folder.path(), "a", entropy);
  ASSERT_TRUE(first);
  const auto second = create_key(folder.path(), "a", entropy);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::usage);
  EXPECT_EQ(load_key(folder.path(), "a")->public_hex(), first->public_hex());
}

TEST(KeyFile, RefusesAFileThatOthersMayRead) {
  const TestFolder folder;
  FixedEntropy entropy(3);
  ASSERT_TRUE(create_key(folder.path(), "a", entropy));
  ASSERT_EQ(::chmod(folder.path("a.key").c_str(), 0640), 0);
  const auto key = load_key(folder.path(), "a");
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, ErrorCode::refused);
  EXPECT_NE(key.error().remedy.find("chmod 600"), std::string::npos);
}

TEST(KeyFile, ErrorsNeverHoldTheSecret) {
  const TestFolder folder;
  const std::string almost = "B7E151628AED2A6ABF7158809CF4F3C762E7160F38B4DA56A784D9045190CFEF";
  ASSERT_TRUE(write_file(folder.path("bad.key"), almost + "\n", 0600));
  const auto key = load_key(folder.path(), "bad");
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().text().find(almost.substr(0, 8)), std::string::npos);
  const auto listed = list_keys(folder.path());
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().problem.find(almost.substr(0, 8)), std::string::npos);
  EXPECT_FALSE(listed->front().problem.empty());
}

TEST(KeyFile, NamesCannotLeaveTheFolder) {
  const TestFolder folder;
  FixedEntropy entropy(4);
  for (const char* name : {"", "../x", "a/b", ".", "..", "a b", ".hidden"}) {
    EXPECT_EQ(create_key(folder.path(), name, entropy).error().code, ErrorCode::usage) << name;
    EXPECT_EQ(load_key(folder.path(), name).error().code, ErrorCode::usage) << name;
  }
}

TEST(KeyFile, ListsByName) {
  const TestFolder folder;
  EXPECT_TRUE(list_keys(folder.path("none"))->empty());
  FixedEntropy entropy(5);
  const auto b = create_key(folder.path(), "b", entropy);
  const auto a = create_key(folder.path(), "a", entropy);
  const auto keys = list_keys(folder.path());
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_EQ((*keys)[0].name, "a");
  EXPECT_EQ((*keys)[0].public_hex, a->public_hex());
  EXPECT_EQ((*keys)[1].public_hex, b->public_hex());
  EXPECT_EQ(load_key(folder.path(), "c").error().code, ErrorCode::io);
}

AskPassphrase saying(const char* passphrase) {
  return [passphrase](std::string_view) -> Result<SecretText> { return SecretText(std::string(passphrase)); };
}

TEST(KeyFile, KeepsAKeyUnderAPassphrase) {
  const TestFolder folder;
  FixedEntropy entropy(5);
  const SecretKey key = create_key(folder.path(), "a", entropy).value();
  const std::string text = encrypt_key(key, "correct horse", entropy, 10).value();
  ASSERT_TRUE(replace_key(folder.path(), "a", key, text));
  EXPECT_EQ(read_file(folder.path("a.key"))->find(hex(std::span<const std::uint8_t>(key.secret()))), std::string::npos);
  struct stat info{};
  ASSERT_EQ(::stat(folder.path("a.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);

  EXPECT_EQ(load_key(folder.path(), "a", saying("correct horse"))->secret(), key.secret());
  const auto wrong = load_key(folder.path(), "a", saying("wrong horse"));
  EXPECT_EQ(wrong.error().code, ErrorCode::refused);
  EXPECT_EQ(wrong.error().text().find("wrong horse"), std::string::npos);
  EXPECT_EQ(load_key(folder.path(), "a").error().code, ErrorCode::usage);
  EXPECT_EQ(load_or_create_key(folder.path(), "a", entropy, saying("correct horse"))->secret(), key.secret());
  EXPECT_EQ(encrypted_text(folder.path(), "a").value(), text);
  const auto listed = list_keys(folder.path()).value();
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_TRUE(listed[0].encrypted);
  EXPECT_EQ(listed[0].public_hex, key.public_hex());  // without the passphrase

  ASSERT_TRUE(replace_key(folder.path(), "a", key, ""));
  EXPECT_EQ(load_key(folder.path(), "a")->secret(), key.secret());
  EXPECT_EQ(encrypted_text(folder.path(), "a").value(), "");
}

TEST(KeyFile, FindsAPublicKeyThatIsAnothers) {
  const TestFolder folder;
  FixedEntropy entropy(6);
  const SecretKey key = SecretKey::generate(entropy).value(), other = SecretKey::generate(entropy).value();
  const std::string text = encrypt_key(key, "x", entropy, 10).value();
  ASSERT_TRUE(import_encrypted_key(folder.path(), "a", other, text));
  EXPECT_EQ(load_key(folder.path(), "a", saying("x")).error().code, ErrorCode::mismatch);
  ASSERT_TRUE(write_file(folder.path("b.key"), text + "\n", 0600));
  EXPECT_EQ(load_key(folder.path(), "b", saying("x")).error().code, ErrorCode::malformed);
  EXPECT_FALSE(list_keys(folder.path())->back().problem.empty());
}

}  // namespace
}  // namespace assay
