#include "assay/nostr/nostr_callback.h"

namespace assay {

void NostrCallback::on_trace_complete(const Graph& graph, const CompiledModuleManifest* manifest) {
  const std::lock_guard lock(mutex_);
  last_ = bridge_.publish_trace(graph, manifest);
  if (on_published_) on_published_(graph, *last_);
}

std::optional<Result<std::vector<EventId>>> NostrCallback::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

}  // namespace assay
