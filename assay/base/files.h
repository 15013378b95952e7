#pragma once
/// @file
/// Whole files, read with a limit and written so that nothing is ever half there.
///
///     ASSAY_TRY(const std::string text, read_file("triage.module.json"));
///     ASSAY_CHECK(write_file("out.json", text));           // temporary file, fsync, rename
///
/// Thread safety: free functions; two writers of one path leave one of the two contents, whole.

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "assay/base/result.h"

namespace assay {

/// Errors: `io` (missing, unreadable, a folder), `limit_exceeded`; the path is the file's.
Result<std::string> read_file(const std::string& path, std::size_t bytes_max = std::size_t{256} << 20);

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

}  // namespace assay
