#include "assay/sandbox/stream.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace assay {

void StreamCapture::read_some() {
  constexpr int chunks_max = 16;
  char chunk[64 * 1024];
  for (int i = 0; i < chunks_max && open(); ++i) {
    const ssize_t got = ::read(source_.get(), chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      source_.close();
      return;
    }
    const std::string_view bytes(chunk, static_cast<std::size_t>(got));
    digest_.update(bytes);
    result_.bytes += got;
    result_.stored.append(bytes.substr(0, stored_max_ - std::min(stored_max_, result_.stored.size())));
  }
}

SandboxStream StreamCapture::finish() && {
  result_.sha256 = hex(digest_.finish());
  result_.truncated = result_.bytes > static_cast<std::int64_t>(result_.stored.size());
  return std::move(result_);
}

}  // namespace assay
