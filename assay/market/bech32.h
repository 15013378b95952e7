#pragma once
// Moved to base, since nostr (NIP-19) needs it too.
#include "assay/base/bech32.h"  // IWYU pragma: export
