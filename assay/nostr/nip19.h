#pragma once
/// @file
/// NIP-19: keys and ids as people copy them (npub1…, nsec1…, note1…). For display and input only, never on the wire.
///
///     ASSAY_TRY(const std::string text, encode_npub(key.public_hex()));
///     ASSAY_TRY(const std::string hex, read_public_key("npub1…"));      // hex is read too
///
/// Thread safety: pure functions.

#include <string>
#include <string_view>

#include "assay/base/keys.h"

namespace assay {

// Errors: `malformed`, if the hex is not 64 lowercase digits.
Result<std::string> encode_npub(std::string_view public_hex);
Result<std::string> encode_note(std::string_view id_hex);
/// A secret: show it only where a person asked for it.
Result<std::string> encode_nsec(const SecretKey& key);

/// npub1… or 64 hex digits, as hex. Errors: `malformed` (an nsec given by mistake is named as such and never repeated).
Result<std::string> read_public_key(std::string_view text);
/// note1… or 64 hex digits, as hex.
Result<std::string> read_event_id(std::string_view text);
/// nsec1… or 64 hex digits. Errors: `malformed`; the message never repeats the input.
Result<SecretKey> read_secret_key(std::string_view text);

}  // namespace assay
