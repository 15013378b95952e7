#pragma once
/// @file
/// SHA-256 and hex. Files and streams are hashed raw; JSON values by `hash()` in json.h.
///
///     sha256_hex("abc");      // "ba7816bf…"
///
/// Thread safety: free functions are pure; a `Sha256` belongs to one thread.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "assay/base/result.h"

namespace assay {

using Bytes32 = std::array<std::uint8_t, 32>;

/// Incremental digest. Move only.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::string_view bytes);
  /// Ends the digest; the object must not be used after.
  Bytes32 finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Bytes32 sha256(std::string_view bytes);
std::string sha256_hex(std::string_view bytes);
/// SHA-256 of a file's bytes as hex. Errors: `io` with the path.
Result<std::string> sha256_file(const std::string& path);

/// Lowercase hex.
std::string hex(std::span<const std::uint8_t> bytes);
std::string hex(std::string_view bytes);
/// Inverse of `hex`: lowercase only. Errors: `malformed` with the column.
Result<std::string> from_hex(std::string_view text);
/// Exactly 32 bytes. Errors as `from_hex`.
Result<Bytes32> bytes32_from_hex(std::string_view text);
/// True for exactly `digits` lowercase hex digits.
bool is_hex(std::string_view text, std::size_t digits);

/// Standard base64, padded.
std::string base64(std::string_view bytes);
/// Errors: `malformed` (length, alphabet, padding, non-zero rest bits).
Result<std::string> from_base64(std::string_view text);

}  // namespace assay
