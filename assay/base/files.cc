#include "assay/base/files.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include <fmt/format.h>

namespace assay {
namespace {

std::unexpected<Error> io_error(std::string_view what, const std::string& path) {
  return fail(ErrorCode::io, fmt::format("{}: {}", what, std::strerror(errno)),
              errno == ENOENT ? "check the path" : "check permissions and free space", path);
}

Result<void> write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {  // ends: each round writes at least one byte or returns
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return io_error("the file cannot be written", path);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

// Services often have no HOME: then the account's. Never a folder that others can fill with keys and trust of theirs.
std::string home_folder() {
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') return home;
  std::array<char, 16384> space{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, space.data(), space.size(), &found) == 0 && found != nullptr && found->pw_dir != nullptr &&
      found->pw_dir[0] == '/')
    return found->pw_dir;
  return "/nonexistent";  // as Debian calls the home of accounts without one
}

std::string xdg(const char* variable, const char* fallback) {
  if (const char* set = std::getenv(variable); set != nullptr && set[0] == '/') return std::string(set) + "/assay";
  return home_folder() + fallback + "/assay";
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}
Fd::~Fd() { close(); }
void Fd::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

namespace {

// Follows the length of the line that is being read. False: it is too long.
struct LineWatch {
  std::size_t bytes_max;
  std::size_t line = 1, length = 0;

  bool fits(std::string_view part) {
    while (bytes_max != SIZE_MAX) {  // ends: each round takes a line off, or returns
      const std::size_t end = part.find('\n');
      length += std::min(end, part.size());
      if (length > bytes_max) return false;
      if (end == std::string_view::npos) return true;
      part.remove_prefix(end + 1);
      length = 0;
      ++line;
    }
    return true;
  }
};

// Room on the stack for what is read; wiped, since keys and passphrases are read from files too.
struct ReadBuffer {
  char bytes[65536];
  ~ReadBuffer() { ::explicit_bzero(bytes, sizeof bytes); }
};

std::unexpected<Error> too_large(const std::string& path, std::size_t bytes_max) {
  return fail(ErrorCode::limit_exceeded, fmt::format("the file has more than {} bytes", bytes_max), "is it the right file?", path);
}

}  // namespace

namespace {
// A descriptor that is open already, by whatever name: its other end is somebody's who runs this.
bool names_descriptor(std::string_view path) {
  return path == "/dev/stdin" || path == "/dev/stdout" || path == "/dev/stderr" || path.starts_with("/dev/fd/") ||
         (path.starts_with("/proc/") && path.find("/fd/") != std::string_view::npos);
}
}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t bytes_max, std::size_t line_bytes_max) {
  // Opened so, a pipe that nobody writes to does not hold us up.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.open()) return io_error("the file cannot be opened", path);
  std::string out;
  struct stat info{};
  if (::fstat(fd.get(), &info) == 0) {
    if (S_ISFIFO(info.st_mode) && !names_descriptor(path))
      return fail(ErrorCode::io, "expected a file, found a pipe", "give it as standard input or by a shell's <(…)", path);
    if (!S_ISREG(info.st_mode)) (void)::fcntl(fd.get(), F_SETFL, O_RDONLY);  // what is meant to be waited for is waited for
    if (S_ISDIR(info.st_mode)) return fail(ErrorCode::io, "expected a file, found a folder", "", path);
    const bool known = S_ISREG(info.st_mode);
    if (known && static_cast<std::size_t>(info.st_size) > bytes_max) return too_large(path, bytes_max);
    // Where a line may end the reading early, room is taken as it is needed.
    if (known && line_bytes_max == SIZE_MAX) out.reserve(static_cast<std::size_t>(info.st_size));
  }
  LineWatch watch{line_bytes_max};
  ReadBuffer buffer;
  while (true) {  // ends: at end of file, at a limit, or with an error
    const ssize_t count = ::read(fd.get(), buffer.bytes, sizeof buffer.bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_error("the file cannot be read", path);
    if (count == 0) return out;
    const std::string_view part(buffer.bytes, static_cast<std::size_t>(count));
    if (out.size() + part.size() > bytes_max) return too_large(path, bytes_max);
    if (!watch.fits(part)) {
      return fail(ErrorCode::limit_exceeded, fmt::format("the line has more than {} bytes", line_bytes_max), "shorten or divide it",
                  fmt::format("{}:{}", path, watch.line));
    }
    out.append(part);
  }
}

namespace {
// Into what is there and is no file of ours to replace: a device, a pipe, an open descriptor.
Result<void> write_into(const std::string& path, std::string_view bytes) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe that nobody reads does not hold us up
  if (!fd.open()) return io_error("nothing can be written here", path);
  (void)::fcntl(fd.get(), F_SETFL, O_WRONLY);
  return write_all(fd.get(), bytes, path);
}
}  // namespace

Result<void> write_file(const std::string& named, std::string_view bytes, unsigned mode) {
  struct stat info{};
  const bool is_there = ::stat(named.c_str(), &info) == 0;
  if (is_there && !S_ISDIR(info.st_mode) && (!S_ISREG(info.st_mode) || names_descriptor(named))) return write_into(named, bytes);
  std::string path = named;
  if (std::error_code error; is_there && std::filesystem::is_symlink(named, error)) {  // the link stays, what it names is replaced
    const auto target = std::filesystem::canonical(named, error);
    if (!error) path = target.string();
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  std::string temporary = fmt::format("{}.{}.XXXXXX", path, ::getpid());
  Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.open()) return io_error("no file can be made here", path);
  const auto undo = [&](std::unexpected<Error> error) {
    ::unlink(temporary.c_str());
    return error;
  };
  if (auto written = write_all(fd.get(), bytes, path); !written) return undo(std::unexpected(written.error()));
  if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0) return undo(io_error("the file cannot be made durable", path));
  fd.close();
  if (::rename(temporary.c_str(), path.c_str()) != 0) return undo(io_error("the file cannot be put in its place", path));
  const Fd parent(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.open()) ::fsync(parent.get());
  return {};
}

Result<void> make_folders(const std::string& path, unsigned mode) {
  std::string so_far;
  for (const auto& part : std::filesystem::path(path)) {
    so_far = so_far.empty() ? part.string() : (std::filesystem::path(so_far) / part).string();
    if (so_far == "/" || part.empty()) continue;
    if (::mkdir(so_far.c_str(), mode) == 0) continue;
    std::error_code ignored;
    const int why = errno;
    if (why == EEXIST && std::filesystem::is_directory(so_far, ignored)) continue;
    if (why == EEXIST || why == ENOTDIR)
      return fail(ErrorCode::io, "the folder cannot be made: a file has its name", "name another place", so_far);
    errno = why;
    return io_error("the folder cannot be made", so_far);
  }
  return {};
}

Result<void> lock_file(const Fd& file, bool alone, const std::string& path) {
  constexpr int rounds = 1500, round_ms = 20;
  for (int round = 0; round < rounds; ++round) {
    if (::flock(file.get(), (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return {};
    if (errno != EWOULDBLOCK && errno != EINTR) return io_error("the file cannot be locked", path);
    ::poll(nullptr, 0, round_ms);
  }
  const auto holder = lock_holder(file);
  return fail(ErrorCode::unavailable, fmt::format("another process{} holds the lock", holder ? fmt::format(" ({})", *holder) : ""),
              "wait for it, or end it", path);
}

Result<Fd> lock_folder_of(const std::string& path) {
  const std::string beside = std::filesystem::path(path).parent_path().string();
  const std::string folder = beside.empty() ? "." : beside;
  ASSAY_CHECK(make_folders(folder));
  Fd held(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!held.open()) return io_error("the folder cannot be opened", folder);
  ASSAY_CHECK(lock_file(held, true, folder));
  return held;
}

Result<void> check_owner(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return io_error("the file cannot be looked at", path);
  if (info.st_uid != ::geteuid() && info.st_uid != 0)
    return fail(ErrorCode::refused, fmt::format("the file belongs to another user ({})", info.st_uid),
                "take it over with chown, or remove it", path);
  if ((info.st_mode & S_IWOTH) != 0) return fail(ErrorCode::refused, "anyone may write this file", "chmod o-w " + path, path);
  return {};
}

Result<std::optional<Fd>> try_lock_file(const std::string& path) {
  while (true) {  // ends: unless others make and delete the file all the time
    Fd held(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!held.open()) return io_error("the lock file cannot be opened", path);
    if (::flock(held.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return std::optional<Fd>();
      return io_error("the file cannot be locked", path);
    }
    struct stat mine{}, there{};
    const bool same =
        ::fstat(held.get(), &mine) == 0 && ::stat(path.c_str(), &there) == 0 && mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
    if (same) return std::optional<Fd>(std::move(held));  // else who held it before has deleted it meanwhile
  }
}

Result<Fd> occupy_folder(const std::string& folder) {
  ASSAY_CHECK(make_folders(folder, 0700));
  const std::string path = folder + "/in_use";
  ASSAY_TRY(std::optional<Fd> held, try_lock_file(path));
  if (held) return std::move(*held);
  const Fd there(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto holder = there.open() ? lock_holder(there) : std::nullopt;
  return fail(ErrorCode::unavailable, fmt::format("another process{} serves from this folder", holder ? fmt::format(" ({})", *holder) : ""),
              "end it, or give this one a folder of its own: --data FOLDER", folder);
}

bool same_place(const std::string& a, const std::string& b) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  const auto whole = [](const std::string& path) {
    std::error_code ignored;
    return fs::weakly_canonical(fs::absolute(path, ignored), ignored);
  };
  return whole(a) == whole(b);
}

Result<void> check_writable_folder(const std::string& folder) {
  ASSAY_CHECK(make_folders(folder));
  std::string probe = folder + "/.probe.XXXXXX";
  const Fd fd(::mkostemp(probe.data(), O_CLOEXEC));
  if (!fd.open()) return io_error("no file can be made here", folder);
  ::unlink(probe.c_str());
  return {};
}

std::optional<std::int64_t> lock_holder(const Fd& file) {
  struct stat info{};
  if (::fstat(file.get(), &info) != 0) return std::nullopt;
  const auto text = read_file("/proc/locks", std::size_t{4} << 20);
  if (!text) return std::nullopt;
  const std::string place = fmt::format("{:02x}:{:02x}:{}", major(info.st_dev), minor(info.st_dev), info.st_ino);
  std::istringstream lines(*text);
  std::string line;
  while (std::getline(lines, line)) {  // ends: with the list. "1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF"
    std::istringstream words(line);
    std::string number, kind, advisory, access, at;
    std::int64_t holder = 0;
    if (words >> number >> kind >> advisory >> access >> holder >> at && kind == "FLOCK" && at == place && holder > 0) return holder;
  }
  return std::nullopt;
}

std::string config_folder() { return xdg("XDG_CONFIG_HOME", "/.config"); }
std::string data_folder() { return xdg("XDG_DATA_HOME", "/.local/share"); }
std::string cache_folder() { return xdg("XDG_CACHE_HOME", "/.cache"); }

}  // namespace assay
