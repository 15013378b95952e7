#pragma once
// Opening lanes by name: the registry that the top of the program builds.
#include "assay/cli/open.h"
#include "assay/market/wallet.h"

namespace assay {

/// Models that the set-up knows (models.json), with where their files are.
struct KnownModel {
  std::string name, path, licence, sha256;
  bool is_default = false, present = false;
};
Result<std::vector<KnownModel>> known_models();

/// The wallet of --issuer, or null without one. The node that first answers at an address is kept in `folder`/issuers.json, and another
/// one there is refused, unless --issuer-node names it. Errors: `mismatch`, `unavailable`.
Result<std::shared_ptr<Wallet>> open_wallet(const CommonOptions& options, const std::string& folder, const SecretKey& key, const Wait& wait,
                                            Cli& cli);

}  // namespace assay
