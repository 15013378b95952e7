#pragma once
/// @file
/// NostrCallback: publishes each finished run's trace, when the run has ended.
///
///     settings.set_callback(std::make_shared<NostrCallback>(NostrBridge{relay_url, key}));
///
/// Publishing happens on the thread that ends the run and takes at most the bridge's patience; its failure is reported to
/// `on_published` and `last`, never to the run. Thread safety: all calls from any thread; one trace is published at a time.

#include <functional>
#include <mutex>
#include <optional>

#include "assay/nostr/bridge.h"
#include "assay/program/callbacks.h"

namespace assay {

class NostrCallback final : public DspyCallback {
 public:
  using Published = std::function<void(const Graph&, const Result<std::vector<EventId>>&)>;
  explicit NostrCallback(NostrBridge bridge, Published on_published = {})
      : bridge_(std::move(bridge)), on_published_(std::move(on_published)) {}

  void on_trace_complete(const Graph& graph, const CompiledModuleManifest* manifest) override;
  /// What came of the last trace, if any.
  std::optional<Result<std::vector<EventId>>> last() const;

 private:
  const NostrBridge bridge_;
  const Published on_published_;
  mutable std::mutex mutex_;
  std::optional<Result<std::vector<EventId>>> last_;
};

}  // namespace assay
