#include "assay/hud/run_view.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/hud/redact.h"
#include "assay/trace/record_line.h"

namespace assay {
namespace {

constexpr std::size_t text_bytes_max = std::size_t{256} << 10;
constexpr std::size_t events_max = 200;  // of one node

// At most text_bytes_max of valid UTF-8, with a note of what was left out.
std::string shown(std::string_view bytes) {
  std::string text = redact_text(to_utf8(bytes));
  if (text.size() <= text_bytes_max) return text;
  std::size_t end = text_bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // ends: at most three bytes of a character
  const std::size_t rest = text.size() - end;
  text.resize(end);
  return text + fmt::format("\n… {} more bytes", rest);
}

Json shown_value(const Json& value) {
  if (value.is_string()) return Json(shown(value.as_string()));
  const auto text = canonical(value);
  if (text && text->size() > text_bytes_max) return Json(shown(*text));
  return redact_value(value);
}

using Blobs = std::map<std::string, const std::string*>;

void put_blobs_back(Json& value, const Blobs& blobs) {
  if (value.is_list()) {
    for (Json& item : value.as_list()) put_blobs_back(item, blobs);
  } else if (value.is_object()) {
    const Json& id = value.at("$blob");
    if (value.as_object().size() == 1 && id.is_string()) {
      const auto at = blobs.find(id.as_string());
      if (at != blobs.end()) value = Json(*at->second);
      return;
    }
    for (auto& [key, item] : value.as_object()) put_blobs_back(item, blobs);
  }
}

void put_blobs_back(std::vector<RecordEntry>& entries) {
  Blobs blobs;
  for (const RecordEntry& entry : entries) {
    if (entry.type != "blob" || !entry.data.at("hash").is_string() || !entry.data.at("text").is_string()) continue;
    blobs.emplace(entry.data.at("hash").as_string(), &entry.data.at("text").as_string());
  }
  if (blobs.empty()) return;
  for (RecordEntry& entry : entries) {
    if (entry.type != "blob") put_blobs_back(entry.data, blobs);
  }
}

// Lines up to the first that cannot be read.
std::vector<RecordEntry> readable_lines(std::string_view text) {
  std::vector<RecordEntry> entries;
  while (true) {  // ends: every round takes a line off, or stops
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return entries;
    auto entry = read_record_line(text.substr(0, end), record_line_bytes_max);
    if (!entry) return entries;
    entries.push_back(*std::move(entry));
    text.remove_prefix(end + 1);
  }
}

Json call_json(const LmCall& call, std::int64_t zero, bool bodies) {
  JsonObject out{{"index", call.index},
                 {"model", call.model},
                 {"lane_kind", call.lane_kind},
                 {"lane_id", call.lane_id},
                 {"request_hash", call.request_hash},
                 {"cached", call.cached},
                 {"answered", call.content.has_value()},
                 {"start_ns", call.start_unix_ns - zero},
                 {"end_ns", call.end_unix_ns - zero},
                 {"latency_ns", call.latency_ns},
                 {"finish_reason", call.finish_reason},
                 {"usage", call.usage.to_json()},
                 {"cost_msats", call.usage.cost_msats ? Json(*call.usage.cost_msats) : Json()}};
  if (!bodies) return out;
  JsonList messages;
  const Json& sent = call.request.at("messages");
  for (const Json& message : sent.is_list() ? sent.as_list() : JsonList{}) {
    messages.push_back(JsonObject{{"role", message.at("role")}, {"content", shown_value(message.at("content"))}});
  }
  out.set("messages", std::move(messages));
  out.set("content", call.content ? Json(shown(*call.content)) : Json());
  out.set("config", call.request.at("config"));
  out.set("seed", call.request.at("seed"));
  out.set("schema", call.request.at("schema"));
  return out;
}

Json view_of(const Graph& graph, const Node& node, bool bodies) {
  const std::int64_t zero = graph.nodes[0].start_unix_ns;
  JsonList calls, events, inputs;
  for (const LmCall& call : node.calls) calls.push_back(call_json(call, zero, bodies));
  std::map<std::string, std::int64_t> counts;
  for (const OperatorEvent& event : node.events) {
    ++counts[event.type];
    if (!bodies || events.size() >= events_max) continue;
    events.push_back(JsonObject{{"type", event.type}, {"t_ns", event.unix_ns - zero}, {"data", shown_value(event.data)}});
  }
  JsonObject event_counts;
  for (const auto& [type, count] : counts) event_counts.set(type, count);
  for (const std::size_t input : node.inputs) inputs.push_back(graph.nodes[input].path);
  JsonObject out{{"path", node.path},
                 {"kind", name(node.type.kind)},
                 {"name", node.type.name},
                 {"parent", node.parent ? Json(graph.nodes[*node.parent].path) : Json()},
                 {"inputs", std::move(inputs)},
                 {"start_ns", node.start_unix_ns - zero},
                 {"end_ns", node.end_unix_ns - zero},
                 {"status", node.status},
                 {"error", redact_value(node.error)},
                 {"calls", std::move(calls)},
                 {"event_counts", std::move(event_counts)}};
  if (bodies) {
    out.set("events", std::move(events));
    out.set("input_values", shown_value(node.input_values));
    out.set("output_values", shown_value(node.output_values));
  }
  return out;
}

bool lies_under(std::string_view path, std::string_view top) {
  return top.empty() || path == top || (path.size() > top.size() && path.starts_with(top) && path[top.size()] == '/');
}

}  // namespace

Result<std::shared_ptr<const LoadedRun>> load_run(const std::string& path) {
  ASSAY_TRY(const std::string text, read_file(path, view_record_bytes_max, RecordChecks().line_bytes_max));
  auto loaded = std::make_shared<LoadedRun>();
  std::vector<RecordEntry> entries;
  if (auto record = read_record(text)) {
    loaded->verdict = std::move(record->verdict);
    entries = std::move(record->entries);
  } else {
    loaded->verdict = verify_record(text);
    entries = readable_lines(text);
  }
  put_blobs_back(entries);
  loaded->graph = graph_of(entries);
  return std::shared_ptr<const LoadedRun>(std::move(loaded));
}

Json graph_json(const Graph& graph, const GraphViewOptions& options) {
  JsonList nodes;
  std::int64_t left_out = 0;
  for (const Node& node : graph.nodes) {
    if (!lies_under(node.path, options.under)) continue;
    if (nodes.size() < options.nodes_max) nodes.push_back(view_of(graph, node, options.bodies));
    else ++left_out;
  }
  return JsonObject{{"run_id", graph.run_id}, {"nodes", std::move(nodes)}, {"left_out", left_out}, {"traceparent", graph.traceparent}};
}

Json node_json(const Graph& graph, std::string_view path) {
  for (const Node& node : graph.nodes) {
    if (node.path == path) return view_of(graph, node, true);
  }
  return {};
}

Json verdict_json(const RecordVerdict& verdict) {
  JsonList problems;
  for (const RecordProblem& problem : verdict.problems)
    problems.push_back(JsonObject{{"line", problem.line}, {"message", problem.message}});
  return JsonObject{{"state", name(verdict.state)},   {"signed", verdict.is_signed}, {"signer", verdict.signer},
                    {"root_hash", verdict.root_hash}, {"lines", verdict.lines},      {"torn_bytes", verdict.torn_bytes},
                    {"problems", std::move(problems)}};
}

}  // namespace assay
