#pragma once
/// @file
/// The first process of a job's namespaces: builds the private root, drops every right, then starts the commands it is told
/// to start and ends everything that they leave. Private to the sandbox layer.
///
/// `init_main` runs in a copy of the caller's memory, made by clone without exec, in which another thread may have held any
/// lock: it makes system calls only, and everything that it needs is prepared in an `InitPlan` beforehand.

#include <linux/filter.h>
#include <sched.h>
#include <sys/resource.h>

#include <cstdint>

namespace assay {

/// Where setting up can fail. `stage_name` says it in words.
enum class InitStage : std::uint32_t {
  none,
  session,
  identity,
  loopback,
  hostname,
  private_mounts,
  root_tmpfs,
  folders,
  bind,
  device,
  writable,
  job_folder,
  symlinks,
  files,
  pivot,
  read_only_root,
  capabilities,
  no_new_privileges,
  affinity,
  streams,
  workdir,
  limits,
  close_files,
  seccomp,
  exec,
};
const char* stage_name(InitStage stage);

/// What `init_main` needs; arrays end with an entry whose first pointer is null. All paths are relative to the new root.
struct InitPlan {
  struct Folder {
    const char* path;
  };
  struct Bind {
    const char* source;
    const char* target;
    bool folder;
  };        // read-only, recursive
  struct Device {
    const char* source;
    const char* target;
  };
  struct Mount {
    const char* source;
    const char* target;
  };                    // folders of the writable tmpfs
  struct Symlink {
    const char* to;
    const char* path;
  };
  struct File {
    const char* path;
    const char* text;
    std::size_t size;
  };
  struct Limit {
    int resource;
    rlimit value;
  };
  struct Command {
    const char* text;
    const char* workdir;
  };

  const char* staging = "/tmp";  // mounted over in the job's mount namespace only
  const Folder* folders = nullptr;
  const Bind* binds = nullptr;
  const Device* devices = nullptr;
  const char* writable_options = nullptr;  // one tmpfs for all that the job may write, so that one limit holds
  const Mount* writable = nullptr;
  const Symlink* symlinks = nullptr;
  const File* files = nullptr;
  const Limit* limits = nullptr;  // the last one only where there is no control group
  std::size_t limits_count = 0;
  const Command* commands = nullptr;
  const char* const* environment = nullptr;
  sock_fprog list{};       // len 0: not installed (tests only)
  sock_fprog arguments{};
  cpu_set_t cpus{};
  int control = -1;
  unsigned uid = 1000;
  bool clear_groups = false;  // the launcher may: it is root
  bool loopback = false;
};

/// Sent by init over the control socket; `ready` carries the descriptor of the job folder.
struct InitReport {
  enum Kind : std::uint32_t { ready, done, failed } kind = failed;
  InitStage stage = InitStage::none;
  std::int32_t error = 0;        // errno of `failed`
  std::int32_t status = 0;       // wait status of `done`
  std::int32_t proc_missing = 0; // `ready`: no fresh /proc could be mounted
  std::int64_t user_us = 0;      // `done`: of the command's own process and what it waited for
  std::int64_t system_us = 0;
  std::int64_t max_rss_kb = 0;
};

/// Sent by the launcher, with the write ends of stdout and stderr.
struct InitOrder {
  std::uint32_t command = 0;
};

/// The byte that lets init go on, once it has its ids and perhaps a control group.
constexpr char init_go = 'g';
constexpr char init_go_sampled = 's';

[[noreturn]] void init_main(const InitPlan& prepared);

}  // namespace assay
