#include "assay/program/callbacks.h"

namespace assay {

void CompositeCallback::on_module_start(const CallId& call_id, std::string_view module_path, const Example& inputs) {
  for (const auto& each : callbacks_) notify(each.get(), [&](DspyCallback& c) { c.on_module_start(call_id, module_path, inputs); });
}
void CompositeCallback::on_module_end(const CallId& call_id, const Result<Prediction>& outputs) {
  for (const auto& each : callbacks_) notify(each.get(), [&](DspyCallback& c) { c.on_module_end(call_id, outputs); });
}
void CompositeCallback::on_lm_start(const CallId& call_id, std::string_view model, std::span<const Message> messages) {
  for (const auto& each : callbacks_) notify(each.get(), [&](DspyCallback& c) { c.on_lm_start(call_id, model, messages); });
}
void CompositeCallback::on_lm_end(const CallId& call_id, const Result<Message>& response, const LmUsage& usage) {
  for (const auto& each : callbacks_) notify(each.get(), [&](DspyCallback& c) { c.on_lm_end(call_id, response, usage); });
}
void CompositeCallback::on_optimizer_candidate(const std::string& candidate_id, const std::map<std::string, double>& metrics) {
  for (const auto& each : callbacks_) notify(each.get(), [&](DspyCallback& c) { c.on_optimizer_candidate(candidate_id, metrics); });
}
void CompositeCallback::on_trace_complete(const Graph& graph, const CompiledModuleManifest* manifest) {
  for (const auto& each : callbacks_) notify(each.get(), [&](DspyCallback& c) { c.on_trace_complete(graph, manifest); });
}

}  // namespace assay
