#include "assay/trace/graph.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "assay/trace/worked_case.h"

namespace assay {
namespace {

// Entries as a record would have them; t counts up by one unless `at` moves it.
class Lines {
 public:
  Lines() {
    add("run_start", "",
        JsonObject{{"run_id", worked::run_id},
                   {"started_unix_ns", "1000"},
                   {"lanes", JsonList{worked::lane()}},
                   {"program", Json()},
                   {"settings", JsonObject{}}});
  }
  Lines& at(std::int64_t t) {
    t_ = t;
    return *this;
  }
  Lines& add(std::string type, std::string node, Json data) {
    entries.push_back({static_cast<std::int64_t>(entries.size()), t_++, std::move(type), std::move(node), "", std::move(data)});
    return *this;
  }
  Lines& start(std::string node, std::string_view kind, Json name) {
    return add("node_start", std::move(node), JsonObject{{"node_type", kind}, {"name", std::move(name)}, {"inputs", JsonObject{}}});
  }
  Lines& end(std::string node, std::string_view status = "ok") {
    Json error = status == "ok" ? Json() : Json(JsonObject{{"code", "unavailable"}, {"message", "gone"}, {"path", ""}});
    return add("node_end", std::move(node), JsonObject{{"outputs", JsonObject{}}, {"status", status}, {"error", std::move(error)}});
  }
  Lines& request(std::string node, std::string_view hash = "h") {
    return add("lm_request", std::move(node),
               JsonObject{{"lane_id", worked::lane_id}, {"request", worked::request()}, {"request_hash", hash}});
  }
  Lines& response(std::string node, std::string_view content, std::string_view hash = "h") {
    return add("lm_response", std::move(node),
               JsonObject{{"request_hash", hash},
                          {"content", content},
                          {"finish_reason", "stop"},
                          {"cost_msats", 2},
                          {"latency_ns", 1},
                          {"usage", JsonObject{{"prompt_tokens", 5}, {"completion_tokens", 1}}}});
  }
  Graph graph() const { return graph_of(entries); }

  std::vector<RecordEntry> entries;

 private:
  std::int64_t t_ = 0;
};

std::vector<std::string> paths(const Graph& graph) {
  std::vector<std::string> out;
  for (const Node& node : graph.nodes) out.push_back(node.path);
  return out;
}

TEST(Graph, OfTheWorkedCase) {
  const Graph graph = graph_of(read_record(worked::record_text()).value().entries);
  EXPECT_EQ(graph.run_id, worked::run_id);
  EXPECT_EQ(graph.compiled_id, std::string(worked::compiled_id));
  EXPECT_EQ(graph.root_hash, worked::root_hash);
  EXPECT_EQ(graph.privacy_mode, "public_ok");
  EXPECT_EQ(graph.totals.cost_msats, 7);
  ASSERT_EQ(graph.nodes.size(), 2U);
  EXPECT_EQ(graph.nodes[0].type.kind, NodeType::Kind::Root);
  EXPECT_EQ(graph.nodes[0].status, "ok");
  EXPECT_EQ(graph.nodes[0].end_unix_ns, worked::started_unix_ns + 5004000);
  const Node& node = graph.nodes[1];
  EXPECT_EQ(node.type.kind, NodeType::Kind::Predict);
  EXPECT_EQ(node.type.name, "PackageTriage");
  EXPECT_EQ(node.parent, 0U);
  EXPECT_EQ(node.start_unix_ns, worked::started_unix_ns + 1000);
  EXPECT_EQ(node.end_unix_ns, worked::started_unix_ns + 5003000);
  EXPECT_EQ(node.output_values.at("section"), Json("mail"));
  ASSERT_EQ(node.calls.size(), 1U);
  const LmCall& call = node.calls[0];
  EXPECT_EQ(call.model, "tiny");
  EXPECT_EQ(call.lane_kind, "local");
  EXPECT_EQ(call.content, "Section: mail");
  EXPECT_EQ(call.usage.prompt_tokens, 50);
  EXPECT_EQ(call.usage.cost_msats, 7);
  EXPECT_EQ(call.latency_ns, 5000000);
  EXPECT_EQ(call.end_unix_ns - call.start_unix_ns, 5000500);
}

TEST(Graph, PathsGiveParentsAlsoOverSegmentsThatAreNoNodes) {
  Lines lines;
  lines.start("refine", "Operator", "refine")
      .start("refine/attempt:0/classify", "Predict", "S")
      .end("refine/attempt:0/classify")
      .end("refine");
  lines.start("refined", "Operator", "x").end("refined");
  const Graph graph = lines.graph();
  EXPECT_EQ(paths(graph), (std::vector<std::string>{"", "refine", "refine/attempt:0/classify", "refined"}));
  EXPECT_EQ(graph.nodes[2].parent, 1U);
  EXPECT_EQ(graph.nodes[3].parent, 0U);  // a longer name is no child
}

TEST(Graph, TheOrderOfLinesCarriesNoMeaning) {
  Lines lines;
  lines.at(10).start("a", "Operator", "a").start("a/b", "Predict", "S").end("a/b").end("a");
  Lines mixed = lines;
  std::swap(mixed.entries[1], mixed.entries[2]);
  const Graph graph = mixed.graph();
  EXPECT_EQ(paths(graph), (std::vector<std::string>{"", "a", "a/b"}));
  EXPECT_EQ(graph.nodes[2].parent, 1U);
}

TEST(Graph, ANodeFollowsTheSiblingThatEndedLastBeforeIt) {
  Lines lines;
  lines.start("p", "Operator", "flow");
  lines.at(10).start("p/a", "Predict", "S").at(20).end("p/a");
  lines.at(30).start("p/b", "Predict", "S");
  lines.at(31).start("p/c", "Predict", "S").at(40).end("p/b").at(50).end("p/c");  // b and c overlap
  lines.at(60).start("p/d", "Map", JsonObject{{"x", "c.x"}}).end("p/d").end("p");
  const Graph graph = lines.graph();
  ASSERT_EQ(paths(graph), (std::vector<std::string>{"", "p", "p/a", "p/b", "p/c", "p/d"}));
  EXPECT_TRUE(graph.nodes[2].inputs.empty());
  EXPECT_EQ(graph.nodes[3].inputs, std::vector<std::size_t>{2});
  EXPECT_EQ(graph.nodes[4].inputs, std::vector<std::size_t>{2});
  EXPECT_EQ(graph.nodes[5].inputs, std::vector<std::size_t>{4});
  EXPECT_EQ(graph.nodes[5].type.mapping.at("x"), Json("c.x"));
}

TEST(Graph, CallsAreAnsweredInOrderAndFailedOnesKeepTheirError) {
  Lines lines;
  lines.start("a", "Predict", "S").request("a").request("a").response("a", "first");
  lines.add("error", "a", JsonObject{{"code", "timed_out"}, {"message", "late"}, {"path", ""}, {"request_hash", "h"}});
  lines.request("a", "other").end("a", "error");
  const Graph graph = lines.graph();
  const std::vector<LmCall>& calls = graph.nodes[1].calls;
  ASSERT_EQ(calls.size(), 3U);
  EXPECT_EQ(calls[0].content, "first");
  EXPECT_EQ(calls[1].error.at("code"), Json("timed_out"));
  EXPECT_FALSE(calls[2].content);
  EXPECT_EQ(calls[2].end_unix_ns, graph.nodes[1].end_unix_ns);
  EXPECT_EQ(calls[2].index, 2);
  EXPECT_EQ(graph.totals.calls, 1);
}

TEST(Graph, ACacheHitIsACallThatCostsNothing) {
  Lines lines;
  lines.start("a", "Predict", "S")
      .add("cache_hit", "a",
           JsonObject{{"lane_id", worked::lane_id},
                      {"request", worked::request()},
                      {"request_hash", "h"},
                      {"content", JsonObject{{"$base64", "/w=="}}},
                      {"finish_reason", "stop"},
                      {"usage", JsonObject{{"prompt_tokens", 5}, {"completion_tokens", 1}}}});
  const Graph graph = lines.graph();
  ASSERT_EQ(graph.nodes[1].calls.size(), 1U);
  EXPECT_TRUE(graph.nodes[1].calls[0].cached);
  EXPECT_EQ(graph.nodes[1].calls[0].content, "\xff");
  EXPECT_EQ(graph.totals.cached_calls, 1);
  EXPECT_EQ(graph.totals.prompt_tokens, 0);
}

TEST(Graph, AnOpenRecordHasOpenNodesUntilItsLastLine) {
  Lines lines;
  lines.start("a", "Predict", "S").at(500).request("a");
  const Graph graph = lines.graph();
  EXPECT_EQ(graph.nodes[0].status, "open");
  EXPECT_EQ(graph.nodes[1].status, "open");
  EXPECT_EQ(graph.nodes[0].end_unix_ns, 1500);
  EXPECT_EQ(graph.nodes[1].end_unix_ns, 1500);
}

TEST(Graph, ARunWithoutAnOutputFailsAsItsFirstFailedStepDid) {
  Lines lines;
  lines.start("a", "Predict", "S").end("a", "error");
  lines.add("run_end", "", JsonObject{{"output_hash", Json()}, {"totals", Totals{}.totals_json()}, {"root_hash", "r"}});
  EXPECT_EQ(lines.graph().nodes[0].status, "error");
  EXPECT_EQ(lines.graph().nodes[0].error.at("code"), Json("unavailable"));
  lines.entries.back().data.set("output_hash", "h");  // a step may fail and be made good
  EXPECT_EQ(lines.graph().nodes[0].status, "ok");
}

TEST(Graph, SurvivesLinesThatMakeNoSense) {
  Lines lines;
  lines.end("never/began").response("nowhere", "x").add("of_tomorrow", "a/b/c", Json()).add("node_start", "x", Json());
  lines.add("run_start", "", Json("again")).add("lm_request", "x", JsonObject{{"request", 5}});
  const Graph graph = lines.graph();
  EXPECT_EQ(paths(graph), (std::vector<std::string>{"", "x"}));
  EXPECT_EQ(graph_of({}).nodes.size(), 1U);
}

TEST(Graph, TakesLongPathsAndManySiblingsInGoodTime) {
  Lines lines;
  std::string deep = "a";
  while (deep.size() < 4000) deep += "/a";
  for (int i = 0; i < 20000; ++i)
    lines.start(fmt::format("m:{}", i), "Operator", "x").end(fmt::format("m:{}", i)).add("event", deep, JsonObject{});
  EXPECT_EQ(lines.graph().nodes.size(), 20001U);
}

}  // namespace
}  // namespace assay
