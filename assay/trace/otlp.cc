#include "assay/trace/otlp.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <span>

#include <fmt/format.h>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "assay/base/sha256.h"
#include "assay/net/http_client.h"
#include "assay/net/url.h"
#include "assay_version.h"

namespace assay {
namespace {

constexpr std::string_view schema_url = "https://opentelemetry.io/schemas/1.41.1";
constexpr std::string_view service_name = "assay";
constexpr std::size_t spans_a_request_max = 2000;  // collectors refuse bodies far below what a long compile has

int kind_number(SpanKind kind) {
  switch (kind) {
    case SpanKind::Internal: return 1;
    case SpanKind::Client: return 3;
    case SpanKind::Producer: return 4;
  }
  return 0;
}

// Names, messages and attribute values may come from a lane: a decoder drops a whole request for one bad byte.
std::string clean(std::string_view text) { return to_utf8(text); }

// --- JSON ---

Json json_value(const Json& value);

Json json_wrapped(std::string_view kind, Json value) {
  JsonObject out;
  out.set(std::string(kind), std::move(value));
  return out;
}

Json json_key_value(const std::string& key, const Json& value) {
  JsonObject out;
  out.set("key", clean(key));
  out.set("value", json_value(value));
  return out;
}

Json json_value(const Json& value) {
  JsonList list;
  switch (value.kind()) {
    case Json::Kind::null: return JsonObject{};
    case Json::Kind::boolean: return json_wrapped("boolValue", value);
    case Json::Kind::integer: return json_wrapped("intValue", fmt::format("{}", value.as_int()));
    case Json::Kind::number: return json_wrapped("doubleValue", value);
    case Json::Kind::string: return json_wrapped("stringValue", clean(value.as_string()));
    case Json::Kind::list:
      for (const Json& item : value.as_list()) list.push_back(json_value(item));
      return json_wrapped("arrayValue", json_wrapped("values", std::move(list)));
    case Json::Kind::object:
      for (const auto& [key, item] : value.as_object()) list.push_back(json_key_value(key, item));
      return json_wrapped("kvlistValue", json_wrapped("values", std::move(list)));
  }
  return JsonObject{};
}

Json json_attributes(const std::map<std::string, Json>& attributes) {
  JsonList list;
  for (const auto& [key, value] : attributes) list.push_back(json_key_value(key, value));
  return list;
}

std::string time_text(std::int64_t unix_ns) { return fmt::format("{}", unix_ns); }

Json json_events(const std::vector<SpanEvent>& events) {
  JsonList list;
  for (const SpanEvent& event : events) {
    JsonObject out;
    out.set("timeUnixNano", time_text(event.time_unix_ns));
    out.set("name", clean(event.name));
    out.set("attributes", json_attributes(event.attributes));
    list.push_back(std::move(out));
  }
  return list;
}

Json json_links(const std::vector<SpanLink>& links) {
  JsonList list;
  for (const SpanLink& link : links) {
    JsonObject out;
    out.set("traceId", link.trace_id);
    out.set("spanId", link.span_id);
    list.push_back(std::move(out));
  }
  return list;
}

Json json_span(const TraceSpan& span) {
  JsonObject out;
  out.set("traceId", span.trace_id);
  out.set("spanId", span.span_id);
  if (span.parent_span_id) out.set("parentSpanId", *span.parent_span_id);
  out.set("name", clean(span.name));
  out.set("kind", kind_number(span.kind));
  out.set("startTimeUnixNano", time_text(span.start_time));
  out.set("endTimeUnixNano", time_text(span.end_time));
  out.set("attributes", json_attributes(span.attributes));
  if (!span.events.empty()) out.set("events", json_events(span.events));
  if (!span.links.empty()) out.set("links", json_links(span.links));
  JsonObject status;
  if (span.status.code != SpanStatus::Code::Unset) status.set("code", static_cast<int>(span.status.code));
  if (!span.status.message.empty()) status.set("message", clean(span.status.message));
  if (!status.empty()) out.set("status", std::move(status));  // unset is absent, as in the protobuf form
  return out;
}

const std::map<std::string, Json>& resource_attributes() {
  static const std::map<std::string, Json> attributes = {{"service.name", Json(service_name)}, {"service.version", Json(assay_version)}};
  return attributes;
}

// --- protobuf: field numbers of opentelemetry-proto 1.11 ---

using protozero::pbf_writer;

void put_text(pbf_writer& out, protozero::pbf_tag_type field, std::string_view text) {
  const std::string utf8 = clean(text);
  out.add_string(field, utf8);
}

void put_id(pbf_writer& out, protozero::pbf_tag_type field, std::string_view digits) {
  out.add_bytes(field, from_hex(digits).value_or(""));
}

void put_value(pbf_writer& out, const Json& value);

void put_key_value(pbf_writer& parent, protozero::pbf_tag_type field, const std::string& key, const Json& value) {
  pbf_writer pair(parent, field);
  put_text(pair, 1, key);
  pbf_writer held(pair, 2);
  put_value(held, value);
}

void put_value(pbf_writer& out, const Json& value) {
  switch (value.kind()) {
    case Json::Kind::null: return;
    case Json::Kind::boolean: return out.add_bool(2, value.as_bool());
    case Json::Kind::integer: return out.add_int64(3, value.as_int());
    case Json::Kind::number: return out.add_double(4, value.as_double());
    case Json::Kind::string: return put_text(out, 1, value.as_string());
    case Json::Kind::list: {
      pbf_writer list(out, 5);
      for (const Json& item : value.as_list()) {
        pbf_writer held(list, 1);
        put_value(held, item);
      }
      return;
    }
    case Json::Kind::object: {
      pbf_writer list(out, 6);
      for (const auto& [key, item] : value.as_object()) put_key_value(list, 1, key, item);
      return;
    }
  }
}

void put_attributes(pbf_writer& out, protozero::pbf_tag_type field, const std::map<std::string, Json>& attributes) {
  for (const auto& [key, value] : attributes) put_key_value(out, field, key, value);
}

void put_span(pbf_writer& parent, const TraceSpan& span) {
  pbf_writer out(parent, 2);
  put_id(out, 1, span.trace_id);
  put_id(out, 2, span.span_id);
  if (span.parent_span_id) put_id(out, 4, *span.parent_span_id);
  put_text(out, 5, span.name);
  out.add_enum(6, kind_number(span.kind));
  out.add_fixed64(7, static_cast<std::uint64_t>(span.start_time));
  out.add_fixed64(8, static_cast<std::uint64_t>(span.end_time));
  put_attributes(out, 9, span.attributes);
  for (const SpanEvent& event : span.events) {
    pbf_writer held(out, 11);
    held.add_fixed64(1, static_cast<std::uint64_t>(event.time_unix_ns));
    put_text(held, 2, event.name);
    put_attributes(held, 3, event.attributes);
  }
  for (const SpanLink& link : span.links) {
    pbf_writer held(out, 13);
    put_id(held, 1, link.trace_id);
    put_id(held, 2, link.span_id);
  }
  pbf_writer status(out, 15);
  if (!span.status.message.empty()) put_text(status, 2, span.status.message);
  if (span.status.code != SpanStatus::Code::Unset) status.add_enum(3, static_cast<int>(span.status.code));
}

std::string protobuf_of(std::span<const TraceSpan> spans) {
  std::string bytes;
  pbf_writer request(bytes);
  pbf_writer resource_spans(request, 1);
  {
    pbf_writer resource(resource_spans, 1);
    put_attributes(resource, 1, resource_attributes());
  }
  {
    pbf_writer scope_spans(resource_spans, 2);
    {
      pbf_writer scope(scope_spans, 1);
      put_text(scope, 1, service_name);
      put_text(scope, 2, assay_version);
    }
    for (const TraceSpan& span : spans) put_span(scope_spans, span);
    put_text(scope_spans, 3, schema_url);
  }
  put_text(resource_spans, 3, schema_url);
  resource_spans.commit();
  return bytes;
}

std::string json_of(std::span<const TraceSpan> spans) {
  JsonList list;
  for (const TraceSpan& span : spans) list.push_back(json_span(span));
  JsonObject scope;
  scope.set("name", service_name);
  scope.set("version", assay_version);
  JsonObject scope_spans;
  scope_spans.set("scope", std::move(scope));
  scope_spans.set("spans", std::move(list));
  scope_spans.set("schemaUrl", schema_url);
  JsonObject resource_spans;
  resource_spans.set("resource", json_wrapped("attributes", json_attributes(resource_attributes())));
  resource_spans.set("scopeSpans", JsonList{std::move(scope_spans)});
  resource_spans.set("schemaUrl", schema_url);
  // Every value came through the strict reader or was made here, so it has a text; nesting is limited by the reader too.
  return canonical(json_wrapped("resourceSpans", JsonList{std::move(resource_spans)}), {.bytes_max = SIZE_MAX, .depth_max = 1024})
      .value_or("{}");
}

// --- over HTTP ---

Result<void> rejected_spans(std::int64_t count, const std::string& why) {
  if (count <= 0) return {};
  return fail(ErrorCode::refused, fmt::format("the collector rejected {} span(s): {}", count, clean(why.substr(0, 300))),
              "look at the collector's limits");
}

// The same in JSON: {"partialSuccess":{"rejectedSpans","errorMessage"}}, the count as a text or a number.
Result<void> check_rejected_json(const std::string& body) {
  const auto answer = read_json(body);
  if (!answer) return {};
  const Json &partial = answer->at("partialSuccess"), &count = partial.at("rejectedSpans"), &why = partial.at("errorMessage");
  std::int64_t rejected = count.is_int() ? count.as_int() : 0;
  if (count.is_string()) std::from_chars(count.as_string().data(), count.as_string().data() + count.as_string().size(), rejected);
  return rejected_spans(rejected, why.is_string() ? why.as_string() : "");
}

// The answer's partial_success: {rejected_spans = 1, error_message = 2}. A body that cannot be read says nothing.
Result<void> check_rejected(const std::string& body) {
  std::int64_t rejected = 0;
  std::string why;
  try {  // protozero reports a malformed message by exception
    for (protozero::pbf_reader answer(body); answer.next(1);) {
      protozero::pbf_reader partial = answer.get_message();
      while (partial.next()) {
        if (partial.tag() == 1) rejected = partial.get_int64();
        else if (partial.tag() == 2) why = partial.get_string();
        else partial.skip();
      }
    }
  } catch (const std::exception&) {
    return {};
  }
  return rejected_spans(rejected, why);
}

Result<void> check_answer(const HttpResponse& answer, bool json) {
  if (answer.status == 200) return json ? check_rejected_json(answer.body) : check_rejected(answer.body);
  if (answer.status == 429 || answer.status >= 500)
    return fail(ErrorCode::unavailable, fmt::format("the collector answered {}", answer.status),
                "send again later: ids make it idempotent");
  const std::string why = clean(answer.body.substr(0, 300));
  if (answer.status == 401 || answer.status == 403)
    return fail(ErrorCode::refused, fmt::format("the collector answered {}{}", answer.status, why.empty() ? "" : ": " + why),
                "it wants credentials: set OTEL_EXPORTER_OTLP_HEADERS, e.g. to authorization=Bearer%20…");
  return fail(ErrorCode::refused, fmt::format("the collector answered {}{}", answer.status, why.empty() ? "" : ": " + why),
              answer.status >= 300 && answer.status < 400 ? "redirects are not followed: give the collector's own address"
                                                          : "check the address: spans are taken at /v1/traces");
}

Result<std::string> traces_url(const std::string& endpoint) {
  ASSAY_TRY(const Url url, parse_url(endpoint));
  if (url.websocket()) return fail(ErrorCode::usage, "an OTLP endpoint is http or https", "e.g. http://127.0.0.1:4318");
  if (url.target != "/") return endpoint;
  return endpoint + (endpoint.ends_with('/') ? "v1/traces" : "/v1/traces");
}

}  // namespace

std::string otlp_json(const std::vector<TraceSpan>& spans) { return json_of(spans); }
std::string otlp_protobuf(const std::vector<TraceSpan>& spans) { return protobuf_of(spans); }

namespace {
// A collector that sends a secret back does not put it into an error: neither the whole value nor the key behind a word such as Bearer.
void hide_values(std::string& body, const HttpHeaders& headers) {
  constexpr std::size_t secret_bytes_min = 8;  // a shorter one may be any word
  for (const auto& [name, value] : headers) {
    for (const std::string& secret : {value, value.substr(value.rfind(' ') + 1)}) {
      if (secret.size() < secret_bytes_min) continue;
      for (std::size_t at = body.find(secret); at != std::string::npos; at = body.find(secret))
        body.replace(at, secret.size(), "[key]");  // ends: it shrinks
    }
  }
}
}  // namespace

Result<HttpHeaders> otlp_headers(std::string_view text) {
  HttpHeaders out;
  while (!text.empty()) {  // ends: each round takes a pair off
    const std::size_t end = std::min(text.find(','), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = pair.find('=');
    const std::string name(pair.substr(0, equals));
    const std::string value = equals == std::string_view::npos ? std::string() : percent_decode(pair.substr(equals + 1));
    const auto token = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.'; };
    const auto visible = [](char c) { return c >= 0x20 && c < 0x7F; };
    if (name.empty() || value.empty() || !std::all_of(name.begin(), name.end(), token) || !std::all_of(value.begin(), value.end(), visible))
      return fail(ErrorCode::usage, "these are no headers", "write name=value,name=value, with %20 for a space",
                  "OTEL_EXPORTER_OTLP_HEADERS");
    out.emplace_back(name, value);
  }
  return out;
}

Result<void> otlp_send(const std::vector<TraceSpan>& spans, const std::string& endpoint, const Wait& wait, Clock& clock, OtlpFormat format,
                       const HttpHeaders& headers) {
  const bool json = format == OtlpFormat::json;
  ASSAY_TRY(const std::string url, traces_url(endpoint));
  for (std::size_t begin = 0; begin < spans.size(); begin += spans_a_request_max) {
    const std::size_t count = std::min(spans_a_request_max, spans.size() - begin);
    const std::span<const TraceSpan> part = std::span(spans).subspan(begin, count);
    HttpRequest request{
        "POST", url, {{"content-type", json ? "application/json" : "application/x-protobuf"}}, json ? json_of(part) : protobuf_of(part)};
    request.headers.insert(request.headers.end(), headers.begin(), headers.end());
    ASSAY_TRY(HttpResponse answer, http_send(request, {.body_bytes_max = std::size_t{4} << 20}, wait, clock));
    hide_values(answer.body, headers);
    ASSAY_CHECK(check_answer(answer, json));
  }
  return {};
}

}  // namespace assay
