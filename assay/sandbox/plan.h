#pragma once
/// @file
/// Everything `init_main` reads, with the memory that it points into. Private to the sandbox layer.

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "assay/sandbox/init.h"
#include "assay/sandbox/seccomp.h"
#include "assay/sandbox/shape.h"

namespace assay {

/// What tests may switch off, to show that an attack works without it. Not reachable from the public header.
struct Defences {
  bool seccomp = true;
  bool cgroup = true;        ///< off: limits by rlimits and sampling, as on a machine without control groups
  bool own_network = true;
};

class PreparedPlan {
 public:
  /// Looks at the host's root once; nothing is opened. `as_root`: the launcher may map any user id.
  static std::unique_ptr<PreparedPlan> make(const RunShape& shape, const SeccompFilter& filter, const Defences& defences, bool as_root);
  InitPlan& plan() { return plan_; }
  int cpus_given() const { return cpus_given_; }  ///< fewer than asked for on a smaller machine

 private:
  PreparedPlan() = default;
  const char* keep(std::string text);
  void add_system(const RunShape& shape);
  void add_etc();
  void add_limits(const RunShape& shape);
  void choose_cpus(const RunShape& shape);

  InitPlan plan_;
  std::list<std::string> texts_;  // addresses stay
  std::vector<InitPlan::Folder> folders_;
  std::vector<InitPlan::Bind> binds_;
  std::vector<InitPlan::Device> devices_;
  std::vector<InitPlan::Mount> writable_;
  std::vector<InitPlan::Symlink> symlinks_;
  std::vector<InitPlan::File> files_;
  std::vector<InitPlan::Limit> limits_;
  std::vector<InitPlan::Command> commands_;
  std::vector<const char*> environment_;
  SeccompFilter filter_;
  int cpus_given_ = 0;
};

}  // namespace assay
