#pragma once
/// @file
/// One run in full, for the page: its graph as JSON, with times, usage, price, and on demand the texts.
///
///     ASSAY_TRY(const auto loaded, load_run(path));            // reads and verifies the record
///     graph_json(loaded->graph, {.bodies = false});            // {"nodes":[…],"left_out":0}
///     node_json(loaded->graph, "classify");                    // one node with messages, answers, inputs, outputs
///
/// Times are ns since the run's start, so that they stay exact in JSON. Secrets are redacted. Thread safety: pure functions.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "assay/base/json.h"
#include "assay/trace/graph.h"
#include "assay/trace/record.h"

namespace assay {

constexpr std::size_t view_record_bytes_max = std::size_t{512} << 20;  ///< a larger record is for the command line

struct LoadedRun {
  RecordVerdict verdict;  ///< a broken record is shown up to its first bad line
  Graph graph;
};

/// Errors: `io`, `limit_exceeded`. Blobs are put back in their places. Never follows a link.
Result<std::shared_ptr<const LoadedRun>> load_run(const std::string& path);

struct GraphViewOptions {
  std::string under;               ///< only this node and what lies below; "" for all
  std::size_t nodes_max = 2000;    ///< further ones are counted in left_out
  bool bodies = false;             ///< with messages, answers, inputs and outputs
};

Json graph_json(const Graph& graph, const GraphViewOptions& options);
/// Null if there is no such node.
Json node_json(const Graph& graph, std::string_view path);
Json verdict_json(const RecordVerdict& verdict);

}  // namespace assay
