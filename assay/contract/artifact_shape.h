#pragma once
/// @file
/// The shape of `assay.module/1`: what `Artifact::read` checks. Used by artifact.cc only.

#include "assay/base/json.h"

namespace assay {

/// Errors: `malformed` with the place. Unknown members, kinds, renderers and readers pass.
Result<void> check_artifact_shape(const Json& artifact);

/// Also used for signatures outside an artifact (program files, tests).
Result<void> check_signature_shape(const Json& signature, const std::string& path);

/// The signature of the predictor at or under `path` (first of `over`, again and again); nullptr if the path leads nowhere.
const Json* signature_under(const Json& artifact, std::string_view path);

}  // namespace assay
