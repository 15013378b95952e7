#pragma once
/// @file
/// NIP-44 version 2: text encrypted between two keys (ECDH on secp256k1, HKDF, ChaCha20, HMAC-SHA-256, padded lengths).
///
///     ASSAY_TRY(const ConversationKey key, ConversationKey::derive(mine, their_public_hex));
///     ASSAY_TRY(const std::string payload, encrypt_nip44("hello", key, entropy));
///     ASSAY_TRY(const std::string text, decrypt_nip44(payload, key));
///
/// Verify the signature of the event around a payload first. Thread safety: values and pure functions.

#include <string>
#include <string_view>

#include "assay/base/keys.h"

namespace assay {

/// The same for both sides; wiped when destroyed.
class ConversationKey {
 public:
  /// Errors: `malformed` (the public key is no point of the curve).
  static Result<ConversationKey> derive(const SecretKey& mine, std::string_view their_public_hex);
  /// For vectors: 32 bytes as they are.
  static ConversationKey of(const Bytes32& bytes) { return ConversationKey(bytes); }
  ConversationKey(const ConversationKey&) = default;
  ConversationKey& operator=(const ConversationKey&) = default;
  ~ConversationKey();
  const Bytes32& bytes() const { return bytes_; }

 private:
  explicit ConversationKey(const Bytes32& bytes) : bytes_(bytes) {}
  Bytes32 bytes_{};
};

inline constexpr std::size_t nip44_text_bytes_max = std::size_t{16} << 20;  ///< ours; the format allows 2^32−1

/// Errors: `usage` (empty text), `limit_exceeded`. Peers of before 2026-06 read at most 65535 bytes.
Result<std::string> encrypt_nip44(std::string_view text, const ConversationKey& key, Entropy& entropy);
/// With a nonce of the caller's: for vectors only. A nonce used twice gives both texts away.
Result<std::string> encrypt_nip44_with_nonce(std::string_view text, const ConversationKey& key, const Bytes32& nonce);
/// Errors: `malformed` (version, base64, length, padding), `mismatch` (the MAC: another key, or altered), `limit_exceeded`.
Result<std::string> decrypt_nip44(std::string_view payload, const ConversationKey& key);

/// Length of the padded text, without its length prefix.
std::size_t nip44_padded_length(std::size_t text_bytes);

}  // namespace assay
