#pragma once
/// @file
/// HudCallback: tells a HudServer of the same process what a run does, as it does it.
///
///     ASSAY_TRY(const auto hud, HudServer::start({.port = 7070}, clock));
///     settings.set_callback(std::make_shared<HudCallback>(hud->hub()));
///
/// Another process needs no callback: the server follows its record. Events carry no more than the record holds, secrets are
/// redacted, and a viewer that is slow or absent costs the run nothing: each event is one push to a bounded queue.
/// Thread safety: as DspyCallback; it may outlive the server.

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "assay/hud/hub.h"
#include "assay/program/callbacks.h"

namespace assay {

class HudCallback final : public DspyCallback {
 public:
  /// With `run_id`, events name the run, and the server leaves the same events of its record out.
  explicit HudCallback(std::shared_ptr<HudHub> hub, std::string run_id = "");
  /// As `run_id` of the constructor, for a run that has just got its id. Call it before the run asks anything.
  void begin(std::string run_id);
  void on_module_start(const CallId& call_id, std::string_view module_path, const Example& inputs) override;
  void on_module_end(const CallId& call_id, const Result<Prediction>& outputs) override;
  void on_lm_start(const CallId& call_id, std::string_view model, std::span<const Message> messages) override;
  void on_lm_end(const CallId& call_id, const Result<Message>& response, const LmUsage& usage) override;
  void on_optimizer_candidate(const std::string& candidate_id, const std::map<std::string, double>& metrics) override;
  void on_trace_complete(const Graph& graph, const CompiledModuleManifest* manifest) override;

 private:
  JsonObject event(const CallId& call_id) const;

  const std::shared_ptr<HudHub> hub_;
  std::string run_id_;  // set before the run's threads call
  std::mutex mutex_;
  std::map<CallId, std::string> paths_;  // of modules that have begun and not ended
};

}  // namespace assay
