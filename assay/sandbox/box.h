#pragma once
/// @file
/// One job's namespaces, from the launcher's side. Private to the sandbox layer; `run_sandboxed` is the way in.
///
/// Thread safety: one thread. When the object goes, every process of the job is dead and its control group is removed.

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/base/files.h"
#include "assay/sandbox/cgroup.h"
#include "assay/sandbox/plan.h"

namespace assay {

class Box {
 public:
  /// Builds the namespaces and waits until init stands ready (10 s at most). Errors: `unavailable` with what is missing and
  /// what to do, `cancelled`, `timed_out`, `io`.
  static Result<Box> start(const RunShape& shape, const Defences& defences, const Wait& wait, Clock& clock);
  Box(Box&&) noexcept;
  Box& operator=(Box&&) = delete;
  ~Box();

  int control() const { return control_.get(); }
  int pidfd() const { return pidfd_.get(); }
  int folder() const { return folder_.get(); }  ///< the job folder; stays readable after the job is dead
  /// Starts command `index`; both descriptors are the write ends of its streams.
  Result<void> order(std::uint32_t index, int out, int err);
  /// The next report if one has come; nothing if not. An error means that init is gone.
  Result<std::optional<InitReport>> report();
  /// Kills all, and waits until they are dead: false if that took longer than 5 s.
  bool kill();
  /// Control group or sampled; the peak of what was seen so far.
  CgroupUsage usage();
  bool has_cgroup() const { return cgroup_.has_value(); }
  std::int64_t files_bytes() const;  ///< what /job, /tmp and /dev/shm hold
  bool folder_full() const;
  SandboxIsolation isolation() const { return isolation_; }

 private:
  Box() = default;
  Result<void> make_process(PreparedPlan& prepared, const Defences& defences);
  Result<void> prepare_outside(const RunShape& shape, const Defences& defences);
  Result<void> wait_until_ready(const Wait& wait, Clock& clock);
  void describe(const RunShape& shape, const Defences& defences, const PreparedPlan& prepared, const SeccompFilter& filter);

  pid_t pid_ = -1;
  Fd pidfd_;
  Fd control_;
  Fd folder_;
  std::optional<Cgroup> cgroup_;
  std::string cgroup_error_;
  std::string pid_namespace_;
  CgroupUsage peak_;
  bool proc_missing_ = false;
  bool dead_ = false;
  SandboxIsolation isolation_;
};

/// What keeps user namespaces from working here, with the setting to change; "" if nothing is known.
std::string namespace_remedy();

}  // namespace assay
