#pragma once
// Opening lanes by name: the registry that the top of the program builds.
#include "assay/cli/open.h"

namespace assay {

/// Models that the set-up knows (models.json), with where their files are.
struct KnownModel {
  std::string name, path, licence, sha256;
  bool is_default = false, present = false;
};
Result<std::vector<KnownModel>> known_models();

}  // namespace assay
