#include "assay/program/recorded_jobs.h"

#include <map>

#include <fmt/format.h>

#include "assay/program/context.h"

namespace assay {
namespace {

constexpr std::size_t problems_max = 16;

class JobCheck {
 public:
  std::vector<RecordProblem> problems;

  void add(const RecordEntry& entry) {
    if (entry.type == "node_start") nodes_[entry.node].request = entry.data.at("inputs").at("request");
    if (entry.type == "sandbox") add_job(entry);
    if (entry.type == "node_end") end_node(entry);
  }

 private:
  struct Node {
    Json request;
    std::optional<Json> response_hash;  // as its `sandbox` line says it; none: no job ran there
  };

  static bool is_hash_of(const Json& said, const Json& value) {
    const auto found = hash(value_of_recorded(value));
    return found && Json(*found) == said;
  }

  void add_job(const RecordEntry& entry) {
    Node& node = nodes_[entry.node];
    node.response_hash = entry.data.at("response_hash");
    if (const Json& said = entry.data.at("request_hash"); !is_hash_of(said, node.request)) differs(entry, "request", said);
  }

  void end_node(const RecordEntry& entry) {
    const auto node = nodes_.extract(entry.node);
    if (!node || !node.mapped().response_hash) return;
    const Json& said = *node.mapped().response_hash;
    const Json& response = entry.data.at("outputs").at("response");
    if (response.is_null() ? !said.is_null() : !is_hash_of(said, response)) differs(entry, "response", said);
  }

  void differs(const RecordEntry& entry, const char* part, const Json& said) {
    if (problems.size() == problems_max) return;
    problems.push_back({entry.seq + 1, fmt::format("line {}: the {} of the sandbox job at '{}' is not the one that its line names, {}",
                                                   entry.seq + 1, part, entry.node, said.is_string() ? said.as_string() : "null")});
  }

  std::map<std::string, Node> nodes_;  // from start to end
};

}  // namespace

std::vector<RecordProblem> check_jobs(const std::vector<RecordEntry>& entries) {
  JobCheck check;
  for (const RecordEntry& entry : entries) check.add(entry);
  return std::move(check.problems);
}

}  // namespace assay
