#include "assay/contract/encrypted_key.h"

#include <gtest/gtest.h>

#include "assay/contract/samples_test.h"

namespace assay {
namespace {

// The one in NIP-49, "Encryption / decryption test": its password, its secret.
constexpr const char* nip49 =
    "ncryptsec1qgg9947rlpvqu76pj5ecreduf9jxhselq2nae2kghhvd5g7dgjtcxfqtd67p9m0w57lspw8gsq6yphnm8623nsl8xn9j4jdzz84zm3frztj3z7s35vpzmqf6ksu8"
    "r89"
    "qk5z2zxfmu5gv8th8wclt0h4p";

TEST(EncryptedKey, ReadsTheOneOfNip49) {
  const auto key = decrypt_key(nip49, "nostr");
  ASSERT_TRUE(key) << key.error().text();
  EXPECT_EQ(hex(std::span<const std::uint8_t>(key->secret())), "3501454135014541350145413501453fefb02227e449e57cf4d3a3ce05378683");
}

TEST(EncryptedKey, ComesBackUnderItsPassphraseAndNoOther) {
  FixedEntropy entropy(5);
  const std::string text = encrypt_key(sample_key(), "correct horse", entropy, 10).value();
  EXPECT_TRUE(text.starts_with("ncryptsec1"));
  EXPECT_EQ(text.find(hex(std::span<const std::uint8_t>(sample_key().secret()))), std::string::npos);
  EXPECT_EQ(decrypt_key(text, "correct horse")->public_hex(), sample_key().public_hex());
  EXPECT_EQ(decrypt_key(text, "correct horze").error().code, ErrorCode::refused);
  EXPECT_NE(encrypt_key(sample_key(), "correct horse", entropy, 10).value(), text);  // another salt each time
}

// The example of NIP-49, "Symmetric Encryption Key derivation": two spellings of one passphrase.
TEST(EncryptedKey, TakesAPassphraseInAnyUnicodeForm) {
  FixedEntropy entropy(6);
  const char* typed = "\xE2\x84\xAB\xE2\x84\xA6\xE1\xBA\x9B\xCC\xA3";   // U+212B U+2126 U+1E9B U+0323
  const char* composed = "\xC3\x85\xCE\xA9\xE1\xB9\xA9";                 // U+00C5 U+03A9 U+1E69
  const std::string text = encrypt_key(sample_key(), typed, entropy, 10).value();
  EXPECT_EQ(decrypt_key(text, composed)->public_hex(), sample_key().public_hex());
  EXPECT_EQ(decrypt_key(text, "AOs").error().code, ErrorCode::refused);
}

TEST(EncryptedKey, RefusesWhatItCannotUse) {
  FixedEntropy entropy(5);
  EXPECT_EQ(encrypt_key(sample_key(), "", entropy).error().code, ErrorCode::usage);
  for (const char* bad : {"two\nlines", "\xFFnot UTF-8", "a\tb", "\x7F"}) {
    EXPECT_EQ(encrypt_key(sample_key(), bad, entropy).error().code, ErrorCode::usage) << bad;
  }
  EXPECT_EQ(encrypt_key(sample_key(), std::string(1025, 'x'), entropy).error().code, ErrorCode::usage);
  std::string altered = nip49;
  altered[40] = altered[40] == 'q' ? 'p' : 'q';
  for (const std::string& text : {altered, std::string(), std::string("ncryptsec1"), std::string(5000, 'q'), std::string("nsec1qqqq")}) {
    const auto key = decrypt_key(text, "nostr");
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().code, ErrorCode::malformed);
  }
}

}  // namespace
}  // namespace assay
