#include "assay/trace/otlp.h"

#include <gtest/gtest.h>

#include <protozero/pbf_reader.hpp>

#include "assay/base/sha256.h"
#include "assay/trace/worked_case.h"

namespace assay {
namespace {

std::vector<TraceSpan> spans() {
  return TraceContract::graph_to_spans(graph_of(read_record(worked::record_text()).value().entries), nullptr);
}

const Json* attribute(const Json& span, std::string_view key) {
  for (const Json& pair : span.at("attributes").as_list()) {
    if (pair.at("key") == Json(key)) return &pair.at("value");
  }
  return nullptr;
}

TEST(Otlp, JsonHasHexIdsTextIntegersAndCamelCase) {
  const Json request = read_json(otlp_json(spans())).value();
  EXPECT_EQ(*request.pointer("/resourceSpans/0/schemaUrl"), Json("https://opentelemetry.io/schemas/1.41.1"));
  EXPECT_EQ(*request.pointer("/resourceSpans/0/scopeSpans/0/scope/name"), Json("assay"));
  const Json& call = *request.pointer("/resourceSpans/0/scopeSpans/0/spans/2");
  EXPECT_EQ(call.at("traceId"), Json(worked::trace_id));
  EXPECT_EQ(call.at("spanId"), Json(worked::lm_span_id));
  EXPECT_EQ(call.at("parentSpanId"), Json(worked::span_id));
  EXPECT_EQ(call.at("kind"), Json(3));
  EXPECT_EQ(call.at("startTimeUnixNano"), Json("1790000000000002001"));
  EXPECT_EQ(call.at("endTimeUnixNano"), Json("1790000000005002501"));
  EXPECT_EQ(attribute(call, "lm.tokens")->at("intValue"), Json("53"));
  EXPECT_EQ(attribute(call, "gen_ai.request.temperature")->at("doubleValue"), Json(0));
  EXPECT_EQ(attribute(call, "gen_ai.response.finish_reasons")->pointer("/arrayValue/values/0/stringValue")->as_string(), "stop");
}

TEST(Otlp, BytesThatAreNotUtf8DoNotSpoilTheRequest) {
  std::vector<TraceSpan> bad = spans();
  bad[0].name = "a\xff";
  bad[0].attributes["k\xff"] = Json("v\xff");
  bad[0].status = {SpanStatus::Code::Error, "m\xff"};
  const Json request = read_json(otlp_json(bad)).value();
  EXPECT_EQ(*request.pointer("/resourceSpans/0/scopeSpans/0/spans/0/name"), Json("a\xEF\xBF\xBD"));
  EXPECT_EQ(*request.pointer("/resourceSpans/0/scopeSpans/0/spans/0/status/code"), Json(2));
}

// The fields at one place of a protobuf message, as raw bytes.
std::vector<std::string> fields(const std::string& message, protozero::pbf_tag_type tag) {
  std::vector<std::string> out;
  protozero::pbf_reader reader(message);
  while (reader.next()) {
    if (reader.tag() == tag && reader.wire_type() == protozero::pbf_wire_type::length_delimited) out.push_back(reader.get_bytes());
    else reader.skip();
  }
  return out;
}

TEST(Otlp, ProtobufHasTheSpansFieldByField) {
  const std::string request = otlp_protobuf(spans());
  const std::string resource_spans = fields(request, 1).at(0);
  const std::string scope_spans = fields(resource_spans, 2).at(0);
  const std::vector<std::string> written = fields(scope_spans, 2);
  ASSERT_EQ(written.size(), 3U);
  EXPECT_EQ(hex(fields(written[2], 1).at(0)), worked::trace_id);
  EXPECT_EQ(hex(fields(written[2], 2).at(0)), worked::lm_span_id);
  EXPECT_EQ(hex(fields(written[2], 4).at(0)), worked::span_id);
  EXPECT_EQ(fields(written[2], 5).at(0), "chat tiny");
  EXPECT_TRUE(fields(written[0], 4).empty());  // the root has no parent, not an empty one
  protozero::pbf_reader span(written[2]);
  std::uint64_t start = 0;
  while (span.next()) {
    if (span.tag() == 7) start = span.get_fixed64();
    else span.skip();
  }
  EXPECT_EQ(start, 1790000000000002001U);
  EXPECT_EQ(fields(scope_spans, 3).at(0), "https://opentelemetry.io/schemas/1.41.1");
}

TEST(Otlp, SendRefusesAnEndpointThatIsNotHttp) {
  EXPECT_EQ(otlp_send(spans(), "ws://127.0.0.1:1", {}, system_clock()).error().code, ErrorCode::usage);
  EXPECT_EQ(otlp_send(spans(), "nonsense", {}, system_clock()).error().code, ErrorCode::malformed);
}

}  // namespace
}  // namespace assay
