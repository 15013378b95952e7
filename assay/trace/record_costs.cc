#include "assay/trace/record_costs.h"

#include <map>

#include <fmt/format.h>

#include "assay/trace/record_line.h"

namespace assay {
namespace {

constexpr std::size_t problems_max = 16;

struct LaneName {
  std::string kind, model;
};

std::string text_at(const Json& data, std::string_view key) {
  const Json& value = data.at(key);
  return value.is_string() ? value.as_string() : std::string();
}

std::map<std::string, LaneName> lanes_of(const Json& run_start) {
  std::map<std::string, LaneName> lanes;
  const Json& list = run_start.at("lanes");
  if (!list.is_list()) return lanes;
  for (const Json& lane : list.as_list()) {
    if (const auto id = hash(lane)) lanes[*id] = {text_at(lane, "kind"), text_at(lane, "model")};
  }
  return lanes;
}

std::string msats(const std::optional<std::int64_t>& value) { return value ? fmt::format("{} msats", *value) : "nothing known"; }

}  // namespace

CostCheck check_costs(const std::vector<RecordEntry>& entries, const PriceBook& book) {
  CostCheck out;
  if (entries.empty()) return out;
  const auto id = book.id();
  out.book_known = id && entries.front().data.at("price_book") == Json(*id);
  const auto lanes = lanes_of(entries.front().data);
  std::map<std::pair<std::string, std::string>, std::string> lane_of;  // (node, request) → lane
  std::map<std::string, std::int64_t> paid;                            // node → paid since its last answer
  for (const RecordEntry& entry : entries) {
    if (entry.type == "lm_request") lane_of[{entry.node, text_at(entry.data, "request_hash")}] = text_at(entry.data, "lane_id");
    if (entry.type == "payment") paid[entry.node] += entry.data.at("amount_msats").as_int();
    if (entry.type != "lm_response") continue;
    const auto usage = usage_of_line(entry.type, entry.data);
    const auto lane = lanes.find(lane_of[{entry.node, text_at(entry.data, "request_hash")}]);
    if (!usage || lane == lanes.end()) continue;
    std::optional<std::int64_t> expected;
    if (const auto bought = paid.find(entry.node); bought != paid.end()) {
      expected = bought->second;
      paid.erase(bought);
    } else if (lane->second.kind == "pylon" || !out.book_known) {
      continue;  // free of charge, or by a book that is not here
    } else {
      expected = book.cost(lane->second.kind, lane->second.model, *usage);
    }
    ++out.calls;
    if (expected == usage->cost_msats || out.problems.size() >= problems_max) continue;
    out.problems.push_back({entry.seq + 1, fmt::format("the call in line {} is said to cost {}; its price and usage give {}", entry.seq + 1,
                                                       msats(usage->cost_msats), msats(expected))});
  }
  return out;
}

}  // namespace assay
