#pragma once
// Where a passphrase comes from: --passphrase-file, $ASSAY_PASSPHRASE_FILE, or a person at the terminal, without echo. Never an argument
// and never the environment itself: both can be read by others on the machine, and shells keep them.
#include "assay/cli/cli.h"
#include "assay/contract/key_file.h"

namespace assay {

enum class PassphraseUse { open_key, set };  ///< `set`: a person types it twice

/// `what` is shown to the person: "key 'release'". Errors: `usage` (nobody to ask, or what was given is no passphrase), `refused` (others
/// may read the file), `io`, `cancelled`, `timed_out`.
Result<SecretText> ask_passphrase(std::string_view what, PassphraseUse use, Cli& cli);

/// A line from the terminal that is not shown while it is typed. Errors: `usage` (no terminal), `cancelled`, `timed_out`.
Result<SecretText> ask_hidden(std::string_view prompt, Cli& cli);

/// The key of this name, its passphrase asked for once a process if it has one. From then on the process writes no core file.
Result<SecretKey> unlock_key(const std::string& name, bool make_if_missing, Cli& cli);

}  // namespace assay
