#include "assay/trace/graph.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <map>
#include <numeric>
#include <utility>

#include "assay/trace/record_line.h"

namespace assay {
namespace {

constexpr std::size_t no_node = SIZE_MAX;

std::string text_at(const Json& data, std::string_view key) {
  const Json& value = data.at(key);
  return value.is_string() ? value.as_string() : std::string();
}

// Recorded text, or the bytes under {"$base64"}.
std::optional<std::string> content_at(const Json& data) {
  const Json& content = data.at("content");
  if (content.is_string()) return content.as_string();
  if (auto bytes = recorded_bytes(content)) return *std::move(bytes);
  return std::nullopt;
}

std::int64_t started_ns(const Json& run_start) {
  const std::string text = text_at(run_start, "started_unix_ns");
  std::int64_t ns = 0;
  std::from_chars(text.data(), text.data() + text.size(), ns);
  return std::clamp<std::int64_t>(ns, 0, INT64_MAX - json_integer_max);  // room for any t
}

// Paths by segment, so that the nearest node above costs the length of the path and no more.
class PathTree {
 public:
  // The node at exactly this path, to be read or set.
  std::size_t& at(std::string_view path) {
    std::size_t place = 0;
    while (!path.empty()) place = child(place, take_segment(path));  // ends: every round takes a segment off
    return nodes_[place];
  }

  // The last node on the way to `path`; `strictly_above`: not the one at `path` itself.
  std::size_t nearest(std::string_view path, bool strictly_above) const {
    std::size_t place = 0, found = nodes_[0];
    while (!path.empty()) {  // ends: every round takes a segment off
      const auto next = children_.find({place, take_segment(path)});
      if (next == children_.end()) break;
      place = next->second;
      if (nodes_[place] != no_node && !(strictly_above && path.empty())) found = nodes_[place];
    }
    return found;
  }

 private:
  static std::string_view take_segment(std::string_view& path) {
    const std::size_t slash = path.find('/');
    const std::string_view segment = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    return segment;
  }
  std::size_t child(std::size_t place, std::string_view segment) {
    const auto [at, added] = children_.try_emplace({place, segment}, nodes_.size());
    if (added) nodes_.push_back(no_node);
    return at->second;
  }

  std::map<std::pair<std::size_t, std::string_view>, std::size_t> children_;  // views into the entries' paths
  std::vector<std::size_t> nodes_{no_node};
};

class GraphBuilder {
 public:
  explicit GraphBuilder(const std::vector<RecordEntry>& entries) : entries_(entries) {}

  Graph build() {
    graph_.nodes.emplace_back();
    tree_.at("") = 0;
    for (const RecordEntry& entry : entries_) add_node(entry);
    for (const RecordEntry& entry : entries_) add_line(entry);
    close_open_nodes();
    for (std::size_t i = 1; i < graph_.nodes.size(); ++i) graph_.nodes[i].parent = tree_.nearest(graph_.nodes[i].path, true);
    settle_root();
    parents_first();
    add_edges();
    if (!ended_) graph_.totals = folded_.totals();
    return std::move(graph_);
  }

 private:
  std::int64_t time(const RecordEntry& entry) const { return started_ + std::max<std::int64_t>(entry.t, 0); }

  // First pass: nodes and their place, since the order of lines carries no meaning.
  void add_node(const RecordEntry& entry) {
    if (entry.type == "run_start") return start_run(entry);
    last_ns_ = std::max(last_ns_, time(entry));
    if (entry.type != "node_start" || entry.node.empty()) return;
    std::size_t& place = tree_.at(entry.node);
    if (place != no_node) return;  // started again after a resume: it keeps its first start
    place = graph_.nodes.size();
    Node& node = graph_.nodes.emplace_back();
    node.path = entry.node;
    node.type = node_type(entry.data);
    node.start_unix_ns = time(entry);
    node.input_values = entry.data.at("inputs");
    node.status = "open";
  }

  static NodeType node_type(const Json& data) {
    const std::string kind = text_at(data, "node_type");
    NodeType type;
    type.kind = kind == "Predict" ? NodeType::Kind::Predict : kind == "Map" ? NodeType::Kind::Map : NodeType::Kind::Operator;
    type.name = text_at(data, "name");
    if (type.kind == NodeType::Kind::Map) type.mapping = data.at("name");
    return type;
  }

  void start_run(const RecordEntry& entry) {
    graph_.run_id = text_at(entry.data, "run_id");
    started_ = last_ns_ = started_ns(entry.data);
    if (const std::string id = text_at(entry.data, "compiled_id"); !id.empty()) graph_.compiled_id = id;
    graph_.traceparent = text_at(entry.data, "traceparent");
    graph_.privacy_mode = text_at(entry.data, "privacy_mode");
    graph_.program_name = text_at(entry.data.at("program").at("program"), "name");
    if (graph_.program_name.empty()) graph_.program_name = text_at(entry.data.at("program").at("artifact").at("program"), "name");
    if (graph_.program_name.empty()) graph_.program_name = text_at(entry.data.at("settings").at("program"), "name");
    Node& root = graph_.nodes[0];
    root.start_unix_ns = time(entry);
    root.status = "open";
    const Json& lanes = entry.data.at("lanes");
    for (const Json& lane : lanes.is_list() ? lanes.as_list() : JsonList{}) {
      if (auto id = hash(lane)) lanes_.insert_or_assign(*std::move(id), std::pair(text_at(lane, "kind"), text_at(lane, "model")));
    }
  }

  // Second pass: what happened at the nodes.
  void add_line(const RecordEntry& entry) {
    const std::string& type = entry.type;
    if (type == "run_start" || type == "node_start" || type == "head") return;
    if (type == "run_end") return end_run(entry);
    if (type == "node_end") return end_node(entry);
    if (type == "resume") reopen();
    folded_.add(type, entry.node, entry.data);
    Node& node = graph_.nodes[tree_.nearest(entry.node, false)];
    if (type == "lm_request") return add_request(entry, node);
    if (type == "lm_response") return add_response(entry, node);
    if (type == "cache_hit") return add_cache_hit(entry, node);
    if (type == "error") fail_call(entry, node);
    node.events.push_back({type, time(entry), entry.data});
  }

  void end_run(const RecordEntry& entry) {
    graph_.root_hash = text_at(entry.data, "root_hash");
    if (auto totals = Totals::read(entry.data.at("totals"))) graph_.totals = *totals;
    ended_ = true;
    output_known_ = entry.data.at("output_hash").is_string();
    graph_.nodes[0].end_unix_ns = time(entry);
    graph_.nodes[0].status = "ok";
  }

  void reopen() {
    ended_ = output_known_ = false;
    graph_.nodes[0].status = "open";
    graph_.root_hash.clear();
  }

  void end_node(const RecordEntry& entry) {
    const std::size_t place = tree_.nearest(entry.node, false);
    Node& node = graph_.nodes[place];
    if (place == 0 || node.path != entry.node) return;
    node.end_unix_ns = time(entry);
    node.output_values = entry.data.at("outputs");
    node.status = text_at(entry.data, "status");
    node.error = entry.data.at("error");
  }

  LmCall new_call(const RecordEntry& entry) {
    LmCall call;
    call.path = entry.node;
    call.index = requests_[entry.node]++;
    call.lane_id = text_at(entry.data, "lane_id");
    call.request_hash = text_at(entry.data, "request_hash");
    call.request = entry.data.at("request");
    call.model = text_at(call.request.at("model"), "id");
    call.sent = entry.data.at("sent") != Json(false);
    if (const auto lane = lanes_.find(call.lane_id); lane != lanes_.end()) {
      call.lane_kind = lane->second.first;
      if (call.model.empty()) call.model = lane->second.second;
    }
    call.start_unix_ns = call.end_unix_ns = time(entry);
    return call;
  }

  static void answer(LmCall& call, const Json& data) {
    call.content = content_at(data);
    call.finish_reason = text_at(data, "finish_reason");
    if (auto usage = LmUsage::read(data.at("usage"))) call.usage = *std::move(usage);
    if (const Json& cost = data.at("cost_msats"); cost.is_int()) call.usage.cost_msats = cost.as_int();
    if (const Json& latency = data.at("latency_ns"); latency.is_int()) call.latency_ns = call.usage.latency_ns = latency.as_int();
  }

  void add_request(const RecordEntry& entry, Node& node) {
    LmCall call = new_call(entry);
    waiting_[{entry.node, call.request_hash}].push_back(node.calls.size());
    node.calls.push_back(std::move(call));
  }

  // The oldest call at this place with this request that still waits for its answer, or null.
  LmCall* take_waiting(const RecordEntry& entry, Node& node) {
    const auto waiting = waiting_.find({entry.node, text_at(entry.data, "request_hash")});
    if (waiting == waiting_.end() || waiting->second.empty()) return nullptr;
    LmCall& call = node.calls[waiting->second.front()];
    waiting->second.pop_front();
    call.end_unix_ns = std::max(call.start_unix_ns, time(entry));
    return &call;
  }

  void add_response(const RecordEntry& entry, Node& node) {
    LmCall* call = take_waiting(entry, node);
    if (call == nullptr) return node.events.push_back({entry.type, time(entry), entry.data});
    answer(*call, entry.data);
  }

  void fail_call(const RecordEntry& entry, Node& node) {
    if (LmCall* call = take_waiting(entry, node)) call->error = entry.data;
  }

  void add_cache_hit(const RecordEntry& entry, Node& node) {
    LmCall call = new_call(entry);
    call.cached = true;
    answer(call, entry.data);
    call.usage.from_cache = true;
    node.calls.push_back(std::move(call));
  }

  void close_open_nodes() {
    for (Node& node : graph_.nodes) {
      if (node.status == "open") node.end_unix_ns = last_ns_;
      node.end_unix_ns = std::max(node.start_unix_ns, node.end_unix_ns);
      for (LmCall& call : node.calls) {
        if (!call.content && !call.cached && call.error.is_null()) call.end_unix_ns = std::max(call.start_unix_ns, node.end_unix_ns);
      }
    }
  }

  // run_end says no status: without an output, the first failed step of the program tells what became of the run.
  void settle_root() {
    Node& root = graph_.nodes[0];
    if (!ended_ || output_known_) return;
    for (const Node& node : graph_.nodes) {
      if (node.parent != 0 || node.status == "ok") continue;
      root.status = node.status;
      root.error = node.error;
      return;
    }
  }

  void parents_first() {
    std::vector<Node>& nodes = graph_.nodes;
    std::vector<std::vector<std::size_t>> children(nodes.size());
    for (std::size_t i = 1; i < nodes.size(); ++i) children[*nodes[i].parent].push_back(i);
    for (auto& list : children) {
      std::sort(list.begin(), list.end(),
                [&](std::size_t a, std::size_t b) { return std::pair(nodes[a].start_unix_ns, a) < std::pair(nodes[b].start_unix_ns, b); });
    }
    std::vector<Node> ordered;
    ordered.reserve(nodes.size());
    std::vector<std::size_t> new_place(nodes.size()), todo{0};
    while (!todo.empty()) {  // ends: every node has one parent, so each is taken once
      const std::size_t i = todo.back();
      todo.pop_back();
      new_place[i] = ordered.size();
      if (nodes[i].parent) nodes[i].parent = new_place[*nodes[i].parent];
      ordered.push_back(std::move(nodes[i]));
      todo.insert(todo.end(), children[i].rbegin(), children[i].rend());
    }
    nodes = std::move(ordered);
  }

  // Among siblings of one place, a node follows the one that ended last before it began.
  void add_edges() {
    std::map<std::string_view, std::vector<std::size_t>> places;
    for (std::size_t i = 1; i < graph_.nodes.size(); ++i) {
      const std::string_view path = graph_.nodes[i].path;
      const std::size_t slash = path.rfind('/');
      places[slash == std::string_view::npos ? std::string_view() : path.substr(0, slash)].push_back(i);
    }
    for (const auto& [folder, siblings] : places) link_siblings(siblings);
  }

  void link_siblings(const std::vector<std::size_t>& by_start) {
    std::vector<std::size_t> by_end = by_start;
    // Nodes stand in order of their start, so the index breaks ties as the order of `by_start` does.
    std::sort(by_end.begin(), by_end.end(), [&](std::size_t a, std::size_t b) {
      return std::pair(graph_.nodes[a].end_unix_ns, a) < std::pair(graph_.nodes[b].end_unix_ns, b);
    });
    auto next = by_end.begin();
    std::size_t before = no_node;
    for (const std::size_t i : by_start) {
      Node& node = graph_.nodes[i];
      while (next != by_end.end() && *next != i && graph_.nodes[*next].end_unix_ns <= node.start_unix_ns) before = *next++;
      if (before != no_node && before != i) node.inputs.push_back(before);
    }
  }

  const std::vector<RecordEntry>& entries_;
  Graph graph_;
  TotalsFold folded_;
  PathTree tree_;
  std::int64_t started_ = 0, last_ns_ = 0;
  bool ended_ = false, output_known_ = false;
  std::map<std::string, std::pair<std::string, std::string>> lanes_;  // lane_id → kind, model
  std::map<std::string_view, std::int64_t> requests_;                 // requests seen at a path, cached ones too
  std::map<std::pair<std::string_view, std::string>, std::deque<std::size_t>> waiting_;  // (path, request_hash) → calls without answer
};

}  // namespace

std::string_view name(NodeType::Kind kind) {
  constexpr std::string_view names[] = {"Root", "Predict", "Operator", "Map"};
  return names[static_cast<int>(kind)];
}

Graph graph_of(const std::vector<RecordEntry>& entries) { return GraphBuilder(entries).build(); }

}  // namespace assay
