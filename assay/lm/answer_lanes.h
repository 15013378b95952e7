#pragma once
/// @file
/// Which lane gave each answer of a record: an answer names its request, and the request its lane.
///
///     AnswerLanes lanes;
///     for (const RecordEntry& entry : record.entries) {
///       if (const auto lane = lanes.take(entry)) …   // the lane_id of the answer in this line
///     }
///
/// Thread safety: none; it belongs to one walk over the lines.

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "assay/trace/record.h"

namespace assay {

class AnswerLanes {
 public:
  /// Takes the next line. The lane of an `lm_response` (of the first request at its path that waits for one) or of a `cache_hit`; nothing
  /// for other lines, and for an answer to no request.
  std::optional<std::string> take(const RecordEntry& entry);

 private:
  std::map<std::pair<std::string, std::string>, std::deque<std::string>> waiting_;  // (path, request_hash) → lane_ids
};

}  // namespace assay
