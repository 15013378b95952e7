#include "assay/hud/hub.h"

namespace assay {

void HudHub::follow(const std::string& run_id) {
  const std::lock_guard lock(mutex_);
  if (run_id.empty() || !followed_.insert(run_id).second) return;
  followed_order_.push_back(run_id);
  if (followed_order_.size() <= followed_max) return;
  followed_.erase(followed_order_.front());
  followed_order_.pop_front();
}

bool HudHub::follows(const std::string& run_id) const {
  const std::lock_guard lock(mutex_);
  return followed_.contains(run_id);
}

void HudHub::keep(Graph graph) {
  const auto kept = std::make_shared<const Graph>(std::move(graph));
  const std::lock_guard lock(mutex_);
  std::erase_if(graphs_, [&](const auto& other) { return other->run_id == kept->run_id; });
  graphs_.push_back(kept);
  if (graphs_.size() > graphs_max) graphs_.pop_front();
}

std::shared_ptr<const Graph> HudHub::graph(std::string_view run_id) const {
  const std::lock_guard lock(mutex_);
  for (const auto& graph : graphs_) {
    if (graph->run_id == run_id) return graph;
  }
  return nullptr;
}

std::deque<std::shared_ptr<const Graph>> HudHub::graphs() const {
  const std::lock_guard lock(mutex_);
  return graphs_;
}

}  // namespace assay
