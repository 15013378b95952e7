#include "assay/base/sha256.h"

// The digest's own functions, as OpenSSL's newer interface allocates and looks its algorithm up for every digest: half a microsecond, as
// much as hashing 700 bytes. They are deprecated there, not gone, and use the same machine instructions.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

namespace assay {
namespace {

constexpr auto hex_pairs = [] {  // the two digits of each byte
  constexpr char digits[] = "0123456789abcdef";
  std::array<std::array<char, 2>, 256> pairs{};
  for (unsigned byte = 0; byte < 256; ++byte) pairs[byte] = {digits[byte >> 4], digits[byte & 15]};
  return pairs;
}();

}  // namespace

struct Sha256::State {
  SHA256_CTX context;
  State() { SHA256_Init(&context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) { SHA256_Update(&state_->context, bytes.data(), bytes.size()); }

Bytes32 Sha256::finish() {
  Bytes32 out{};
  SHA256_Final(out.data(), &state_->context);
  return out;
}

Bytes32 sha256(std::string_view bytes) {
  SHA256_CTX context;
  Bytes32 out{};
  SHA256_Init(&context);
  SHA256_Update(&context, bytes.data(), bytes.size());
  SHA256_Final(out.data(), &context);
  return out;
}

std::string sha256_hex(std::string_view bytes) { return hex(std::span<const std::uint8_t>(sha256(bytes))); }

Result<std::string> sha256_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) return fail(ErrorCode::io, "the file cannot be opened", "check the path and its permissions", path);
  Sha256 digest;
  std::string buffer(std::size_t{1} << 20, '\0');
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    digest.update(std::string_view(buffer).substr(0, count));
  }
  if (std::ferror(file.get()) != 0) return fail(ErrorCode::io, "the file cannot be read", "", path);
  return hex(std::span<const std::uint8_t>(digest.finish()));
}

std::string hex(std::span<const std::uint8_t> bytes) {
  std::string out(bytes.size() * 2, '\0');
  char* to = out.data();
  for (const std::uint8_t byte : bytes) {
    std::memcpy(to, hex_pairs[byte].data(), 2);
    to += 2;
  }
  return out;
}

std::string hex(std::string_view bytes) { return hex(std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size())); }

Result<std::string> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return fail(ErrorCode::malformed, fmt::format("{} hex digits, expected an even number", text.size()));
  std::string out;
  out.reserve(text.size() / 2);
  unsigned high = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0)
      return fail(ErrorCode::malformed, "expected a lowercase hex digit", "ids and keys are written in 0-9a-f",
                  fmt::format("column {}", i + 1));
    if (i % 2 == 0) high = static_cast<unsigned>(digit);
    else out += static_cast<char>(high * 16 + static_cast<unsigned>(digit));
  }
  return out;
}

Result<Bytes32> bytes32_from_hex(std::string_view text) {
  if (text.size() != 64) return fail(ErrorCode::malformed, fmt::format("{} characters, expected 64 hex digits", text.size()));
  ASSAY_TRY(const std::string bytes, from_hex(text));
  Bytes32 out{};
  for (std::size_t i = 0; i < 32; ++i) out[i] = static_cast<std::uint8_t>(bytes[i]);
  return out;
}

namespace {
std::uint8_t not_hex(char c) {
  const auto decimal = static_cast<std::uint8_t>(c - '0'), letter = static_cast<std::uint8_t>(c - 'a');
  return static_cast<std::uint8_t>((decimal > 9) & (letter > 5));
}
}  // namespace

bool is_hex(std::string_view text, std::size_t digits) {
  if (text.size() != digits) return false;
  // Every digit is looked at, as nearly all texts that come here are hex; of blocks of one size the compiler makes vectors.
  unsigned other = 0;
  constexpr std::size_t block = 16;
  const char* at = text.data();
  for (; digits >= block; digits -= block, at += block) {
    std::uint8_t found = 0;
    for (std::size_t i = 0; i < block; ++i) found |= not_hex(at[i]);
    other |= found;
  }
  for (; digits > 0; --digits, ++at) other |= not_hex(*at);
  return other == 0;
}

std::string base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

Result<std::string> from_base64(std::string_view text) {
  const auto bad = [](std::size_t column) {
    return fail(ErrorCode::malformed, "not standard padded base64", "", fmt::format("column {}", column + 1));
  };
  if (text.size() % 4 != 0) return bad(text.size());
  if (text.empty()) return std::string();
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  const std::size_t wrong =
      text.substr(0, text.size() - padding).find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
  if (wrong != std::string_view::npos) return bad(wrong);
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) return bad(0);
  out.resize(static_cast<std::size_t>(size) - padding);
  if (base64(out) != text) return bad(text.size() - 1);  // non-zero rest bits: one spelling only
  return out;
}

}  // namespace assay
