#pragma once
/// @file
/// ECDSA with key recovery for invoices. Private to market; the only place that uses libsecp256k1's recovery module.
///
/// Thread safety: pure functions.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "assay/base/keys.h"

namespace assay {

/// R ‖ S ‖ recovery id.
using RecoverableSignature = std::array<std::uint8_t, 65>;

/// Deterministic (RFC 6979), low S. Errors: `internal`.
Result<RecoverableSignature> sign_recoverable(const Bytes32& hash, const SecretKey& key);
/// The compressed key that made the signature, 66 hex digits; low and high S are accepted. Errors: `mismatch`.
Result<std::string> recover_key(const Bytes32& hash, std::span<const std::uint8_t, 65> signature);
/// Checks against a named key; a high S is refused. Errors: `malformed` (no such key), `mismatch`.
Result<void> verify_with_key(const Bytes32& hash, std::span<const std::uint8_t, 65> signature, std::string_view key_hex);
/// The compressed public key, 66 hex digits. Errors: `internal`.
Result<std::string> compressed_key(const SecretKey& key);

}  // namespace assay
