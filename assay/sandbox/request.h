#pragma once
/// @file
/// The payload of `oa.sandbox_run.v1`: what a job asks for, and what came of it. Source: docs/formats.md §7.
///
///     ASSAY_TRY(const SandboxRunRequest request, read_sandbox_request(json));
///     const Json written = to_json(request);           // every default written out, unknown members kept
///     ASSAY_TRY(const std::string id, job_hash(request));
///
///     SandboxRunRequest mine;                          // provider and image are this back end's
///     mine.commands = {{.cmd = "python3 -c 'print(6 * 7)'"}};
///
/// Thread safety: values.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/json.h"

namespace assay {

struct SandboxResources {
  std::int64_t memory_mb = 512;         ///< MiB
  double cpus = 1.0;
  std::int64_t timeout_secs = 60;       ///< wall time of the whole job
  std::optional<std::int64_t> disk_mb;  ///< MiB under /job; unset: what the back end gives
  JsonObject extra;
};

struct SandboxCommand {
  std::string cmd;                     ///< run by /bin/sh -c
  std::optional<std::string> workdir;  ///< under mount_path, /job or /tmp; unset: mount_path
  bool continue_on_fail = false;       ///< go on after a non-zero exit; the job still counts as failed
  JsonObject extra;
};

struct SandboxRepo {
  std::string source;                  ///< this back end has no network: only "" is honoured
  std::optional<std::string> git_ref;
  std::string mount_path = "/workspace";  ///< where the job's folder appears; the same folder as /job
  JsonObject extra;
};

struct SandboxVerification {
  std::string mode = "objective";      ///< "objective" | "subjective"
  std::int64_t redundancy = 1;
  std::string adjudication = "none";   ///< "none" | "majority_vote" | "judge_model" | "merge"
  std::optional<std::string> judge_model;
  JsonObject extra;
};

/// `extra` members hold what was read and is not known here; they are written back and hashed.
struct SandboxRunRequest {
  std::string provider = "native";       ///< absent on reading: "docker", as the schema has it (and then refused)
  std::string image_digest = "native";   ///< "", "native" or `native_image_digest()`
  std::string network_policy = "none";   ///< "none" | "localhost" (loopback of its own); "full" is refused
  SandboxResources resources;
  SandboxRepo repo;
  std::vector<SandboxCommand> commands;
  std::vector<std::pair<std::string, std::string>> env;  ///< sorted by name
  SandboxVerification verification;
  JsonObject sandbox_extra;
  JsonObject extra;
};

/// Checks shape and bounds of each member, not whether this machine can run it. Errors: `malformed`, `limit_exceeded`; the
/// path is the member's.
Result<SandboxRunRequest> read_sandbox_request(const Json& payload);
Json to_json(const SandboxRunRequest& request);
/// hash(payload with defaults written out): what a response and a receipt are bound to.
Result<std::string> job_hash(const SandboxRunRequest& request);

enum class SandboxStatus { success, failed, timeout, cancelled, error };

/// What exactly ended a command. Only `internal` is the tool's fault; it never counts as the job's verdict.
enum class SandboxVerdict {
  ok,            ///< exit code 0
  exit_nonzero,
  signaled,      ///< a signal of its own making
  timeout_wall,
  timeout_cpu,
  oom,           ///< over memory_mb, killed
  output_limit,  ///< wrote more than the output limit, killed
  violation,     ///< a system call that no program of this machine's kind makes (SIGSYS)
  bad_request,   ///< could not be started as asked, e.g. no such workdir
  cancelled,
  internal,
};

std::string_view name(SandboxStatus status);
std::string_view name(SandboxVerdict verdict);

/// One output stream. Hash and count are of all bytes that were written, `stored` is their beginning.
struct SandboxStream {
  std::string sha256;
  std::int64_t bytes = 0;
  std::string stored;      ///< raw bytes; hostile: escape them before a terminal sees them
  bool truncated = false;  ///< stored is shorter than what was written
};

struct SandboxCommandRun {
  std::string cmd;
  int exit_code = 0;          ///< 128 + signal if a signal ended it; `signal` tells the two apart
  std::optional<int> signal;
  SandboxVerdict verdict = SandboxVerdict::ok;
  std::int64_t duration_ms = 0;
  std::int64_t cpu_user_us = 0;
  std::int64_t cpu_system_us = 0;
  std::int64_t max_rss_kb = 0;  ///< largest process of the command; 0: not known, less than the process that started it held
  SandboxStream out;
  SandboxStream err;
};

/// A regular file that the job left under /job, read after all of its processes had ended.
struct SandboxArtifact {
  std::string path;  ///< relative to /job; control bytes, '%' and invalid UTF-8 are percent-encoded
  std::string sha256;
  std::int64_t size_bytes = 0;
};

/// Something under /job that is not an artifact, and why: "symlink", "fifo", "socket", "device", "size", "count", "depth", "unreadable".
struct SandboxSkipped {
  std::string path;
  std::string reason;
};

/// How the job was kept in. `level` is "full" (limits by control groups) or "strong" (limits by rlimits and sampling).
struct SandboxIsolation {
  std::string level;
  std::string backend = "native/1";
  std::vector<std::string> namespaces;
  std::string seccomp_sha256;
  std::string cgroup;                 ///< "v2", "v1" or "none"
  std::vector<std::string> missing;   ///< each piece that this machine does not give, in words
};

struct SandboxUsage {
  std::int64_t memory_peak_bytes = 0;  ///< of the whole job, its files included
  std::int64_t cpu_us = 0;
  std::int64_t processes_peak = 0;     ///< as sampled
  std::int64_t wall_ms = 0;
};

struct SandboxRunResponse {
  std::string job_hash;
  std::string profile;
  std::string image_digest;
  std::string hostname;
  std::string system_info;
  std::vector<SandboxCommandRun> runs;  ///< commands that were started, in order
  std::vector<SandboxArtifact> artifacts;
  std::vector<SandboxSkipped> skipped;
  std::vector<std::string> notes;       ///< e.g. "the process limit (128) was reached 4 times"
  SandboxStatus status = SandboxStatus::error;
  std::optional<std::string> error;
  SandboxIsolation isolation;
  SandboxUsage usage;
  std::int64_t disk_mb = 0;             ///< what /job could hold
  Json provenance;                      ///< object; the seller adds provider_pubkey
};

Json to_json(const SandboxRunResponse& response);
/// Reads what `to_json` wrote, from a peer who may lie: shape, hex, counts. Errors: `malformed`, `limit_exceeded`.
Result<SandboxRunResponse> read_sandbox_response(const Json& payload);

}  // namespace assay
