#pragma once
/// @file
/// A control group of one job, version 2 or 1, below the caller's own. Private to the sandbox layer.
///
/// Thread safety: one thread; the group is removed when the object goes, after its processes have ended.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/result.h"

namespace assay {

struct CgroupLimits {
  std::int64_t memory_bytes = 0;
  double cpus = 0;
  int processes = 0;
};

struct CgroupUsage {
  std::int64_t memory_peak_bytes = 0;
  std::int64_t cpu_us = 0;
  std::int64_t processes = 0;
  std::int64_t oom_kills = 0;
  std::int64_t fork_refusals = 0;
};

class Cgroup {
 public:
  /// Makes the group with its limits and puts `pid` into it. A version whose memory and pids controllers cannot both be used
  /// counts as absent. Errors: `unavailable`, saying what was tried.
  static Result<Cgroup> make(pid_t pid, const CgroupLimits& limits);
  Cgroup(Cgroup&&) noexcept;
  Cgroup& operator=(Cgroup&&) = delete;
  ~Cgroup();

  int version() const { return version_; }
  bool limits_cpu() const { return !cpu_.empty(); }
  CgroupUsage usage() const;
  /// Ends every process of the group at once (version 2, Linux 5.14); elsewhere the PID namespace does it.
  void kill_all() const;

 private:
  explicit Cgroup(int version) : version_(version) {}
  static Result<Cgroup> make_v2(pid_t pid, const CgroupLimits& limits);
  static Result<Cgroup> make_v1(pid_t pid, const CgroupLimits& limits);
  /// Makes the folder and keeps it for removal.
  Result<std::string> add_folder(const std::string& parent, pid_t pid);

  int version_ = 0;
  std::string memory_;  // folder with the memory files; the same for all in version 2
  std::string pids_;
  std::string cpu_;     // empty: not limited
  std::string cpuacct_;
  std::vector<std::string> folders_;
};

}  // namespace assay
