#pragma once
/// @file
/// A secret key under a passphrase, as Nostr programs exchange it: ncryptsec1… Source: NIP-49 (scrypt, XChaCha20-Poly1305).
///
///     ASSAY_TRY(const std::string text, encrypt_key(key, passphrase, entropy));      // "ncryptsec1…"
///     ASSAY_TRY(const SecretKey same, decrypt_key(text, passphrase));
///
/// A passphrase is brought into Unicode form NFKC first, as NIP-49 asks: however a keyboard composes its letters, it is the same one.
/// Thread safety: pure functions; each call needs 16 MiB a step of `log_n` beyond 14, and a tenth of a second or more.

#include <string>
#include <string_view>

#include "assay/base/keys.h"

namespace assay {

/// Empty, or why this is no passphrase: empty, longer than 1,024 bytes, not UTF-8, with control characters. Errors: `usage`.
Result<void> check_passphrase(std::string_view passphrase);
/// Errors: `usage` (as `check_passphrase`).
Result<std::string> encrypt_key(const SecretKey& key, std::string_view passphrase, Entropy& entropy, int log_n = 16);
/// Errors: `malformed` (no ncryptsec1…, a version or cost that is not known), `refused` (a wrong passphrase, or altered). No error repeats
/// the input.
Result<SecretKey> decrypt_key(std::string_view text, std::string_view passphrase);

}  // namespace assay
