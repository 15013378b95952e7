#include "assay/base/sha256.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "assay/base/test_files.h"

namespace assay {
namespace {

TEST(Sha256, KnownAnswers) {  // FIPS 180-4 examples
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, PiecesGiveTheWhole) {
  Sha256 digest;
  digest.update("a");
  digest.update("");
  digest.update("bc");
  EXPECT_EQ(hex(std::span<const std::uint8_t>(digest.finish())), sha256_hex("abc"));
}

TEST(Sha256, HashesFilesRaw) {
  const TestFolder folder;
  const std::string bytes("\r\n\0\xFF", 4);
  ASSERT_TRUE(write_file(folder.path("f"), bytes));
  EXPECT_EQ(sha256_file(folder.path("f")).value(), sha256_hex(bytes));
  EXPECT_EQ(sha256_file(folder.path("none")).error().code, ErrorCode::io);
}

TEST(Hex, RefusesUpperCaseOddLengthAndOtherLetters) {
  EXPECT_EQ(from_hex("00ff").value(), std::string("\0\xFF", 2));
  for (const char* bad : {"0", "0G", "FF", " 0", "0x"}) EXPECT_FALSE(from_hex(bad)) << bad;
  EXPECT_TRUE(is_hex("0123456789abcdef", 16));
  EXPECT_FALSE(is_hex("0123456789abcdef", 15));
  EXPECT_FALSE(is_hex("0123456789abcdeF", 16));
}

TEST(Base64, KnownAnswersAndRefusals) {  // RFC 4648 §10
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  for (const char* bad : {"Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm9-", " Zg=="})
    EXPECT_FALSE(from_base64(bad)) << bad;
}

RC_GTEST_PROP(Base64Property, ReadsBack, (const std::string& bytes)) {
  RC_ASSERT(from_base64(base64(bytes)).value() == bytes);
  RC_ASSERT(from_hex(hex(bytes)).value() == bytes);
}

}  // namespace
}  // namespace assay
