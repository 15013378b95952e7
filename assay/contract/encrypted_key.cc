#include "assay/contract/encrypted_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "assay/base/bech32.h"
#include "assay/base/secret_text.h"

namespace assay {
namespace {

constexpr std::uint8_t version = 2;
constexpr std::size_t salt_bytes = 16, nonce_bytes = 24, tag_bytes = 16, secret_bytes = 32;
constexpr std::size_t sealed_bytes = 2 + salt_bytes + nonce_bytes + 1 + secret_bytes + tag_bytes;
constexpr int log_n_least = 10, log_n_most = 20;  // 1 MiB … 1 GiB
constexpr std::uint8_t handling_unknown = 2;      // NIP-49: nobody says whether the key was ever handled insecurely

using Key = std::array<std::uint8_t, 32>;

std::uint32_t word_at(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 | std::uint32_t{bytes[3]} << 24;
}

void quarter(std::array<std::uint32_t, 16>& s, int a, int b, int c, int d) {
  s[a] += s[b], s[d] = std::rotl(s[d] ^ s[a], 16);
  s[c] += s[d], s[b] = std::rotl(s[b] ^ s[c], 12);
  s[a] += s[b], s[d] = std::rotl(s[d] ^ s[a], 8);
  s[c] += s[d], s[b] = std::rotl(s[b] ^ s[c], 7);
}

// HChaCha20 (draft-irtf-cfrg-xchacha): a key of its own from the front of a long nonce. OpenSSL has ChaCha20 with short nonces only.
Key short_nonce_key(const Key& key, const std::uint8_t* nonce) {
  std::array<std::uint32_t, 16> state{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  for (int i = 0; i < 8; ++i) state[static_cast<std::size_t>(4 + i)] = word_at(key.data() + 4 * i);
  for (int i = 0; i < 4; ++i) state[static_cast<std::size_t>(12 + i)] = word_at(nonce + 4 * i);
  for (int round = 0; round < 10; ++round) {
    quarter(state, 0, 4, 8, 12), quarter(state, 1, 5, 9, 13), quarter(state, 2, 6, 10, 14), quarter(state, 3, 7, 11, 15);
    quarter(state, 0, 5, 10, 15), quarter(state, 1, 6, 11, 12), quarter(state, 2, 7, 8, 13), quarter(state, 3, 4, 9, 14);
  }
  Key out;
  for (std::size_t i = 0; i < 8; ++i) {
    const std::uint32_t word = state[i < 4 ? i : i + 8];
    for (std::size_t k = 0; k < 4; ++k) out[4 * i + k] = static_cast<std::uint8_t>(word >> (8 * k));
  }
  return out;
}

// Unicode form NFKC, in memory that is wiped: code points first, which utf8proc then writes back as UTF-8 in the same place.
Result<SecretText> normalised(std::string_view passphrase) {
  ASSAY_CHECK(check_passphrase(passphrase));
  constexpr auto nfkc = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(passphrase.data());
  const auto size = static_cast<utf8proc_ssize_t>(passphrase.size());
  const utf8proc_ssize_t points = utf8proc_decompose(bytes, size, nullptr, 0, nfkc);
  if (points < 0) return fail(ErrorCode::usage, "the passphrase is not Unicode text", "UTF-8");
  std::vector<utf8proc_int32_t> room(static_cast<std::size_t>(points) + 1);  // and a NUL, which reencode adds
  utf8proc_ssize_t length = utf8proc_decompose(bytes, size, room.data(), points, nfkc);
  if (length >= 0) length = utf8proc_reencode(room.data(), length, nfkc);
  std::string text = length > 0 ? std::string(reinterpret_cast<const char*>(room.data()), static_cast<std::size_t>(length)) : std::string();
  OPENSSL_cleanse(room.data(), room.size() * sizeof room[0]);
  if (length <= 0) return fail(ErrorCode::usage, "the passphrase is not Unicode text", "UTF-8");
  return SecretText(std::move(text));
}

Result<Key> stretched(std::string_view typed, const std::uint8_t* salt, int log_n) {
  ASSAY_TRY(const SecretText normal, normalised(typed));
  const std::string_view passphrase = normal.view();
  Key key{};
  const std::uint64_t n = std::uint64_t{1} << log_n;
  const std::uint64_t memory = 128 * 8 * (n + 4) + (std::uint64_t{1} << 20);
  if (EVP_PBE_scrypt(passphrase.data(), passphrase.size(), salt, salt_bytes, n, 8, 1, memory, key.data(), key.size()) == 1) return key;
  return fail(ErrorCode::io, "there is not enough memory to use the passphrase", "free some");
}

struct CipherDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

// Encrypts or decrypts 32 bytes in place; the tag is written, or checked. False: it does not fit.
bool chacha(bool encrypt, const Key& key, const std::uint8_t* nonce, std::uint8_t associated, std::uint8_t* secret, std::uint8_t* tag) {
  const Key own = short_nonce_key(key, nonce);
  std::array<std::uint8_t, 12> rest{};
  std::memcpy(rest.data() + 4, nonce + 16, 8);
  const std::unique_ptr<EVP_CIPHER_CTX, CipherDeleter> context(EVP_CIPHER_CTX_new());
  int length = 0;
  std::uint8_t nothing[16];
  return context != nullptr &&
         EVP_CipherInit_ex(context.get(), EVP_chacha20_poly1305(), nullptr, own.data(), rest.data(), encrypt ? 1 : 0) == 1 &&
         EVP_CipherUpdate(context.get(), nullptr, &length, &associated, 1) == 1 &&
         EVP_CipherUpdate(context.get(), secret, &length, secret, static_cast<int>(secret_bytes)) == 1 &&
         (encrypt || EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag) == 1) &&
         EVP_CipherFinal_ex(context.get(), nothing, &length) == 1 &&
         (!encrypt || EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag_bytes, tag) == 1);
}

}  // namespace

Result<void> check_passphrase(std::string_view passphrase) {
  if (passphrase.empty()) return fail(ErrorCode::usage, "an empty passphrase protects nothing", "choose one");
  if (passphrase.size() > 1024) return fail(ErrorCode::usage, "a passphrase has at most 1,024 bytes", "choose a shorter one");
  if (!valid_utf8(passphrase)) return fail(ErrorCode::usage, "the passphrase is not Unicode text", "UTF-8");
  if (std::any_of(passphrase.begin(), passphrase.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; }))
    return fail(ErrorCode::usage, "the passphrase has control characters in it", "one line of text, without tabs");
  return {};
}

Result<std::string> encrypt_key(const SecretKey& key, std::string_view passphrase, Entropy& entropy, int log_n) {
  ASSAY_CHECK(check_passphrase(passphrase));
  if (log_n < log_n_least || log_n > log_n_most) return fail(ErrorCode::usage, "the cost of a passphrase lies between 10 and 20");
  std::array<std::uint8_t, sealed_bytes> sealed{version, static_cast<std::uint8_t>(log_n)};
  std::uint8_t* const salt = sealed.data() + 2;
  std::uint8_t* const nonce = salt + salt_bytes;
  std::uint8_t* const handling = nonce + nonce_bytes;
  entropy.fill({salt, salt_bytes});
  entropy.fill({nonce, nonce_bytes});
  *handling = handling_unknown;
  std::memcpy(handling + 1, key.secret().data(), secret_bytes);
  ASSAY_TRY(Key stretched_key, stretched(passphrase, salt, log_n));
  const bool good = chacha(true, stretched_key, nonce, *handling, handling + 1, handling + 1 + secret_bytes);
  OPENSSL_cleanse(stretched_key.data(), stretched_key.size());
  if (!good) return fail(ErrorCode::internal, "the key could not be encrypted");
  return write_bech32({"ncryptsec", unpack_bytes({reinterpret_cast<const char*>(sealed.data()), sealed.size()})});
}

Result<SecretKey> decrypt_key(std::string_view text, std::string_view passphrase) {
  const auto unreadable = [] { return fail(ErrorCode::malformed, "this is no encrypted key", "ncryptsec1… (NIP-49)"); };
  const auto parts = read_bech32(text, 512);
  if (!parts || parts->prefix != "ncryptsec") return unreadable();
  const auto bytes = pack_groups(parts->groups, true);
  if (!bytes || bytes->size() != sealed_bytes) return unreadable();
  std::array<std::uint8_t, sealed_bytes> sealed;
  std::memcpy(sealed.data(), bytes->data(), sealed_bytes);
  const int log_n = sealed[1];
  if (sealed[0] != version || log_n < 1 || log_n > log_n_most)
    return fail(ErrorCode::malformed, "the encrypted key has a version or cost that is not known here", "version 2, cost at most 20");
  ASSAY_CHECK(check_passphrase(passphrase));
  std::uint8_t* const salt = sealed.data() + 2;
  std::uint8_t* const nonce = salt + salt_bytes;
  std::uint8_t* const handling = nonce + nonce_bytes;
  ASSAY_TRY(Key stretched_key, stretched(passphrase, salt, log_n));
  const bool good = chacha(false, stretched_key, nonce, *handling, handling + 1, handling + 1 + secret_bytes);
  OPENSSL_cleanse(stretched_key.data(), stretched_key.size());
  if (!good) return fail(ErrorCode::refused, "the passphrase is wrong, or the encrypted key was altered", "try again");
  std::string plain = hex(std::span<const std::uint8_t>(handling + 1, secret_bytes));
  auto key = SecretKey::parse(plain);
  OPENSSL_cleanse(plain.data(), plain.size());
  OPENSSL_cleanse(sealed.data(), sealed.size());
  return key;
}

}  // namespace assay
