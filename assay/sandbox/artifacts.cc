#include "assay/sandbox/artifacts.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/sha256.h"

namespace assay {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

Fd open_beneath(int folder, const char* name, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  for (int tries = 0; tries < 8; ++tries) {
    const long fd = syscall(SYS_openat2, folder, name, &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno != EAGAIN && errno != EINTR) break;
  }
  return {};
}

std::string_view kind_of(mode_t mode) {
  if (S_ISLNK(mode)) return "symlink";
  if (S_ISFIFO(mode)) return "fifo";
  if (S_ISSOCK(mode)) return "socket";
  return "device";
}

class Collector {
 public:
  explicit Collector(const SandboxLimits& limits) : limits_(limits) {}

  Result<void> walk(int folder, const std::string& prefix, int depth) {
    Fd own = open_beneath(folder, ".", O_RDONLY | O_DIRECTORY);
    if (!own.open()) return skip(prefix, "unreadable");
    const int again = fcntl(own.get(), F_DUPFD_CLOEXEC, 3);  // the listing closes what it is given
    const std::unique_ptr<DIR, CloseFolder> listing(again < 0 ? nullptr : fdopendir(again));
    if (listing == nullptr) {
      if (again >= 0) close(again);
      return skip(prefix, "unreadable");
    }
    while (const dirent* entry = readdir(listing.get())) {  // ends: the tree is at rest, and its tmpfs has an inode limit
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      ASSAY_CHECK(take(own.get(), name, prefix.empty() ? percent_encoded(name) : prefix + "/" + percent_encoded(name), depth));
    }
    return {};
  }

  CollectedArtifacts sorted() && {
    const auto by_path = [](const auto& a, const auto& b) { return a.path < b.path; };
    std::sort(out_.artifacts.begin(), out_.artifacts.end(), by_path);
    std::sort(out_.skipped.begin(), out_.skipped.end(), by_path);
    return std::move(out_);
  }

 private:
  Result<void> take(int folder, const std::string& name, const std::string& path, int depth) {
    struct stat info{};
    if (fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return skip(path, "unreadable");
    if (S_ISDIR(info.st_mode)) {
      if (depth >= limits_.artifact_depth_max) return skip(path, "depth");
      const Fd inner = open_beneath(folder, name.c_str(), O_RDONLY | O_DIRECTORY);
      return inner.open() ? walk(inner.get(), path, depth + 1) : skip(path, "unreadable");
    }
    if (!S_ISREG(info.st_mode)) return skip(path, kind_of(info.st_mode));
    return read_regular(folder, name, path);
  }

  Result<void> read_regular(int folder, const std::string& name, const std::string& path) {
    const Fd file = open_beneath(folder, name.c_str(), O_RDONLY);
    struct stat info{};
    if (!file.open() || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return skip(path, "unreadable");
    if (out_.artifacts.size() >= limits_.artifacts_max) return skip(path, "count");
    // The apparent size counts: a sparse terabyte would be hashed for hours.
    if (info.st_size > limits_.artifact_bytes_max || info.st_size > limits_.artifacts_bytes_max - bytes_) return skip(path, "size");
    std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
    std::size_t got = 0;
    while (got < bytes.size()) {  // ends: each round reads at least one byte or leaves
      const ssize_t count = pread(file.get(), bytes.data() + got, bytes.size() - got, static_cast<off_t>(got));
      if (count <= 0) return skip(path, "unreadable");
      got += static_cast<std::size_t>(count);
    }
    bytes_ += info.st_size;
    SandboxArtifact artifact{path, sha256_hex(bytes), info.st_size};
    if (!limits_.artifacts_folder.empty()) ASSAY_CHECK(write_file(limits_.artifacts_folder + "/" + artifact.sha256, bytes));
    out_.artifacts.push_back(std::move(artifact));
    return {};
  }

  Result<void> skip(const std::string& path, std::string_view reason) {
    if (out_.skipped.size() < limits_.artifacts_max) out_.skipped.push_back({path, std::string(reason)});
    else ++out_.unnamed;
    return {};
  }

  const SandboxLimits& limits_;
  CollectedArtifacts out_;
  std::int64_t bytes_ = 0;
};

}  // namespace

std::string percent_encoded(std::string_view name) {
  const bool text = valid_utf8(name);
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F || byte == '%' || (byte >= 0x80 && !text)) {
      out += fmt::format("%{:02X}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

Result<CollectedArtifacts> collect_artifacts(int folder, const SandboxLimits& limits) {
  Collector collector(limits);
  ASSAY_CHECK(collector.walk(folder, "", 0));
  return std::move(collector).sorted();
}

}  // namespace assay
