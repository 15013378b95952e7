#include "assay/lm/response_cache.h"

#include "assay/base/files.h"
#include "assay/lm/recorded_answers.h"

namespace assay {
namespace {

constexpr std::size_t response_bytes_max = std::size_t{64} << 20;

Json response_json(const LmResponse& response) {
  const Json content = valid_utf8(response.content) ? Json(response.content) : Json(JsonObject{{"$base64", base64(response.content)}});
  return JsonObject{{"content", content},
                    {"finish_reason", response.finish_reason},
                    {"usage", response.usage.to_json()},
                    {"cost_msats", response.usage.cost_msats ? Json(*response.usage.cost_msats) : Json()}};
}

Result<LmResponse> read_response(const Json& json) {
  LmResponse response;
  const Json& content = json.at("content");
  if (content.is_string()) {
    response.content = content.as_string();
  } else {
    ASSAY_TRY(const std::string bytes, string_member(content, "$base64"));
    ASSAY_TRY(response.content, from_base64(bytes));
  }
  ASSAY_TRY(response.finish_reason, string_member(json, "finish_reason"));
  ASSAY_TRY(response.usage, LmUsage::read(json.at("usage")));
  if (json.at("cost_msats").is_int()) response.usage.cost_msats = json.at("cost_msats").as_int();
  return response;
}

std::string file_of(const std::string& folder, const std::string& key) { return folder + "/" + key.substr(0, 2) + "/" + key + ".json"; }

// A file that does not read back to its own hash is no answer: it was cut or changed, and the lane is asked again.
std::optional<LmResponse> read_cached(const std::string& folder, const std::string& key) {
  if (folder.empty()) return std::nullopt;
  const auto text = read_file(file_of(folder, key), response_bytes_max);
  if (!text) return std::nullopt;
  const auto value = read_json(*text, {.bytes_max = response_bytes_max});
  if (!value || value->at("key") != Json(key)) return std::nullopt;
  const auto digest = hash(value->at("response"));
  if (!digest || value->at("hash") != Json(*digest)) return std::nullopt;
  const auto response = read_response(value->at("response"));
  return response ? std::optional(*response) : std::nullopt;
}

Result<void> write_cached(const std::string& folder, const std::string& key, const LmResponse& response) {
  if (folder.empty()) return {};
  const Json json = response_json(response);
  ASSAY_TRY(const std::string digest, hash(json));
  ASSAY_TRY(const std::string text, canonical(JsonObject{{"key", key}, {"hash", digest}, {"response", json}}));
  const std::string path = file_of(folder, key);
  ASSAY_CHECK(make_folders(path.substr(0, path.rfind('/')), 0700));
  return write_file(path, text, 0600);
}

}  // namespace

Result<std::string> ResponseCache::key(const std::string& request_hash, const std::string& lane_id) {
  return hash(JsonList{Json(request_hash), Json(lane_id), Json()});
}

Result<ResponseCache::Found> ResponseCache::get_or_compute(const std::string& key, const Wait& wait, Clock& clock,
                                                           const std::function<Result<LmResponse>()>& compute) {
  {
    std::unique_lock lock(mutex_);
    while (true) {  // ends: a hit, our turn to compute, or the wait is over
      if (const auto at = responses_.find(key); at != responses_.end()) return Found{at->second, true};
      if (computing_.insert(key).second) break;
      ASSAY_CHECK(wait.check(clock, "the wait for the same request"));
      ready_.wait_for(lock, wait.stop, std::min<std::chrono::nanoseconds>(wait.deadline.left(clock), std::chrono::milliseconds(200)), [&] { return !computing_.contains(key); });
    }
  }
  std::optional<LmResponse> stored = read_cached(folder_, key);
  const bool hit = stored.has_value();
  Result<LmResponse> answer = hit ? Result<LmResponse>(std::move(*stored)) : compute();
  {
    const std::lock_guard lock(mutex_);
    computing_.erase(key);
    if (answer) responses_.insert_or_assign(key, *answer);
  }
  ready_.notify_all();
  if (!answer) return std::unexpected(std::move(answer.error()));
  if (!hit) ASSAY_CHECK(write_cached(folder_, key, *answer));
  return Found{std::move(*answer), hit};
}

Result<void> ResponseCache::preload(const std::vector<RecordEntry>& entries) {
  std::map<std::pair<std::string, std::string>, std::string> lanes;  // (node, request_hash) → lane_id
  for (const RecordEntry& entry : entries) {
    const bool request = entry.type == "lm_request", response = entry.type == "lm_response", hit = entry.type == "cache_hit";
    if (!request && !response && !hit) continue;
    ASSAY_TRY(const std::string request_hash, string_member(entry.data, "request_hash"));
    if (request || hit) {
      ASSAY_TRY(lanes[std::pair(entry.node, request_hash)], string_member(entry.data, "lane_id"));
    }
    if (request) continue;
    const auto lane = lanes.find({entry.node, request_hash});
    if (lane == lanes.end()) continue;
    ASSAY_TRY(LmResponse answer, read_response(entry.data));
    ASSAY_TRY(const std::string id, key(request_hash, lane->second));
    const std::lock_guard lock(mutex_);
    responses_.insert_or_assign(id, std::move(answer));
  }
  return {};
}

}  // namespace assay
