#pragma once
/// @file
/// The system calls a job may make, compiled to BPF before the job starts. Private to the sandbox layer.
///
/// Two programs, both installed: the list (everything that is not named fails with ENOSYS, so that C libraries fall back to
/// older calls; what is known and forbidden fails with EPERM) and the argument checks. The kernel takes the stricter answer.
/// A call of another architecture (i386, x32) kills the process.

#include <linux/filter.h>

#include <string>
#include <vector>

#include "assay/base/result.h"

namespace assay {

struct SeccompFilter {
  std::vector<sock_filter> list;
  std::vector<sock_filter> arguments;
  std::string sha256;  ///< of both programs' bytes, in that order
};

/// `inet`: AF_INET and AF_INET6 sockets may be made (for loopback). Errors: `unavailable` if libseccomp fails.
Result<SeccompFilter> build_seccomp(bool inet);

}  // namespace assay
