#include "assay/sandbox/box.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "assay/sandbox/sampler.h"

namespace assay {
namespace {

constexpr unsigned job_uid = 1000;
constexpr std::int64_t setup_ns = 10'000'000'000;
constexpr int kill_ms = 5000;

std::string setting(const char* path) {
  auto text = read_file(path, 4096);
  if (!text) return {};
  while (text->ends_with('\n')) text->pop_back();
  return *text;
}

std::unexpected<Error> no_isolation(std::string_view what, int error) {
  std::string remedy = namespace_remedy();
  if (remedy.empty())
    remedy = "run outside a container, or in one with CAP_SYS_ADMIN and an unmasked /proc; `assay doctor` shows what is missing";
  return fail(ErrorCode::unavailable,
              fmt::format("this machine gives no isolation, so nothing was run: {} failed: {}", what, std::strerror(error)),
              std::move(remedy));
}

// /proc files of the id maps accept exactly one write.
Result<void> put(pid_t pid, std::string_view file, std::string_view text) {
  const Fd fd(open(fmt::format("/proc/{}/{}", pid, file).c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.open() && write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) return {};
  return no_isolation(fmt::format("writing /proc/PID/{}", file), errno);
}

struct IdRange {
  std::int64_t inside = 0;
  std::int64_t outside = 0;
  std::int64_t count = 0;
};

// The ids that exist in this process's own user namespace; the last range.
IdRange own_ids(const char* path) {
  IdRange out;
  std::int64_t inside = 0, outside = 0, count = 0;
  const std::string text = setting(path);
  int used = 0;
  for (const char* at = text.c_str(); std::sscanf(at, "%ld %ld %ld%n", &inside, &outside, &count, &used) == 3; at += used) {
    if (count > out.count) out = {inside, outside, count};
  }
  return out;
}

// An id that no account and no other living job has: process limits and keyrings are kept per id.
std::int64_t spare_id(const char* map, pid_t pid) {
  constexpr std::int64_t base = 0x70000000;
  const IdRange range = own_ids(map);
  if (base + pid < range.inside + range.count && base + pid >= range.inside) return base + pid;
  constexpr std::int64_t accounts = 66000;
  const std::int64_t free = range.count - accounts;
  if (free < 1024) return -1;
  return range.inside + accounts + pid % free;
}

bool wait_readable(int fd, int other, int timeout_ms) {
  pollfd set[2] = {{fd, POLLIN, 0}, {other, POLLIN, 0}};
  return poll(set, 2, timeout_ms) > 0;
}

}  // namespace

std::string namespace_remedy() {
  if (setting("/proc/sys/user/max_user_namespaces") == "0")
    return "user namespaces are disabled: set sysctl user.max_user_namespaces to more than 0";
  if (setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" && geteuid() != 0) {
    return "user namespaces are for root only here: set sysctl kernel.unprivileged_userns_clone=1, or run as root";
  }
  if (setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" && geteuid() != 0) {
    return "AppArmor restricts user namespaces: set sysctl kernel.apparmor_restrict_unprivileged_userns=0, give assay a profile with "
           "`userns,`, or run as root";
  }
  return {};
}

Box::Box(Box&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      control_(std::move(other.control_)),
      folder_(std::move(other.folder_)),
      cgroup_(std::move(other.cgroup_)),
      cgroup_error_(std::move(other.cgroup_error_)),
      pid_namespace_(std::move(other.pid_namespace_)),
      peak_(other.peak_),
      proc_missing_(other.proc_missing_),
      dead_(std::exchange(other.dead_, true)),
      isolation_(std::move(other.isolation_)) {}

Box::~Box() { kill(); }

Result<void> Box::make_process(PreparedPlan& prepared, const Defences& defences) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return no_isolation("making the control socket", errno);
  control_ = Fd(pair[0]);
  Fd low(pair[1]);
  const Fd theirs(fcntl(low.get(), F_DUPFD_CLOEXEC, 10));  // init keeps 0 to 2 for itself
  if (!theirs.open()) return no_isolation("making the control socket", errno);
  low.close();
  prepared.plan().control = theirs.get();

  std::uint64_t flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWPID | CLONE_PIDFD;
  if (defences.own_network) flags |= CLONE_NEWNET;
  // No signal of ours may be handled in the copy before it has reset its handlers.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int pidfd = -1;
  // No exit signal: the caller's SIGCHLD handler and its wait(-1) see nothing of this child.
  const long pid = syscall(SYS_clone, flags, nullptr, &pidfd, nullptr, 0UL);
  if (pid == 0) init_main(prepared.plan());
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return no_isolation("making namespaces (clone)", error);
  pid_ = static_cast<pid_t>(pid);
  pidfd_ = Fd(pidfd);
  return {};
}

// Id maps, out-of-memory priority and control group: init waits for all of it.
Result<void> Box::prepare_outside(const RunShape& shape, const Defences& defences) {
  const bool as_root = geteuid() == 0;
  std::int64_t uid = geteuid(), gid = getegid();
  if (as_root) {
    uid = spare_id("/proc/self/uid_map", pid_);
    gid = spare_id("/proc/self/gid_map", pid_);
    if (uid < 0 || gid < 0) {
      return fail(ErrorCode::unavailable,
                  "this machine gives no isolation, so nothing was run: root has no spare user ids in this container",
                  "give the container at least 67100 user ids (/etc/subuid), or run as a normal user");
    }
  } else {
    ASSAY_CHECK(put(pid_, "setgroups", "deny"));
  }
  ASSAY_CHECK(put(pid_, "uid_map", fmt::format("{} {} 1\n", job_uid, uid)));
  ASSAY_CHECK(put(pid_, "gid_map", fmt::format("{} {} 1\n", job_uid, gid)));
  if (const Fd score(open(fmt::format("/proc/{}/oom_score_adj", pid_).c_str(), O_WRONLY | O_CLOEXEC)); score.open()) {
    [[maybe_unused]] const ssize_t written = write(score.get(), "1000", 4);  // the machine's memory runs out: the job goes first
  }
  pid_namespace_ = pid_namespace_of(pid_);
  if (!defences.cgroup) {
    cgroup_error_ = "switched off";
    return {};
  }
  auto group = Cgroup::make(pid_, {shape.memory_bytes, shape.cpus, shape.processes + 1});
  if (group) {
    cgroup_.emplace(*std::move(group));
  } else {
    cgroup_error_ = group.error().message;
  }
  return {};
}

Result<void> Box::wait_until_ready(const Wait& wait, Clock& clock) {
  if (send(control_.get(), cgroup_ ? &init_go : &init_go_sampled, 1, MSG_NOSIGNAL) != 1) return no_isolation("starting init", errno);
  const Deadline deadline = Deadline{clock.steady_ns() + setup_ns}.sooner(wait.deadline);
  while (true) {  // ends: at the deadline, a report or the end of init
    ASSAY_CHECK((Wait{deadline, wait.stop}.check(clock, "setting up the sandbox")));
    if (!wait_readable(control_.get(), pidfd_.get(), 20)) continue;
    ASSAY_TRY(const auto report, this->report());
    if (!report) continue;
    if (report->kind == InitReport::failed) return no_isolation(stage_name(report->stage), report->error);
    if (!folder_.open()) return fail(ErrorCode::internal, "init sent no job folder");
    proc_missing_ = report->proc_missing != 0;
    return {};
  }
}

void Box::describe(const RunShape& shape, const Defences& defences, const PreparedPlan& prepared, const SeccompFilter& filter) {
  isolation_.namespaces = {"cgroup", "ipc", "mount", "pid", "user", "uts"};
  if (defences.own_network) isolation_.namespaces.insert(isolation_.namespaces.begin() + 3, "network");
  isolation_.seccomp_sha256 = defences.seccomp ? filter.sha256 : "";
  isolation_.level = cgroup_ ? "full" : "strong";
  isolation_.cgroup = cgroup_ ? fmt::format("v{}", cgroup_->version()) : "none";
  auto& missing = isolation_.missing;
  if (!cgroup_) {
    missing.push_back(fmt::format("memory: sampled, and RLIMIT_DATA for each process ({})", cgroup_error_));
    missing.emplace_back("processes: RLIMIT_NPROC");
  }
  if (!cgroup_ || !cgroup_->limits_cpu()) missing.push_back(fmt::format("cpu: pinned to {} CPUs, no quota", prepared.cpus_given()));
  if (prepared.cpus_given() < static_cast<int>(std::ceil(shape.cpus))) {
    missing.push_back(fmt::format("cpu: {} asked for, this machine has {}", number_text(shape.cpus), prepared.cpus_given()));
  }
  if (proc_missing_) missing.emplace_back("/proc: none in the job, because the outer /proc is masked");
}

Result<Box> Box::start(const RunShape& shape, const Defences& defences, const Wait& wait, Clock& clock) {
  ASSAY_TRY(const SeccompFilter filter, build_seccomp(shape.loopback));
  const auto prepared = PreparedPlan::make(shape, filter, defences, geteuid() == 0);
  Box box;
  ASSAY_CHECK(box.make_process(*prepared, defences));
  ASSAY_CHECK(box.prepare_outside(shape, defences));
  ASSAY_CHECK(box.wait_until_ready(wait, clock));
  box.describe(shape, defences, *prepared, filter);
  return box;
}

Result<void> Box::order(std::uint32_t index, int out, int err) {
  InitOrder what{index};
  iovec part{&what, sizeof what};
  alignas(cmsghdr) char buffer[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = buffer;
  message.msg_controllen = sizeof buffer;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(2 * sizeof(int));
  const int fds[2] = {out, err};
  std::memcpy(CMSG_DATA(header), fds, sizeof fds);
  if (sendmsg(control_.get(), &message, MSG_NOSIGNAL) < 0)
    return fail(ErrorCode::internal, fmt::format("init is gone: {}", std::strerror(errno)));
  return {};
}

Result<std::optional<InitReport>> Box::report() {
  InitReport report;
  iovec part{&report, sizeof report};
  alignas(cmsghdr) char buffer[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = buffer;
  message.msg_controllen = sizeof buffer;
  const ssize_t got = recvmsg(control_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::optional<InitReport>();
  if (const cmsghdr* header = CMSG_FIRSTHDR(&message); got > 0 && header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    folder_ = Fd(fd);
  }
  if (got != sizeof report) return fail(ErrorCode::internal, "init ended without a report");
  return std::optional<InitReport>(report);
}

bool Box::kill() {
  if (dead_ || pid_ < 0) return true;
  if (cgroup_) cgroup_->kill_all();
  syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
  control_.close();
  pollfd ended{pidfd_.get(), POLLIN, 0};
  int got = -1;
  for (int tries = 0; tries < 10 && got <= 0; ++tries) got = poll(&ended, 1, kill_ms / 10);  // a signal may cut one short
  if (got <= 0) return false;
  siginfo_t info{};
  syscall(SYS_waitid, P_PIDFD, pidfd_.get(), &info, WEXITED | __WALL, nullptr);
  dead_ = true;
  return true;
}

CgroupUsage Box::usage() {
  CgroupUsage now;
  if (cgroup_) {
    now = cgroup_->usage();
  } else if (!dead_) {
    const TreeUsage tree = sample_tree(pid_namespace_, pid_);
    now.memory_peak_bytes = tree.memory_bytes + files_bytes();
    now.cpu_us = tree.cpu_us;
    now.processes = tree.processes;
  }
  peak_.memory_peak_bytes = std::max(peak_.memory_peak_bytes, now.memory_peak_bytes);
  peak_.cpu_us = std::max(peak_.cpu_us, now.cpu_us);
  peak_.processes = std::max(peak_.processes, now.processes);
  peak_.oom_kills = std::max(peak_.oom_kills, now.oom_kills);
  peak_.fork_refusals = std::max(peak_.fork_refusals, now.fork_refusals);
  return peak_;
}

std::int64_t Box::files_bytes() const {
  struct statfs info{};
  if (!folder_.open() || fstatfs(folder_.get(), &info) != 0) return 0;
  return static_cast<std::int64_t>(info.f_blocks - info.f_bfree) * info.f_bsize;
}

bool Box::folder_full() const {
  struct statfs info{};
  return folder_.open() && fstatfs(folder_.get(), &info) == 0 && (info.f_bavail == 0 || info.f_ffree == 0);
}

}  // namespace assay
