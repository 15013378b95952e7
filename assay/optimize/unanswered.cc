#include "assay/optimize/unanswered.h"

#include <map>
#include <set>
#include <string>
#include <utility>

#include "assay/base/json.h"

namespace assay {

UnansweredCalls unanswered_calls(const std::vector<RecordEntry>& entries, const PriceBook* prices) {
  std::map<std::pair<std::string, std::string>, std::vector<const RecordEntry*>> open;
  std::map<std::pair<std::string, std::string>, int> refused;  // requests that were not sent, whose error is still to come
  UnansweredCalls sum;
  if (entries.empty()) return sum;
  std::set<std::string> answered;  // request hashes
  std::vector<std::pair<std::string, Amount>> lost_calls;
  std::map<std::string, std::int64_t> blob_bytes;
  std::map<std::string, std::pair<std::string, std::string>> lanes;  // id → kind, model
  for (const Json& lane : entries.front().data.at("lanes").as_list()) {
    if (const auto id = hash(lane)) lanes[*id] = {lane.at("kind").as_string(), lane.at("model").as_string()};
  }
  for (const RecordEntry& entry : entries) {
    const Json& request_hash = entry.data.at("request_hash");
    if (entry.type == "blob")
      blob_bytes[entry.data.at("hash").as_string()] = static_cast<std::int64_t>(entry.data.at("text").as_string().size());
    if (const Json& event = entry.data.at("data"); entry.type == "event" && entry.data.at("name") == Json("lm_lost")) {
      if (const auto lost = read_amount(event.at("lost")); lost && event.at("request_hash").is_string()) {
        add_amount(sum.all, *lost);
        lost_calls.emplace_back(event.at("request_hash").as_string(), *lost);
      }
    }
    if (entry.type == "lm_request" && entry.data.at("sent") == Json(false)) ++refused[{entry.node, request_hash.as_string()}];
    else if (entry.type == "lm_request") open[{entry.node, request_hash.as_string()}].push_back(&entry);
    if ((entry.type != "lm_response" && entry.type != "error") || !request_hash.is_string()) continue;
    if (entry.type == "lm_response") answered.insert(request_hash.as_string());
    const auto lost = read_amount(entry.data.at("lost"));
    // The error of a request that was not sent says nothing of an earlier pass's call of the same request.
    if (const auto unsent = refused.find({entry.node, request_hash.as_string()});
        entry.type == "error" && !lost && unsent != refused.end() && unsent->second > 0) {
      --unsent->second;
      continue;
    }
    if (lost) {
      add_amount(sum.all, *lost);
      if (entry.type == "error") lost_calls.emplace_back(request_hash.as_string(), *lost);
    }
    if (const auto call = open.find({entry.node, request_hash.as_string()}); call != open.end() && !call->second.empty())
      call->second.pop_back();
  }
  for (const auto& [request_hash, lost] : lost_calls) {
    if (!answered.contains(request_hash)) add_amount(sum.to_ask, lost);
  }
  for (const auto& [key, calls] : open) {
    for (const RecordEntry* entry : calls) {
      const Json& request = entry->data.at("request");
      LmUsage usage;
      for (const Json& message : request.at("messages").is_list() ? request.at("messages").as_list() : JsonList{}) {
        const Json& content = message.at("content");
        usage.prompt_tokens += 16;
        if (content.is_string()) usage.prompt_tokens += static_cast<std::int64_t>(content.as_string().size());
        else if (content.at("$blob").is_string()) usage.prompt_tokens += blob_bytes[content.at("$blob").as_string()];
      }
      if (const Json& most = request.at("config").at("max_tokens"); most.is_int()) usage.completion_tokens = most.as_int();
      Amount amount{.calls = 1, .tokens = usage.prompt_tokens + usage.completion_tokens, .msats = 0};
      if (const auto lane = lanes.find(entry->data.at("lane_id").as_string()); prices != nullptr && lane != lanes.end())
        amount.msats = prices->cost(lane->second.first, lane->second.second, usage).value_or(0);
      add_amount(sum.all, amount);
      if (!answered.contains(key.second)) add_amount(sum.to_ask, amount);
    }
  }
  return sum;
}

}  // namespace assay
