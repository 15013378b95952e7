#include "assay/sandbox/request.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace assay {
namespace {

// Takes the known members out of an object one by one; what is left at the end is kept as `extra`.
class Members {
 public:
  static Result<Members> of(const Json& value, std::string path) {
    if (!value.is_object()) return fail(ErrorCode::malformed, "expected an object", {}, std::move(path));
    return Members(value.as_object(), std::move(path));
  }
  const Json* find(std::string_view key) {
    const Json* found = all_->find(key);
    if (found != nullptr) extra_.erase(key);
    return found;
  }
  Result<std::string> text(std::string_view key, std::optional<std::string> otherwise, std::size_t bytes_max) {
    const Json* found = find(key);
    if (found == nullptr && otherwise) return *std::move(otherwise);
    if (found == nullptr) return fail(ErrorCode::malformed, fmt::format("the member '{}' is missing", key), {}, place(key));
    if (!found->is_string()) return fail(ErrorCode::malformed, "expected a string", {}, place(key));
    if (found->as_string().size() > bytes_max) {
      return fail(ErrorCode::limit_exceeded, fmt::format("{} bytes; at most {} are read", found->as_string().size(), bytes_max), {},
                  place(key));
    }
    return found->as_string();
  }
  Result<std::optional<std::string>> optional_text(std::string_view key, std::size_t bytes_max) {
    const Json* found = all_->find(key);
    if (found == nullptr || found->is_null()) {
      extra_.erase(key);
      return std::optional<std::string>();
    }
    ASSAY_TRY(std::string value, text(key, std::nullopt, bytes_max));
    return std::optional<std::string>(std::move(value));
  }
  Result<std::int64_t> count(std::string_view key, std::int64_t otherwise, std::int64_t min, std::int64_t max) {
    const Json* found = find(key);
    if (found == nullptr) return otherwise;
    if (!found->is_int() || found->as_int() < min || found->as_int() > max) {
      return fail(ErrorCode::malformed, fmt::format("expected an integer from {} to {}", min, max), {}, place(key));
    }
    return found->as_int();
  }
  Result<bool> flag(std::string_view key, bool otherwise) {
    const Json* found = find(key);
    if (found == nullptr) return otherwise;
    if (!found->is_bool()) return fail(ErrorCode::malformed, "expected true or false", {}, place(key));
    return found->as_bool();
  }
  Result<std::string> choice(std::string_view key, std::string otherwise, std::initializer_list<std::string_view> choices) {
    ASSAY_TRY(std::string value, text(key, std::move(otherwise), 64));
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
    return fail(ErrorCode::malformed, fmt::format("expected one of {}; found '{}'", fmt::join(choices, ", "), value), {}, place(key));
  }
  std::string place(std::string_view key) const { return path_.empty() ? std::string(key) : path_ + "." + std::string(key); }
  JsonObject rest() && { return std::move(extra_); }

 private:
  Members(const JsonObject& all, std::string path) : all_(&all), extra_(all), path_(std::move(path)) {}
  const JsonObject* all_;
  JsonObject extra_;
  std::string path_;
};

constexpr std::int64_t u32_max = 4294967295;
constexpr std::size_t name_bytes_max = 4096;
constexpr std::size_t command_bytes_read_max = std::size_t{1} << 20;
constexpr std::size_t commands_read_max = 1024;

Result<SandboxResources> read_resources(const Json& value) {
  SandboxResources out;
  ASSAY_TRY(Members members, Members::of(value, "sandbox.resources"));
  ASSAY_TRY(out.memory_mb, members.count("memory_mb", out.memory_mb, 1, u32_max));
  ASSAY_TRY(out.timeout_secs, members.count("timeout_secs", out.timeout_secs, 1, u32_max));
  if (const Json* cpus = members.find("cpus")) {
    if (!cpus->is_number() || !(cpus->as_double() > 0) || cpus->as_double() > 4096) {
      return fail(ErrorCode::malformed, "expected a number above 0 and at most 4096", {}, members.place("cpus"));
    }
    out.cpus = cpus->as_double();
  }
  if (const Json* disk = members.find("disk_mb"); disk != nullptr && !disk->is_null()) {
    ASSAY_TRY(out.disk_mb, members.count("disk_mb", 0, 1, u32_max));
  }
  out.extra = std::move(members).rest();
  return out;
}

Result<void> read_sandbox(const Json& value, SandboxRunRequest& out) {
  ASSAY_TRY(Members members, Members::of(value, "sandbox"));
  ASSAY_TRY(out.provider, members.text("provider", "docker", name_bytes_max));
  ASSAY_TRY(out.image_digest, members.text("image_digest", std::nullopt, name_bytes_max));
  ASSAY_TRY(out.network_policy, members.choice("network_policy", "none", {"none", "localhost", "full"}));
  if (const Json* resources = members.find("resources")) {
    ASSAY_TRY(out.resources, read_resources(*resources));
  }
  out.sandbox_extra = std::move(members).rest();
  return {};
}

Result<SandboxRepo> read_repo(const Json& value) {
  SandboxRepo out;
  ASSAY_TRY(Members members, Members::of(value, "repo"));
  ASSAY_TRY(out.source, members.text("source", std::nullopt, name_bytes_max));
  ASSAY_TRY(out.git_ref, members.optional_text("git_ref", name_bytes_max));
  ASSAY_TRY(out.mount_path, members.text("mount_path", "/workspace", name_bytes_max));
  out.extra = std::move(members).rest();
  return out;
}

Result<SandboxCommand> read_command(const Json& value, std::string path) {
  SandboxCommand out;
  ASSAY_TRY(Members members, Members::of(value, std::move(path)));
  ASSAY_TRY(out.cmd, members.text("cmd", std::nullopt, command_bytes_read_max));
  ASSAY_TRY(out.workdir, members.optional_text("workdir", name_bytes_max));
  ASSAY_TRY(out.continue_on_fail, members.flag("continue_on_fail", false));
  out.extra = std::move(members).rest();
  return out;
}

Result<std::vector<SandboxCommand>> read_commands(const Json* value) {
  if (value == nullptr || !value->is_list()) return fail(ErrorCode::malformed, "expected a list of commands", {}, "commands");
  const JsonList& list = value->as_list();
  if (list.size() > commands_read_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("{} commands; at most {} are read", list.size(), commands_read_max), {}, "commands");
  }
  std::vector<SandboxCommand> out;
  for (std::size_t i = 0; i < list.size(); ++i) {
    ASSAY_TRY(SandboxCommand command, read_command(list[i], fmt::format("commands[{}]", i)));
    out.push_back(std::move(command));
  }
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> read_env(const Json& value) {
  if (!value.is_object()) return fail(ErrorCode::malformed, "expected an object of strings", {}, "env");
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [key, text] : value.as_object()) {
    if (!text.is_string()) return fail(ErrorCode::malformed, "expected a string", {}, "env." + key);
    out.emplace_back(key, text.as_string());
  }
  return out;
}

Result<SandboxVerification> read_verification(const Json& value) {
  SandboxVerification out;
  ASSAY_TRY(Members members, Members::of(value, "verification"));
  ASSAY_TRY(out.mode, members.choice("mode", "objective", {"objective", "subjective"}));
  ASSAY_TRY(out.redundancy, members.count("redundancy", 1, 1, 255));
  ASSAY_TRY(out.adjudication, members.choice("adjudication", "none", {"none", "majority_vote", "judge_model", "merge"}));
  ASSAY_TRY(out.judge_model, members.optional_text("judge_model", name_bytes_max));
  out.extra = std::move(members).rest();
  return out;
}

Json command_json(const SandboxCommand& command) {
  JsonObject out = command.extra;
  out.set("cmd", command.cmd);
  if (command.workdir) out.set("workdir", *command.workdir);
  out.set("continue_on_fail", command.continue_on_fail);
  return out;
}

Json sandbox_json(const SandboxRunRequest& request) {
  JsonObject resources = request.resources.extra;
  resources.set("memory_mb", request.resources.memory_mb);
  resources.set("cpus", request.resources.cpus);
  resources.set("timeout_secs", request.resources.timeout_secs);
  if (request.resources.disk_mb) resources.set("disk_mb", *request.resources.disk_mb);
  JsonObject out = request.sandbox_extra;
  out.set("provider", request.provider);
  out.set("image_digest", request.image_digest);
  out.set("network_policy", request.network_policy);
  out.set("resources", std::move(resources));
  return out;
}

}  // namespace

Result<SandboxRunRequest> read_sandbox_request(const Json& payload) {
  SandboxRunRequest out;
  ASSAY_TRY(Members members, Members::of(payload, ""));
  const Json* sandbox = members.find("sandbox");
  if (sandbox == nullptr) return fail(ErrorCode::malformed, "the member 'sandbox' is missing", {}, "sandbox");
  ASSAY_CHECK(read_sandbox(*sandbox, out));
  if (const Json* repo = members.find("repo")) {
    ASSAY_TRY(out.repo, read_repo(*repo));
  }
  ASSAY_TRY(out.commands, read_commands(members.find("commands")));
  if (const Json* env = members.find("env")) {
    ASSAY_TRY(out.env, read_env(*env));
  }
  if (const Json* verification = members.find("verification")) {
    ASSAY_TRY(out.verification, read_verification(*verification));
  }
  out.extra = std::move(members).rest();
  return out;
}

Json to_json(const SandboxRunRequest& request) {
  JsonObject repo = request.repo.extra;
  repo.set("source", request.repo.source);
  if (request.repo.git_ref) repo.set("git_ref", *request.repo.git_ref);
  repo.set("mount_path", request.repo.mount_path);

  JsonList commands;
  for (const SandboxCommand& command : request.commands) commands.push_back(command_json(command));

  JsonObject verification = request.verification.extra;
  verification.set("mode", request.verification.mode);
  verification.set("redundancy", request.verification.redundancy);
  verification.set("adjudication", request.verification.adjudication);
  if (request.verification.judge_model) verification.set("judge_model", *request.verification.judge_model);

  JsonObject out = request.extra;
  out.set("sandbox", sandbox_json(request));
  out.set("repo", std::move(repo));
  out.set("commands", std::move(commands));
  if (!request.env.empty()) {
    JsonObject env;
    for (const auto& [key, value] : request.env) env.set(key, value);
    out.set("env", std::move(env));
  }
  out.set("verification", std::move(verification));
  return out;
}

Result<std::string> job_hash(const SandboxRunRequest& request) { return hash(to_json(request)); }

}  // namespace assay
