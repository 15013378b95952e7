#include "assay/sandbox/sampler.h"

#include <dirent.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "assay/base/files.h"

namespace assay {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

std::int64_t number_at(std::string_view text, std::size_t at) {
  while (at < text.size() && text[at] == ' ') ++at;
  std::int64_t value = 0;
  std::from_chars(text.data() + at, text.data() + text.size(), value);
  return value;
}

std::int64_t pss_bytes(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/smaps_rollup", pid), 64 * 1024);
  if (!text) return 0;
  const std::size_t at = text->find("\nPss:");
  return at == std::string::npos ? 0 : number_at(*text, at + 5) * 1024;
}

// utime, stime, cutime and cstime are fields 14 to 17; the name before them may hold anything, so count from its last ')'.
std::int64_t cpu_us(pid_t pid) {
  const auto text = read_file(fmt::format("/proc/{}/stat", pid), 64 * 1024);
  if (!text) return 0;
  std::size_t at = text->rfind(')');
  std::int64_t ticks = 0;
  for (int field = 3; at != std::string::npos && field <= 17; ++field) {
    at = text->find(' ', at + 1);
    if (field >= 14 && at != std::string::npos) ticks += number_at(*text, at);
  }
  return ticks * (1000000 / sysconf(_SC_CLK_TCK));
}

}  // namespace

std::string pid_namespace_of(pid_t pid) {
  char link[64] = {};
  const ssize_t size = readlink(fmt::format("/proc/{}/ns/pid", pid).c_str(), link, sizeof link - 1);
  return size > 0 ? std::string(link, static_cast<std::size_t>(size)) : std::string();
}

TreeUsage sample_tree(const std::string& pid_namespace, pid_t init) {
  TreeUsage out;
  const std::unique_ptr<DIR, CloseFolder> proc(opendir("/proc"));
  if (proc == nullptr || pid_namespace.empty()) return out;
  while (const dirent* entry = readdir(proc.get())) {  // ends with the listing
    pid_t pid = 0;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, pid).ptr != end) continue;
    if (pid != init && pid_namespace_of(pid) != pid_namespace) continue;
    // Init is a copy of the launcher: its pages are the launcher's, not the job's.
    if (pid != init) out.memory_bytes += pss_bytes(pid);
    if (pid != init) ++out.processes;
    out.cpu_us += cpu_us(pid);
  }
  return out;
}

}  // namespace assay
