#include "assay/hud/hud_callback.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

class ScriptedViewer final : public EventStream {
 public:
  bool send(std::string_view event, std::string_view data) override {
    heard.push_back(std::string(event) + " " + std::string(data));
    return true;
  }
  bool open() const override { return true; }
  std::size_t queued_bytes() const override { return 0; }
  void close() override {}
  std::vector<std::string> heard;
};

TEST(HudCallbackTest, TellsThePlansSixEventsAndKeepsTheGraph) {
  const auto hub = std::make_shared<HudHub>();
  const auto viewer = std::make_shared<ScriptedViewer>();
  ASSERT_TRUE(hub->feed().subscribe(viewer, JsonObject{}));
  HudCallback callback(hub, "run1");
  LmUsage usage;
  usage.prompt_tokens = 50;
  usage.completion_tokens = 3;
  usage.cost_msats = 7;
  const Message question{"user", "imap client"};
  callback.on_module_start("m1", "classify", Example(JsonObject{{"description", "imap client"}}));
  callback.on_lm_start("l1", "tiny", std::span(&question, 1));
  callback.on_lm_end("l1", Message{"assistant", "mail, key sk-0123456789abcdefghij"}, usage);
  callback.on_module_end("m1", fail(ErrorCode::unreadable, "no section"));
  callback.on_optimizer_candidate("cand:1", {{"exact", 0.5}, {"odd", std::numeric_limits<double>::quiet_NaN()}});
  Graph graph;
  graph.run_id = "run1";
  graph.nodes.emplace_back();
  callback.on_trace_complete(graph, nullptr);
  hub->feed().pump();
  const std::vector<std::string> expected{
      "hello {}",
      R"(node_start {"call_id":"m1","path":"classify","run_id":"run1"})",
      R"(lm_start {"call_id":"l1","messages":1,"model":"tiny","run_id":"run1"})",
      R"(lm_end {"answer":"mail, key [REDACTED]","cached":false,"call_id":"l1","cost_msats":7,"error":null,"run_id":"run1","usage":{"completion_tokens":3,"prompt_tokens":50}})",
      R"(node_end {"call_id":"m1","error":{"code":"unreadable","message":"no section","path":""},"path":"classify","run_id":"run1","status":"error"})",
      R"(candidate {"id":"cand:1","metrics":{"exact":0.5,"odd":null},"run_id":"run1"})",
      R"(run_ended {"compiled_id":null,"root_hash":"","run_id":"run1","totals":{"cached_calls":0,"calls":0,"completion_tokens":0,"cost_msats":0,"prompt_tokens":0,"unpriced_calls":0}})"};
  EXPECT_EQ(viewer->heard, expected);
  EXPECT_TRUE(hub->follows("run1"));
  ASSERT_NE(hub->graph("run1"), nullptr);
}

TEST(HudHubTest, KeepsTheNewestGraphsOnly) {
  HudHub hub;
  for (std::size_t i = 0; i < HudHub::graphs_max + 1; ++i) {
    Graph graph;
    graph.run_id = std::to_string(i);
    hub.keep(std::move(graph));
  }
  EXPECT_EQ(hub.graph("0"), nullptr);
  EXPECT_NE(hub.graph("1"), nullptr);
  EXPECT_EQ(hub.graphs().size(), HudHub::graphs_max);
}

}  // namespace
}  // namespace assay
