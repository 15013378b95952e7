#include "assay/nostr/nip19.h"

#include <openssl/crypto.h>

#include "assay/base/bech32.h"

namespace assay {
namespace {

constexpr std::size_t text_bytes_max = 128;  // 32 bytes take 63 characters

Result<std::string> encode(std::string_view prefix, std::string_view hex_digits) {
  if (!is_hex(hex_digits, 64)) return fail(ErrorCode::malformed, "expected 64 lowercase hex digits");
  ASSAY_TRY(const std::string bytes, from_hex(hex_digits));
  return write_bech32({std::string(prefix), unpack_bytes(bytes)});
}

// Never repeats the input: it may be a secret pasted into the wrong place.
Result<std::string> decode(std::string_view prefix, std::string_view text) {
  if (is_hex(text, 64)) return std::string(text);
  const std::string expected = std::string("expected ") + std::string(prefix) + "1… or 64 lowercase hex digits";
  const auto parts = read_bech32(text, text_bytes_max);
  if (!parts) return fail(ErrorCode::malformed, expected, "copy it again, whole: a character is missing or wrong");
  if (parts->prefix != prefix) {
    return fail(ErrorCode::malformed, expected + (parts->prefix == "nsec" ? ", found a secret key" : ", found another kind of NIP-19 text"),
                parts->prefix == "nsec" ? "keep it out of arguments and logs; if it was shown to anyone, change the key" : "");
  }
  const auto bytes = pack_groups(parts->groups, true);
  if (!bytes || bytes->size() != 32) return fail(ErrorCode::malformed, expected, "it does not hold 32 bytes");
  return hex(*bytes);
}

}  // namespace

Result<std::string> encode_npub(std::string_view public_hex) { return encode("npub", public_hex); }
Result<std::string> encode_note(std::string_view id_hex) { return encode("note", id_hex); }
Result<std::string> encode_nsec(const SecretKey& key) { return encode("nsec", hex(std::span<const std::uint8_t>(key.secret()))); }

Result<std::string> read_public_key(std::string_view text) { return decode("npub", text); }
Result<std::string> read_event_id(std::string_view text) { return decode("note", text); }

Result<SecretKey> read_secret_key(std::string_view text) {
  ASSAY_TRY(std::string digits, decode("nsec", text));
  auto key = SecretKey::parse(digits);
  OPENSSL_cleanse(digits.data(), digits.size());
  return key;
}

}  // namespace assay
