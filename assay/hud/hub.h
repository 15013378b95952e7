#pragma once
/// @file
/// What a HudServer and the callbacks of its own process share. It outlives both, so that a run need not know whether
/// anyone still serves or watches.
///
/// Thread safety: all calls, from any thread.

#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "assay/hud/event_feed.h"
#include "assay/trace/graph.h"

namespace assay {

class HudHub {
 public:
  static constexpr std::size_t graphs_max = 64, followed_max = 1024;

  EventFeed& feed() { return feed_; }
  /// A callback tells this run's events: the server leaves those of its record out, so that nothing is told twice.
  void follow(const std::string& run_id);
  bool follows(const std::string& run_id) const;
  /// Keeps a finished graph for the page, for runs without a record file. The oldest goes.
  void keep(Graph graph);
  std::shared_ptr<const Graph> graph(std::string_view run_id) const;
  std::deque<std::shared_ptr<const Graph>> graphs() const;

 private:
  EventFeed feed_;
  mutable std::mutex mutex_;
  std::set<std::string> followed_;
  std::deque<std::string> followed_order_;
  std::deque<std::shared_ptr<const Graph>> graphs_;
};

}  // namespace assay
