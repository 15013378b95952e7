#include "assay/market/bolt11_signature.h"

#include <secp256k1.h>
#include <secp256k1_recovery.h>

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

Result<std::string> serialized(const secp256k1_pubkey& key) {
  std::array<std::uint8_t, 33> out{};
  std::size_t size = out.size();
  if (secp256k1_ec_pubkey_serialize(context(), out.data(), &size, &key, SECP256K1_EC_COMPRESSED) != 1 || size != out.size()) {
    return fail(ErrorCode::internal, "a public key cannot be written");
  }
  return hex(std::span<const std::uint8_t>(out));
}

}  // namespace

Result<RecoverableSignature> sign_recoverable(const Bytes32& hash, const SecretKey& key) {
  secp256k1_ecdsa_recoverable_signature made;
  if (secp256k1_ecdsa_sign_recoverable(context(), &made, hash.data(), key.secret().data(), nullptr, nullptr) != 1) {
    return fail(ErrorCode::internal, "signing failed");
  }
  RecoverableSignature out{};
  int recovery = 0;
  secp256k1_ecdsa_recoverable_signature_serialize_compact(context(), out.data(), &recovery, &made);
  out[64] = static_cast<std::uint8_t>(recovery);
  return out;
}

Result<std::string> recover_key(const Bytes32& hash, std::span<const std::uint8_t, 65> signature) {
  secp256k1_ecdsa_recoverable_signature parsed;
  secp256k1_pubkey key;
  if (signature[64] > 3 || secp256k1_ecdsa_recoverable_signature_parse_compact(context(), &parsed, signature.data(), signature[64]) != 1 ||
      secp256k1_ecdsa_recover(context(), &key, &parsed, hash.data()) != 1) {
    return fail(ErrorCode::mismatch, "no key can be recovered from the signature", "ask the payee for another invoice", "signature");
  }
  return serialized(key);
}

Result<void> verify_with_key(const Bytes32& hash, std::span<const std::uint8_t, 65> signature, std::string_view key_hex) {
  ASSAY_TRY(const std::string bytes, from_hex(key_hex));
  secp256k1_pubkey key;
  if (bytes.size() != 33 ||
      secp256k1_ec_pubkey_parse(context(), &key, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) != 1) {
    return fail(ErrorCode::malformed, "the payee is no point of the curve", {}, "n");
  }
  secp256k1_ecdsa_signature parsed;
  if (secp256k1_ecdsa_signature_parse_compact(context(), &parsed, signature.data()) != 1 ||
      secp256k1_ecdsa_verify(context(), &parsed, hash.data(), &key) != 1) {
    return fail(ErrorCode::mismatch, "the signature is not the named payee's", "the invoice was changed, or made by someone else",
                "signature");
  }
  return {};
}

Result<std::string> compressed_key(const SecretKey& key) {
  secp256k1_pubkey made;
  if (secp256k1_ec_pubkey_create(context(), &made, key.secret().data()) != 1)
    return fail(ErrorCode::internal, "the public key cannot be derived");
  return serialized(made);
}

}  // namespace assay
