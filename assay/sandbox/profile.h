#pragma once
/// @file
/// How much of a machine a job may use. Source: the plan's Phase 3; figures of openagents' Pylon profiles.
///
///     const SandboxProfile profile = SandboxProfile::Small;
///     ASSAY_TRY(const SandboxProfile named, sandbox_profile("medium"));
///
/// Thread safety: values.

#include <cstdint>
#include <string_view>

#include "assay/base/result.h"

namespace assay {

/// The most that a request may ask for; a request that asks for more is refused by name.
struct SandboxProfile {
  std::string_view name;       ///< "small", "medium" or "large"
  int vcpus = 1;
  std::int64_t memory_mb = 0;  ///< MiB, files of the job included (they are kept in memory)
  std::int64_t wall_seconds = 0;
  std::int64_t disk_mb = 0;    ///< MiB
  int processes = 0;           ///< processes and threads alive at once

  static const SandboxProfile Small;
  static const SandboxProfile Medium;
  static const SandboxProfile Large;
};

inline constexpr SandboxProfile SandboxProfile::Small{"small", 1, 1024, 60, 5120, 128};
inline constexpr SandboxProfile SandboxProfile::Medium{"medium", 2, 4096, 120, 8192, 256};
inline constexpr SandboxProfile SandboxProfile::Large{"large", 4, 8192, 300, 10240, 512};

/// The profile of that name ("Small" is read as "small"). Errors: `usage`, with the names there are.
Result<SandboxProfile> sandbox_profile(std::string_view name);

}  // namespace assay
