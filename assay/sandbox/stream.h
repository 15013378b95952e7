#pragma once
/// @file
/// Reads one output stream of a job: all of it hashed and counted, its beginning kept. Private to the sandbox layer.

#include "assay/base/files.h"
#include "assay/base/sha256.h"
#include "assay/sandbox/request.h"

namespace assay {

class StreamCapture {
 public:
  /// `source` is a non-blocking descriptor.
  StreamCapture(Fd source, std::size_t stored_max) : source_(std::move(source)), stored_max_(stored_max) {}
  int fd() const { return source_.get(); }
  bool open() const { return source_.open(); }
  std::int64_t bytes() const { return result_.bytes; }
  /// Takes what is there, at most about 1 MiB, so that deadlines are looked at meanwhile.
  void read_some();
  SandboxStream finish() &&;

 private:
  Fd source_;
  std::size_t stored_max_;
  Sha256 digest_;
  SandboxStream result_;
};

}  // namespace assay
