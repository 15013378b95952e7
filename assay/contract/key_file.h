#pragma once
/// @file
/// Secret keys on disk: one file a key, `keys/NAME.key` under the config folder, mode 0600, 64 hex digits and a newline.
/// Nothing here prints a secret, and no error repeats a file's content.
///
///     ASSAY_TRY(const SecretKey key, load_or_create_key(default_key_folder(), "default", entropy));
///
/// Thread safety: free functions; two processes that create one name leave one key, and both get it.

#include <string>
#include <string_view>
#include <vector>

#include "assay/base/keys.h"

namespace assay {

struct KeyInfo {
  std::string name;
  std::string public_hex;
  std::string problem;  ///< why the file cannot be used; empty if it can
};

/// config_folder()/keys
std::string default_key_folder();

/// Makes a new key. Errors: `usage` (a bad name, or the name is taken: nothing is overwritten), `io`.
Result<SecretKey> create_key(const std::string& folder, std::string_view name, Entropy& entropy);
/// Saves a key that came from elsewhere. Errors as `create_key`.
Result<void> import_key(const std::string& folder, std::string_view name, const SecretKey& key);
/// Errors: `io` (missing), `refused` (others may read the file: the remedy is the chmod), `malformed`.
Result<SecretKey> load_key(const std::string& folder, std::string_view name);
Result<SecretKey> load_or_create_key(const std::string& folder, std::string_view name, Entropy& entropy);
/// All keys by name, unusable files included with their problem. A missing folder is an empty list.
Result<std::vector<KeyInfo>> list_keys(const std::string& folder);

}  // namespace assay
