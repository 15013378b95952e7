#pragma once
/// @file
/// A request after every field has been honoured or refused: the numbers and texts a run really uses. Private to the layer.

#include <cstdint>
#include <string>
#include <vector>

#include "assay/sandbox/limits.h"
#include "assay/sandbox/profile.h"
#include "assay/sandbox/request.h"

namespace assay {

struct RunShape {
  std::int64_t memory_bytes = 0;
  std::int64_t disk_bytes = 0;
  std::int64_t cpu_seconds = 0;
  std::int64_t wall_seconds = 0;
  double cpus = 1;
  int processes = 0;
  int open_files = 0;
  bool loopback = false;
  std::string mount_path;                     ///< "/workspace"
  std::vector<std::string> environment;       ///< "NAME=value", exactly what the job sees
  std::vector<std::string> commands;
  std::vector<std::string> workdirs;          ///< absolute, one for each command
};

/// Errors: `refused`, `limit_exceeded`; the message begins "unsupported: MEMBER=VALUE", the path is the member's.
Result<RunShape> shape_of(const SandboxRunRequest& request, const SandboxProfile& profile, const SandboxLimits& limits);

}  // namespace assay
