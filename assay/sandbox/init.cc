#include "assay/sandbox/init.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>

// From sys/mount.h, which clashes with linux/mount.h in glibc 2.36.
extern "C" int mount(const char*, const char*, const char*, unsigned long, const void*) noexcept;
extern "C" int umount2(const char*, int) noexcept;

namespace assay {
namespace {

constexpr int detach_mount = 2;  // MNT_DETACH

constexpr const char* stage_names[] = {"nothing",
                                       "starting a session",
                                       "taking the job's user id",
                                       "bringing loopback up",
                                       "setting the host name",
                                       "making mounts private",
                                       "mounting the root tmpfs",
                                       "making folders",
                                       "binding a read-only folder",
                                       "binding a device",
                                       "mounting a writable tmpfs",
                                       "mounting the job folder",
                                       "making symbolic links",
                                       "writing /etc",
                                       "changing the root",
                                       "making the root read-only",
                                       "dropping capabilities",
                                       "setting no_new_privs",
                                       "pinning to CPUs",
                                       "connecting the output streams",
                                       "changing to the workdir",
                                       "setting resource limits",
                                       "closing inherited files",
                                       "installing the system call filter",
                                       "starting /bin/sh"};

// Raw: glibc's set*id wrappers signal every thread they believe in, and those stayed behind in the launcher.
long set_ids(unsigned id, bool clear_groups) {
  if (clear_groups && syscall(SYS_setgroups, 0, nullptr) != 0) return -1;
  if (syscall(SYS_setresgid, id, id, id) != 0) return -1;
  return syscall(SYS_setresuid, id, id, id);
}

void send_report(const InitPlan& plan, const InitReport& report, int fd = -1) {
  iovec part{const_cast<InitReport*>(&report), sizeof report};
  alignas(cmsghdr) char buffer[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = buffer;
    message.msg_controllen = sizeof buffer;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  sendmsg(plan.control, &message, MSG_NOSIGNAL);
}

[[noreturn]] void give_up(const InitPlan& plan, InitStage stage) {
  InitReport report;
  report.kind = InitReport::failed;
  report.stage = stage;
  report.error = errno;
  send_report(plan, report);
  _exit(126);
}

// Handlers of the launcher must not run here, and the job's commands start with the defaults.
void reset_signals() {
  // Raw: glibc hides signals 32 and 33, which have handlers of its own.
  const unsigned long defaults[4] = {};  // the kernel's struct: handler, flags, restorer, mask
  for (int signal = 1; signal < NSIG; ++signal) syscall(SYS_rt_sigaction, signal, defaults, nullptr, 8UL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// 0 to 2 stay taken, so that no later descriptor lands there. The launcher gives a control socket above them.
void close_inherited(unsigned control) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) dup2(null, fd);
  syscall(SYS_close_range, 3U, control - 1, 0);
  syscall(SYS_close_range, control + 1, ~0U, 0);
}

// True if limits are sampled: then the last limit of the plan counts too.
bool wait_for_go(const InitPlan& plan) {
  char go = 0;
  ssize_t got = -1;
  do got = recv(plan.control, &go, 1, 0);
  while (got < 0 && errno == EINTR);
  if (got != 1) _exit(125);  // the launcher is gone
  return go == init_go_sampled;
}

bool bring_loopback_up() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  const bool up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  close(fd);
  return up;
}

// One recursive, atomic call each (Linux 5.12): a remounted bind would leave mounts below it writable.
bool bind_tree(const char* source, const char* target, std::uint64_t attributes) {
  const int tree = static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (tree < 0) return false;
  mount_attr change{};
  change.attr_set = attributes;
  bool ok = syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof change) == 0;
  ok = ok && syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) == 0;
  const int error = errno;
  close(tree);
  errno = error;
  return ok;
}

bool make_file(const char* path, const char* text, std::size_t size) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return false;
  const bool ok = write(fd, text, size) == static_cast<ssize_t>(size);
  close(fd);
  return ok;
}

void mount_writable(const InitPlan& plan) {
  if (mount("tmpfs", "mnt", "tmpfs", MS_NOSUID | MS_NODEV, plan.writable_options) != 0) give_up(plan, InitStage::writable);
  for (const auto* part = plan.writable; part->source != nullptr; ++part) {
    if (mkdir(part->source, 0755) != 0 && errno != EEXIST) give_up(plan, InitStage::writable);
    if (!bind_tree(part->source, part->target, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)) give_up(plan, InitStage::writable);
  }
  if (umount2("mnt", detach_mount) != 0) give_up(plan, InitStage::writable);
}

void fill_root(const InitPlan& plan) {
  for (const auto* folder = plan.folders; folder->path != nullptr; ++folder) {
    if (mkdir(folder->path, 0755) != 0 && errno != EEXIST) give_up(plan, InitStage::folders);
  }
  for (const auto* bind = plan.binds; bind->source != nullptr; ++bind) {
    if (!bind->folder && !make_file(bind->target, "", 0)) give_up(plan, InitStage::files);
    if (!bind_tree(bind->source, bind->target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)) give_up(plan, InitStage::bind);
  }
  if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,nr_inodes=64,mode=755") != 0) give_up(plan, InitStage::device);
  if (mkdir("dev/shm", 0755) != 0) give_up(plan, InitStage::device);
  mount_writable(plan);
  for (const auto* device = plan.devices; device->source != nullptr; ++device) {
    if (!make_file(device->target, "", 0)) give_up(plan, InitStage::device);
    if (!bind_tree(device->source, device->target, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)) give_up(plan, InitStage::device);
  }
  for (const auto* link = plan.symlinks; link->to != nullptr; ++link) {
    if (symlink(link->to, link->path) != 0) give_up(plan, InitStage::symlinks);
  }
  for (const auto* file = plan.files; file->path != nullptr; ++file) {
    if (!make_file(file->path, file->text, file->size)) give_up(plan, InitStage::files);
  }
}

// Returns true if there is no fresh /proc: an outer container that masks parts of its own forbids it.
bool build_root(const InitPlan& plan) {
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) give_up(plan, InitStage::private_mounts);
  if (mount("tmpfs", plan.staging, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,nr_inodes=512,mode=755") != 0)
    give_up(plan, InitStage::root_tmpfs);
  if (chdir(plan.staging) != 0) give_up(plan, InitStage::root_tmpfs);
  fill_root(plan);
  const bool proc_missing = mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid,hidepid=2") != 0;
  if (syscall(SYS_pivot_root, ".", ".") != 0) give_up(plan, InitStage::pivot);
  // The old root lies over the new one until it goes.
  if (umount2(".", detach_mount) != 0 || chdir("/") != 0) give_up(plan, InitStage::pivot);
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  for (const char* path : {"/", "/dev"}) {
    if (syscall(SYS_mount_setattr, AT_FDCWD, path, 0, &read_only, sizeof read_only) != 0) give_up(plan, InitStage::read_only_root);
  }
  return proc_missing;
}

// Nothing that runs from here on, init included, can regain a right.
void drop_rights(const InitPlan& plan) {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) give_up(plan, InitStage::capabilities);
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  constexpr unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                                 SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0) give_up(plan, InitStage::capabilities);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) give_up(plan, InitStage::capabilities);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up(plan, InitStage::no_new_privileges);
}

bool install(const sock_fprog& program) { return program.len == 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0; }

[[noreturn]] void run_command(const InitPlan& plan, const InitPlan::Command& command, int out, int err) {
  if (syscall(SYS_setsid) < 0) give_up(plan, InitStage::session);
  const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) give_up(plan, InitStage::streams);
  umask(022);
  if (chdir(command.workdir) != 0) give_up(plan, InitStage::workdir);
  for (std::size_t i = 0; i < plan.limits_count; ++i) {
    rlimit value = plan.limits[i].value;
    rlimit now{};
    if (getrlimit(static_cast<__rlimit_resource_t>(plan.limits[i].resource), &now) == 0 && now.rlim_max < value.rlim_max) {
      value.rlim_max = now.rlim_max;  // only ever lower: raising needs a right that is gone
      if (value.rlim_cur > value.rlim_max) value.rlim_cur = value.rlim_max;
    }
    if (setrlimit(static_cast<__rlimit_resource_t>(plan.limits[i].resource), &value) != 0) give_up(plan, InitStage::limits);
  }
  // Closed by exec, not before it: the control socket still reports what goes wrong below.
  if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) give_up(plan, InitStage::close_files);
  if (!install(plan.arguments) || !install(plan.list)) give_up(plan, InitStage::seccomp);
  const char* const argv[] = {"sh", "-c", command.text, nullptr};
  execve("/bin/sh", const_cast<char* const*>(argv), const_cast<char* const*>(plan.environment));
  give_up(plan, InitStage::exec);
}

struct Order {
  InitOrder what;
  int out = -1;
  int err = -1;
};

bool receive_order(const InitPlan& plan, Order& order) {
  iovec part{&order.what, sizeof order.what};
  alignas(cmsghdr) char buffer[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = buffer;
  message.msg_controllen = sizeof buffer;
  ssize_t got = -1;
  do got = recvmsg(plan.control, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (got != sizeof order.what || header == nullptr || header->cmsg_len != CMSG_LEN(2 * sizeof(int))) return false;
  int fds[2];
  std::memcpy(fds, CMSG_DATA(header), sizeof fds);
  order.out = fds[0];
  order.err = fds[1];
  return true;
}

std::int64_t microseconds(const timeval& time) { return std::int64_t{time.tv_sec} * 1000000 + time.tv_usec; }

// The kernel counts what a process held before exec too: until then the command is a copy of this one, which is a copy of the launcher.
// A peak that is no higher than that says nothing of the command, unless the launcher is small.
std::int64_t largest_kb(const rusage& used) {
  constexpr long small_kb = 8192, slack_kb = 512;
  rusage own{};
  if (getrusage(RUSAGE_SELF, &own) != 0) return 0;
  return own.ru_maxrss > small_kb && used.ru_maxrss <= own.ru_maxrss + slack_kb ? 0 : used.ru_maxrss;
}

// Waits for the command itself, then ends what it left behind: background jobs, sessions of their own, double forks.
void serve(const InitPlan& plan, const Order& order) {
  const pid_t child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0UL));
  if (child == 0) run_command(plan, plan.commands[order.what.command], order.out, order.err);
  close(order.out);
  close(order.err);
  if (child < 0) give_up(plan, InitStage::exec);
  InitReport report;
  report.kind = InitReport::done;
  rusage used{};
  while (true) {  // ends: the child ends, or the launcher kills this process
    int status = 0;
    const pid_t ended = wait4(-1, &status, __WALL, &used);
    if (ended == child) {
      report.status = status;
      break;
    }
    if (ended < 0 && errno != EINTR) break;
  }
  report.user_us = microseconds(used.ru_utime);
  report.system_us = microseconds(used.ru_stime);
  report.max_rss_kb = largest_kb(used);
  while (true) {  // ends: every round kills all there is and reaps one, until there is none
    kill(-1, SIGKILL);
    if (wait4(-1, nullptr, __WALL, nullptr) < 0 && errno == ECHILD) break;
  }
  send_report(plan, report);
}

}  // namespace

const char* stage_name(InitStage stage) { return stage_names[static_cast<std::uint32_t>(stage)]; }

[[noreturn]] void init_main(const InitPlan& prepared) {
  InitPlan plan = prepared;
  reset_signals();
  close_inherited(static_cast<unsigned>(plan.control));
  if (!wait_for_go(plan)) --plan.limits_count;
  umask(022);
  if (set_ids(plan.uid, plan.clear_groups) != 0) give_up(plan, InitStage::identity);
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);  // after the ids: a change of credentials clears it
  if (plan.loopback && !bring_loopback_up()) give_up(plan, InitStage::loopback);
  if (sethostname("assay", 5) != 0) give_up(plan, InitStage::hostname);
  InitReport report;
  report.kind = InitReport::ready;
  report.proc_missing = build_root(plan) ? 1 : 0;
  if (sched_setaffinity(0, sizeof plan.cpus, &plan.cpus) != 0) give_up(plan, InitStage::affinity);
  const int folder = open("/job", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (folder < 0) give_up(plan, InitStage::job_folder);
  drop_rights(plan);
  // A readable init would let the job write to the control socket through /proc/1/fd.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) give_up(plan, InitStage::capabilities);
  send_report(plan, report, folder);
  close(folder);
  Order order;
  while (receive_order(plan, order)) serve(plan, order);
  _exit(0);
}

}  // namespace assay
