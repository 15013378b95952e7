#pragma once
/// @file
/// Runs the commands of an untrusted job on this machine, in namespaces of its own, and says what came of them.
///
///     SandboxRunRequest request;
///     request.commands = {{.cmd = "python3 -c 'print(6 * 7)'"}};
///     ASSAY_TRY(const SandboxRunResponse response, run_sandboxed(request, SandboxProfile::Small, {}, wait, clock));
///     response.status;                        // SandboxStatus::success
///     response.runs[0].out.stored;            // "42\n"
///
/// What the job gets: a read-only view of /usr, an empty /job (also at mount_path) and /tmp in memory, no network, no rights,
/// about 300 system calls, a fixed environment. Everything it starts is dead when a command ends. See docs/security/sandbox.md.
/// Nothing ever runs without that: where it cannot be had, the error is `unavailable` and says what is missing.
///
/// Thread safety: any number of runs at once, one thread each. No signal handler is set and no child of the caller's is reaped.

#include "assay/base/clock.h"
#include "assay/sandbox/limits.h"
#include "assay/sandbox/profile.h"
#include "assay/sandbox/request.h"

namespace assay {

/// Blocks until the job has ended. A job that fails, is killed or is cancelled is a response, not an error.
/// `wait`: its deadline ends the job like timeout_secs (whichever is sooner); its stop token cancels it within about 100 ms.
/// `clock` must run by itself: a ManualClock would never reach a deadline.
/// Errors: `refused` or `limit_exceeded` (a field that cannot be honoured; nothing has run), `unavailable` (no isolation here),
/// `cancelled` or `timed_out` (before the first command began), `io` (artifacts cannot be written), `internal`.
Result<SandboxRunResponse> run_sandboxed(const SandboxRunRequest& request, const SandboxProfile& profile, const SandboxLimits& limits,
                                         const Wait& wait, Clock& clock);

/// The refusals of `run_sandboxed` without a run: what a seller asks before it sends an invoice.
Result<void> check_sandbox_request(const SandboxRunRequest& request, const SandboxProfile& profile, const SandboxLimits& limits);

/// Names the system that jobs see here: hash of os-release, architecture and C library version. Not of each file in /usr.
std::string native_image_digest();

}  // namespace assay
