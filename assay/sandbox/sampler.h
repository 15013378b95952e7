#pragma once
/// @file
/// What the processes of a PID namespace use, read from /proc. Private to the sandbox layer.
///
/// Used where control groups cannot be written. Between two samples a job may go over a limit: results say "sampled".

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace assay {

struct TreeUsage {
  std::int64_t memory_bytes = 0;  ///< proportional set sizes, summed
  std::int64_t cpu_us = 0;        ///< of the living, and of the dead that were waited for
  std::int64_t processes = 0;
};

/// The PID namespace of a process as /proc names it ("pid:[4026532281]"), or "".
std::string pid_namespace_of(pid_t pid);

/// Sums over the processes in that namespace; `init` counts too, even where its own link cannot be read.
TreeUsage sample_tree(const std::string& pid_namespace, pid_t init);

}  // namespace assay
