#include "assay/lm/lm.h"

#include "assay/base/object_text.h"
#include "assay/base/sha256.h"

namespace assay {
namespace {

Json or_null(const std::optional<std::string>& value) { return value ? Json(*value) : Json(); }

Result<std::optional<std::string>> digest_member(const Json& value, std::string_view key) {
  const Json* found = value.is_object() ? value.as_object().find(key) : nullptr;
  if (found == nullptr) return fail(ErrorCode::malformed, "a lane's digest is missing", "write null when there is none", std::string(key));
  if (found->is_null()) return std::optional<std::string>();
  if (!found->is_string() || !is_hex(found->as_string(), 64)) {
    return fail(ErrorCode::malformed, "a lane's digest is not 64 lowercase hex digits or null", {}, std::string(key));
  }
  return std::optional(found->as_string());
}

// Bytes that may reach the tokenizer. A byte is at least as much as a token for every tokenizer that falls back to bytes.
std::int64_t content_bytes(const Json& content) {
  if (content.is_string()) return static_cast<std::int64_t>(content.as_string().size());
  if (content.is_null()) return 0;
  const auto text = canonical(content);
  return text ? static_cast<std::int64_t>(text->size()) : json_integer_max;
}

}  // namespace

Json Lane::to_json() const {
  JsonObject out;
  out.set("kind", kind);
  out.set("model", model);
  out.set("model_sha256", or_null(model_sha256));
  out.set("tokenizer_sha256", or_null(tokenizer_sha256));
  out.set("chat_template_sha256", or_null(chat_template_sha256));
  out.set("engine", engine);
  return out;
}

Result<Lane> Lane::read(const Json& value) {
  Lane lane;
  ASSAY_TRY(lane.kind, string_member(value, "kind"));
  ASSAY_TRY(lane.model, string_member(value, "model"));
  ASSAY_TRY(lane.model_sha256, digest_member(value, "model_sha256"));
  ASSAY_TRY(lane.tokenizer_sha256, digest_member(value, "tokenizer_sha256"));
  ASSAY_TRY(lane.chat_template_sha256, digest_member(value, "chat_template_sha256"));
  ASSAY_TRY(lane.engine, string_member(value, "engine"));
  return lane;
}

Result<std::string> Lane::id() const { return hash(to_json()); }

Json Message::to_json() const {
  JsonObject out;
  out.set("role", role);
  out.set("content", content);
  return out;
}

Json request_json(const LmRequest& request, const Lane& lane) {
  JsonList messages;
  messages.reserve(request.messages.size());
  for (const Message& message : request.messages) messages.push_back(message.to_json());
  JsonObject model;
  model.set("id", lane.model);
  model.set("digest", or_null(lane.model_sha256));
  JsonObject out;
  out.set("messages", std::move(messages));
  out.set("config", request.config.get());
  out.set("seed", request.seed ? Json(*request.seed) : Json());
  out.set("schema", request.schema);
  out.set("tools", request.tools);
  out.set("model", std::move(model));
  out.set("rollout", request.rollout);
  return out;
}

Result<std::string> request_text(const LmRequest& request, const Lane& lane, const JsonLimits& limits) {
  std::string out;
  out.reserve(1024);
  ObjectText whole(out, limits.depth_max - 1);
  whole.value("config", request.config);
  whole.member("messages") += '[';
  for (const Message& message : request.messages) {
    if (&message != request.messages.data()) out += ',';
    ObjectText one(out, limits.depth_max - 3);  // inside request, list and message
    one.value("content", message.content);
    one.text("role", message.role);
    ASSAY_CHECK(one.finish());
  }
  out += ']';
  whole.member("model");
  ObjectText model(out, limits.depth_max - 2);
  model.value("digest", or_null(lane.model_sha256));
  model.text("id", lane.model);
  ASSAY_CHECK(model.finish());
  whole.value("rollout", request.rollout);
  whole.value("schema", request.schema);
  whole.value("seed", request.seed ? Json(*request.seed) : Json());
  whole.value("tools", request.tools);
  ASSAY_CHECK(whole.finish());
  return out;
}

Result<std::string> LM::lane_id() const {
  const std::scoped_lock lock(id_mutex_);
  if (named_ != lane()) {
    ASSAY_TRY(id_, lane().id());
    named_ = lane();
  }
  return id_;
}

bool may_have_used(ErrorCode code) {
  switch (code) {
    case ErrorCode::unavailable:
    case ErrorCode::limit_exceeded:
    case ErrorCode::refused:
    case ErrorCode::over_budget:
    case ErrorCode::usage: return false;
    default: return true;
  }
}

Result<LmResponse> LM::complete_with(const LmRequest& request, const Wait& wait, const Events& events) {
  auto answer = complete(request, wait);
  if (!answer && events.lost && may_have_used(answer.error().code)) static_cast<void>(events.lost(false));
  return answer;
}

Result<std::int64_t> LM::prompt_tokens_max(const LmRequest& request) const {
  constexpr std::int64_t message_frame_tokens = 16;  // role, separators and the turn that the template opens
  std::int64_t tokens = content_bytes(request.schema);
  if (!request.tools.is_object() || !request.tools.as_object().empty()) tokens += content_bytes(request.tools);
  for (const Message& message : request.messages) {
    tokens += message_frame_tokens + content_bytes(message.content);
    if (tokens >= json_integer_max) return fail(ErrorCode::limit_exceeded, "the request is too large to be sent", "shorten its messages");
  }
  return tokens;
}

std::vector<PrivacyMode> LM::privacy_modes() const {
  const std::string& kind = lane().kind;
  const bool in_process = kind == "local" || kind == "scripted" || kind == "replay";
  if (in_process) return all_privacy_modes();
  return sorted_privacy({PrivacyMode::PublicOk, PrivacyMode::NoPii});
}

}  // namespace assay
