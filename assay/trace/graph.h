#pragma once
/// @file
/// The trace graph of a run: what ran, inside what, from when to when, at what cost. Built from a record's entries alone,
/// so that a live run and a file give the same graph. Source: docs/formats.md §5.
///
///     const Graph graph = graph_of(record.entries);
///     for (const Node& node : graph.nodes) …
///
/// Thread safety: values.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/json.h"
#include "assay/trace/record.h"
#include "assay/trace/usage.h"

namespace assay {

/// Root; Predict{signature_name}; Operator{name}; Map{mapping}. `name` holds the braces' content.
struct NodeType {
  enum class Kind { Root, Predict, Operator, Map };
  Kind kind = Kind::Root;
  std::string name;
  Json mapping;  ///< of a Map
};
std::string_view name(NodeType::Kind kind);

/// One request at a node and its answer (no content if none came), or an answer from the cache (`cached`).
struct LmCall {
  std::string path;         ///< of its lines; its span's id is of path#index
  std::int64_t index = 0;   ///< k: 0 for the first request at that path, answered by the lane or from the cache
  std::string lane_id, model, request_hash;
  std::string lane_kind;
  Json request;  ///< REQUEST
  std::int64_t start_unix_ns = 0, end_unix_ns = 0;
  std::optional<std::string> content;
  std::string finish_reason;
  LmUsage usage;
  bool cached = false;
  bool sent = true;             ///< false: stopped before, as `error` says
  std::int64_t latency_ns = 0;  ///< as the lane measured it
  Json error;                   ///< {"code","message",…} of a call that failed, else null
};

/// Whatever else was recorded at a node, in the order of its lines: tool calls, sandbox runs, payments, attempts, repairs, …
struct OperatorEvent {
  std::string type;  ///< the line's: "tool", "sandbox", "payment", "event", "attempt", "repair", "error", …
  std::int64_t unix_ns = 0;
  Json data;
};

struct Node {
  std::string path;  ///< "" for the Root
  NodeType type;
  std::optional<std::size_t> parent;  ///< index in Graph::nodes
  std::vector<std::size_t> inputs;    ///< edges: indices of the nodes whose outputs it used (its predecessors)
  std::int64_t start_unix_ns = 0, end_unix_ns = 0;
  Json input_values, output_values;   ///< null when absent
  std::string status;                 ///< "ok", "error", "cancelled"; "open" when no end was recorded
  Json error;                         ///< {"code","message","path"} or null
  std::vector<LmCall> calls;
  std::vector<OperatorEvent> events;
};

struct Graph {
  std::string run_id;
  std::optional<std::string> compiled_id;
  std::string program_name;     ///< run_start's program.program.name or settings.program.name; "" when neither is there
  std::string traceparent;      ///< "" when absent
  std::string root_hash;        ///< of run_end, if any
  std::string privacy_mode;
  Totals totals;
  std::vector<Node> nodes;      ///< nodes[0] is the Root; parents before children
};

/// Never fails: lines of unknown type are events, lines at unknown paths belong to the nearest node above, a node without
/// an end is "open" until the last line. Cost: n log n in lines, linear in the length of paths.
Graph graph_of(const std::vector<RecordEntry>& entries);

}  // namespace assay
