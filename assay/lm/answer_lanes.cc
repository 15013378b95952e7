#include "assay/lm/answer_lanes.h"

namespace assay {

std::optional<std::string> AnswerLanes::take(const RecordEntry& entry) {
  const auto text_at = [&](const char* key) { return entry.data.at(key).is_string() ? entry.data.at(key).as_string() : std::string(); };
  if (entry.type == "cache_hit") return text_at("lane_id");
  if (entry.type != "lm_request" && entry.type != "lm_response") return std::nullopt;
  auto& lanes = waiting_[{entry.node, text_at("request_hash")}];
  if (entry.type == "lm_request") {
    lanes.push_back(text_at("lane_id"));
    return std::nullopt;
  }
  if (lanes.empty()) return std::nullopt;
  std::string lane = std::move(lanes.front());
  lanes.pop_front();
  return lane;
}

}  // namespace assay
