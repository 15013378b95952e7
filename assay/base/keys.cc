#include "assay/base/keys.h"

#include <openssl/crypto.h>
#include <secp256k1.h>
#include <secp256k1_extrakeys.h>
#include <secp256k1_schnorrsig.h>

#include <memory>

namespace assay {
namespace {

struct ContextDeleter {
  void operator()(secp256k1_context* c) const { secp256k1_context_destroy(c); }
};

// Made once and only read afterwards: libsecp256k1 allows concurrent use of a const context.
const secp256k1_context* context() {
  static const std::unique_ptr<secp256k1_context, ContextDeleter> shared(secp256k1_context_create(SECP256K1_CONTEXT_NONE));
  return shared.get();
}

}  // namespace

Result<SecretKey> SecretKey::generate(Entropy& entropy) {
  for (int attempt = 0; attempt < 8; ++attempt) {  // a random 32-byte string is almost never out of range
    auto key = parse(hex(std::span<const std::uint8_t>(entropy.bytes32())));
    if (key) return key;
  }
  return fail(ErrorCode::internal, "the entropy source gives no valid key");
}

Result<SecretKey> SecretKey::parse(std::string_view text) {
  SecretKey key;
  const auto bytes = bytes32_from_hex(text);
  if (!bytes) return fail(ErrorCode::malformed, "a secret key is 64 lowercase hex digits");
  key.secret_ = *bytes;
  secp256k1_keypair pair;
  if (secp256k1_keypair_create(context(), &pair, key.secret_.data()) != 1) {
    return fail(ErrorCode::malformed, "the secret key is not in the range of the curve");
  }
  secp256k1_xonly_pubkey xonly;
  Bytes32 out{};
  if (secp256k1_keypair_xonly_pub(context(), &xonly, nullptr, &pair) != 1 ||
      secp256k1_xonly_pubkey_serialize(context(), out.data(), &xonly) != 1) {
    return fail(ErrorCode::internal, "the public key cannot be derived");
  }
  key.public_hex_ = hex(std::span<const std::uint8_t>(out));
  OPENSSL_cleanse(&pair, sizeof pair);
  return key;
}

SecretKey::~SecretKey() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

Result<std::string> SecretKey::sign(const Bytes32& message, Entropy& entropy) const { return sign_with_aux(message, entropy.bytes32()); }

Result<std::string> SecretKey::sign_with_aux(const Bytes32& message, const Bytes32& aux) const {
  secp256k1_keypair pair;
  if (secp256k1_keypair_create(context(), &pair, secret_.data()) != 1) return fail(ErrorCode::internal, "the key is not valid");
  std::array<std::uint8_t, 64> signature{};
  const int signed_ok = secp256k1_schnorrsig_sign32(context(), signature.data(), message.data(), &pair, aux.data());
  OPENSSL_cleanse(&pair, sizeof pair);
  if (signed_ok != 1) return fail(ErrorCode::internal, "signing failed");
  return hex(std::span<const std::uint8_t>(signature));
}

Result<void> verify_signature(std::string_view public_hex, const Bytes32& message, std::string_view signature_hex) {
  auto key_bytes = bytes32_from_hex(public_hex);
  if (!key_bytes) return std::unexpected(std::move(key_bytes.error()).in("signer"));
  if (!is_hex(signature_hex, 128)) return fail(ErrorCode::malformed, "a signature is 128 lowercase hex digits", "", "signature");
  ASSAY_TRY(const std::string signature, from_hex(signature_hex));
  secp256k1_xonly_pubkey key;
  if (secp256k1_xonly_pubkey_parse(context(), &key, key_bytes->data()) != 1) {
    return fail(ErrorCode::malformed, "the public key is not a point of the curve", "", "signer");
  }
  if (secp256k1_schnorrsig_verify(context(), reinterpret_cast<const unsigned char*>(signature.data()), message.data(), message.size(),
                                  &key) != 1) {
    return fail(ErrorCode::mismatch, "the signature does not match", "the object was changed after it was signed, or signed by another key",
                "signature");
  }
  return {};
}

Result<Bytes32> signing_hash(const Json& object) {
  if (!object.is_object()) return fail(ErrorCode::malformed, "only an object can be signed");
  Json copy = object;
  copy.as_object().erase("signature");
  ASSAY_TRY(const std::string text, canonical(copy));
  return sha256(text);
}

Result<Json> sign_object(Json object, const SecretKey& key, Entropy& entropy) {
  object.set("signer", key.public_hex());
  ASSAY_TRY(const Bytes32 message, signing_hash(object));
  ASSAY_TRY(std::string signature, key.sign(message, entropy));
  object.set("signature", std::move(signature));
  return object;
}

Result<void> verify_object(const Json& object) {
  ASSAY_TRY(const std::string signer, string_member(object, "signer"));
  ASSAY_TRY(const std::string signature, string_member(object, "signature"));
  ASSAY_TRY(const Bytes32 message, signing_hash(object));
  return verify_signature(signer, message, signature);
}

}  // namespace assay
