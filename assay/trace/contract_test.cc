#include "assay/trace/contract.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>

#include "assay/base/files.h"
#include "assay/trace/worked_case.h"

namespace assay {
namespace {

CompiledModuleManifest manifest() {
  CompiledModuleManifest manifest;
  manifest.signature_name = "PackageTriage";
  manifest.compiled_id = std::string(worked::compiled_id);
  return manifest;
}

std::vector<RecordEntry> entries() { return read_record(worked::record_text()).value().entries; }

std::vector<TraceSpan> spans_of(const std::vector<RecordEntry>& lines, bool content = false) {
  const CompiledModuleManifest of_case = manifest();
  return TraceContract::graph_to_spans(graph_of(lines), &of_case, {.content = content});
}

// The worked case with its predictor turned into an Operator at which `event` was recorded.
std::vector<RecordEntry> operator_case(std::string_view name, std::string_view event, Json data) {
  std::vector<RecordEntry> lines = entries();
  lines[1].data = JsonObject{{"node_type", "Operator"}, {"name", name}, {"inputs", JsonObject{{"q", "x"}}}};
  lines[2].type = event;
  lines[2].data = std::move(data);
  lines.erase(lines.begin() + 3);
  return lines;
}

TEST(TraceContract, HasTheIdsOfTheWorkedCase) {
  EXPECT_EQ(trace_id_of(worked::run_id, ""), worked::trace_id);
  EXPECT_EQ(span_id_of(worked::trace_id, "classify"), worked::span_id);
  EXPECT_EQ(span_id_of(worked::trace_id, "classify#0"), worked::lm_span_id);
}

TEST(TraceContract, CallIdsAreVersion8Uuids) {
  const std::string id = call_id_of(worked::trace_id, "classify");
  EXPECT_TRUE(std::regex_match(id, std::regex("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"))) << id;
  EXPECT_EQ(id.substr(0, 8) + id.substr(9, 4), std::string(worked::span_id).substr(0, 12));  // the same digest
}

TEST(TraceContract, AnIncomingTraceparentGivesTraceAndParent) {
  const std::string parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_EQ(trace_id_of(worked::run_id, parent), "0af7651916cd43dd8448eb211c80319c");
  std::vector<RecordEntry> lines = entries();
  lines[0].data.set("traceparent", parent);
  EXPECT_EQ(spans_of(lines)[0].parent_span_id, "b7ad6b7169203331");
  for (const char* bad :
       {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"}) {
    EXPECT_EQ(trace_id_of(worked::run_id, bad), worked::trace_id) << bad;
  }
}

TEST(TraceContract, MapsTheWorkedCase) {
  const std::vector<TraceSpan> spans = spans_of(entries());
  ASSERT_EQ(spans.size(), 3U);
  const TraceSpan &root = spans[0], &module = spans[1], &call = spans[2];
  EXPECT_FALSE(root.parent_span_id);
  EXPECT_EQ(root.name, "PackageTriage");
  EXPECT_EQ(root.kind, SpanKind::Internal);
  EXPECT_EQ(root.attributes.at("dsrs.node_type"), Json("Root"));
  EXPECT_EQ(root.attributes.at("assay.totals.cost_msats"), Json(7));
  EXPECT_EQ(module.name, "classify");
  EXPECT_EQ(module.kind, SpanKind::Internal);
  EXPECT_EQ(module.parent_span_id, root.span_id);
  EXPECT_EQ(module.span_id, worked::span_id);
  EXPECT_EQ(call.name, "chat tiny");
  EXPECT_EQ(call.kind, SpanKind::Client);
  EXPECT_EQ(call.parent_span_id, module.span_id);
  EXPECT_EQ(call.span_id, worked::lm_span_id);
  EXPECT_EQ(call.start_time, worked::started_unix_ns + 2000);
  EXPECT_EQ(call.end_time, worked::started_unix_ns + 5002500);
  EXPECT_EQ(call.attributes.at("dsrs.signature_name"), Json("PackageTriage"));
  EXPECT_EQ(call.attributes.at("dsrs.compiled_id"), Json(worked::compiled_id));
  EXPECT_EQ(call.attributes.at("lm.model"), Json("tiny"));
  EXPECT_EQ(call.attributes.at("lm.tokens"), Json(53));
  EXPECT_EQ(call.attributes.at("lm.cost_msats"), Json(7));
  EXPECT_EQ(call.attributes.at("gen_ai.operation.name"), Json("chat"));
  EXPECT_EQ(call.attributes.at("gen_ai.usage.input_tokens"), Json(50));
  EXPECT_EQ(call.attributes.at("gen_ai.request.seed"), Json(7));
  EXPECT_EQ(call.attributes.at("gen_ai.request.temperature").kind(), Json::Kind::number);  // a double, also when whole
  EXPECT_EQ(call.attributes.at("gen_ai.response.finish_reasons"), Json(JsonList{Json("stop")}));
  for (const TraceSpan& span : spans) {
    EXPECT_EQ(span.trace_id, worked::trace_id);
    EXPECT_EQ(span.status.code, SpanStatus::Code::Unset);
  }
}

TEST(TraceContract, TokensAndCostStandOnlyOnTheCall) {
  for (const TraceSpan& span : spans_of(entries())) {
    for (const char* key : {"lm.tokens", "lm.cost_msats", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"}) {
      EXPECT_EQ(span.attributes.contains(key), span.kind == SpanKind::Client) << span.name << key;
    }
  }
}

TEST(TraceContract, ContentTravelsOnlyWhenAskedFor) {
  const auto has_content = [](const std::vector<TraceSpan>& spans) {
    bool found = false;
    for (const TraceSpan& span : spans) {
      for (const auto& [key, value] : span.attributes)
        found = found || (value.is_string() && value.as_string().find("imap") != std::string::npos);
    }
    return found;
  };
  EXPECT_FALSE(has_content(spans_of(entries())));
  const std::vector<TraceSpan> with = spans_of(entries(), true);
  EXPECT_TRUE(has_content(with));
  const Json output = read_json(with[2].attributes.at("gen_ai.output.messages").as_string()).value();
  EXPECT_EQ(*output.pointer("/0/parts/0/content"), Json("Section: mail"));
  EXPECT_EQ(*output.pointer("/0/finish_reason"), Json("stop"));
  const Json input = read_json(with[2].attributes.at("gen_ai.input.messages").as_string()).value();
  EXPECT_EQ(input.as_list().size(), 6U);
}

TEST(TraceContract, ExportingTwiceGivesTheSame) {
  const auto first = spans_of(entries()), second = spans_of(entries());
  std::set<std::string> ids;
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].span_id, second[i].span_id);
    EXPECT_TRUE(ids.insert(first[i].span_id).second);
  }
}

TEST(TraceContract, AnUnpricedCallHasNoCost) {
  std::vector<RecordEntry> lines = entries();
  lines[3].data.set("cost_msats", nullptr);
  EXPECT_FALSE(spans_of(lines)[2].attributes.contains("lm.cost_msats"));
}

TEST(TraceContract, FailuresHaveAStatusAndAType) {
  std::vector<RecordEntry> lines = entries();
  lines[3].type = "error";
  lines[3].data = JsonObject{{"code", "unavailable"}, {"message", "no route"}, {"path", ""}, {"request_hash", worked::request_hash}};
  lines[4].data = JsonObject{{"outputs", Json()},
                             {"status", "error"},
                             {"error", JsonObject{{"code", "unavailable"}, {"message", "no route"}, {"path", "classify"}}}};
  lines.back().data.set("output_hash", nullptr);
  const std::vector<TraceSpan> spans = spans_of(lines);
  ASSERT_EQ(spans.size(), 3U);
  for (const TraceSpan& span : spans) {
    EXPECT_EQ(span.status.code, SpanStatus::Code::Error) << span.name;
    EXPECT_EQ(span.status.message, "unavailable") << "a message may quote the answer that was wrong";
    EXPECT_EQ(span.attributes.at("error.type"), Json("unavailable"));
  }
  EXPECT_EQ(spans[2].end_time, worked::started_unix_ns + 5002500);
  EXPECT_EQ(spans_of(lines, true)[2].status.message, "no route");
}

TEST(TraceContract, ACutRecordHasOpenSpansWithoutAnError) {
  std::vector<RecordEntry> lines = entries();
  lines.resize(3);
  const std::vector<TraceSpan> spans = spans_of(lines);
  ASSERT_EQ(spans.size(), 3U);
  for (const TraceSpan& span : spans) {
    EXPECT_EQ(span.status.code, SpanStatus::Code::Unset);
    EXPECT_EQ(span.attributes.at("assay.status"), Json("open"));
  }
}

TEST(TraceContract, ACacheHitIsAnEventOfItsModule) {
  std::vector<RecordEntry> lines = entries();
  lines[2].type = "cache_hit";
  for (const char* key : {"content", "finish_reason", "usage"}) lines[2].data.set(key, lines[3].data.at(key));
  lines.erase(lines.begin() + 3);
  const std::vector<TraceSpan> spans = spans_of(lines);
  ASSERT_EQ(spans.size(), 2U);
  ASSERT_EQ(spans[1].events.size(), 1U);
  EXPECT_EQ(spans[1].events[0].name, "assay.cache_hit");
  EXPECT_EQ(spans[1].events[0].time_unix_ns, worked::started_unix_ns + 2000);
}

TEST(TraceContract, AToolIsAnExecuteToolSpan) {
  const std::vector<TraceSpan> spans =
      spans_of(operator_case("search", "tool", JsonObject{{"name", "search"}, {"arguments", "secret text"}}));
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[1].name, "execute_tool search");
  EXPECT_EQ(spans[1].kind, SpanKind::Internal);
  EXPECT_EQ(spans[1].attributes.at("gen_ai.tool.name"), Json("search"));
  ASSERT_EQ(spans[1].events.size(), 1U);
  EXPECT_FALSE(spans[1].events[0].attributes.contains("assay.arguments"));
}

TEST(TraceContract, ASandboxRunIsAProducerSpan) {
  const std::string hash(64, 'e');
  const std::vector<TraceSpan> spans =
      spans_of(operator_case("sandbox", "sandbox", JsonObject{{"job_hash", hash}, {"verdict", "ok"}, {"provider", hash}}));
  EXPECT_EQ(spans[1].name, "sandbox oa.sandbox_run.v1");
  EXPECT_EQ(spans[1].kind, SpanKind::Producer);
  EXPECT_EQ(spans[1].attributes.at("assay.job.hash"), Json(hash));
  EXPECT_EQ(spans[1].attributes.at("assay.job.verdict"), Json("ok"));
}

TEST(TraceContract, AnOperatorOfTheProgramKeepsItsName) {
  const std::vector<TraceSpan> spans = spans_of(operator_case("refine", "attempt", JsonObject{{"score", 0.5}}));
  EXPECT_EQ(spans[1].name, "refine");
  EXPECT_EQ(spans[1].kind, SpanKind::Internal);
  EXPECT_EQ(spans[1].events[0].attributes.at("assay.score"), Json(0.5));
}

TEST(TraceContract, AMapHasItsFields) {
  std::vector<RecordEntry> lines = entries();
  lines[1].data = JsonObject{{"node_type", "Map"}, {"name", JsonObject{{"text", "input.description"}}}, {"inputs", JsonObject{}}};
  lines.erase(lines.begin() + 2, lines.begin() + 4);
  const std::vector<TraceSpan> spans = spans_of(lines);
  EXPECT_EQ(spans[1].attributes.at("assay.map.text"), Json("input.description"));
  EXPECT_EQ(spans[1].attributes.at("dsrs.node_type"), Json("Map"));
}

TEST(TraceContract, UsesNoNameThatTheConventionsLack) {
  const auto gen_ai = read_file(ASSAY_SOURCE_DIR "/../shared/vectors/semconv-1.41.1/model/gen-ai/registry.yaml");
  const auto error = read_file(ASSAY_SOURCE_DIR "/../shared/vectors/semconv-1.41.1/model/error/registry.yaml");
  if (!gen_ai || !error) GTEST_SKIP() << "the conventions' model files are not here";
  std::vector<TraceSpan> spans = spans_of(entries(), true);
  for (const TraceSpan& span : spans_of(operator_case("search", "tool", JsonObject{}), true)) spans.push_back(span);
  int seen = 0;
  for (const TraceSpan& span : spans) {
    for (const auto& [key, value] : span.attributes) {
      if (key.starts_with("dsrs.") || key.starts_with("lm.") || key.starts_with("assay.")) continue;
      ++seen;
      EXPECT_NE((*gen_ai + *error).find("id: " + key + "\n"), std::string::npos) << key;
    }
  }
  EXPECT_GT(seen, 12);
}

}  // namespace
}  // namespace assay
