#include "assay/sandbox/plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace assay {
namespace {

constexpr std::string_view passwd =
    "root:x:0:0:root:/:/usr/sbin/nologin\njob:x:1000:1000:job:/job:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
constexpr std::string_view group = "root:x:0:\njob:x:1000:\nnogroup:x:65534:\n";
constexpr std::string_view hosts = "127.0.0.1 localhost assay\n::1 localhost\n";
constexpr std::string_view nsswitch = "passwd: files\ngroup: files\nhosts: files\n";

bool is_folder(const std::string& path) {
  struct stat info{};
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

bool is_file(const std::string& path) {
  struct stat info{};
  return lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::string link_target(const std::string& path) {
  char target[256];
  const ssize_t size = readlink(path.c_str(), target, sizeof target);
  return size > 0 && size < static_cast<ssize_t>(sizeof target) ? std::string(target, static_cast<std::size_t>(size)) : std::string();
}

}  // namespace

const char* PreparedPlan::keep(std::string text) { return texts_.emplace_back(std::move(text)).c_str(); }

void PreparedPlan::add_system(const RunShape& shape) {
  for (const char* folder : {"usr", "etc", "dev", "proc", "tmp", "job", "mnt", "var"}) folders_.push_back({folder});
  binds_.push_back({"/usr", "usr", true});
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const std::string path = std::string("/") + name;
    if (const std::string target = link_target(path); target.starts_with("usr/") || target.starts_with("/usr/")) {
      symlinks_.push_back({keep(target), name});
    } else if (is_folder(path)) {
      folders_.push_back({name});
      binds_.push_back({keep(path), name, true});
    }
  }
  symlinks_.push_back({"/tmp", "var/tmp"});
  writable_ = {{"mnt/job", "job"}, {"mnt/tmp", "tmp"}, {"mnt/shm", "dev/shm"}};
  if (shape.mount_path != "/job") {
    const std::string relative = shape.mount_path.substr(1);
    for (std::size_t at = relative.find('/'); at != std::string::npos; at = relative.find('/', at + 1)) {
      folders_.push_back({keep(relative.substr(0, at))});
    }
    const char* target = keep(relative);
    folders_.push_back({target});
    writable_.push_back({"mnt/job", target});
  }
  // Room for about one file for each 16 KiB, and never a million of them.
  const std::int64_t inodes = std::clamp<std::int64_t>(shape.disk_bytes / 16384, 1024, 65536);
  plan_.writable_options = keep(fmt::format("size={},nr_inodes={},mode=755", shape.disk_bytes, inodes));
  for (const char* device : {"null", "zero", "full", "random", "urandom"}) {
    devices_.push_back({keep(std::string("/dev/") + device), keep(std::string("dev/") + device)});
  }
  for (const auto& [to, path] : {std::pair("/proc/self/fd", "dev/fd"), std::pair("/proc/self/fd/0", "dev/stdin"),
                                 std::pair("/proc/self/fd/1", "dev/stdout"), std::pair("/proc/self/fd/2", "dev/stderr")}) {
    symlinks_.push_back({to, path});
  }
}

void PreparedPlan::add_etc() {
  const auto add = [this](const char* path, std::string_view text) { files_.push_back({path, text.data(), text.size()}); };
  add("etc/passwd", passwd);
  add("etc/group", group);
  add("etc/hosts", hosts);
  add("etc/nsswitch.conf", nsswitch);
  add("etc/hostname", "assay\n");
  if (is_folder("/etc/alternatives")) {  // Debian: cc, awk and java are links through it
    folders_.push_back({"etc/alternatives"});
    binds_.push_back({"/etc/alternatives", "etc/alternatives", true});
  }
  if (is_file("/etc/ld.so.cache")) binds_.push_back({"/etc/ld.so.cache", "etc/ld.so.cache", false});
}

void PreparedPlan::add_limits(const RunShape& shape) {
  constexpr rlim_t kibi = 1024;
  constexpr rlim_t mebi = 1024 * kibi;
  const auto add = [this](int resource, rlim_t soft, rlim_t hard) { limits_.push_back({resource, {soft, hard}}); };
  const auto both = [&add](int resource, rlim_t value) { add(resource, value, value); };
  both(RLIMIT_CORE, 1);  // 0 would still run a piped core handler, as root, outside
  add(RLIMIT_CPU, static_cast<rlim_t>(shape.cpu_seconds), static_cast<rlim_t>(shape.cpu_seconds) + 1);
  both(RLIMIT_NPROC, static_cast<rlim_t>(shape.processes) + 1);  // init counts too
  both(RLIMIT_NOFILE, static_cast<rlim_t>(shape.open_files));
  both(RLIMIT_FSIZE, static_cast<rlim_t>(shape.disk_bytes));
  both(RLIMIT_STACK, 64 * mebi);
  both(RLIMIT_MEMLOCK, 64 * kibi);
  both(RLIMIT_MSGQUEUE, 64 * kibi);
  both(RLIMIT_SIGPENDING, 1024);
  both(RLIMIT_RTPRIO, 0);
  both(RLIMIT_NICE, 0);
  // Last, for init takes it only where memory is sampled: a hard bound between two samples. Not the address space, of which
  // node, Go and the JVM reserve far more than they use.
  both(RLIMIT_DATA, static_cast<rlim_t>(shape.memory_bytes) + 64 * mebi);
}

// As many CPUs as asked for, starting at another one for each launcher, so that jobs do not all queue on CPU 0.
void PreparedPlan::choose_cpus(const RunShape& shape) {
  cpu_set_t ours;
  CPU_ZERO(&ours);
  CPU_ZERO(&plan_.cpus);
  std::vector<std::size_t> usable;
  if (sched_getaffinity(0, sizeof ours, &ours) == 0) {
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &ours)) usable.push_back(cpu);
    }
  }
  if (usable.empty()) usable.push_back(0);
  const auto wanted = static_cast<std::size_t>(std::ceil(shape.cpus));
  const auto first = static_cast<std::size_t>(getpid());
  const std::size_t given = std::min(wanted, usable.size());
  for (std::size_t i = 0; i < given; ++i) CPU_SET(usable[(first + i) % usable.size()], &plan_.cpus);
  cpus_given_ = static_cast<int>(given);
}

std::unique_ptr<PreparedPlan> PreparedPlan::make(const RunShape& shape, const SeccompFilter& filter, const Defences& defences,
                                                 bool as_root) {
  std::unique_ptr<PreparedPlan> out(new PreparedPlan());  // private constructor: make_unique cannot
  out->add_system(shape);
  out->add_etc();
  out->add_limits(shape);
  out->choose_cpus(shape);
  for (std::size_t i = 0; i < shape.commands.size(); ++i) {
    out->commands_.push_back({out->keep(shape.commands[i]), out->keep(shape.workdirs[i])});
  }
  for (const std::string& variable : shape.environment) out->environment_.push_back(out->keep(variable));
  out->environment_.push_back(nullptr);
  out->folders_.push_back({nullptr});
  out->binds_.push_back({nullptr, nullptr, false});
  out->devices_.push_back({nullptr, nullptr});
  out->writable_.push_back({nullptr, nullptr});
  out->symlinks_.push_back({nullptr, nullptr});
  out->files_.push_back({nullptr, nullptr, 0});

  InitPlan& plan = out->plan_;
  plan.folders = out->folders_.data();
  plan.binds = out->binds_.data();
  plan.devices = out->devices_.data();
  plan.writable = out->writable_.data();
  plan.symlinks = out->symlinks_.data();
  plan.files = out->files_.data();
  plan.limits = out->limits_.data();
  plan.limits_count = out->limits_.size();
  plan.commands = out->commands_.data();
  plan.environment = out->environment_.data();
  plan.clear_groups = as_root;
  plan.loopback = shape.loopback && defences.own_network;
  if (defences.seccomp) {
    out->filter_ = filter;
    plan.list = {static_cast<unsigned short>(out->filter_.list.size()), out->filter_.list.data()};
    plan.arguments = {static_cast<unsigned short>(out->filter_.arguments.size()), out->filter_.arguments.data()};
  }
  return out;
}

}  // namespace assay
