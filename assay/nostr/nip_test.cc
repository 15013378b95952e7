// NIP-19 and NIP-44 against published vectors (the whole file when it is present) and hostile input.
#include <gtest/gtest.h>

#include "assay/base/files.h"
#include "assay/nostr/nip19.h"
#include "assay/nostr/nip44.h"

namespace assay {
namespace {

TEST(Nip19, ReadsBackWhatItWritesAndTheNipsExamples) {
  const std::string hex = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
  EXPECT_EQ(encode_npub(hex).value(), "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg");
  EXPECT_EQ(read_public_key("npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg").value(), hex);
  EXPECT_EQ(read_public_key(hex).value(), hex);
  const auto secret = read_secret_key("nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5");
  ASSERT_TRUE(secret.has_value());
  EXPECT_EQ(assay::hex(std::span<const std::uint8_t>(secret->secret())),
            "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa");
  EXPECT_EQ(encode_nsec(*secret).value(), "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5");
  EXPECT_EQ(read_event_id(encode_note(hex).value()).value(), hex);
}

TEST(Nip19, NamesASecretInTheWrongPlaceAndNeverRepeatsIt) {
  const std::string nsec = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5";
  const auto read = read_public_key(nsec);
  ASSERT_FALSE(read.has_value());
  EXPECT_NE(read.error().message.find("secret key"), std::string::npos);
  EXPECT_EQ(read.error().text().find("vl029"), std::string::npos);
  EXPECT_EQ(read_secret_key(nsec.substr(0, 60)).error().text().find("vl029"), std::string::npos);
}

TEST(Nip19, RefusesBrokenText) {
  const std::string npub = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";
  for (const std::string& text :
       {std::string(), npub.substr(1), npub.substr(0, npub.size() - 1), npub + "q", "note" + npub.substr(4),
        std::string("npub1") + std::string(5000, 'q'), std::string(63, 'a'), std::string(64, 'A'), std::string(64, 'g')}) {
    EXPECT_EQ(read_public_key(text).error().code, ErrorCode::malformed) << text.substr(0, 80);
  }
}

Bytes32 bytes(const Json& vector, std::string_view name) { return bytes32_from_hex(vector.at(name).as_string()).value(); }

TEST(Nip44, TheFirstPublishedVector) {
  const auto one = SecretKey::parse("0000000000000000000000000000000000000000000000000000000000000001").value();
  const auto two = SecretKey::parse("0000000000000000000000000000000000000000000000000000000000000002").value();
  const auto key = ConversationKey::derive(one, two.public_hex()).value();
  EXPECT_EQ(hex(std::span<const std::uint8_t>(key.bytes())), "c41c775356fd92eadc63ff5a0dc1da211b268cbea22316767095b2871ea1412d");
  EXPECT_EQ(ConversationKey::derive(two, one.public_hex()).value().bytes(), key.bytes());
  Bytes32 nonce{};
  nonce[31] = 1;
  const std::string payload =
      "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABee0G5VSK0/"
      "9YypIObAtDKfYEAjD35uVkHyB0F4DwrcNaCXlCWZKaArsGrY6M9wnuTMxWfp1RTN9Xga8no+kF5Vsb";
  EXPECT_EQ(encrypt_nip44_with_nonce("a", key, nonce).value(), payload);
  EXPECT_EQ(decrypt_nip44(payload, key).value(), "a");
}

TEST(Nip44, EveryPublishedVectorHoldsWhenTheFileIsThere) {
  const std::string path = std::string(ASSAY_SOURCE_DIR) + "/../shared/vectors/nip44.json";
  const auto text = read_file(path);
  if (!text) GTEST_SKIP() << "no vectors at " << path;
  const Json file = read_json(*text).value();
  const Json& valid = file.at("v2").at("valid");
  for (const Json& v : valid.at("get_conversation_key").as_list()) {
    const auto key = ConversationKey::derive(SecretKey::parse(v.at("sec1").as_string()).value(), v.at("pub2").as_string());
    ASSERT_TRUE(key.has_value());
    EXPECT_EQ(key->bytes(), bytes(v, "conversation_key"));
  }
  for (const Json& v : valid.at("calc_padded_len").as_list()) {
    EXPECT_EQ(nip44_padded_length(static_cast<std::size_t>(v.as_list()[0].as_int())), static_cast<std::size_t>(v.as_list()[1].as_int()));
  }
  for (const Json& v : valid.at("encrypt_decrypt").as_list()) {
    const auto one = SecretKey::parse(v.at("sec1").as_string()).value(), two = SecretKey::parse(v.at("sec2").as_string()).value();
    const auto key = ConversationKey::derive(one, two.public_hex()).value();
    EXPECT_EQ(key.bytes(), bytes(v, "conversation_key"));
    EXPECT_EQ(encrypt_nip44_with_nonce(v.at("plaintext").as_string(), key, bytes(v, "nonce")).value(), v.at("payload").as_string());
    EXPECT_EQ(decrypt_nip44(v.at("payload").as_string(), key).value(), v.at("plaintext").as_string());
  }
  for (const Json& v : valid.at("encrypt_decrypt_long_msg").as_list()) {
    std::string text_in;
    for (std::int64_t i = 0; i < v.at("repeat").as_int(); ++i) text_in += v.at("pattern").as_string();
    EXPECT_EQ(sha256_hex(text_in), v.at("plaintext_sha256").as_string());
    const auto payload = encrypt_nip44_with_nonce(text_in, ConversationKey::of(bytes(v, "conversation_key")), bytes(v, "nonce")).value();
    EXPECT_EQ(sha256_hex(payload), v.at("payload_sha256").as_string());
  }
  const Json& invalid = file.at("v2").at("invalid");
  for (const Json& v : invalid.at("get_conversation_key").as_list()) {
    const auto secret = SecretKey::parse(v.at("sec1").as_string());
    EXPECT_FALSE(secret && ConversationKey::derive(*secret, v.at("pub2").as_string())) << v.at("note").as_string();
  }
  for (const Json& v : invalid.at("decrypt").as_list()) {
    EXPECT_FALSE(decrypt_nip44(v.at("payload").as_string(), ConversationKey::of(bytes(v, "conversation_key"))).has_value())
        << v.at("note").as_string();
  }
}

TEST(Nip44, LongTextsUseTheLongPrefixAndComeBack) {
  FixedEntropy entropy(1);
  const auto key = ConversationKey::of(entropy.bytes32());
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{32}, std::size_t{33}, std::size_t{65535}, std::size_t{65536}, std::size_t{65537}}) {
    const std::string text(size, 'x');
    const auto payload = encrypt_nip44(text, key, entropy);
    ASSERT_TRUE(payload.has_value());
    EXPECT_EQ(decrypt_nip44(*payload, key).value(), text);
  }
  EXPECT_EQ(encrypt_nip44("", key, entropy).error().code, ErrorCode::usage);
  EXPECT_EQ(encrypt_nip44(std::string(nip44_text_bytes_max + 1, 'x'), key, entropy).error().code, ErrorCode::limit_exceeded);
}

TEST(Nip44, AnyAlteredByteIsNoticed) {
  FixedEntropy entropy(2);
  const auto key = ConversationKey::of(entropy.bytes32());
  const std::string raw = from_base64(encrypt_nip44("secret", key, entropy).value()).value();
  for (std::size_t i = 0; i < raw.size(); ++i) {
    std::string altered = raw;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    EXPECT_FALSE(decrypt_nip44(base64(altered), key).has_value()) << i;
  }
}

}  // namespace
}  // namespace assay
