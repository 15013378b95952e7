#pragma once
/// @file
/// A secret key under a passphrase, as Nostr programs exchange it: ncryptsec1… Source: NIP-49 (scrypt, XChaCha20-Poly1305).
///
///     ASSAY_TRY(const std::string text, encrypt_key(key, passphrase, entropy));      // "ncryptsec1…"
///     ASSAY_TRY(const SecretKey same, decrypt_key(text, passphrase));
///
/// Passphrases are ASCII: NIP-49 wants others in Unicode form NFKC, which is not done here, so they are refused.
/// Thread safety: pure functions; each call needs 16 MiB a step of `log_n` beyond 14, and a tenth of a second or more.

#include <string>
#include <string_view>

#include "assay/base/keys.h"

namespace assay {

/// Errors: `usage` (an empty or not ASCII passphrase).
Result<std::string> encrypt_key(const SecretKey& key, std::string_view passphrase, Entropy& entropy, int log_n = 16);
/// Errors: `malformed` (no ncryptsec1…, a version or cost that is not known), `refused` (a wrong passphrase, or altered). No error repeats
/// the input.
Result<SecretKey> decrypt_key(std::string_view text, std::string_view passphrase);

}  // namespace assay
