#pragma once
/// @file
/// BIP-340 keys and signatures over 32-byte messages (Schnorr, secp256k1). Source: BIP-340; libsecp256k1.
///
///     ASSAY_TRY(const SecretKey key, SecretKey::generate(entropy));
///     ASSAY_TRY(const std::string sig, key.sign(sha256("text"), entropy));
///     verify_signature(key.public_hex(), sha256("text"), sig);     // Result<void>
///
/// Thread safety: a SecretKey may be used from many threads. It is wiped when destroyed and is never printed.

#include <string>
#include <string_view>

#include "assay/base/json.h"
#include "assay/base/random.h"

namespace assay {

class SecretKey {
 public:
  static Result<SecretKey> generate(Entropy& entropy);
  /// 64 lowercase hex digits. Errors: `malformed`; the message never repeats the input.
  static Result<SecretKey> parse(std::string_view hex);
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();
  const std::string& public_hex() const { return public_hex_; }  ///< x-only public key
  /// 128 hex digits. `message` is the 32 bytes signed as they are. Auxiliary bytes come from `entropy`.
  Result<std::string> sign(const Bytes32& message, Entropy& entropy) const;
  Result<std::string> sign_with_aux(const Bytes32& message, const Bytes32& aux) const;
  const Bytes32& secret() const { return secret_; }  ///< for ECDH and for the key file only

 private:
  SecretKey() = default;
  Bytes32 secret_{};
  std::string public_hex_;
};

/// Errors: `malformed` (key or signature is not hex of its length, or no curve point), `mismatch` (does not verify).
Result<void> verify_signature(std::string_view public_hex, const Bytes32& message, std::string_view signature_hex);

/// The message of a signed object: sha256(canonical(object without its top-level "signature")).
Result<Bytes32> signing_hash(const Json& object);
/// Sets "signer" and "signature". `object` must be an object.
Result<Json> sign_object(Json object, const SecretKey& key, Entropy& entropy);
/// Checks "signer" and "signature" of an object. Errors: `mismatch`, `malformed`.
Result<void> verify_object(const Json& object);

}  // namespace assay
