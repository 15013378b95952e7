#pragma once
/// @file
/// The plan's six events. Every start has exactly one end, also on an error or a cancel.
///
///     class Printer : public DspyCallback { void on_lm_start(…) override { … } };
///     settings.set_callback(std::make_shared<CompositeCallback>(std::vector{hud, nostr}));
///
/// Thread safety: events come from the threads that run modules, several at once when a run is parallel. A callback that
/// throws is ignored for that event and does no harm to the run.

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "assay/contract/manifest.h"
#include "assay/lm/lm.h"
#include "assay/program/example.h"
#include "assay/trace/graph.h"

namespace assay {

/// UUID text of a node (docs/formats.md §5); for an LM call that of its own span.
using CallId = std::string;

class DspyCallback {
 public:
  virtual ~DspyCallback() = default;
  virtual void on_module_start(const CallId& /*call_id*/, std::string_view /*module_path*/, const Example& /*inputs*/) {}
  virtual void on_module_end(const CallId& /*call_id*/, const Result<Prediction>& /*outputs*/) {}
  virtual void on_lm_start(const CallId& /*call_id*/, std::string_view /*model*/, std::span<const Message> /*messages*/) {}
  virtual void on_lm_end(const CallId& /*call_id*/, const Result<Message>& /*response*/, const LmUsage& /*usage*/) {}
  /// One for each candidate of the compile journal.
  virtual void on_optimizer_candidate(const std::string& /*candidate_id*/, const std::map<std::string, double>& /*metrics*/) {}
  /// The finished graph, and the manifest when a compiled module ran or was made; else null.
  virtual void on_trace_complete(const Graph& /*graph*/, const CompiledModuleManifest* /*manifest*/) {}
};

/// Hands every event to each of its callbacks, in order; one that throws does not keep the others from hearing it.
class CompositeCallback final : public DspyCallback {
 public:
  explicit CompositeCallback(std::vector<std::shared_ptr<DspyCallback>> callbacks) : callbacks_(std::move(callbacks)) {}
  void on_module_start(const CallId& call_id, std::string_view module_path, const Example& inputs) override;
  void on_module_end(const CallId& call_id, const Result<Prediction>& outputs) override;
  void on_lm_start(const CallId& call_id, std::string_view model, std::span<const Message> messages) override;
  void on_lm_end(const CallId& call_id, const Result<Message>& response, const LmUsage& usage) override;
  void on_optimizer_candidate(const std::string& candidate_id, const std::map<std::string, double>& metrics) override;
  void on_trace_complete(const Graph& graph, const CompiledModuleManifest* manifest) override;

 private:
  std::vector<std::shared_ptr<DspyCallback>> callbacks_;
};

/// Calls `event` on the callback unless it is null; what it throws ends here.
template <class Event>
void notify(DspyCallback* callback, Event&& event) noexcept {
  if (callback == nullptr) return;
  try {
    event(*callback);
  } catch (...) {
    // A viewer's failure is its own: the run must give the same result with and without it.
  }
}

}  // namespace assay
