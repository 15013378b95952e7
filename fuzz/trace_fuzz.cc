// Records as a hostile writer seals them: any lines that the reader takes, whatever they say. Their graph, spans, events, summaries and
// views are made without a crash, and what is sent on is well-formed.
//
// Input: lines `TYPE NODE DATA`, DATA a JSON object. (A chain of hashes is nothing that a fuzzer finds, so it begins behind that check.)
//
//   ./x fuzz trace
#include <algorithm>
#include <vector>

#include "assay/hud/redact.h"
#include "assay/hud/run_index.h"
#include "assay/hud/run_summary.h"
#include "assay/hud/run_view.h"
#include "assay/lm/recorded_answers.h"
#include "assay/nostr/bridge.h"
#include "assay/trace/contract.h"
#include "assay/trace/graph.h"
#include "assay/trace/otlp.h"
#include "assay/trace/record_costs.h"
#include "assay/trace/record_line.h"
#include "fuzz/must.h"

namespace {

using namespace assay;

std::vector<RecordEntry> entries_of(std::string_view text) {
  std::vector<RecordEntry> entries;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t first = line.find(' ');
    const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view type = line.substr(0, first), node = line.substr(first + 1, second - first - 1);
    auto data = read_json(line.substr(second + 1), {.bytes_max = 1 << 20, .depth_max = 127});
    if (!data || !valid_utf8(type) || !is_record_path(node) || !check_record_data(type, *data)) continue;
    const auto seq = static_cast<std::int64_t>(entries.size());
    RecordEntry entry{seq, seq * 1000, std::string(type), std::string(node), std::string(64, '0'), *std::move(data)};
    must(read_record_line(record_line_text(entry).value(), record_line_bytes_max).has_value(),
         "a line that is taken can be written and read");
    entries.push_back(std::move(entry));
  }
  return entries;
}

void summarise(const std::vector<RecordEntry>& entries, const Graph& graph) {
  RunSummary summary;
  for (const RecordEntry& entry : entries) {
    summary.add(entry);
    must(canonical(event_of_line("run", entry).second).has_value(), "a live event is JSON");
  }
  must(canonical(summary.to_json()).has_value() && canonical(summary.compile_json()).has_value() &&
           canonical(summary.best_json()).has_value(),
       "a summary is JSON");
  must(canonical(summary_of(graph).to_json()).has_value(), "a graph's summary is JSON");
  must(canonical(redact_value(graph_json(graph, {.under = "", .nodes_max = 100, .bodies = true}))).has_value(), "a view is JSON");
  for (const Node& node : graph.nodes) (void)node_json(graph, node.path);
}

void send_on(const Graph& graph) {
  const auto spans = TraceContract::graph_to_spans(graph, nullptr, {.content = true});
  must(read_json(otlp_json(spans)).has_value(), "OTLP JSON is JSON");
  must(!otlp_protobuf(spans).empty(), "OTLP protobuf has at least its frame");
  static const SecretKey key = SecretKey::parse(std::string(63, '0') + "7").value();
  NostrBridge bridge{"ws://127.0.0.1:1", key};
  if (graph.nodes.size() > 2) return;  // signing is slow, and more nodes say nothing new
  FixedEntropy entropy(3);
  bridge.entropy = &entropy;
  (void)bridge.trace_events(graph, nullptr);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<RecordEntry> entries = entries_of(text_of(data, size));
  const Graph graph = graph_of(entries);
  must(!graph.nodes.empty(), "a graph has a root");
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) must(graph.nodes[i].parent && *graph.nodes[i].parent < i, "parents come first");
  summarise(entries, graph);
  send_on(graph);
  (void)check_costs(entries, PriceBook::built_in());
  RunRecord record;
  record.entries = entries;
  if (const auto answers = RecordedAnswers::of(record)) (void)(*answers)->leftover();
  return 0;
}
