#pragma once
/// @file
/// Secret keys on disk: one file a key, `keys/NAME.key` under the config folder, mode 0600. Plain: 64 hex digits and a newline. Under a
/// passphrase: the ncryptsec1… of NIP-49 and a newline, then the public key in 64 hex digits and a newline, so that lists and trust need
/// no passphrase.
/// Nothing here prints a secret, and no error repeats a file's content.
///
///     ASSAY_TRY(const SecretKey key, load_or_create_key(default_key_folder(), "default", entropy));
///
/// Thread safety: free functions; two processes that create one name leave one key, and both get it.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/keys.h"
#include "assay/base/secret_text.h"

namespace assay {

struct KeyInfo {
  std::string name;
  std::string public_hex;
  std::string problem;  ///< why the file cannot be used; empty if it can
  bool encrypted = false;
};

/// Where the passphrase of a key comes from. Asked only when the file is under one.
using AskPassphrase = std::function<Result<SecretText>(std::string_view key_name)>;

/// config_folder()/keys
std::string default_key_folder();

/// Makes a new key. Errors: `usage` (a bad name, or the name is taken: nothing is overwritten), `io`.
Result<SecretKey> create_key(const std::string& folder, std::string_view name, Entropy& entropy);
/// Saves a key that came from elsewhere. Errors as `create_key`.
Result<void> import_key(const std::string& folder, std::string_view name, const SecretKey& key);
/// As `import_key`, under a passphrase: `encrypted` is the key's ncryptsec1… (`encrypt_key`, or as it came from elsewhere).
Result<void> import_encrypted_key(const std::string& folder, std::string_view name, const SecretKey& key, std::string_view encrypted);
/// Errors: `io` (missing), `malformed`, `refused` (others may read the file: the remedy is the chmod; or the passphrase is wrong),
/// `usage` (under a passphrase, and `ask` is empty), `mismatch` (the public key beside an encrypted key is another's), those of `ask`.
Result<SecretKey> load_key(const std::string& folder, std::string_view name, const AskPassphrase& ask = {});
Result<SecretKey> load_or_create_key(const std::string& folder, std::string_view name, Entropy& entropy, const AskPassphrase& ask = {});
/// The ncryptsec1… of a key under a passphrase; empty for a plain one. Errors as `load_key`.
Result<std::string> encrypted_text(const std::string& folder, std::string_view name);
/// Puts a key under a passphrase (`encrypted`, of this very key), or takes it out (empty): the file is replaced, by rename. What a disk
/// keeps of a replaced file is the disk's: a plain key that was there may still be found on it.
Result<void> replace_key(const std::string& folder, std::string_view name, const SecretKey& key, std::string_view encrypted);
/// All keys by name, unusable files included with their problem. A missing folder is an empty list.
Result<std::vector<KeyInfo>> list_keys(const std::string& folder);

}  // namespace assay
