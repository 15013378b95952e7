#include "assay/sandbox/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "assay/base/files.h"

namespace assay {
namespace {

constexpr std::size_t proc_file_bytes_max = 1 << 20;

std::string text_of(const std::string& path) {
  auto text = read_file(path, proc_file_bytes_max);
  return text ? *std::move(text) : std::string();
}

// Kernel files take one write and mind no rename: write_file would not do.
bool put(const std::string& path, std::string_view value) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.open() && write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

std::int64_t number(std::string_view text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// "key value" lines, as memory.events has them.
std::int64_t value_of(const std::string& text, std::string_view key) {
  std::size_t at = 0;
  while (at < text.size()) {  // ends: `at` moves past a line each round
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') return number(line.substr(key.size() + 1));
    at = end + 1;
  }
  return 0;
}

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> out;
  std::size_t at = 0;
  while (at <= text.size()) {  // ends: `at` moves past a separator each round
    const std::size_t end = std::min(text.find(by, at), text.size());
    out.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

bool has_word(std::string_view text, std::string_view word, char by) {
  const auto words = split(text, by);
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Folder of this process's own group: mount point of the hierarchy, plus the path in /proc/self/cgroup. "" if not mounted.
std::string own_folder(std::string_view controller) {
  std::string mounted;
  for (const std::string& line : split(text_of("/proc/self/mounts"), '\n')) {
    const auto fields = split(line, ' ');
    if (fields.size() < 4) continue;
    const bool v2 = controller.empty() && fields[2] == "cgroup2";
    const bool v1 = !controller.empty() && fields[2] == "cgroup" && has_word(fields[3], controller, ',');
    if (v2 || v1) mounted = fields[1];
  }
  if (mounted.empty()) return {};
  for (const std::string& line : split(text_of("/proc/self/cgroup"), '\n')) {
    const auto fields = split(line, ':');
    if (fields.size() < 3) continue;
    const bool mine = controller.empty() ? fields[0] == "0" : has_word(fields[1], controller, ',');
    if (mine) return mounted + (fields[2] == "/" ? "" : line.substr(fields[0].size() + fields[1].size() + 2));
  }
  return {};
}

bool delegates(const std::string& folder) {
  std::string enabled = text_of(folder + "/cgroup.subtree_control");
  std::replace(enabled.begin(), enabled.end(), '\n', ' ');
  return has_word(enabled, "memory", ' ') && has_word(enabled, "pids", ' ');
}

}  // namespace

Cgroup::Cgroup(Cgroup&& other) noexcept
    : version_(other.version_),
      memory_(std::move(other.memory_)),
      pids_(std::move(other.pids_)),
      cpu_(std::move(other.cpu_)),
      cpuacct_(std::move(other.cpuacct_)),
      folders_(std::exchange(other.folders_, {})) {}

Cgroup::~Cgroup() {
  for (auto folder = folders_.rbegin(); folder != folders_.rend(); ++folder) {
    // The last process may still be on its way out: EBUSY for a moment.
    for (int tries = 0; rmdir(folder->c_str()) != 0 && errno == EBUSY && tries < 100; ++tries) {
      constexpr timespec pause{0, 5000000};
      nanosleep(&pause, nullptr);
    }
  }
}

namespace {

// Groups of launchers that were killed: empty by now, and their process is gone. One that is not empty cannot be removed anyway.
void sweep(const std::string& parent) {
  constexpr std::string_view prefix = "assay-job-";
  std::error_code error;
  for (std::filesystem::directory_iterator at(parent, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    const long pid = std::strtol(name.c_str() + prefix.size(), nullptr, 10);
    if (pid > 0 && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) ::rmdir(at->path().c_str());
  }
}

}  // namespace

Result<std::string> Cgroup::add_folder(const std::string& parent, pid_t pid) {
  sweep(parent);
  std::string folder = fmt::format("{}/assay-job-{}", parent, pid);
  // A group of this name can only be the remains of a launcher that was killed: its process is gone, the pid is ours.
  if (mkdir(folder.c_str(), 0755) != 0 && !(errno == EEXIST && rmdir(folder.c_str()) == 0 && mkdir(folder.c_str(), 0755) == 0)) {
    return fail(ErrorCode::unavailable, fmt::format("no control group can be made: {}", std::strerror(errno)), {}, parent);
  }
  folders_.push_back(folder);
  return folder;
}

Result<Cgroup> Cgroup::make_v2(pid_t pid, const CgroupLimits& limits) {
  const std::string own = own_folder("");
  if (own.empty()) return fail(ErrorCode::unavailable, "control groups version 2 are not mounted");
  std::string parent = own;
  if (!delegates(parent)) put(parent + "/cgroup.subtree_control", "+memory +pids +cpu");
  if (!delegates(parent)) put(parent + "/cgroup.subtree_control", "+memory +pids");
  // A group with processes cannot hand controllers down; the group above it may already do so.
  if (!delegates(parent)) parent = parent.substr(0, parent.rfind('/'));
  if (!delegates(parent)) return fail(ErrorCode::unavailable, "control groups version 2: memory and pids are not delegated", {}, own);
  Cgroup out(2);
  ASSAY_TRY(out.memory_, out.add_folder(parent, pid));
  out.pids_ = out.cpuacct_ = out.memory_;
  const std::string& folder = out.memory_;
  put(folder + "/memory.swap.max", "0");
  put(folder + "/memory.oom.group", "1");
  const bool limited =
      put(folder + "/memory.max", fmt::to_string(limits.memory_bytes)) && put(folder + "/pids.max", fmt::to_string(limits.processes));
  if (!limited) return fail(ErrorCode::unavailable, "control groups version 2: limits cannot be written", {}, folder);
  if (put(folder + "/cpu.max", fmt::format("{} 100000", std::llround(limits.cpus * 100000)))) out.cpu_ = folder;
  if (!put(folder + "/cgroup.procs", fmt::to_string(pid)))
    return fail(ErrorCode::unavailable, "control groups version 2: a process cannot be moved", {}, folder);
  return out;
}

Result<Cgroup> Cgroup::make_v1(pid_t pid, const CgroupLimits& limits) {
  const std::string memory = own_folder("memory");
  const std::string pids = own_folder("pids");
  if (memory.empty() || pids.empty()) return fail(ErrorCode::unavailable, "control groups version 1: no memory and pids controllers");
  Cgroup out(1);
  ASSAY_TRY(out.memory_, out.add_folder(memory, pid));
  const std::string bytes = fmt::to_string(limits.memory_bytes);
  bool ok = put(out.memory_ + "/memory.limit_in_bytes", bytes) && put(out.memory_ + "/cgroup.procs", fmt::to_string(pid));
  put(out.memory_ + "/memory.memsw.limit_in_bytes", bytes);  // only where swap is counted
  put(out.memory_ + "/memory.swappiness", "0");
  ASSAY_TRY(out.pids_, out.add_folder(pids, pid));
  ok = ok && put(out.pids_ + "/pids.max", fmt::to_string(limits.processes)) && put(out.pids_ + "/cgroup.procs", fmt::to_string(pid));
  if (!ok) {
    for (const std::string& own : {memory, pids}) put(own + "/cgroup.procs", fmt::to_string(pid));  // else the folder stays busy
    return fail(ErrorCode::unavailable, "control groups version 1: limits cannot be written", {}, out.memory_);
  }
  if (const std::string cpu = own_folder("cpu"); !cpu.empty()) {
    if (const auto folder = out.add_folder(cpu, pid)) {
      const std::string quota = fmt::to_string(std::llround(limits.cpus * 100000));
      if (put(*folder + "/cpu.cfs_quota_us", quota) && put(*folder + "/cgroup.procs", fmt::to_string(pid))) out.cpu_ = *folder;
    }
  }
  if (const std::string account = own_folder("cpuacct"); !account.empty()) {
    const std::string folder = fmt::format("{}/assay-job-{}", account, pid);
    const bool shared = std::find(out.folders_.begin(), out.folders_.end(), folder) != out.folders_.end();
    if (shared || out.add_folder(account, pid)) {
      if (put(folder + "/cgroup.procs", fmt::to_string(pid))) out.cpuacct_ = folder;
    }
  }
  return out;
}

Result<Cgroup> Cgroup::make(pid_t pid, const CgroupLimits& limits) {
  auto v2 = make_v2(pid, limits);
  if (v2) return v2;
  auto v1 = make_v1(pid, limits);
  if (v1) return v1;
  return fail(ErrorCode::unavailable, v2.error().message + "; " + v1.error().message);
}

CgroupUsage Cgroup::usage() const {
  CgroupUsage out;
  out.processes = number(text_of(pids_ + "/pids.current"));
  out.fork_refusals = value_of(text_of(pids_ + "/pids.events"), "max");
  if (version_ == 2) {
    out.memory_peak_bytes = number(text_of(memory_ + "/memory.peak"));
    out.oom_kills = value_of(text_of(memory_ + "/memory.events"), "oom_kill");
    out.cpu_us = value_of(text_of(memory_ + "/cpu.stat"), "usage_usec");
  } else {
    out.memory_peak_bytes = number(text_of(memory_ + "/memory.max_usage_in_bytes"));
    out.oom_kills = value_of(text_of(memory_ + "/memory.oom_control"), "oom_kill");
    if (!cpuacct_.empty()) out.cpu_us = number(text_of(cpuacct_ + "/cpuacct.usage")) / 1000;
  }
  return out;
}

void Cgroup::kill_all() const {
  if (version_ == 2) put(memory_ + "/cgroup.kill", "1");
}

}  // namespace assay
