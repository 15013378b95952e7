#include "assay/nostr/nip44.h"

#include <bit>
#include <memory>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <secp256k1.h>
#include <secp256k1_ecdh.h>

namespace assay {
namespace {

constexpr std::size_t nonce_bytes = 32;
constexpr std::size_t mac_bytes = 32;
constexpr std::size_t payload_bytes_min = 1 + nonce_bytes + 2 + 32 + mac_bytes;

struct ContextDeleter {
  void operator()(secp256k1_context* c) const { secp256k1_context_destroy(c); }
};

const secp256k1_context* context() {
  static const std::unique_ptr<secp256k1_context, ContextDeleter> shared(secp256k1_context_create(SECP256K1_CONTEXT_NONE));
  return shared.get();
}

// The shared point's x as it is: NIP-44 hashes it itself.
int copy_x(unsigned char* output, const unsigned char* x32, const unsigned char*, void*) {
  std::copy(x32, x32 + 32, output);
  return 1;
}

Bytes32 hmac(std::string_view key, std::string_view text) {
  Bytes32 out{};
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(),
       &length);
  return out;
}

std::string_view view(const Bytes32& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// HKDF-Expand to 76 bytes: ChaCha20 key, ChaCha20 nonce, HMAC key.
struct MessageKeys {
  explicit MessageKeys(const ConversationKey& key, std::string_view nonce) {
    std::string block;
    for (char counter = 1; bytes.size() < 76; ++counter) {
      block = std::string(view(hmac(view(key.bytes()), block + std::string(nonce) + counter)));
      bytes += block;
    }
    bytes.resize(76);
    OPENSSL_cleanse(block.data(), block.size());
  }
  ~MessageKeys() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
  MessageKeys(const MessageKeys&) = delete;
  MessageKeys& operator=(const MessageKeys&) = delete;
  std::string_view chacha_key() const { return std::string_view(bytes).substr(0, 32); }
  std::string_view chacha_nonce() const { return std::string_view(bytes).substr(32, 12); }
  std::string_view hmac_key() const { return std::string_view(bytes).substr(44, 32); }

  std::string bytes;
};

Result<std::string> chacha20(const MessageKeys& keys, std::string_view text) {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> cipher(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  const std::string start = std::string(4, '\0') + std::string(keys.chacha_nonce());  // OpenSSL: 32-bit counter, then the nonce
  std::string out(text.size(), '\0');
  int length = 0;
  const auto bytes = [](std::string_view from) { return reinterpret_cast<const unsigned char*>(from.data()); };
  if (!cipher || EVP_EncryptInit_ex(cipher.get(), EVP_chacha20(), nullptr, bytes(keys.chacha_key()), bytes(start)) != 1 ||
      EVP_EncryptUpdate(cipher.get(), reinterpret_cast<unsigned char*>(out.data()), &length, bytes(text), static_cast<int>(text.size())) !=
          1) {
    return fail(ErrorCode::internal, "ChaCha20 failed");
  }
  return out;
}

std::string padded(std::string_view text) {
  std::string out;
  const auto push = [&](std::size_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  };
  if (text.size() < 65536) {
    push(text.size(), 2);
  } else {
    push(0, 2);
    push(text.size(), 4);
  }
  out += text;
  out.append(nip44_padded_length(text.size()) - text.size(), '\0');
  return out;
}

Result<std::string> unpadded(std::string_view bytes) {
  const auto number = [&](std::size_t at, std::size_t count) {
    std::size_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
  };
  std::size_t prefix = 2;
  std::size_t length = number(0, 2);
  if (length == 0 && bytes.size() > 65536) {
    prefix = 6;
    length = number(2, 4);
    if (length < 65536) length = 0;  // the long form is for long texts only
  }
  if (length == 0 || length > bytes.size() - prefix || bytes.size() != prefix + nip44_padded_length(length)) {
    return fail(ErrorCode::malformed, "invalid padding");
  }
  return std::string(bytes.substr(prefix, length));
}

}  // namespace

Result<ConversationKey> ConversationKey::derive(const SecretKey& mine, std::string_view their_public_hex) {
  ASSAY_TRY(const Bytes32 x, bytes32_from_hex(their_public_hex));
  std::array<unsigned char, 33> compressed{2};  // the point with even y
  std::copy(x.begin(), x.end(), compressed.begin() + 1);
  secp256k1_pubkey point;
  if (secp256k1_ec_pubkey_parse(context(), &point, compressed.data(), compressed.size()) != 1) {
    return fail(ErrorCode::malformed, "the public key is no point of the curve");
  }
  Bytes32 shared{};
  if (secp256k1_ecdh(context(), shared.data(), &point, mine.secret().data(), copy_x, nullptr) != 1) {
    return fail(ErrorCode::internal, "the shared key cannot be derived");
  }
  const ConversationKey key(hmac("nip44-v2", view(shared)));
  OPENSSL_cleanse(shared.data(), shared.size());
  return key;
}

ConversationKey::~ConversationKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

std::size_t nip44_padded_length(std::size_t text_bytes) {
  if (text_bytes <= 32) return 32;
  const std::size_t next_power = std::bit_ceil(text_bytes);
  const std::size_t chunk = next_power <= 256 ? 32 : next_power / 8;
  return chunk * ((text_bytes - 1) / chunk + 1);
}

Result<std::string> encrypt_nip44_with_nonce(std::string_view text, const ConversationKey& key, const Bytes32& nonce) {
  if (text.empty()) return fail(ErrorCode::usage, "NIP-44 cannot encrypt an empty text");
  if (text.size() > nip44_text_bytes_max) return fail(ErrorCode::limit_exceeded, "the text is too long to encrypt", "split it");
  const MessageKeys keys(key, view(nonce));
  ASSAY_TRY(const std::string ciphertext, chacha20(keys, padded(text)));
  const std::string covered = std::string(view(nonce)) + ciphertext;
  return base64("\x02" + covered + std::string(view(hmac(keys.hmac_key(), covered))));
}

Result<std::string> encrypt_nip44(std::string_view text, const ConversationKey& key, Entropy& entropy) {
  return encrypt_nip44_with_nonce(text, key, entropy.bytes32());
}

Result<std::string> decrypt_nip44(std::string_view payload, const ConversationKey& key) {
  if (payload.starts_with('#')) return fail(ErrorCode::malformed, "the payload is of a later NIP-44 version", "update this program");
  if (payload.size() < 132) return fail(ErrorCode::malformed, "the payload is too short");
  if (payload.size() > nip44_text_bytes_max / 3 * 5) return fail(ErrorCode::limit_exceeded, "the payload is too long");
  const auto raw = from_base64(payload);
  if (!raw) return fail(ErrorCode::malformed, "the payload is not base64");
  if (raw->size() < payload_bytes_min) return fail(ErrorCode::malformed, "the payload is too short");
  if ((*raw)[0] != 2) return fail(ErrorCode::malformed, "unknown NIP-44 version");
  const std::string_view body = std::string_view(*raw).substr(1, raw->size() - 1 - mac_bytes);
  const MessageKeys keys(key, body.substr(0, nonce_bytes));
  const Bytes32 mac = hmac(keys.hmac_key(), body);
  if (CRYPTO_memcmp(mac.data(), raw->data() + raw->size() - mac_bytes, mac_bytes) != 0) {
    return fail(ErrorCode::mismatch, "the payload does not authenticate", "it was encrypted for another key, or altered");
  }
  ASSAY_TRY(const std::string bytes, chacha20(keys, body.substr(nonce_bytes)));
  return unpadded(bytes);
}

}  // namespace assay
