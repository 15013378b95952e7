#include "assay/sandbox/shape.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "assay/sandbox/sandbox.h"

namespace assay {
namespace {

constexpr std::int64_t mebi = 1024 * 1024;

std::unexpected<Error> unsupported(std::string_view path, std::string_view value, std::string remedy) {
  const std::size_t dot = path.rfind('.');
  return fail(ErrorCode::refused,
              fmt::format("unsupported: {}={}", path.substr(dot == std::string_view::npos ? 0 : dot + 1), value.substr(0, 200)),
              std::move(remedy), std::string(path));
}

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {  // ends: the path gets shorter each round
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0) out.push_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return out;
}

bool plain(std::string_view segment) {
  const auto fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  return !segment.empty() && segment != "." && segment != ".." && std::all_of(segment.begin(), segment.end(), fine);
}

// What is kept and hashed without being known here would be a promise that nobody keeps (docs/formats.md §7).
Result<void> check_known(const SandboxRunRequest& request) {
  const auto check = [](const JsonObject& extra, std::string_view within) -> Result<void> {
    if (extra.empty()) return {};
    const std::string name = to_utf8(extra.begin()->first.substr(0, 100));
    return fail(ErrorCode::refused, fmt::format("unsupported: {}", name), "this version knows no such member: leave it out",
                fmt::format("{}{}{}", within, within.empty() ? "" : ".", name));
  };
  ASSAY_CHECK(check(request.extra, ""));
  ASSAY_CHECK(check(request.sandbox_extra, "sandbox"));
  ASSAY_CHECK(check(request.resources.extra, "sandbox.resources"));
  ASSAY_CHECK(check(request.repo.extra, "repo"));
  ASSAY_CHECK(check(request.verification.extra, "verification"));
  for (std::size_t i = 0; i < request.commands.size(); ++i) ASSAY_CHECK(check(request.commands[i].extra, fmt::format("commands[{}]", i)));
  return {};
}

Result<void> check_place(const SandboxRunRequest& request) {
  if (request.provider != "native") {
    return unsupported("sandbox.provider", request.provider,
                       "this machine runs jobs in its native sandbox: set sandbox.provider to \"native\"");
  }
  const std::string digest = native_image_digest();
  std::string_view image = request.image_digest;
  if (image.starts_with("sha256:")) image.remove_prefix(7);
  if (!image.empty() && image != "native" && image != digest) {
    return unsupported("sandbox.image_digest", request.image_digest,
                       fmt::format("jobs see this machine's own read-only system: use \"native\" or {}", digest));
  }
  if (request.network_policy == "full" || (request.network_policy != "none" && request.network_policy != "localhost")) {
    return unsupported("sandbox.network_policy", request.network_policy, "use none, or localhost for a loopback of the job's own");
  }
  if (!request.repo.source.empty()) {
    return unsupported("repo.source", request.repo.source, "there is no network: let a command write the files it needs");
  }
  if (request.repo.git_ref) return unsupported("repo.git_ref", *request.repo.git_ref, "leave it out: there is no repository");
  return {};
}

Result<void> check_verification(const SandboxVerification& verification) {
  if (verification.mode != "objective") return unsupported("verification.mode", verification.mode, "one run on one machine is objective");
  if (verification.redundancy != 1) {
    return unsupported("verification.redundancy", std::to_string(verification.redundancy), "one run is one: ask several providers");
  }
  if (verification.adjudication != "none")
    return unsupported("verification.adjudication", verification.adjudication, "compare the responses on your side");
  if (verification.judge_model)
    return unsupported("verification.judge_model", *verification.judge_model, "judge the responses on your side");
  return {};
}

Result<void> shape_resources(const SandboxResources& asked, const SandboxProfile& profile, const SandboxLimits& limits, RunShape& out) {
  const auto beyond = [&](std::string_view member, std::string value, std::string most) {
    return unsupported(fmt::format("sandbox.resources.{}", member), value, fmt::format("profile {} gives at most {}", profile.name, most));
  };
  constexpr std::int64_t memory_mb_min = 16;
  if (asked.memory_mb > profile.memory_mb) return beyond("memory_mb", std::to_string(asked.memory_mb), std::to_string(profile.memory_mb));
  if (asked.memory_mb < memory_mb_min) {
    return unsupported("sandbox.resources.memory_mb", std::to_string(asked.memory_mb), fmt::format("ask for at least {}", memory_mb_min));
  }
  if (!(asked.cpus > 0) || asked.cpus > profile.vcpus) return beyond("cpus", number_text(asked.cpus), std::to_string(profile.vcpus));
  if (asked.cpus < 0.01) return unsupported("sandbox.resources.cpus", number_text(asked.cpus), "ask for at least 0.01");
  if (asked.timeout_secs > profile.wall_seconds)
    return beyond("timeout_secs", std::to_string(asked.timeout_secs), std::to_string(profile.wall_seconds));
  if (asked.timeout_secs < 1)
    return unsupported("sandbox.resources.timeout_secs", std::to_string(asked.timeout_secs), "ask for at least 1 second");
  const std::int64_t disk_mb_max = std::min(profile.disk_mb, asked.memory_mb * 3 / 4);
  if (asked.disk_mb && (*asked.disk_mb > disk_mb_max || *asked.disk_mb < 1)) {
    return unsupported("sandbox.resources.disk_mb", std::to_string(*asked.disk_mb),
                       fmt::format("files are kept in memory: at most {} with memory_mb={}", disk_mb_max, asked.memory_mb));
  }
  out.memory_bytes = asked.memory_mb * mebi;
  out.disk_bytes = asked.disk_mb.value_or(asked.memory_mb / 2) * mebi;
  out.cpus = asked.cpus;
  out.wall_seconds = asked.timeout_secs;
  out.cpu_seconds = limits.cpu_seconds > 0 ? limits.cpu_seconds
                                           : static_cast<std::int64_t>(std::ceil(static_cast<double>(asked.timeout_secs) * asked.cpus));
  out.processes = limits.processes_max > 0 ? limits.processes_max : profile.processes;
  out.open_files = limits.open_files_max;
  return {};
}

Result<void> shape_mount_path(const std::string& path, RunShape& out) {
  constexpr std::array<std::string_view, 14> taken{"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32",
                                                   "etc", "dev", "proc", "sys", "tmp",   "mnt",   "var"};
  const auto parts = segments(path);
  const bool ok = path.starts_with('/') && !parts.empty() && parts.size() <= 8 && std::all_of(parts.begin(), parts.end(), plain) &&
                  std::find(taken.begin(), taken.end(), parts[0]) == taken.end() && (parts[0] != "job" || parts.size() == 1);
  if (!ok) return unsupported("repo.mount_path", path, "use an absolute path of plain names outside the system's folders, e.g. /workspace");
  out.mount_path.clear();
  for (const std::string_view part : parts) out.mount_path += fmt::format("/{}", part);
  return {};
}

bool within(std::string_view path, std::string_view folder) {
  return path == folder || (path.starts_with(folder) && path.size() > folder.size() && path[folder.size()] == '/');
}

Result<void> shape_commands(const SandboxRunRequest& request, const SandboxLimits& limits, RunShape& out) {
  if (request.commands.empty()) return fail(ErrorCode::refused, "there is no command to run", "give at least one", "commands");
  if (request.commands.size() > limits.commands_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("{} commands; at most {} are run", request.commands.size(), limits.commands_max), {},
                "commands");
  }
  for (std::size_t i = 0; i < request.commands.size(); ++i) {
    const SandboxCommand& command = request.commands[i];
    const std::string path = fmt::format("commands[{}]", i);
    if (command.cmd.size() > limits.command_bytes_max) {
      return fail(ErrorCode::limit_exceeded,
                  fmt::format("{} bytes; a command has at most {}", command.cmd.size(), limits.command_bytes_max),
                  "write a script in one command and run it in the next", path + ".cmd");
    }
    if (command.cmd.find('\0') != std::string::npos)
      return fail(ErrorCode::refused, "a command cannot hold a zero byte", {}, path + ".cmd");
    std::string workdir = command.workdir.value_or(out.mount_path);
    if (!workdir.starts_with('/')) workdir = out.mount_path + "/" + workdir;
    const auto parts = segments(workdir);
    const bool climbs = std::find(parts.begin(), parts.end(), "..") != parts.end() || workdir.find('\0') != std::string::npos;
    if (climbs || workdir.size() > 1024 || !(within(workdir, out.mount_path) || within(workdir, "/job") || within(workdir, "/tmp"))) {
      return unsupported(path + ".workdir", workdir, fmt::format("use a folder under {}, /job or /tmp, without '..'", out.mount_path));
    }
    out.commands.push_back(command.cmd);
    out.workdirs.push_back(std::move(workdir));
  }
  return {};
}

bool variable_name(std::string_view name) {
  const auto fine = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') && std::all_of(name.begin(), name.end(), fine);
}

// Variables that change what a loader, a shell or git runs before the job's own command.
bool steers(std::string_view name) {
  constexpr std::array<std::string_view, 5> names{"GCONV_PATH", "BASH_ENV", "ENV", "IFS", "SHELLOPTS"};
  return name.starts_with("LD_") || name.starts_with("GIT_") || std::find(names.begin(), names.end(), name) != names.end();
}

Result<void> shape_environment(const SandboxRunRequest& request, const SandboxLimits& limits, RunShape& out) {
  std::vector<std::pair<std::string, std::string>> all{{"CI", "1"},
                                                       {"HOME", "/job"},
                                                       {"LANG", "C.UTF-8"},
                                                       {"LC_ALL", "C.UTF-8"},
                                                       {"LOGNAME", "job"},
                                                       {"PATH", "/usr/local/bin:/usr/bin:/bin"},
                                                       {"PYTHONDONTWRITEBYTECODE", "1"},
                                                       {"PYTHONHASHSEED", "0"},
                                                       {"SOURCE_DATE_EPOCH", "315532800"},
                                                       {"TERM", "dumb"},
                                                       {"TMPDIR", "/tmp"},
                                                       {"TZ", "UTC"},
                                                       {"USER", "job"}};
  std::size_t bytes = 0;
  if (request.env.size() > limits.env_count_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("{} variables; at most {} are set", request.env.size(), limits.env_count_max), {},
                "env");
  }
  for (const auto& [key, value] : request.env) {
    const std::string path = "env." + to_utf8(key.substr(0, 100));
    if (!variable_name(key) || value.find('\0') != std::string::npos) {
      return fail(ErrorCode::refused, "not the name of an environment variable, or its value holds a zero byte", "use A-Z, a-z, 0-9 and _",
                  path);
    }
    if (steers(key))
      return fail(ErrorCode::refused, fmt::format("unsupported: env {}", key), "set it inside a command if the job needs it", path);
    bytes += key.size() + value.size() + 2;
    if (bytes > limits.env_bytes_max) {
      return fail(ErrorCode::limit_exceeded, fmt::format("the environment has more than {} bytes", limits.env_bytes_max),
                  "write large values to a file", path);
    }
    const auto same = std::find_if(all.begin(), all.end(), [&key](const auto& pair) { return pair.first == key; });
    if (same != all.end()) {
      same->second = value;
    } else {
      all.emplace_back(key, value);
    }
  }
  std::sort(all.begin(), all.end());
  for (const auto& [key, value] : all) out.environment.push_back(key + "=" + value);
  return {};
}

}  // namespace

Result<RunShape> shape_of(const SandboxRunRequest& request, const SandboxProfile& profile, const SandboxLimits& limits) {
  RunShape out;
  ASSAY_CHECK(check_known(request));
  ASSAY_CHECK(check_place(request));
  ASSAY_CHECK(check_verification(request.verification));
  ASSAY_CHECK(shape_resources(request.resources, profile, limits, out));
  ASSAY_CHECK(shape_mount_path(request.repo.mount_path, out));
  ASSAY_CHECK(shape_commands(request, limits, out));
  ASSAY_CHECK(shape_environment(request, limits, out));
  out.loopback = request.network_policy == "localhost";
  return out;
}

Result<void> check_sandbox_request(const SandboxRunRequest& request, const SandboxProfile& profile, const SandboxLimits& limits) {
  ASSAY_TRY([[maybe_unused]] const RunShape shape, shape_of(request, profile, limits));
  return {};
}

}  // namespace assay
