#pragma once
/// @file
/// What run_sandboxed accepts and keeps, apart from the profile. A value with documented defaults.
///
///     SandboxLimits limits;
///     limits.output_bytes_max = 1 << 20;      // a job that prints more is killed with verdict output_limit
///
/// Thread safety: a value.

#include <cstddef>
#include <cstdint>
#include <string>

namespace assay {

struct SandboxLimits {
  std::size_t commands_max = 64;
  std::size_t command_bytes_max = 120 * 1024;      ///< the kernel takes at most 128 KiB in one argument
  std::size_t env_count_max = 256;
  std::size_t env_bytes_max = 64 * 1024;           ///< names and values together
  std::size_t stored_bytes_max = 64 * 1024;        ///< kept of each stream; all of it is hashed
  std::int64_t output_bytes_max = 64 << 20;        ///< both streams of all commands; more: killed, output_limit
  std::int64_t cpu_seconds = 0;                    ///< of all processes together; 0: timeout_secs × cpus, rounded up
  int processes_max = 0;                           ///< 0: the profile's
  int open_files_max = 1024;                       ///< in one process
  std::size_t artifacts_max = 1000;
  std::int64_t artifact_bytes_max = 64 << 20;      ///< of one file
  std::int64_t artifacts_bytes_max = 256 << 20;    ///< of all files
  int artifact_depth_max = 32;
  std::string artifacts_folder;                    ///< not empty: each artifact is also written there, named by its hash
  int sample_ms = 50;                              ///< how often deadlines, cancellation and usage are looked at
};

}  // namespace assay
