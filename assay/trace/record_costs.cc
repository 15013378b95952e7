#include "assay/trace/record_costs.h"

#include <map>
#include <set>

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
  std::map<std::string, std::int64_t> paid;                            // node → its last payment, since its last answer
  std::map<std::string, std::int64_t> paid_now;                        // the same, since the node last asked
  std::set<std::pair<std::string, std::string>> seen;                  // (node, payment)
  const auto problem = [&out](const RecordEntry& entry, std::string message) {
    if (out.problems.size() < problems_max) out.problems.push_back({entry.seq + 1, std::move(message)});
  };
  std::set<std::string, std::less<>> buyers;                           // nodes that wait for something that can be bought
  for (const RecordEntry& entry : entries) {
    const bool job = entry.type == "node_start" && text_at(entry.data, "name") == "sandbox_run";
    if (job || entry.type == "lm_request") buyers.insert(entry.node);
    if (entry.type == "lm_response" || entry.type == "node_end") buyers.erase(entry.node);
    if (entry.type == "payment" && !buyers.contains(entry.node))
      problem(entry, fmt::format("the payment in line {} stands where nothing was waited for", entry.seq + 1));
    if (entry.type == "lm_request") paid_now.erase(entry.node);
    if (entry.type == "lm_request") lane_of[{entry.node, text_at(entry.data, "request_hash")}] = text_at(entry.data, "lane_id");
    // A payment of unknown outcome is told again when a later pass goes on with it: it is one payment all the same.
    if (entry.type == "payment" && seen.insert({entry.node, text_at(entry.data, "payment_hash")}).second)
      paid[entry.node] = paid_now[entry.node] =
          entry.data.at("amount_msats").as_int();  // one before it brought nothing: it counts, and no answer is its
    if (entry.type != "lm_response") continue;
    const auto usage = usage_of_line(entry.type, entry.data);
    if (!usage) continue;
    const auto asked = lane_of.find({entry.node, text_at(entry.data, "request_hash")});
    const auto lane = asked != lane_of.end() ? lanes.find(asked->second) : lanes.end();
    if (lane == lanes.end()) {
      problem(entry, fmt::format("the answer in line {} is of no request, or of a lane that run_start does not name", entry.seq + 1));
      continue;
    }
    // Lanes of one's own making may say a price, or pay; the built-in ones are held to the book and to who sells.
    const bool is_own = lane->second.kind != "local" && lane->second.kind != "openai" && lane->second.kind != "pylon";
    const bool is_bought = lane->second.kind == "pylon" || (is_own && paid.contains(entry.node));
    std::int64_t was_paid = 0;
    if (const auto bought = paid.find(entry.node); bought != paid.end()) {
      was_paid = bought->second;
      paid.erase(bought);
      if (!is_bought) problem(entry, fmt::format("a payment was made for the answer in line {}, whose lane is not paid", entry.seq + 1));
    }
    std::optional<std::int64_t> expected;
    if (is_bought) {
      const auto now = paid_now.find(entry.node);
      // Free, or paid for in an earlier run or pass that got no result.
      if (usage->cost_msats == 0 && (now == paid_now.end() || now->second == 0)) continue;
      expected = was_paid;
    } else {
      if (!out.book_known) continue;
      expected = book.cost(lane->second.kind, lane->second.model, *usage);
      if (is_own && !expected) continue;
    }
    ++out.calls;
    if (expected == usage->cost_msats) continue;
    problem(entry, fmt::format("the call in line {} is said to cost {}; its {} give{} {}", entry.seq + 1, msats(usage->cost_msats),
                               is_bought ? "payment" : "price and usage", is_bought ? "s" : "", msats(expected)));
  }
  return out;
}

}  // namespace assay
