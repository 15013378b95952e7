#pragma once
/// @file
/// Reads what a job left in its folder. Private to the sandbox layer.
///
/// The tree is hostile: links, FIFOs, devices, sparse files, names of any bytes, any depth. It must be at rest: call this only
/// after every process of the job has ended.

#include "assay/sandbox/limits.h"
#include "assay/sandbox/request.h"

namespace assay {

struct CollectedArtifacts {
  std::vector<SandboxArtifact> artifacts;  ///< sorted by path
  std::vector<SandboxSkipped> skipped;     ///< sorted by path; at most artifacts_max
  std::int64_t unnamed = 0;                ///< skipped beyond those
};

/// `folder` is a descriptor of the job folder. Never follows a link and never leaves the folder's mount. Errors: `io` (only
/// writing to limits.artifacts_folder).
Result<CollectedArtifacts> collect_artifacts(int folder, const SandboxLimits& limits);

/// Printable ASCII and valid UTF-8 stay; '%', control bytes and the rest become %XX.
std::string percent_encoded(std::string_view name);

}  // namespace assay
