#pragma once
/// @file
/// Bech32 (BIP-173) without the 90 character limit, as BOLT11 and NIP-19 use it: a readable prefix and groups of five bits.
///
///     ASSAY_TRY(const Bech32 parts, read_bech32(invoice));      // {"lnbcrt10n", groups without the checksum}
///     write_bech32(parts);                                      // the same text, lower case
///
/// Thread safety: pure functions.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/result.h"

namespace assay {

struct Bech32 {
  std::string prefix;                ///< lower case
  std::vector<std::uint8_t> groups;  ///< values 0 … 31, checksum taken off
};

/// Errors: `malformed` (mixed case, no separator, a character outside the alphabet: with its column; wrong checksum),
/// `limit_exceeded` (longer than `bytes_max`).
Result<Bech32> read_bech32(std::string_view text, std::size_t bytes_max);
std::string write_bech32(const Bech32& parts);

/// Packs groups into bytes. `strict`: at most four rest bits, all zero (BIP-173); otherwise the rest is padded with zero bits.
/// Errors: `malformed` (strict only).
Result<std::string> pack_groups(std::span<const std::uint8_t> groups, bool strict);
/// Bytes into groups, zero bits at the end.
std::vector<std::uint8_t> unpack_bytes(std::string_view bytes);

}  // namespace assay
