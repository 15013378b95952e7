#include "assay/nostr/bridge.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "assay/nostr/nostr_callback.h"
#include "assay/nostr/relay.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

Wait within(std::chrono::milliseconds time = 10s) { return {Deadline::after(system_clock(), time), {}}; }

constexpr std::int64_t start_ns = 1'700'000'000'000'000'000;

LmCall call(std::string path, std::int64_t index, std::int64_t second, std::optional<std::int64_t> cost) {
  LmCall out;
  out.path = std::move(path);
  out.index = index;
  out.model = "/models/secret-place.gguf";
  out.request = JsonObject{{"messages", JsonList{JsonObject{{"role", "user"}, {"content", "the private prompt"}}}}};
  out.start_unix_ns = start_ns + second * 1'000'000'000;
  out.end_unix_ns = out.start_unix_ns + 1'000'000'000;
  out.content = "the private answer";
  out.finish_reason = "stop";
  out.usage.prompt_tokens = 12;
  out.usage.completion_tokens = 3;
  out.usage.cost_msats = cost;
  return out;
}

// Root, a predictor with two calls, one of them unanswered, a cache hit, a sandbox job and a mapping.
Graph small_graph() {
  Graph graph;
  graph.run_id = "00112233445566778899aabbccddeeff";
  graph.compiled_id = std::string(64, 'c');
  graph.root_hash = std::string(64, 'd');
  graph.privacy_mode = "private_repo_allowed";
  Node root, predict, sandbox, map;
  root.start_unix_ns = start_ns;
  root.end_unix_ns = start_ns + 9'000'000'000;
  predict.path = "classify";
  predict.type = {NodeType::Kind::Predict, "Triage", {}};
  predict.calls = {call("classify", 0, 1, 150), call("classify", 1, 2, std::nullopt)};
  predict.calls[1].content.reset();
  LmCall hit = call("classify", -1, 3, 0);
  hit.cached = true;
  predict.calls.push_back(hit);
  sandbox.path = "check";
  sandbox.type = {NodeType::Kind::Operator, "sandbox", {}};
  sandbox.start_unix_ns = start_ns + 5'000'000'000;
  sandbox.input_values = JsonObject{{"command", "private command"}};
  sandbox.events = {{"sandbox", start_ns + 6'000'000'000, JsonObject{{"verdict", "ok"}}}, {"tool", start_ns, JsonObject{}}};
  map.path = "pick";
  map.type = {NodeType::Kind::Map, "", {}};
  graph.nodes = {root, predict, sandbox, map};
  return graph;
}

class BridgeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("assay-bridge-test-" + system_entropy().hex_bytes(8));
    relay_ = Relay::start({.port = 0, .data_folder = folder_}, system_clock()).value();
    bridge_.relay_url = relay_->url();
    client_ = RelayClient::connect(relay_->url(), within(), system_clock()).value();
    manifest_.signature_name = "Triage";
    manifest_.compiled_id = std::string(64, 'c');
    manifest_.trainset_id = empty_set_id();
  }
  void TearDown() override {
    client_.reset();
    relay_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string folder_;
  std::unique_ptr<Relay> relay_;
  std::unique_ptr<RelayClient> client_;
  NostrBridge bridge_{"", SecretKey::generate(system_entropy()).value()};
  CompiledModuleManifest manifest_;
};

TEST_F(BridgeTest, PublishesRequestsResultsAndASummaryThatCanBeFetched) {
  const Graph graph = small_graph();
  const auto ids = bridge_.publish_trace(graph, manifest_);
  ASSERT_TRUE(ids.has_value()) << ids.error().text();
  ASSERT_EQ(ids->size(), 6U);  // two requests and one result of the predictor, a sandbox pair, the summary
  const auto trace = fetch_trace(*client_, ids->back(), within());
  ASSERT_TRUE(trace.has_value()) << trace.error().text();
  EXPECT_EQ(trace->run_id, graph.run_id);
  EXPECT_EQ(trace->root_hash, graph.root_hash);
  EXPECT_EQ(trace->content.at("manifest_hash").as_string(), canonical_hash(manifest_).value());
  ASSERT_EQ(trace->events.size(), 5U);
  const Event& request = *trace->events[0];
  const Event& result = *trace->events[1];
  EXPECT_EQ(request.kind, 5050);
  EXPECT_EQ(tag_value(request, "p"), bridge_.keypair.public_hex());
  EXPECT_EQ(tag_value(request, "t"), std::string(trace_tag));
  EXPECT_EQ(request.created_at, 1'700'000'001);
  EXPECT_EQ(result.kind, 6050);
  EXPECT_EQ(tag_value(result, "e"), request.id);
  EXPECT_EQ(tag_value(result, "amount"), "150");
  EXPECT_EQ(read_json(result.content)->at("usage").at("prompt_tokens").as_int(), 12);
  EXPECT_EQ(trace->events[2]->kind, 5050);  // unanswered: no result
  EXPECT_EQ(trace->events[3]->kind, 5050);
  EXPECT_EQ(trace->events[3]->tags.back(), (EventTag{"param", "job_type", "oa.sandbox_run.v1"}));
  EXPECT_EQ(tag_value(*trace->events[4], "e"), trace->events[3]->id);
  EXPECT_FALSE(tag_value(*trace->events[4], "amount").has_value());  // unpriced is not free
  EXPECT_EQ(fetch_trace_of_run(*client_, bridge_.keypair.public_hex(), graph.run_id, within())->summary->id, ids->back());
}

TEST_F(BridgeTest, PublishingAgainGivesTheSameIdsAndStoresNothingNew) {
  const auto first = bridge_.publish_trace(small_graph(), manifest_);
  const auto stored = relay_->counts().stored;
  const auto second = bridge_.publish_trace(small_graph(), manifest_);
  ASSERT_TRUE(first.has_value());
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(relay_->counts().stored, stored);
  EXPECT_EQ(stored, 6U);
}

TEST_F(BridgeTest, PublishesCommitmentsThatTheHolderCanOpen) {
  const Graph graph = small_graph();
  const auto events = bridge_.trace_events(graph, nullptr).value();
  for (const auto& event : events) {
    for (const char* secret : {"the private", "private command", "secret-place", "classify", "Triage"}) {
      EXPECT_EQ(event_json(*event).find(secret), std::string::npos) << secret;
    }
  }
  const LmCall& lm = graph.nodes[1].calls[0];
  const std::string salt = bridge_.commitment_salt(lm.path, lm.index, lm.start_unix_ns, "request");
  EXPECT_EQ(read_json(events[0]->content)->at("commitment").as_string(), hash(JsonList{salt, lm.request}).value());
  EXPECT_NE(salt, bridge_.commitment_salt(lm.path, lm.index, lm.start_unix_ns, "result"));
}

TEST_F(BridgeTest, PublishesValuesOfARunThatIsPublic) {
  Graph graph = small_graph();
  graph.privacy_mode = "public_ok";
  const auto events = bridge_.trace_events(graph, nullptr).value();
  EXPECT_EQ(read_json(events[0]->content)->at("value"), graph.nodes[1].calls[0].request);
  EXPECT_EQ(read_json(events[1]->content)->at("value").at("content").as_string(), "the private answer");
  graph.nodes[1].calls[0].content = std::string(70'000, 'x');  // too large for an event: committed to instead
  EXPECT_TRUE(read_json(bridge_.trace_events(graph, nullptr).value()[1]->content)->at("commitment").is_string());
}

TEST_F(BridgeTest, NodesWithoutCallsGiveNoEvent) {
  const Graph graph = small_graph();
  EXPECT_FALSE(bridge_.node_to_event(graph.nodes[0]).has_value());
  EXPECT_FALSE(bridge_.node_to_event(graph.nodes[3]).has_value());
  EXPECT_EQ(bridge_.node_to_event(graph.nodes[1])->kind, 5050);
  EXPECT_EQ(bridge_.node_to_event(graph.nodes[1])->id, bridge_.trace_events(graph, nullptr).value()[0]->id);
  NostrBridge as_data = bridge_;
  as_data.as_app_data = true;
  EXPECT_EQ(as_data.node_to_event(graph.nodes[2])->kind, 78);
}

TEST_F(BridgeTest, ALongRunIsSummedUpInParts) {
  Graph graph = small_graph();
  graph.nodes[1].calls.clear();
  for (int i = 0; i < 450; ++i) graph.nodes[1].calls.push_back(call("classify", i, i, 1));  // 900 events, and the sandbox's two
  const auto ids = bridge_.publish_trace(graph, manifest_);
  ASSERT_TRUE(ids.has_value()) << ids.error().text();
  EXPECT_EQ(ids->size(), 902U + 2U + 1U);
  const auto trace = fetch_trace(*client_, ids->back(), within(30s));
  ASSERT_TRUE(trace.has_value()) << trace.error().text();
  EXPECT_EQ(trace->events.size(), 902U);
}

TEST_F(BridgeTest, AnIncompleteOrForeignTraceIsAnError) {
  const auto ids = bridge_.publish_trace(small_graph(), manifest_).value();
  EXPECT_EQ(fetch_trace(*client_, std::string(64, '0'), within()).error().code, ErrorCode::unavailable);
  EXPECT_EQ(fetch_trace(*client_, ids.front(), within()).error().code, ErrorCode::malformed);
  EXPECT_EQ(fetch_trace(*client_, "note1", within()).error().code, ErrorCode::usage);
  const auto stranger = SecretKey::generate(system_entropy()).value();
  int run = 0;
  const auto summary = [&](const Json& events, const SecretKey& key, std::string run_id = {}) {
    if (run_id.empty()) run_id = "r" + std::to_string(run++);
    const Json content = JsonObject{
        {"format", trace_format}, {"role", "summary"}, {"run_id", run_id}, {"count", events.as_list().size()}, {"events", events}};
    const auto event = sign_event({1'700'000'000, 30078, {{"d", run_id}}, canonical(content).value()}, key, system_entropy()).value();
    EXPECT_TRUE(client_->publish(event, within()).has_value());
    return event->id;
  };
  EXPECT_EQ(fetch_trace(*client_, summary(JsonList{ids[0]}, stranger), within()).error().code, ErrorCode::mismatch);
  EXPECT_EQ(fetch_trace(*client_, summary(JsonList{ids[1]}, bridge_.keypair), within()).error().code, ErrorCode::mismatch);
  EXPECT_EQ(fetch_trace(*client_, summary(JsonList{std::string(64, '1')}, stranger), within()).error().path, std::string(64, '1'));
  EXPECT_EQ(fetch_trace(*client_, summary(JsonList{ids[0], ids[0]}, bridge_.keypair), within()).error().path, "events");
  EXPECT_EQ(fetch_trace(*client_, summary(JsonList{}, stranger, "x\n  " + ids[0] + " kind 5050"), within()).error().path, "run_id");
}

// Every way to publish a run has a place of its own; a reader who asks for the run gets the one that says most.
TEST_F(BridgeTest, NoFormOfARunTakesAnothersPlace) {
  const Graph graph = small_graph();
  Graph open = graph;
  open.root_hash.clear();
  NostrBridge app_data = bridge_;
  app_data.as_app_data = true;
  std::vector<EventId> summaries;
  for (const Graph* one : std::initializer_list<const Graph*>{&open, &graph}) {
    for (const CompiledModuleManifest* manifest : std::initializer_list<const CompiledModuleManifest*>{nullptr, &manifest_}) {
      for (const NostrBridge* bridge : std::initializer_list<const NostrBridge*>{&app_data, &bridge_}) {
        const auto ids = bridge->publish_trace(*one, manifest);
        ASSERT_TRUE(ids) << ids.error().text();
        summaries.push_back(ids->back());
        EXPECT_EQ(fetch_trace_of_run(*client_, bridge_.keypair.public_hex(), graph.run_id, within())->summary->id, ids->back());
      }
    }
  }
  for (const EventId& id : summaries) {
    const auto trace = fetch_trace(*client_, id, within());
    ASSERT_TRUE(trace) << trace.error().text();
    EXPECT_EQ(trace->run_id, graph.run_id);
    EXPECT_EQ(trace->events.size(), 5U);
  }
}

TEST_F(BridgeTest, EqualCallsInTheClearAreOneEvent) {
  Graph graph = small_graph();
  graph.privacy_mode = "public_ok";
  graph.nodes[1].calls.push_back(graph.nodes[1].calls[0]);
  const auto ids = bridge_.publish_trace(graph, nullptr);
  ASSERT_TRUE(ids) << ids.error().text();
  EXPECT_EQ(std::set<EventId>(ids->begin(), ids->end()).size(), ids->size());
  EXPECT_TRUE(fetch_trace(*client_, ids->back(), within()));
}

TEST_F(BridgeTest, TheCallbackPublishesAndReportsItsFailure) {
  NostrCallback callback(bridge_);
  callback.on_trace_complete(small_graph(), nullptr);
  ASSERT_TRUE(callback.last().has_value());
  EXPECT_EQ((*callback.last())->size(), 6U);
  relay_->stop();
  callback.on_trace_complete(small_graph(), &manifest_);
  EXPECT_EQ(callback.last()->error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace assay
