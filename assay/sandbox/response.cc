#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/sandbox/request.h"

namespace assay {
namespace {

constexpr std::array<std::string_view, 5> status_names{"success", "failed", "timeout", "cancelled", "error"};
constexpr std::array<std::string_view, 11> verdict_names{"ok",          "exit_nonzero", "signaled",     "timeout_wall",
                                                         "timeout_cpu", "oom",          "output_limit", "violation",
                                                         "bad_request", "cancelled",    "internal"};

template <class Enum, std::size_t N>
Result<Enum> read_name(const Json& object, std::string_view key, const std::array<std::string_view, N>& names) {
  ASSAY_TRY(const std::string text, string_member(object, key));
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) {
    return fail(ErrorCode::malformed, fmt::format("expected one of {}", fmt::join(names, ", ")), {}, std::string(key));
  }
  return static_cast<Enum>(found - names.begin());
}

void stream_json(JsonObject& out, const std::string& prefix, const SandboxStream& stream) {
  out.set(prefix + "_sha256", stream.sha256);
  out.set(prefix + "_bytes", stream.bytes);
  out.set(prefix + "_truncated", stream.truncated);
  out.set(prefix + "_preview", to_utf8(stream.stored));
  // The preview is text for people; when it had to be repaired the true bytes go along.
  if (!valid_utf8(stream.stored)) out.set(prefix + "_base64", base64(stream.stored));
}

// "sha256:" is dropped on reading: old producers wrote it (docs/formats.md §1).
Result<std::string> read_hash(const Json& object, const std::string& key) {
  ASSAY_TRY(std::string text, string_member(object, key));
  if (text.starts_with("sha256:")) text.erase(0, 7);
  if (!is_hex(text, 64)) return fail(ErrorCode::malformed, "expected 64 lowercase hex digits", {}, key);
  return text;
}

Result<std::int64_t> read_count(const Json& object, std::string_view key, std::optional<std::int64_t> otherwise = {}) {
  if (otherwise && object.at(key).is_null()) return *otherwise;
  ASSAY_TRY(const std::int64_t value, int_member(object, key));
  if (value < 0) return fail(ErrorCode::malformed, "expected a count, found a negative number", {}, std::string(key));
  return value;
}

Result<SandboxStream> read_stream(const Json& run, const std::string& prefix) {
  SandboxStream out;
  ASSAY_TRY(out.sha256, read_hash(run, prefix + "_sha256"));
  if (run.at(prefix + "_base64").is_string()) {
    ASSAY_TRY(out.stored, from_base64(run.at(prefix + "_base64").as_string()));
  } else if (run.at(prefix + "_preview").is_string()) {
    out.stored = run.at(prefix + "_preview").as_string();
  }
  ASSAY_TRY(out.bytes, read_count(run, prefix + "_bytes", static_cast<std::int64_t>(out.stored.size())));
  out.truncated = run.at(prefix + "_truncated").is_bool() && run.at(prefix + "_truncated").as_bool();
  // What claims to be whole must have the hash it claims.
  if (!out.truncated && out.bytes == static_cast<std::int64_t>(out.stored.size()) && !run.at(prefix + "_bytes").is_null() &&
      sha256_hex(out.stored) != out.sha256) {
    return fail(ErrorCode::mismatch, "the stored output does not have the hash that is claimed for it", "do not trust this provider",
                prefix);
  }
  return out;
}

Json run_json(const SandboxCommandRun& run) {
  JsonObject out;
  out.set("cmd", run.cmd);
  out.set("exit_code", run.exit_code);
  out.set("signal", run.signal ? Json(*run.signal) : Json());
  out.set("verdict", name(run.verdict));
  out.set("duration_ms", run.duration_ms);
  out.set("cpu_user_us", run.cpu_user_us);
  out.set("cpu_system_us", run.cpu_system_us);
  out.set("max_rss_kb", run.max_rss_kb);
  stream_json(out, "stdout", run.out);
  stream_json(out, "stderr", run.err);
  return out;
}

Result<SandboxCommandRun> read_run(const Json& value) {
  SandboxCommandRun out;
  ASSAY_TRY(out.cmd, string_member(value, "cmd"));
  ASSAY_TRY(const std::int64_t exit_code, int_member(value, "exit_code"));
  if (exit_code < INT32_MIN || exit_code > INT32_MAX) return fail(ErrorCode::malformed, "expected 32 bits", {}, "exit_code");
  out.exit_code = static_cast<int>(exit_code);
  if (value.at("signal").is_int()) out.signal = static_cast<int>(std::clamp<std::int64_t>(value.at("signal").as_int(), 0, 128));
  out.verdict = out.exit_code == 0 ? SandboxVerdict::ok : SandboxVerdict::exit_nonzero;
  if (!value.at("verdict").is_null()) {
    ASSAY_TRY(out.verdict, read_name<SandboxVerdict>(value, "verdict", verdict_names));
  }
  if ((out.verdict == SandboxVerdict::ok) != (out.exit_code == 0)) {
    return fail(ErrorCode::malformed, "verdict and exit code contradict each other", {}, "verdict");
  }
  ASSAY_TRY(out.duration_ms, read_count(value, "duration_ms"));
  ASSAY_TRY(out.cpu_user_us, read_count(value, "cpu_user_us", 0));
  ASSAY_TRY(out.cpu_system_us, read_count(value, "cpu_system_us", 0));
  ASSAY_TRY(out.max_rss_kb, read_count(value, "max_rss_kb", 0));
  ASSAY_TRY(out.out, read_stream(value, "stdout"));
  ASSAY_TRY(out.err, read_stream(value, "stderr"));
  return out;
}

Json texts(const std::vector<std::string>& list) {
  JsonList out;
  for (const std::string& text : list) out.emplace_back(text);
  return out;
}

Result<std::vector<std::string>> read_texts(const Json& value, std::string_view path) {
  std::vector<std::string> out;
  if (value.is_null()) return out;
  if (!value.is_list()) return fail(ErrorCode::malformed, "expected a list of strings", {}, std::string(path));
  for (const Json& item : value.as_list()) {
    if (!item.is_string()) return fail(ErrorCode::malformed, "expected a string", {}, std::string(path));
    out.push_back(item.as_string());
  }
  return out;
}

Json isolation_json(const SandboxIsolation& isolation) {
  JsonObject out;
  out.set("level", isolation.level);
  out.set("backend", isolation.backend);
  out.set("namespaces", texts(isolation.namespaces));
  out.set("seccomp_sha256", isolation.seccomp_sha256);
  out.set("cgroup", isolation.cgroup);
  out.set("missing", texts(isolation.missing));
  return out;
}

// Absent in responses of other programs: then nothing is known, and the level says so.
Result<SandboxIsolation> read_isolation(const Json& value) {
  SandboxIsolation out;
  out.backend.clear();
  if (value.is_null()) {
    out.level = "unknown";
    return out;
  }
  ASSAY_TRY(out.level, string_member(value, "level"));
  ASSAY_TRY(out.backend, string_member(value, "backend"));
  ASSAY_TRY(out.namespaces, read_texts(value.at("namespaces"), "namespaces"));
  ASSAY_TRY(out.seccomp_sha256, string_member(value, "seccomp_sha256"));
  ASSAY_TRY(out.cgroup, string_member(value, "cgroup"));
  ASSAY_TRY(out.missing, read_texts(value.at("missing"), "missing"));
  return out;
}

Json usage_json(const SandboxUsage& usage, std::int64_t disk_mb) {
  JsonObject out;
  out.set("memory_peak_bytes", usage.memory_peak_bytes);
  out.set("cpu_us", usage.cpu_us);
  out.set("processes_peak", usage.processes_peak);
  out.set("wall_ms", usage.wall_ms);
  out.set("disk_mb", disk_mb);
  return out;
}

Result<void> read_usage(const Json& value, SandboxRunResponse& out) {
  if (value.is_null()) return {};
  ASSAY_TRY(out.usage.memory_peak_bytes, read_count(value, "memory_peak_bytes", 0));
  ASSAY_TRY(out.usage.cpu_us, read_count(value, "cpu_us", 0));
  ASSAY_TRY(out.usage.processes_peak, read_count(value, "processes_peak", 0));
  ASSAY_TRY(out.usage.wall_ms, read_count(value, "wall_ms", 0));
  ASSAY_TRY(out.disk_mb, read_count(value, "disk_mb", 0));
  return {};
}

Result<std::vector<SandboxArtifact>> read_artifacts(const Json& value) {
  std::vector<SandboxArtifact> out;
  if (value.is_null()) return out;
  if (!value.is_list()) return fail(ErrorCode::malformed, "expected a list", {}, "artifacts");
  for (const Json& item : value.as_list()) {
    SandboxArtifact artifact;
    ASSAY_TRY(artifact.path, string_member(item, "path"));
    ASSAY_TRY(artifact.sha256, read_hash(item, "sha256"));
    ASSAY_TRY(artifact.size_bytes, read_count(item, "size_bytes"));
    out.push_back(std::move(artifact));
  }
  return out;
}

Result<std::vector<SandboxSkipped>> read_skipped(const Json& value) {
  std::vector<SandboxSkipped> out;
  if (value.is_null()) return out;
  if (!value.is_list()) return fail(ErrorCode::malformed, "expected a list", {}, "skipped");
  for (const Json& item : value.as_list()) {
    SandboxSkipped skipped;
    ASSAY_TRY(skipped.path, string_member(item, "path"));
    ASSAY_TRY(skipped.reason, string_member(item, "reason"));
    out.push_back(std::move(skipped));
  }
  return out;
}

Result<void> read_env_info(const Json& value, SandboxRunResponse& out) {
  ASSAY_TRY(out.image_digest, string_member(value, "image_digest"));
  if (value.at("hostname").is_string()) out.hostname = value.at("hostname").as_string();
  if (value.at("system_info").is_string()) out.system_info = value.at("system_info").as_string();
  return {};
}

}  // namespace

std::string_view name(SandboxStatus status) { return status_names[static_cast<std::size_t>(status)]; }
std::string_view name(SandboxVerdict verdict) { return verdict_names[static_cast<std::size_t>(verdict)]; }

Json to_json(const SandboxRunResponse& response) {
  JsonObject env_info;
  env_info.set("image_digest", response.image_digest);
  env_info.set("hostname", response.hostname);
  env_info.set("system_info", response.system_info);

  JsonList runs;
  for (const SandboxCommandRun& run : response.runs) runs.push_back(run_json(run));
  JsonList artifacts;
  for (const SandboxArtifact& artifact : response.artifacts) {
    artifacts.emplace_back(JsonObject{{"path", artifact.path}, {"sha256", artifact.sha256}, {"size_bytes", artifact.size_bytes}});
  }
  JsonList skipped;
  for (const SandboxSkipped& item : response.skipped) skipped.emplace_back(JsonObject{{"path", item.path}, {"reason", item.reason}});

  JsonObject out;
  out.set("job_hash", response.job_hash);
  out.set("profile", response.profile);
  out.set("env_info", std::move(env_info));
  out.set("runs", std::move(runs));
  out.set("artifacts", std::move(artifacts));
  out.set("skipped", std::move(skipped));
  out.set("notes", texts(response.notes));
  out.set("status", name(response.status));
  if (response.error) out.set("error", *response.error);
  out.set("isolation", isolation_json(response.isolation));
  out.set("usage", usage_json(response.usage, response.disk_mb));
  out.set("provenance", response.provenance);
  return out;
}

Result<SandboxRunResponse> read_sandbox_response(const Json& payload) {
  SandboxRunResponse out;
  if (!payload.is_object()) return fail(ErrorCode::malformed, "expected an object");
  if (payload.at("job_hash").is_string()) {
    ASSAY_TRY(out.job_hash, read_hash(payload, "job_hash"));
  }
  if (payload.at("profile").is_string()) out.profile = payload.at("profile").as_string();
  if (auto read = read_env_info(payload.at("env_info"), out); !read) return std::unexpected(std::move(read).error().in("env_info"));
  ASSAY_TRY(const Json* runs, member(payload, "runs", Json::Kind::list));
  for (std::size_t i = 0; i < runs->as_list().size(); ++i) {
    auto run = read_run(runs->as_list()[i]);
    if (!run) return std::unexpected(std::move(run).error().in(fmt::format("runs[{}]", i)));
    out.runs.push_back(*std::move(run));
  }
  ASSAY_TRY(out.artifacts, read_artifacts(payload.at("artifacts")));
  ASSAY_TRY(out.skipped, read_skipped(payload.at("skipped")));
  ASSAY_TRY(out.notes, read_texts(payload.at("notes"), "notes"));
  ASSAY_TRY(out.status, read_name<SandboxStatus>(payload, "status", status_names));
  if (payload.at("error").is_string()) out.error = payload.at("error").as_string();
  ASSAY_TRY(out.isolation, read_isolation(payload.at("isolation")));
  ASSAY_CHECK(read_usage(payload.at("usage"), out));
  ASSAY_TRY(const Json* provenance, member(payload, "provenance", Json::Kind::object));
  out.provenance = *provenance;
  return out;
}

}  // namespace assay
