#pragma once
/// @file
/// Whole files, read with a limit and written so that nothing is ever half there.
///
///     ASSAY_TRY(const std::string text, read_file("triage.module.json"));
///     ASSAY_CHECK(write_file("out.json", text));           // temporary file, fsync, rename
///
/// Thread safety: free functions; two writers of one path leave one of the two contents, whole.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "assay/base/result.h"

namespace assay {

/// Errors: `io` (missing, unreadable, a folder), `limit_exceeded`; the path is the file's. A file that is too large is refused before it
/// is read, one with a line longer than `line_bytes_max` at that line ("FILE:LINE"): memory stays near what the limits allow.
Result<std::string> read_file(const std::string& path, std::size_t bytes_max = std::size_t{256} << 20,
                              std::size_t line_bytes_max = SIZE_MAX);

/// Writes beside the target, fsyncs file and folder, renames. `mode` is the new file's (0600 for secrets).
Result<void> write_file(const std::string& path, std::string_view bytes, unsigned mode = 0644);

/// `mkdir -p`. Errors: `io`.
Result<void> make_folders(const std::string& path, unsigned mode = 0755);

/// $XDG_CONFIG_HOME/assay, $XDG_DATA_HOME/assay, $XDG_CACHE_HOME/assay, with the usual defaults under $HOME.
std::string config_folder();
std::string data_folder();
std::string cache_folder();

/// An open file descriptor, closed when it goes. Move only.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void close();

 private:
  int fd_ = -1;
};

/// Takes a lock on an open file, shared or alone. It waits for others at most half a minute, since locks here are held for one small
/// write or a sweep. Errors: `unavailable` (with the holder's process id), `io`.
Result<void> lock_file(const Fd& file, bool alone, const std::string& path);
/// The folder of `path`, locked for oneself until the handle goes: for a file that is read, changed and written back. The folder is made if
/// it is missing. Errors as `lock_file`.
Result<Fd> lock_folder_of(const std::string& path);
/// Is it one's own file, or root's, that not everyone may write? For files that are believed. Errors: `refused`, `io`.
Result<void> check_owner(const std::string& path);
/// A lock file, made if it is missing and held until the handle goes; nothing where another holds it. Whoever lets go of it may delete it
/// first. Errors: `io`.
Result<std::optional<Fd>> try_lock_file(const std::string& path);
/// The folder for one server alone until the handle goes (a lock on its file `in_use`): a second one is refused at once. Made if it is
/// missing. Errors: `unavailable` (with the holder's process id), `io`.
Result<Fd> occupy_folder(const std::string& folder);
/// Two names of one file, whether it is there already or not.
bool same_place(const std::string& a, const std::string& b);
/// Can files be made in this folder (made itself if it is missing)? Asked before work that ends with a file there. Errors: `io`.
Result<void> check_writable_folder(const std::string& folder);
/// Who holds a flock on this open file, as the kernel lists it: for an error that says whom to wait for. Nothing where it cannot be known.
std::optional<std::int64_t> lock_holder(const Fd& file);

}  // namespace assay
