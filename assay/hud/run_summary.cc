#include "assay/hud/run_summary.h"

#include <algorithm>
#include <charconv>

namespace assay {
namespace {

std::int64_t decimal(const std::string& text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::clamp<std::int64_t>(value, 0, INT64_MAX - json_integer_max);
}

std::string text_or_number(const Json& value) {
  if (value.is_string()) return value.as_string();
  return value.is_number() ? number_text(value.as_double()) : std::string();
}

// Members of `metrics` that are numbers.
Json numbers_of(const Json& metrics) {
  JsonObject numbers;
  if (metrics.is_object()) {
    for (const auto& [name, value] : metrics.as_object()) {
      if (value.is_number()) numbers.set(name, value);
    }
  }
  return Json(std::move(numbers));
}

Json stage_json(const StageSummary& stage) {
  return JsonObject{{"path", stage.path},
                    {"candidate", candidate_of(stage.path)},
                    {"scored", stage.scored},
                    {"mean", stage.scored > 0 ? Json(stage.score_sum / static_cast<double>(stage.scored)) : Json()},
                    {"shares", stage.shares},
                    {"failed", stage.failed},
                    {"totals", stage.totals.totals_json()},
                    {"first_ns", stage.first_t},
                    {"last_ns", stage.last_t}};
}

std::optional<LmUsage> usage_of(const RecordEntry& entry) {
  auto usage = LmUsage::read(entry.data.at("usage"));
  if (!usage) return std::nullopt;
  usage->from_cache = entry.type == "cache_hit";
  if (const Json& cost = entry.data.at("cost_msats"); cost.is_int()) usage->cost_msats = cost.as_int();
  return *std::move(usage);
}

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

}  // namespace

std::string text_member(const Json& data, std::string_view key) {
  const Json& value = data.at(key);
  return value.is_string() ? value.as_string() : std::string();
}

std::string_view stage_path(std::string_view path) {
  if (path.starts_with("ex:")) return {};
  const std::size_t at = path.find("/ex:");
  return at == std::string_view::npos ? std::string_view() : path.substr(0, at);
}

std::string_view candidate_of(std::string_view path) {
  std::size_t at = path.starts_with("cand:") ? 0 : path.find("/cand:");
  if (at == std::string_view::npos) return {};
  at += path[at] == '/' ? 6 : 5;
  return path.substr(at, path.find('/', at) - at);
}

std::string program_name(const Json& run_start) {
  const Json& source = run_start.at("program");
  for (const Json* program : {&source.at("program"), &source.at("artifact").at("program"), &run_start.at("settings").at("program")}) {
    if (std::string name = text_member(*program, "name"); !name.empty()) return name;
  }
  return {};
}

void RunSummary::start(const RecordEntry& entry) {
  run_id = text_member(entry.data, "run_id");
  started_unix_ns = decimal(text_member(entry.data, "started_unix_ns"));
  compiled_id = text_member(entry.data, "compiled_id");
  privacy_mode = text_member(entry.data, "privacy_mode");
  version = text_member(entry.data.at("assay"), "version");
  if (const Json& value = entry.data.at("seed"); value.is_int()) seed = value.as_int();
  const Json& source = entry.data.at("program");
  is_compile = !source.is_null();
  program = program_name(entry.data);
  read_plan(source);
  const Json& lanes = entry.data.at("lanes");
  for (const Json& lane : lanes.is_list() ? lanes.as_list() : JsonList{}) models.push_back(text_member(lane, "model"));
}

// How far a compile will go, as far as its plan says.
void RunSummary::read_plan(const Json& plan) {
  optimizer = text_member(plan.at("optimizer"), "name");
  const Json& config = plan.at("optimizer").at("config");
  if (const Json& count = config.at("num_candidates"); count.is_int()) candidates_planned = count.as_int() + 1;  // and the program as it is
  if (const Json& count = config.at("val_rows"); count.is_int()) val_rows = count.as_int();
}

void RunSummary::add_note(const RecordEntry& entry) {
  if (entry.type == "repair") ++repairs;
  if (const Json& paid = entry.data.at("amount_msats"); entry.type == "payment" && paid.is_int()) paid_msats += paid.as_int();
  if (entry.type == "error" && entry.node.empty()) last_error = text_member(entry.data, "message");
  if (entry.type != "event" || text_member(entry.data, "name") != "data") return;
  const Json& list = entry.data.at("data").at("rows");
  const std::string set = text_member(entry.data.at("data"), "set");
  if (list.is_list() && (rows.contains(set) || rows.size() < 8)) rows[set] += static_cast<std::int64_t>(list.as_list().size());
}

StageSummary* RunSummary::stage_of(const RecordEntry& entry) {
  const std::string_view path = stage_path(entry.node);
  if (path.empty()) return nullptr;
  const auto found = stages.find(std::string(path));
  if (found != stages.end()) return &found->second;
  if (stages.size() >= stages_max) {
    ++left_out;
    return nullptr;
  }
  StageSummary& stage = stages[std::string(path)];
  stage.path = path;
  stage.first_t = entry.t;
  return &stage;
}

void RunSummary::end_node(const RecordEntry& entry) {
  open_nodes = std::max<std::int64_t>(0, open_nodes - 1);
  if (text_member(entry.data, "status") != "error") return;
  ++errors;
  if (StageSummary* stage = stage_of(entry)) ++stage->failed;
}

void RunSummary::add_candidate(const RecordEntry& entry) {
  if (candidates.size() >= candidates_max) {
    ++left_out;
    return;
  }
  CandidateSummary candidate;
  candidate.id = text_or_number(entry.data.at("id"));
  candidate.compiled_id = text_member(entry.data, "compiled_id");
  candidate.metrics = numbers_of(entry.data.at("metrics"));
  candidate.t = entry.t;
  candidate.stage = entry.node;
  if (candidate_of(entry.node).empty()) {  // the line stands at the run: its scores tell the place
    for (const auto& [path, stage] : stages) {
      const std::string_view of = candidate_of(path);
      if (!of.empty() && (of == candidate.id || "cand:" + std::string(of) == candidate.id)) candidate.stage = path;
    }
  }
  candidates.push_back(std::move(candidate));
}

void RunSummary::add(const RecordEntry& entry) {
  const std::string& type = entry.type;
  ++lines;
  last_t = std::max(last_t, entry.t);
  if (StageSummary* stage = stage_of(entry)) stage->last_t = std::max(stage->last_t, entry.t);
  if (type == "run_start") return start(entry);
  fold.add(type, entry.node, entry.data);
  totals = fold.totals();
  if (type == "node_start") {
    ++nodes;
    ++open_nodes;
  } else if (type == "node_end") {
    end_node(entry);
  } else if (type == "lm_response" || type == "cache_hit") {
    const auto usage = usage_of(entry);
    if (!usage) return;
    if (StageSummary* stage = stage_of(entry)) stage->totals.add(*usage);
  } else if (type == "score") {
    if (metric.empty()) metric = text_member(entry.data, "metric");
    StageSummary* stage = stage_of(entry);
    if (const Json& value = entry.data.at("value"); stage != nullptr && value.is_number()) {
      ++stage->scored;
      stage->score_sum += value.as_double();
      stage->shares = stage->shares && (value.as_double() == 0 || value.as_double() == 1);
    }
  } else if (type == "candidate") {
    add_candidate(entry);
  } else if (type == "decision") {
    decisions.push_back(JsonObject{{"t_ns", entry.t}, {"path", entry.node}, {"data", entry.data}});
    if (decisions.size() > decisions_max) decisions.erase(decisions.begin());
  } else if (type == "resume") {
    last_error.clear();
    ended = is_signed = false;
    root_hash.clear();
    ++resumes;
  } else if (type == "run_end") {
    ended = true;
    is_signed = entry.data.at("signature").is_string();
    root_hash = text_member(entry.data, "root_hash");
    if (auto read = Totals::read(entry.data.at("totals"))) totals = *read;
  } else {
    add_note(entry);
  }
}

Json RunSummary::best_json() const {
  for (auto decision = decisions.rbegin(); decision != decisions.rend(); ++decision) {
    const Json& data = decision->at("data");
    const Json& card = data.at("value");
    if (data.at("what") != Json("scorecard") || !card.at("score").is_number()) continue;
    const Json& baseline = card.at("baseline").at("score");
    return JsonObject{{"metric", text_member(card, "primary")},
                      {"score", card.at("score")},
                      {"baseline", baseline.is_number() ? baseline : Json()},
                      {"set", "test"}};
  }
  Json best, baseline;
  for (const CandidateSummary& candidate : candidates) {
    const Json& value = candidate.metrics.at(metric);
    if (!value.is_number()) continue;
    if (candidate.id == "cand:0") baseline = value;  // the program as it is
    if (best.is_null() || value.as_double() > best.as_double()) best = value;
  }
  if (best.is_null()) return {};
  return JsonObject{{"metric", metric}, {"score", best}, {"baseline", baseline}, {"set", "validation"}};
}

Json RunSummary::to_json() const {
  JsonList lane_models;
  for (const std::string& model : models) lane_models.push_back(Json(model));
  return JsonObject{{"run_id", run_id},
                    {"program", program},
                    {"compiled_id", or_null(compiled_id)},
                    {"is_compile", is_compile},
                    {"started_unix_ms", started_unix_ns / 1000000},
                    {"elapsed_ns", std::min(last_t, json_integer_max)},
                    {"seed", seed},
                    {"privacy_mode", privacy_mode},
                    {"version", version},
                    {"models", std::move(lane_models)},
                    {"totals", totals.totals_json()},
                    {"signed", is_signed},
                    {"root_hash", or_null(root_hash)},
                    {"lines", lines},
                    {"nodes", nodes},
                    {"open_nodes", open_nodes},
                    {"errors", errors},
                    {"repairs", repairs},
                    {"paid_msats", paid_msats},
                    {"resumes", resumes},
                    {"last_error", or_null(last_error)},
                    {"best", best_json()},
                    {"candidates", candidates.size()}};
}

Json RunSummary::compile_json() const {
  if (!is_compile && candidates.empty()) return {};
  JsonList list, parts;
  for (const CandidateSummary& candidate : candidates) {
    list.push_back(JsonObject{{"id", candidate.id},
                              {"compiled_id", or_null(candidate.compiled_id)},
                              {"metrics", candidate.metrics},
                              {"stage", or_null(candidate.stage)},
                              {"t_ns", candidate.t}});
  }
  for (const auto& [path, stage] : stages) parts.push_back(stage_json(stage));
  JsonObject sets;
  for (const auto& [set, count] : rows) sets.set(set, count);
  return JsonObject{{"metric", or_null(metric)},  {"optimizer", or_null(optimizer)},
                    {"rows", std::move(sets)},    {"candidates_planned", candidates_planned},
                    {"val_rows", val_rows},       {"candidates", std::move(list)},
                    {"stages", std::move(parts)}, {"decisions", decisions},
                    {"left_out", left_out}};
}

RunSummary summary_of(const Graph& graph) {
  RunSummary summary;
  summary.run_id = graph.run_id;
  summary.program = graph.program_name;
  summary.compiled_id = graph.compiled_id.value_or("");
  summary.privacy_mode = graph.privacy_mode;
  summary.root_hash = graph.root_hash;
  summary.ended = true;
  summary.totals = graph.totals;
  summary.nodes = static_cast<std::int64_t>(graph.nodes.size()) - 1;
  if (graph.nodes.empty()) return summary;
  summary.started_unix_ns = graph.nodes[0].start_unix_ns;
  for (const Node& node : graph.nodes) {
    summary.last_t = std::max(summary.last_t, node.end_unix_ns - summary.started_unix_ns);
    if (node.status == "error" && node.type.kind != NodeType::Kind::Root) ++summary.errors;
    for (const LmCall& call : node.calls) {
      if (std::find(summary.models.begin(), summary.models.end(), call.model) == summary.models.end()) summary.models.push_back(call.model);
    }
  }
  return summary;
}

}  // namespace assay
