// The plan, by its own names: every type, field and function that it declares, used as it spells them (with C++ types for
// Rust's). One that is missing or renamed does not build. What each of them does is tested elsewhere: docs/plan-map.md.
#include <gtest/gtest.h>

#include <concepts>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "assay/contract/manifest.h"
#include "assay/hud/hud_callback.h"
#include "assay/lm/scripted_lane.h"
#include "assay/market/pylon_sandbox.h"
#include "assay/nostr/bridge.h"
#include "assay/nostr/nostr_callback.h"
#include "assay/program/callbacks.h"
#include "assay/program/context.h"
#include "assay/program/module.h"
#include "assay/sandbox/profile.h"
#include "assay/sandbox/request.h"
#include "assay/trace/contract.h"

namespace assay {
namespace {

template <class T, class Want>
constexpr bool is = std::is_same_v<std::remove_cvref_t<T>, Want>;

// --- Phase 1: manifest -----------------------------------------------------------------------------------------------

static_assert(Hashable<CompiledModuleManifest>);

TEST(PlanSurface, CompiledModuleManifestHasThePlansFields) {
  CompiledModuleManifest m;
  static_assert(is<decltype(m.signature_name), std::string>);
  static_assert(is<decltype(m.compiled_id), std::string>);
  static_assert(is<decltype(m.optimizer), std::string>);
  static_assert(is<decltype(m.trainset_id), std::string>);
  static_assert(is<decltype(m.scorecard), Scorecard>);
  static_assert(is<decltype(m.compatibility), Compatibility>);
  static_assert(std::integral<decltype(m.created_at)>);

  Scorecard card;
  static_assert(is<decltype(card.proxy_metrics), std::map<std::string, double>>);
  static_assert(is<decltype(card.truth_metrics), std::map<std::string, double>>);
  static_assert(std::integral<decltype(card.rollouts)>);
  static_assert(std::floating_point<decltype(card.median_score)>);
  static_assert(std::floating_point<decltype(card.p_fail)>);

  Compatibility needs;
  static_assert(is<decltype(needs.required_tools), std::vector<std::string>>);
  static_assert(is<decltype(needs.required_lanes), std::vector<std::string>>);
  static_assert(is<decltype(needs.privacy_modes_allowed), std::vector<PrivacyMode>>);
  static_assert(is<decltype(needs.min_provider_reputation), std::optional<double>>);
  needs.privacy_modes_allowed =
      sorted_privacy({PrivacyMode::PublicOk, PrivacyMode::NoPii, PrivacyMode::PrivateRepoRedacted, PrivacyMode::PrivateRepoAllowed});

  // Serialisation and `canonical_hash` (the plan's protocol::canonical_hash).
  m.signature_name = "PackageTriage";
  m.compiled_id = empty_set_id();
  m.trainset_id = empty_set_id();
  m.optimizer_config = {{"seed", 7}, {"order_seed", 7}};
  m.scorecard = card;
  m.compatibility = needs;
  const auto json = to_json(m);
  ASSERT_TRUE(json) << json.error().text();
  EXPECT_EQ(canonical_hash(m).value().size(), 64U);
  const auto back = read_manifest(*json);
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(*back, m);
}

// --- Phase 2: callbacks and settings -----------------------------------------------------------------------------------

// Overrides each event with exactly the plan's arguments.
class EveryEvent final : public DspyCallback {
 public:
  void on_module_start(const CallId& call_id, std::string_view module_name, const Example& inputs) override {
    seen(call_id, module_name, inputs);
  }
  void on_module_end(const CallId& call_id, const Result<Prediction>& outputs) override { seen(call_id, outputs); }
  void on_lm_start(const CallId& call_id, std::string_view model, std::span<const Message> messages) override {
    seen(call_id, model, messages);
  }
  void on_lm_end(const CallId& call_id, const Result<Message>& response, const LmUsage& usage) override { seen(call_id, response, usage); }
  void on_optimizer_candidate(const std::string& candidate_id, const std::map<std::string, double>& metrics) override {
    seen(candidate_id, metrics);
  }
  void on_trace_complete(const Graph& graph, const CompiledModuleManifest* manifest) override { seen(graph, manifest); }
  int count = 0;

 private:
  template <class... Arguments>
  void seen(const Arguments&...) {
    ++count;
  }
};

TEST(PlanSurface, CallbacksHaveThePlansSixEvents) {
  static_assert(std::derived_from<HudCallback, DspyCallback>);
  static_assert(std::derived_from<NostrCallback, DspyCallback>);
  static_assert(std::derived_from<CompositeCallback, DspyCallback>);

  const auto first = std::make_shared<EveryEvent>(), second = std::make_shared<EveryEvent>();
  const auto composite = std::make_shared<CompositeCallback>(std::vector<std::shared_ptr<DspyCallback>>{first, second});
  Settings settings;
  settings.set_callback(composite);
  const std::shared_ptr<DspyCallback> callback = settings.get_callback();
  ASSERT_EQ(callback, composite);

  const Example inputs(JsonObject{{"ticket", "the disk is full"}});
  callback->on_module_start("call", "classify", inputs);
  callback->on_module_end("call", Prediction{});
  callback->on_lm_start("call", "model", std::vector<Message>{{"user", "hello"}});
  callback->on_lm_end("call", Message{"assistant", "hello"}, LmUsage{});
  callback->on_optimizer_candidate("candidate", {{"accuracy", 1.0}});
  callback->on_trace_complete(Graph{}, nullptr);
  EXPECT_EQ(first->count, 6);
  EXPECT_EQ(second->count, 6);
}

// --- Phase 3: Pylon sandbox provider -----------------------------------------------------------------------------------

TEST(PlanSurface, SandboxProfilesHaveThePlansSizes) {
  static_assert(SandboxProfile::Small.vcpus == 1 && SandboxProfile::Small.memory_mb == 1024);
  static_assert(SandboxProfile::Medium.vcpus == 2 && SandboxProfile::Medium.memory_mb == 4096);
  static_assert(SandboxProfile::Large.vcpus == 4 && SandboxProfile::Large.memory_mb == 8192);
}

template <class Provider>
concept RunsSandboxJobs = requires(Provider provider, const SandboxRunRequest& request) {
  requires is<decltype(provider.relay_url), std::string>;
  provider.keypair;
  requires is<decltype(provider.profile), SandboxProfile>;
  { provider.run(request) } -> std::same_as<Result<SandboxRunResponse>>;
};
static_assert(RunsSandboxJobs<PylonSandboxProvider>);

// --- Phase 4: Nostr bridge ---------------------------------------------------------------------------------------------

template <class Bridge>
concept PublishesTraces = requires(Bridge bridge, const Graph& graph, const CompiledModuleManifest& manifest, const Node& node) {
  requires is<decltype(bridge.relay_url), std::string>;
  bridge.keypair;
  { bridge.publish_trace(graph, manifest) } -> std::same_as<Result<std::vector<EventId>>>;
  bridge.node_to_event(node);
};
static_assert(PublishesTraces<NostrBridge>);

TEST(PlanSurface, NodeTypesAreThePlans) {
  for (const auto& [kind, text] : std::map<NodeType::Kind, std::string_view>{{NodeType::Kind::Root, "Root"},
                                                                             {NodeType::Kind::Predict, "Predict"},
                                                                             {NodeType::Kind::Operator, "Operator"},
                                                                             {NodeType::Kind::Map, "Map"}}) {
    EXPECT_EQ(name(kind), text);
  }
}

// --- Phase 5: TraceContract ----------------------------------------------------------------------------------------------

TEST(PlanSurface, TraceSpanHasThePlansFields) {
  TraceSpan span;
  static_assert(is<decltype(span.trace_id), std::string>);
  static_assert(is<decltype(span.span_id), std::string>);
  static_assert(is<decltype(span.parent_span_id), std::optional<std::string>>);
  static_assert(is<decltype(span.name), std::string>);
  static_assert(is<decltype(span.kind), SpanKind>);
  static_assert(std::integral<decltype(span.start_time)> && std::integral<decltype(span.end_time)>);
  static_assert(is<decltype(span.attributes), std::map<std::string, Json>>);
  static_assert(is<decltype(span.status), SpanStatus>);
  for (const SpanKind kind : {SpanKind::Internal, SpanKind::Client, SpanKind::Producer}) span.kind = kind;
  EXPECT_EQ(span.kind, SpanKind::Producer);

  const CompiledModuleManifest manifest;
  const std::vector<TraceSpan> spans = TraceContract::graph_to_spans(Graph{}, &manifest);
  EXPECT_TRUE(spans.empty());  // a graph without nodes is a run that never began
}

// --- Phase 6: Refine -------------------------------------------------------------------------------------------------------

TEST(PlanSurface, RefineIsBuiltAsThePlanBuildsIt) {
  const Signature signature = Signature::parse("ticket -> urgency: Literal['low','high']", "Triage").value();
  const auto reward = [](const Json&, const Prediction&) { return 1.0; };
  const std::shared_ptr<LM> fallback;
  const auto refined =
      Refine(Predict("classify", signature)).with_retries(3).with_reward(reward).with_threshold(0.5).with_fallback(fallback);
  static_assert(std::derived_from<std::remove_const_t<decltype(refined)>, Module>);
  static_assert(requires(const Context& context, const Json& inputs) {
    { refined.forward(context, inputs) } -> std::same_as<Result<Prediction>>;
  });
}

}  // namespace
}  // namespace assay
