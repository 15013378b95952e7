#include "assay/market/job.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/lm/local_constraint.h"

namespace assay {
namespace {

constexpr std::array<std::string_view, 4> roles{"system", "user", "assistant", "tool"};
constexpr std::size_t messages_max = 256;
constexpr std::size_t stops_max = 16;

std::unexpected<Error> unsupported(std::string_view what) {
  return fail(ErrorCode::refused, fmt::format("unsupported: {}", what), "leave it out, or ask another provider", std::string(what));
}

// An object's members must be among those that are honoured; the first that is not is named.
Result<void> only(const Json& object, std::initializer_list<std::string_view> known, std::string_view prefix) {
  for (const auto& [key, value] : object.as_object()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) return unsupported(fmt::format("{}{}", prefix, key));
  }
  return {};
}

Result<Message> read_message(const Json& value) {
  if (!value.is_object()) return fail(ErrorCode::malformed, "expected an object");
  ASSAY_CHECK(only(value, {"role", "content"}, "messages."));
  Message out;
  ASSAY_TRY(out.role, string_member(value, "role"));
  if (std::find(roles.begin(), roles.end(), out.role) == roles.end()) return unsupported("messages.role=" + out.role);
  if (!value.at("content").is_string()) return unsupported("messages.content that is no text");
  out.content = value.at("content");
  return out;
}

Result<void> check_number(const Json& config, std::string_view key, double least, double most) {
  const Json& value = config.at(key);
  if (value.is_null()) return {};
  if (!value.is_number() || value.as_double() < least || value.as_double() > most) {
    return fail(ErrorCode::malformed, fmt::format("expected a number from {} to {}", least, most), {}, fmt::format("config.{}", key));
  }
  return {};
}

Result<void> check_stops(const Json& stop) {
  if (stop.is_null()) return {};
  if (!stop.is_list() || stop.as_list().size() > stops_max)
    return fail(ErrorCode::malformed, "expected a list of at most 16 texts", {}, "config.stop");
  for (const Json& item : stop.as_list()) {
    if (!item.is_string() || item.as_string().empty())
      return fail(ErrorCode::malformed, "expected a text that is not empty", {}, "config.stop");
  }
  return {};
}

Result<void> check_config(const Json& config) {
  ASSAY_CHECK(only(config, {"temperature", "top_p", "max_tokens", "stop", "n", "seed_policy", "constrain"}, "config."));
  ASSAY_CHECK(check_number(config, "temperature", 0, 2));
  ASSAY_CHECK(check_number(config, "top_p", 0, 1));
  ASSAY_CHECK(check_stops(config.at("stop")));
  const Json& constrain = config.at("constrain");  // whether `schema` was set by the buyer: the lane keeps to the schema itself
  if (!constrain.is_null() && !constrain.is_bool()) return fail(ErrorCode::malformed, "expected true or false", {}, "config.constrain");
  const Json& most = config.at("max_tokens");
  if (!most.is_int() || most.as_int() < 1)
    return fail(ErrorCode::malformed, "expected a count of at least 1: it is what is paid for", {}, "config.max_tokens");
  if (!config.at("n").is_null() && config.at("n") != Json(1)) return unsupported("config.n other than 1");
  return {};  // seed_policy says how the buyer chose `seed`; it asks nothing of a lane
}

Result<ModelDemand> read_model(const Json& value) {
  ModelDemand out;
  if (value.is_null()) return out;
  if (!value.is_object()) return fail(ErrorCode::malformed, "expected an object or null", {}, "model");
  ASSAY_CHECK(only(value, {"id", "digest"}, "model."));
  ASSAY_TRY(out.id, string_member(value, "id"));
  if (value.at("digest").is_null()) return out;
  ASSAY_TRY(out.digest, string_member(value, "digest"));
  if (!is_hex(out.digest, 64)) return fail(ErrorCode::malformed, "expected 64 lowercase hex digits", {}, "model.digest");
  return out;
}

Json wire_bytes(const std::string& bytes) {
  if (valid_utf8(bytes)) return Json(bytes);
  return JsonObject{{"$base64", base64(bytes)}};
}

Result<std::string> read_bytes(const Json& value) {
  if (value.is_string()) return value.as_string();
  if (value.at("$base64").is_string()) return from_base64(value.at("$base64").as_string());
  return fail(ErrorCode::malformed, "expected text or {\"$base64\"}", {}, "content");
}

}  // namespace

Result<JobEnvelope> make_job(std::string_view job_type, Json payload) {
  JobEnvelope out;
  out.job_type = job_type;
  ASSAY_TRY(out.job_hash, hash(payload));
  out.payload = std::move(payload);
  return out;
}

Json to_json(const JobEnvelope& envelope) {
  return JsonObject{{"job_type", envelope.job_type},
                    {"schema_version", envelope.schema_version},
                    {"job_hash", envelope.job_hash},
                    {"payload", envelope.payload}};
}

Result<JobEnvelope> read_envelope(const Json& json) {
  JobEnvelope out;
  if (!json.is_object()) return fail(ErrorCode::malformed, "expected a job envelope");
  ASSAY_TRY(out.job_type, string_member(json, "job_type"));
  ASSAY_TRY(out.schema_version, string_member(json, "schema_version"));
  if (!out.schema_version.starts_with("1.")) return unsupported("schema_version " + out.schema_version);
  ASSAY_TRY(out.job_hash, string_member(json, "job_hash"));
  if (out.job_hash.starts_with("sha256:")) out.job_hash.erase(0, 7);
  if (!is_hex(out.job_hash, 64)) return fail(ErrorCode::malformed, "expected 64 lowercase hex digits", {}, "job_hash");
  ASSAY_TRY(const Json* payload, member(json, "payload", Json::Kind::object));
  out.payload = *payload;
  return out;
}

Result<JobEnvelope> completed_request(JobEnvelope request) {
  if (request.job_type == sandbox_job_type) {
    ASSAY_TRY(const SandboxRunRequest read, read_sandbox_request(request.payload));
    request.payload = to_json(read);
  }
  ASSAY_TRY(const std::string found, hash(request.payload));
  if (found == request.job_hash) return request;
  return fail(ErrorCode::mismatch, fmt::format("the payload's hash is {}, the job says {}", found, request.job_hash),
              "hash the canonical payload with its defaults written out", "job_hash");
}

Result<JobEnvelope> text_job(const LmRequest& request, const ModelDemand& model) {
  Json payload = request_json(request, Lane{});
  payload.set("model", model.id.empty() && model.digest.empty()
                           ? Json()
                           : Json(JsonObject{{"id", model.id}, {"digest", model.digest.empty() ? Json() : Json(model.digest)}}));
  return make_job(text_job_type, std::move(payload));
}

Result<JobEnvelope> sandbox_job(const SandboxRunRequest& request) {
  if (request.commands.empty()) return fail(ErrorCode::usage, "a sandbox job needs a command", "add one", "commands");
  return make_job(sandbox_job_type, to_json(request));
}

Result<TextJob> read_text_job(const Json& payload) {
  if (!payload.is_object()) return fail(ErrorCode::malformed, "expected an object");
  ASSAY_CHECK(only(payload, {"messages", "config", "seed", "schema", "tools", "model", "rollout"}, ""));
  TextJob out;
  ASSAY_TRY(const Json* messages, member(payload, "messages", Json::Kind::list));
  if (messages->as_list().empty() || messages->as_list().size() > messages_max)
    return fail(ErrorCode::limit_exceeded, "expected 1 to 256 messages", {}, "messages");
  for (const Json& item : messages->as_list()) {
    ASSAY_TRY(Message read, read_message(item));
    out.request.messages.push_back(std::move(read));
  }
  ASSAY_TRY(const Json* config, member(payload, "config", Json::Kind::object));
  ASSAY_CHECK(check_config(*config));
  out.request.config = *config;
  if (!payload.at("seed").is_null()) {
    ASSAY_TRY(out.request.seed, int_member(payload, "seed"));
  }
  out.request.schema = payload.at("schema");
  if (!out.request.schema.is_null() && !out.request.schema.is_object())
    return fail(ErrorCode::malformed, "expected an object or null", {}, "schema");
  if (const auto parts = answer_parts(out.request.schema); !parts) return unsupported("schema");
  const Json& tools = payload.at("tools");
  if (!tools.is_null() && (!tools.is_object() || !tools.as_object().empty())) return unsupported("tools");
  if (!payload.at("rollout").is_null()) {
    ASSAY_TRY(out.request.rollout, int_member(payload, "rollout"));
  }
  ASSAY_TRY(out.model, read_model(payload.at("model")));
  return out;
}

Json plain_text_payload(std::string_view prompt, const JsonObject& parameters) {
  JsonObject config{{"temperature", 0}, {"top_p", 1}, {"max_tokens", 512}, {"stop", JsonList{}}, {"n", 1}, {"seed_policy", "none"}};
  Json model;
  Json seed;
  for (const auto& [key, value] : parameters) {
    if (key == "model") {
      model = JsonObject{{"id", value}, {"digest", nullptr}};
    } else if (key == "seed") {
      seed = value;
    } else {
      config.set(key, value);
    }
  }
  JsonObject out{{"messages", JsonList{JsonObject{{"role", "user"}, {"content", prompt}}}}, {"config", std::move(config)}};
  out.set("seed", std::move(seed));
  out.set("schema", nullptr);
  out.set("tools", JsonObject{});
  out.set("model", std::move(model));
  out.set("rollout", 0);
  return Json(std::move(out));
}

Json to_json(const TextAnswer& answer) {
  return JsonObject{{"content", wire_bytes(answer.content)},
                    {"finish_reason", answer.finish_reason},
                    {"usage", answer.usage.to_json()},
                    {"provenance", answer.provenance}};
}

Result<TextAnswer> read_text_answer(const Json& payload) {
  TextAnswer out;
  if (!payload.is_object()) return fail(ErrorCode::malformed, "expected an object");
  ASSAY_TRY(out.content, read_bytes(payload.at("content")));
  ASSAY_TRY(out.finish_reason, string_member(payload, "finish_reason"));
  ASSAY_TRY(const Json* usage, member(payload, "usage", Json::Kind::object));
  ASSAY_TRY(out.usage, LmUsage::read(*usage));
  ASSAY_TRY(const Json* provenance, member(payload, "provenance", Json::Kind::object));
  out.provenance = *provenance;
  ASSAY_TRY(const std::string claimed, string_member(out.provenance, "output_sha256"));
  if (claimed != sha256_hex(out.content)) {
    return fail(ErrorCode::mismatch, "the content does not have the hash that is claimed for it", "do not trust this provider",
                "provenance.output_sha256");
  }
  return out;
}

}  // namespace assay
