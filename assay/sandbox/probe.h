#pragma once
/// @file
/// What this machine gives a sandbox; for `assay doctor`. Found by running a real job, not by guessing from settings.
///
///     const SandboxCapabilities can = probe_sandbox(wait, clock);
///     can.available ? can.level : can.problem;
///
/// Thread safety: a free function.

#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/base/json.h"

namespace assay {

struct SandboxCapabilities {
  bool available = false;
  std::string level;                 ///< "full", "strong" or "none"
  std::string cgroup;                ///< "v2", "v1" or "none"
  int landlock_abi = 0;              ///< 0: none. Not used while jobs have a private root
  std::string kernel;                ///< "6.1.0"
  bool as_root = false;
  std::vector<std::string> missing;  ///< as in a result
  std::string problem;               ///< why it is not available
  std::string remedy;
  std::int64_t start_ms = 0;         ///< how long the probe's job took from request to result
};

/// Runs `true` in a box (10 s at most).
SandboxCapabilities probe_sandbox(const Wait& wait, Clock& clock);
Json to_json(const SandboxCapabilities& capabilities);

}  // namespace assay
