#include "assay/lm/recorded_answers.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace assay {
namespace {

std::unexpected<Error> bad_line(const RecordEntry& entry, std::string message) {
  return fail(ErrorCode::malformed, std::move(message), "check the record with assay verify", fmt::format("line {}", entry.seq + 1));
}

using Blobs = std::map<std::string, std::string>;

Result<Json> without_blobs(const Json& value, const Blobs& blobs, const RecordEntry& entry) {
  const Json& id = value.at("$blob");
  if (!id.is_string()) return value;
  const auto at = blobs.find(id.as_string());
  if (at == blobs.end()) return bad_line(entry, fmt::format("the blob {} is not in the record", id.as_string()));
  return Json(at->second);
}

Result<Json> whole_request(const RecordEntry& entry, const Blobs& blobs) {
  ASSAY_TRY(const Json* request, member(entry.data, "request", Json::Kind::object));
  Json out = *request;
  Json* messages = out.as_object().find("messages");
  if (messages == nullptr || !messages->is_list()) return bad_line(entry, "the request has no messages");
  for (Json& message : messages->as_list()) {
    ASSAY_TRY(Json content, without_blobs(message.at("content"), blobs, entry));
    message.set("content", std::move(content));
  }
  return out;
}

Result<std::string> content_of(const RecordEntry& entry, const Blobs& blobs) {
  const Json& content = entry.data.at("content");
  if (content.is_string()) return content.as_string();
  if (const Json& bytes = content.at("$base64"); bytes.is_string()) return from_base64(bytes.as_string());
  ASSAY_TRY(const Json text, without_blobs(content, blobs, entry));
  if (!text.is_string()) return bad_line(entry, "the content is neither text nor bytes");
  return text.as_string();
}

Result<LmResponse> response_of(const RecordEntry& entry, const Blobs& blobs) {
  LmResponse response;
  ASSAY_TRY(response.content, content_of(entry, blobs));
  ASSAY_TRY(response.finish_reason, string_member(entry.data, "finish_reason"));
  ASSAY_TRY(response.usage, LmUsage::read(entry.data.at("usage")));
  response.usage.from_cache = entry.type == "cache_hit";
  if (const Json& cost = entry.data.at("cost_msats"); cost.is_int()) response.usage.cost_msats = cost.as_int();
  if (const Json& latency = entry.data.at("latency_ns"); latency.is_int()) response.usage.latency_ns = latency.as_int();
  return response;
}

std::optional<ErrorCode> code_of(const Json& text) {
  if (!text.is_string()) return std::nullopt;
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) {
    if (name(static_cast<ErrorCode>(i)) == text.as_string()) return static_cast<ErrorCode>(i);
  }
  return std::nullopt;
}

struct Difference {
  std::string pointer;
  Json want, found;
};

// The first place at which two requests differ, in canonical order.
std::optional<Difference> first_difference(const Json& want, const Json& found, const std::string& pointer) {
  if (want == found) return std::nullopt;
  if (want.is_object() && found.is_object()) {
    for (const auto& [key, value] : want.as_object()) {
      if (auto inner = first_difference(value, found.at(key), pointer + "/" + pointer_token(key))) return inner;
    }
    for (const auto& [key, value] : found.as_object()) {
      if (!want.as_object().contains(key)) return Difference{pointer + "/" + pointer_token(key), Json(), value};
    }
  }
  if (want.is_list() && found.is_list()) {
    for (std::size_t i = 0; i < std::min(want.as_list().size(), found.as_list().size()); ++i) {
      if (auto inner = first_difference(want.as_list()[i], found.as_list()[i], fmt::format("{}/{}", pointer, i))) return inner;
    }
  }
  return Difference{pointer, want, found};
}

std::string short_text(const Json& value) {
  std::string text = canonical(value).value_or("?");
  if (text.size() <= 200) return text;
  std::size_t cut = 200;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return text.substr(0, cut) + "…";
}

}  // namespace

Result<std::shared_ptr<RecordedAnswers>> RecordedAnswers::of(const RunRecord& record) {
  auto out = std::make_shared<RecordedAnswers>();
  if (record.entries.empty()) return fail(ErrorCode::malformed, "the record is empty");
  if (const Json& lanes = record.entries.front().data.at("lanes"); lanes.is_list()) {
    for (const Json& json : lanes.as_list()) {
      ASSAY_TRY(Lane lane, Lane::read(json));
      ASSAY_TRY(const std::string id, lane.id());
      out->lanes_.emplace(id, std::move(lane));
    }
  }
  std::size_t begin = 1;
  Blobs blobs;
  for (std::size_t i = 0; i < record.entries.size(); ++i) {
    const RecordEntry& entry = record.entries[i];
    if (entry.type == "resume") begin = i + 1;
    if (entry.type == "blob") {
      ASSAY_TRY(const std::string id, string_member(entry.data, "hash"));
      ASSAY_TRY(blobs[id], string_member(entry.data, "text"));
    }
  }
  // Path and request hash → requests that still wait for their response, in order: calls of one node may overlap.
  std::map<std::pair<std::string, std::string>, std::vector<std::size_t>> waiting;
  for (std::size_t i = begin; i < record.entries.size(); ++i) {
    const RecordEntry& entry = record.entries[i];
    const bool request = entry.type == "lm_request", hit = entry.type == "cache_hit", response = entry.type == "lm_response";
    const bool error = entry.type == "error" && entry.data.at("request_hash").is_string();
    if (!request && !hit && !response && !error) continue;
    ASSAY_TRY(const std::string request_hash, string_member(entry.data, "request_hash"));
    auto& calls = out->calls_[entry.node];
    if (request || hit) {
      Call call;
      ASSAY_TRY(call.request, whole_request(entry, blobs));
      ASSAY_TRY(const std::string lane_id, string_member(entry.data, "lane_id"));
      const auto lane = out->lanes_.find(lane_id);
      if (lane == out->lanes_.end()) return bad_line(entry, fmt::format("the lane {} is not in run_start", lane_id));
      call.answer.lane = lane->second;
      call.request_hash = request_hash;
      call.answer.failed = true;  // until the response is seen
      call.answer.error = {ErrorCode::unavailable, "the record has no response to this request", entry.node, ""};
      if (hit) {
        ASSAY_TRY(call.answer.response, response_of(entry, blobs));
        call.answer.failed = false;
      } else {
        waiting[{entry.node, request_hash}].push_back(calls.size());
      }
      calls.push_back(std::move(call));
      continue;
    }
    auto& open = waiting[{entry.node, request_hash}];
    if (open.empty()) return bad_line(entry, "a response without its request");
    RecordedAnswer& answer = calls[open.front()].answer;
    open.erase(open.begin());
    if (response) {
      ASSAY_TRY(answer.response, response_of(entry, blobs));
      answer.failed = false;
    } else {
      answer.error = {code_of(entry.data.at("code")).value_or(ErrorCode::internal), string_member(entry.data, "message").value_or(""), string_member(entry.data, "path").value_or(""), ""};
    }
  }
  return out;
}

Result<RecordedAnswer> RecordedAnswers::next(const std::string& path, const LmRequest& request) {
  const std::lock_guard lock(mutex_);
  const auto at = calls_.find(path);
  if (at == calls_.end()) return fail(ErrorCode::diverged, "the record has no LM call at this node", "", path);
  const Call* nearest = nullptr;
  for (Call& call : at->second) {
    if (call.used) continue;
    const Json json = request_json(request, call.answer.lane);
    ASSAY_TRY(const std::string request_hash, hash(json));
    if (request_hash == call.request_hash) {
      call.used = true;
      return call.answer;
    }
    if (nearest == nullptr) nearest = &call;
  }
  if (nearest == nullptr) return fail(ErrorCode::diverged, fmt::format("the record has {} LM calls at this node, the replay asks for one more", at->second.size()), "", path);
  const Json json = request_json(request, nearest->answer.lane);
  const auto difference = first_difference(nearest->request, json, "");
  if (!difference) {
    return fail(ErrorCode::diverged, fmt::format("the recorded request_hash {} is not that of the recorded request", nearest->request_hash), "", path);
  }
  return fail(ErrorCode::diverged, fmt::format("request{} is {}", difference->pointer, short_text(difference->want)), short_text(difference->found), path);
}

}  // namespace assay
