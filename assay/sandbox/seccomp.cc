#include "assay/sandbox/seccomp.h"

#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/sha256.h"

namespace assay {
namespace {

// What ordinary programs, compilers and language runtimes use. Left out on purpose: see `denied`.
constexpr std::string_view allowed[] = {
    // files
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "open", "openat", "openat2",
    "creat", "close", "close_range", "lseek", "stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat",
    "faccessat2", "dup", "dup2", "dup3", "pipe", "pipe2", "fcntl", "flock", "fsync", "fdatasync", "sync_file_range", "truncate",
    "ftruncate", "fallocate", "fadvise64", "readahead", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "rename", "renameat",
    "renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat", "unlink", "unlinkat", "symlink", "symlinkat", "readlink", "readlinkat",
    "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "umask", "utime", "utimes", "utimensat", "futimesat", "mknod",
    "mknodat", "sendfile", "copy_file_range", "splice", "tee", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr",
    "flistxattr", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "inotify_init", "inotify_init1",
    "inotify_add_watch", "inotify_rm_watch", "ioctl", "memfd_create",
    // waiting
    "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2",
    "eventfd", "eventfd2", "signalfd", "signalfd4", "timerfd_create", "timerfd_settime", "timerfd_gettime", "io_setup", "io_destroy",
    "io_submit", "io_cancel", "io_getevents", "io_pgetevents",
    // memory
    "mmap", "munmap", "mprotect", "mremap", "madvise", "msync", "mincore", "brk", "mlock", "mlock2", "munlock", "mlockall", "munlockall",
    "pkey_alloc", "pkey_free", "pkey_mprotect", "membarrier", "get_mempolicy",
    // processes and threads
    "fork", "vfork", "clone", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "getpid", "getppid", "gettid", "getpgid",
    "getpgrp", "setpgid", "getsid", "setsid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "setuid",
    "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid", "capget", "capset", "futex",
    "futex_waitv", "set_tid_address", "set_robust_list", "get_robust_list", "rseq", "arch_prctl", "prctl", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_getattr", "sched_get_priority_max", "sched_get_priority_min",
    "sched_rr_get_interval", "getpriority", "getrlimit", "setrlimit", "prlimit64", "getrusage", "times", "getcpu", "ioprio_get", "seccomp",
    "pidfd_open", "pidfd_send_signal", "restart_syscall", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
    // signals
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigqueueinfo",
    "rt_tgsigqueueinfo", "sigaltstack", "kill", "tkill", "tgkill", "pause", "alarm", "setitimer", "getitimer",
    // time
    "time", "gettimeofday", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "timer_create", "timer_settime",
    "timer_gettime", "timer_getoverrun", "timer_delete",
    // sockets: which families is decided below
    "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg",
    "recvmmsg", "shutdown", "setsockopt", "getsockopt",
    // System V and POSIX IPC, in an IPC namespace of the job's own
    "shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl", "mq_open",
    "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr",
    // the machine
    "uname", "sysinfo", "getrandom"};

// Known and forbidden: EPERM tells a program that it may not, where ENOSYS would say that the kernel cannot.
constexpr std::string_view denied[] = {"bpf",
                                       "perf_event_open",
                                       "kexec_load",
                                       "kexec_file_load",
                                       "init_module",
                                       "finit_module",
                                       "delete_module",
                                       "reboot",
                                       "swapon",
                                       "swapoff",
                                       "acct",
                                       "quotactl",
                                       "quotactl_fd",
                                       "syslog",
                                       "iopl",
                                       "ioperm",
                                       "modify_ldt",
                                       "sysfs",
                                       "ustat",
                                       "uselib",
                                       "vhangup",
                                       "mount",
                                       "umount2",
                                       "pivot_root",
                                       "chroot",
                                       "fsopen",
                                       "fsconfig",
                                       "fsmount",
                                       "fspick",
                                       "open_tree",
                                       "move_mount",
                                       "mount_setattr",
                                       "open_by_handle_at",
                                       "name_to_handle_at",
                                       "ptrace",
                                       "process_vm_readv",
                                       "process_vm_writev",
                                       "process_madvise",
                                       "process_mrelease",
                                       "kcmp",
                                       "pidfd_getfd",
                                       "userfaultfd",
                                       "settimeofday",
                                       "clock_settime",
                                       "adjtimex",
                                       "clock_adjtime",
                                       "sethostname",
                                       "setdomainname",
                                       "fanotify_init",
                                       "fanotify_mark",
                                       "unshare",
                                       "setns",
                                       "sched_setaffinity",
                                       "sched_setscheduler",
                                       "sched_setparam",
                                       "sched_setattr",
                                       "setpriority",
                                       "ioprio_set"};

constexpr std::uint64_t low_half = 0xffffffff;  // the kernel reads an int; BPF sees all 64 bits (CVE-2019-10063)

// What libseccomp's SCMP_A0 makes, which is a compound literal and no C++.
scmp_arg_cmp when(unsigned argument, scmp_compare how, std::uint64_t value, std::uint64_t second = 0) {
  return {argument, how, value, second};
}

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};
using Context = std::unique_ptr<void, Release>;

Error failed(std::string_view what, int negative_errno) {
  return {ErrorCode::unavailable,
          fmt::format("libseccomp could not build the filter: {}: {}", what, std::strerror(-negative_errno)),
          {},
          "check that libseccomp 2.5 or newer is installed"};
}

Result<Context> make_context(std::uint32_t default_action) {
  Context context(seccomp_init(default_action));
  if (context == nullptr) return std::unexpected(failed("init", -ENOMEM));
  if (const int rc = seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS); rc != 0) {
    return std::unexpected(failed("architecture", rc));
  }
  return context;
}

// Names that this libseccomp or this architecture does not know are left to the default.
Result<void> add(void* context, std::uint32_t action, std::string_view name, std::vector<scmp_arg_cmp> checks = {}) {
  const int number = seccomp_syscall_resolve_name(std::string(name).c_str());
  if (number == __NR_SCMP_ERROR || number < 0) return {};
  const int rc = seccomp_rule_add_array(context, action, number, static_cast<unsigned>(checks.size()), checks.data());
  if (rc != 0) return std::unexpected(failed(name, rc));
  return {};
}

// The list names each family that may be made; every other gets the answer of a kernel without it.
Result<void> add_socket_rules(void* context, std::string_view name, bool inet) {
  std::vector<std::uint64_t> families{AF_UNIX};
  if (inet) families.insert(families.end(), {AF_INET, AF_INET6});
  std::uint64_t next = 0;
  for (const std::uint64_t family : families) {
    ASSAY_CHECK(add(context, SCMP_ACT_ALLOW, name, {when(0, SCMP_CMP_EQ, family)}));
    for (; next < family; ++next) {
      ASSAY_CHECK(add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), name, {when(0, SCMP_CMP_EQ, next)}));
    }
    next = family + 1;
  }
  return add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), name, {when(0, SCMP_CMP_GT, families.back())});
}

Result<std::vector<sock_filter>> export_bpf(void* context) {
  const Fd file(memfd_create("assay-seccomp", MFD_CLOEXEC));
  if (!file.open()) return std::unexpected(failed("memfd", -errno));
  if (const int rc = seccomp_export_bpf(context, file.get()); rc != 0) return std::unexpected(failed("export", rc));
  const off_t bytes = lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> out(static_cast<std::size_t>(bytes) / sizeof(sock_filter));
  if (bytes <= 0 || pread(file.get(), out.data(), static_cast<std::size_t>(bytes), 0) != bytes) {
    return std::unexpected(failed("read", -EIO));
  }
  return out;
}

Result<std::vector<sock_filter>> build_list(bool inet) {
  ASSAY_TRY(const Context context, make_context(SCMP_ACT_ERRNO(ENOSYS)));
  for (const std::string_view name : allowed) ASSAY_CHECK(add(context.get(), SCMP_ACT_ALLOW, name));
  for (const std::string_view name : denied) ASSAY_CHECK(add(context.get(), SCMP_ACT_ERRNO(EPERM), name));
  for (const std::string_view name : {"socket", "socketpair"}) ASSAY_CHECK(add_socket_rules(context.get(), name, inet));
  for (const std::uint64_t persona : {0x0, 0x8, 0x20000, 0x40000, 0x60000}) {  // Linux, and without address randomisation
    ASSAY_CHECK(add(context.get(), SCMP_ACT_ALLOW, "personality", {when(0, SCMP_CMP_EQ, persona)}));
  }
  ASSAY_CHECK(add(context.get(), SCMP_ACT_ALLOW, "personality", {when(0, SCMP_CMP_EQ, 0xffffffff)}));
  // A tree instead of a chain: about 9 comparisons for any call.
  if (const int rc = seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2); rc != 0) return std::unexpected(failed("optimize", rc));
  return export_bpf(context.get());
}

Result<std::vector<sock_filter>> build_arguments() {
  constexpr std::uint64_t tioclinux = 0x541C;
  ASSAY_TRY(const Context context, make_context(SCMP_ACT_ALLOW));
  void* filter = context.get();
  const std::uint32_t eperm = SCMP_ACT_ERRNO(EPERM);
  for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, tioclinux}) {  // both type into the terminal of someone else
    ASSAY_CHECK(add(filter, eperm, "ioctl", {when(1, SCMP_CMP_MASKED_EQ, low_half, request)}));
  }
  // CLONE_NEWTIME cannot be asked of clone(2): its bit is part of the exit signal.
  for (const std::uint64_t flag :
       {std::uint64_t{CLONE_NEWUSER}, std::uint64_t{CLONE_NEWNS}, std::uint64_t{CLONE_NEWPID}, std::uint64_t{CLONE_NEWNET},
        std::uint64_t{CLONE_NEWIPC}, std::uint64_t{CLONE_NEWUTS}, std::uint64_t{CLONE_NEWCGROUP}}) {
    ASSAY_CHECK(add(filter, eperm, "clone", {when(0, SCMP_CMP_MASKED_EQ, flag, flag)}));
  }
  for (const std::uint64_t option : {std::uint64_t{PR_SET_MM}, std::uint64_t{PR_SET_PTRACER}}) {
    ASSAY_CHECK(add(filter, eperm, "prctl", {when(0, SCMP_CMP_MASKED_EQ, low_half, option)}));
  }
  return export_bpf(filter);
}

}  // namespace

Result<SeccompFilter> build_seccomp(bool inet) {
  SeccompFilter out;
  ASSAY_TRY(out.list, build_list(inet));
  ASSAY_TRY(out.arguments, build_arguments());
  std::string bytes;
  for (const auto* program : {&out.list, &out.arguments}) {
    bytes.append(reinterpret_cast<const char*>(program->data()), program->size() * sizeof(sock_filter));
  }
  out.sha256 = sha256_hex(bytes);
  return out;
}

}  // namespace assay
