#include "assay/hud/hud_callback.h"

#include <cmath>

#include "assay/hud/preview.h"

namespace assay {
namespace {

Json error_json(const Error& error) {
  return JsonObject{{"code", name(error.code)}, {"message", to_utf8(error.message)}, {"path", to_utf8(error.path)}};
}

}  // namespace

HudCallback::HudCallback(std::shared_ptr<HudHub> hub, std::string run_id) : hub_(std::move(hub)) { begin(std::move(run_id)); }

void HudCallback::begin(std::string run_id) {
  run_id_ = std::move(run_id);
  hub_->follow(run_id_);
}

JsonObject HudCallback::event(const CallId& call_id) const { return {{"run_id", run_id_}, {"call_id", call_id}}; }

void HudCallback::on_module_start(const CallId& call_id, std::string_view module_path, const Example& /*inputs*/) {
  {
    const std::lock_guard lock(mutex_);
    paths_.insert_or_assign(call_id, std::string(module_path));
  }
  JsonObject out = event(call_id);
  out.set("path", module_path);
  hub_->feed().publish("node_start", Json(std::move(out)));
}

void HudCallback::on_module_end(const CallId& call_id, const Result<Prediction>& outputs) {
  JsonObject out = event(call_id);
  {
    const std::lock_guard lock(mutex_);
    if (const auto node = paths_.extract(call_id)) out.set("path", node.mapped());
  }
  out.set("status", outputs ? "ok" : outputs.error().code == ErrorCode::cancelled ? "cancelled" : "error");
  out.set("error", outputs ? Json() : error_json(outputs.error()));
  hub_->feed().publish("node_end", Json(std::move(out)));
}

void HudCallback::on_lm_start(const CallId& call_id, std::string_view model, std::span<const Message> messages) {
  JsonObject out = event(call_id);
  out.set("model", to_utf8(model));
  out.set("messages", messages.size());
  hub_->feed().publish("lm_start", Json(std::move(out)));
}

void HudCallback::on_lm_end(const CallId& call_id, const Result<Message>& response, const LmUsage& usage) {
  JsonObject out = event(call_id);
  out.set("usage", usage.to_json());
  out.set("cost_msats", usage.cost_msats ? Json(*usage.cost_msats) : Json());
  out.set("cached", usage.from_cache);
  out.set("answer", response ? preview(response->content) : std::string());
  out.set("error", response ? Json() : error_json(response.error()));
  hub_->feed().publish("lm_end", Json(std::move(out)));
}

void HudCallback::on_optimizer_candidate(const std::string& candidate_id, const std::map<std::string, double>& metrics) {
  JsonObject numbers;
  for (const auto& [metric, value] : metrics) numbers.set(metric, std::isfinite(value) ? Json(value) : Json());
  hub_->feed().publish("candidate", JsonObject{{"run_id", run_id_}, {"id", candidate_id}, {"metrics", std::move(numbers)}});
}

void HudCallback::on_trace_complete(const Graph& graph, const CompiledModuleManifest* manifest) {
  JsonObject out{{"run_id", graph.run_id}, {"totals", graph.totals.totals_json()}, {"root_hash", graph.root_hash}};
  out.set("compiled_id", manifest != nullptr ? Json(manifest->compiled_id) : graph.compiled_id ? Json(*graph.compiled_id) : Json());
  hub_->keep(graph);
  hub_->feed().publish("run_ended", Json(std::move(out)));
}

}  // namespace assay
