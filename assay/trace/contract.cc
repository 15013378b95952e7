#include "assay/trace/contract.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "assay/base/sha256.h"

namespace assay {
namespace {

// Names of the GenAI semantic conventions 1.41.1, where a later table can take their place.
namespace gen_ai {
constexpr std::string_view operation = "gen_ai.operation.name", provider = "gen_ai.provider.name", request_model = "gen_ai.request.model",
                           seed = "gen_ai.request.seed", temperature = "gen_ai.request.temperature", top_p = "gen_ai.request.top_p",
                           top_k = "gen_ai.request.top_k", max_tokens = "gen_ai.request.max_tokens", stop = "gen_ai.request.stop_sequences",
                           frequency_penalty = "gen_ai.request.frequency_penalty", presence_penalty = "gen_ai.request.presence_penalty",
                           finish_reasons = "gen_ai.response.finish_reasons", input_tokens = "gen_ai.usage.input_tokens",
                           output_tokens = "gen_ai.usage.output_tokens", cache_read = "gen_ai.usage.cache_read.input_tokens",
                           reasoning = "gen_ai.usage.reasoning.output_tokens", input_messages = "gen_ai.input.messages",
                           output_messages = "gen_ai.output.messages", tool_name = "gen_ai.tool.name", tool_type = "gen_ai.tool.type",
                           tool_arguments = "gen_ai.tool.call.arguments", tool_result = "gen_ai.tool.call.result";
}  // namespace gen_ai

using Attributes = std::map<std::string, Json>;

bool all_zero(std::string_view digits) { return digits.find_first_not_of('0') == std::string_view::npos; }

// The first `bytes` of a digest as hex; all zeros are no id, so the digest itself is hashed again.
std::string id_from(Bytes32 digest, std::size_t bytes) {
  std::string id = hex(digest).substr(0, 2 * bytes);
  while (all_zero(id)) {  // ends with the first digest that does not begin with zeros
    digest = sha256(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
    id = hex(digest).substr(0, 2 * bytes);
  }
  return id;
}

Bytes32 path_digest(std::string_view trace_id, std::string_view path) {
  std::string text;
  text.reserve(trace_id.size() + 1 + path.size());
  text.append(trace_id).append(1, '\n').append(path);
  return sha256(text);
}

struct TraceParent {
  std::string_view trace_id, span_id;
};

// W3C trace context, version 00; later versions may be longer behind another '-'.
std::optional<TraceParent> read_traceparent(std::string_view text) {
  if (text.size() < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  const std::string_view version = text.substr(0, 2), flags = text.substr(53, 2);
  const TraceParent parent{text.substr(3, 32), text.substr(36, 16)};
  if (!is_hex(version, 2) || version == "ff" || !is_hex(flags, 2)) return std::nullopt;
  if (text.size() > 55 && (version == "00" || text[55] != '-')) return std::nullopt;
  if (!is_hex(parent.trace_id, 32) || !is_hex(parent.span_id, 16) || all_zero(parent.trace_id) || all_zero(parent.span_id))
    return std::nullopt;
  return parent;
}

std::string provider_of(std::string_view lane_kind) {
  constexpr std::pair<std::string_view, std::string_view> known[] = {{"gemini", "gcp.gemini"}};
  for (const auto& [kind, provider] : known) {
    if (kind == lane_kind) return std::string(provider);
  }
  return lane_kind.empty() ? "unknown" : std::string(lane_kind);
}

void set(Attributes& attributes, std::string_view key, Json value) { attributes.insert_or_assign(std::string(key), std::move(value)); }

// Counters beside the two that every lane has.
void copy_counter(Attributes& attributes, std::string_view key, const JsonObject& from, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    const Json* count = from.find(name);
    if (count != nullptr && count->is_int()) return set(attributes, key, *count);
  }
}

Json text_parts(const Json& content) {
  if (!content.is_string() && content.is_list()) return content;
  JsonObject part;
  part.set("type", "text");
  part.set("content", content.is_string() ? content : Json(canonical(content).value_or("null")));
  return JsonList{std::move(part)};
}

Json chat_message(const Json& role, const Json& content) {
  JsonObject out;
  out.set("role", role);
  out.set("parts", text_parts(content));
  return out;
}

// Back ends read messages as a JSON text on spans.
std::string messages_text(const Json& request) {
  JsonList out;
  const Json& messages = request.at("messages");
  for (const Json& message : messages.is_list() ? messages.as_list() : JsonList{})
    out.push_back(chat_message(message.at("role"), message.at("content")));
  return canonical(out).value_or("[]");
}

std::string answer_text(const LmCall& call) {
  Json message = chat_message("assistant", to_utf8(*call.content));
  message.set("finish_reason", call.finish_reason);
  return canonical(JsonList{std::move(message)}).value_or("[]");
}

class SpanWriter {
 public:
  SpanWriter(const Graph& graph, const CompiledModuleManifest* manifest, const TraceContract::Options& options)
      : graph_(graph), manifest_(manifest), options_(options), trace_id_(trace_id_of(graph.run_id, graph.traceparent)) {}

  std::vector<TraceSpan> spans() {
    for (const Node& node : graph_.nodes) {
      const std::size_t at = spans_.size();
      spans_.push_back(node_span(node));
      for (const LmCall& call : node.calls) {
        if (call.cached) spans_[at].events.push_back(cache_hit(call));
        else spans_.push_back(call_span(node, call, spans_[at].span_id));
      }
    }
    return std::move(spans_);
  }

 private:
  TraceSpan node_span(const Node& node) const {
    TraceSpan span;
    span.trace_id = trace_id_;
    span.span_id = span_id_of(trace_id_, node.path);
    span.parent_span_id = parent_of(node);
    span.start_time = node.start_unix_ns;
    span.end_time = node.end_unix_ns;
    common(span.attributes, node);
    set(span.attributes, "assay.path", node.path);
    set(span.attributes, "assay.call_id", call_id_of(trace_id_, node.path));
    span.name = describe(node, span);
    status(span, node);
    for (const OperatorEvent& event : node.events) span.events.push_back(node_event(event));
    link_inputs(span, node);
    return span;
  }

  std::optional<std::string> parent_of(const Node& node) const {
    if (node.parent) return span_id_of(trace_id_, graph_.nodes[*node.parent].path);
    const auto incoming = read_traceparent(graph_.traceparent);
    return incoming ? std::optional(std::string(incoming->span_id)) : std::nullopt;
  }

  void common(Attributes& attributes, const Node& node) const {
    if (node.type.kind == NodeType::Kind::Predict) set(attributes, "dsrs.signature_name", node.type.name);
    else if (manifest_ != nullptr) set(attributes, "dsrs.signature_name", manifest_->signature_name);
    if (graph_.compiled_id) set(attributes, "dsrs.compiled_id", *graph_.compiled_id);
    else if (manifest_ != nullptr) set(attributes, "dsrs.compiled_id", manifest_->compiled_id);
    set(attributes, "dsrs.node_type", name(node.type.kind));
  }

  // Kind, own attributes, and the span's name.
  std::string describe(const Node& node, TraceSpan& span) const {
    switch (node.type.kind) {
      case NodeType::Kind::Root: return describe_root(span);
      case NodeType::Kind::Predict: return last_name(node.path);
      case NodeType::Kind::Map: return describe_map(node, span);
      case NodeType::Kind::Operator: break;
    }
    if (has_event(node, {"sandbox", "payment", "job"})) return describe_job(node, span);
    if (has_event(node, {"tool"})) return describe_tool(node, span);
    return node.type.name.empty() ? last_name(node.path) : node.type.name;
  }

  std::string describe_root(TraceSpan& span) const {
    set(span.attributes, "assay.run_id", graph_.run_id);
    set(span.attributes, "assay.privacy_mode", graph_.privacy_mode);
    if (!graph_.root_hash.empty()) set(span.attributes, "assay.root_hash", graph_.root_hash);
    const Json totals = graph_.totals.totals_json();
    for (const auto& [key, value] : totals.as_object()) set(span.attributes, "assay.totals." + key, value);
    if (!graph_.program_name.empty()) return graph_.program_name;
    return manifest_ != nullptr ? manifest_->signature_name : "run";
  }

  static std::string describe_map(const Node& node, TraceSpan& span) {
    if (node.type.mapping.is_object()) {
      for (const auto& [field, from] : node.type.mapping.as_object()) set(span.attributes, "assay.map." + field, from);
    }
    return node.type.name.empty() ? "map" : node.type.name;
  }

  std::string describe_tool(const Node& node, TraceSpan& span) const {
    set(span.attributes, gen_ai::operation, "execute_tool");
    set(span.attributes, gen_ai::tool_name, node.type.name);
    set(span.attributes, gen_ai::tool_type, "function");
    if (options_.content) {
      set(span.attributes, gen_ai::tool_arguments, canonical(node.input_values).value_or("null"));
      if (!node.output_values.is_null()) set(span.attributes, gen_ai::tool_result, canonical(node.output_values).value_or("null"));
    }
    return "execute_tool " + node.type.name;
  }

  static std::string describe_job(const Node& node, TraceSpan& span) {
    constexpr std::pair<std::string_view, std::string_view> members[] = {{"job_id", "assay.job.id"},
                                                                         {"job_hash", "assay.job.hash"},
                                                                         {"provider", "assay.job.provider"},
                                                                         {"provider_pubkey", "assay.job.provider"},
                                                                         {"invoice_hash", "assay.job.invoice_hash"},
                                                                         {"payment_hash", "assay.job.payment_hash"},
                                                                         {"verdict", "assay.job.verdict"}};
    std::string job_type;
    span.kind = SpanKind::Producer;
    for (const OperatorEvent& event : node.events) {
      for (const auto& [member, key] : members) {
        if (event.data.at(member).is_string()) set(span.attributes, key, event.data.at(member));
      }
      if (event.data.at("job_type").is_string()) job_type = event.data.at("job_type").as_string();
    }
    if (job_type.empty()) job_type = has_event(node, {"sandbox"}) ? "oa.sandbox_run.v1" : "job";
    set(span.attributes, "assay.job.type", job_type);
    return fmt::format("{} {}", node.type.name, job_type);
  }

  static bool has_event(const Node& node, std::initializer_list<std::string_view> types) {
    return std::any_of(node.events.begin(), node.events.end(),
                       [&](const OperatorEvent& event) { return std::find(types.begin(), types.end(), event.type) != types.end(); });
  }

  // "refine/attempt:0/classify:2" → "classify": few different names, as back ends group by them.
  static std::string last_name(std::string_view path) {
    const std::string_view segment = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
    return std::string(segment.substr(0, segment.find(':')));
  }

  void status(TraceSpan& span, const Node& node) const {
    if (node.status == "open") return set(span.attributes, "assay.status", "open");
    if (node.status == "ok" || node.status.empty()) return;
    const Json& code = node.error.at("code");
    fail_span(span, code.is_string() ? code.as_string() : node.status, node.error.at("message"));
  }

  // A message may quote the answer that was wrong: it is a text of the run.
  void fail_span(TraceSpan& span, const std::string& type, const Json& message) const {
    span.status.code = SpanStatus::Code::Error;
    span.status.message = options_.content && message.is_string() ? message.as_string() : type;
    set(span.attributes, "error.type", type);
  }

  // Figures, verdicts and hashes travel; texts of the run do not, unless they are asked for.
  SpanEvent node_event(const OperatorEvent& event) const {
    constexpr std::string_view plain[] = {"code", "status", "name", "kind", "verdict", "job_type", "job_id", "what", "metric", "reason"};
    SpanEvent out{"assay." + event.type, event.unix_ns, {}};
    if (!event.data.is_object()) return out;
    for (const auto& [key, value] : event.data.as_object()) {
      const bool scalar = value.is_number() || value.is_bool();
      const bool text = value.is_string() && (options_.content || is_hex(value.as_string(), 64) ||
                                              std::find(std::begin(plain), std::end(plain), key) != std::end(plain));
      if (scalar || text) set(out.attributes, "assay." + key, value);
    }
    return out;
  }

  static SpanEvent cache_hit(const LmCall& call) {
    SpanEvent out{"assay.cache_hit", call.start_unix_ns, {}};
    set(out.attributes, "lm.model", call.model);
    set(out.attributes, "assay.request_hash", call.request_hash);
    set(out.attributes, "assay.lane_id", call.lane_id);
    return out;
  }

  void link_inputs(TraceSpan& span, const Node& node) const {
    for (const std::size_t input : node.inputs) span.links.push_back({trace_id_, span_id_of(trace_id_, graph_.nodes[input].path)});
  }

  // --- the LM call ---

  TraceSpan call_span(const Node& node, const LmCall& call, const std::string& parent) const {
    TraceSpan span;
    const std::string path = fmt::format("{}#{}", call.path, call.index);
    span.trace_id = trace_id_;
    span.span_id = span_id_of(trace_id_, path);
    span.parent_span_id = parent;
    span.name = "chat " + call.model;
    span.kind = SpanKind::Client;
    span.start_time = call.start_unix_ns;
    span.end_time = std::max(call.start_unix_ns, call.end_unix_ns);
    common(span.attributes, node);
    set(span.attributes, "lm.model", call.model);
    set(span.attributes, "assay.path", path);
    set(span.attributes, "assay.call_id", call_id_of(trace_id_, path));
    set(span.attributes, "assay.lane_id", call.lane_id);
    set(span.attributes, "assay.request_hash", call.request_hash);
    if (!call.sent) set(span.attributes, "assay.sent", false);
    request_attributes(span.attributes, call);
    if (call.content) answer_attributes(span.attributes, call);
    else unanswered(span, node, call);
    return span;
  }

  void request_attributes(Attributes& attributes, const LmCall& call) const {
    set(attributes, gen_ai::operation, "chat");
    set(attributes, gen_ai::provider, provider_of(call.lane_kind));
    set(attributes, gen_ai::request_model, call.model);
    const Json& config = call.request.at("config");
    const auto copy = [&](std::string_view key, std::string_view from, bool as_double) {
      const Json& value = config.at(from);
      if (as_double ? value.is_number() : value.is_int()) set(attributes, key, as_double ? Json(value.as_double()) : value);
    };
    copy(gen_ai::temperature, "temperature", true);
    copy(gen_ai::top_p, "top_p", true);
    copy(gen_ai::top_k, "top_k", true);
    copy(gen_ai::frequency_penalty, "frequency_penalty", true);
    copy(gen_ai::presence_penalty, "presence_penalty", true);
    copy(gen_ai::max_tokens, "max_tokens", false);
    if (const Json& stop = config.at("stop"); stop.is_list() && !stop.as_list().empty()) set(attributes, gen_ai::stop, stop);
    if (const Json& seed = call.request.at("seed"); seed.is_int()) set(attributes, gen_ai::seed, seed);
    if (options_.content) set(attributes, gen_ai::input_messages, messages_text(call.request));
  }

  void answer_attributes(Attributes& attributes, const LmCall& call) const {
    const LmUsage& usage = call.usage;
    set(attributes, gen_ai::finish_reasons, JsonList{Json(call.finish_reason)});
    set(attributes, gen_ai::input_tokens, usage.prompt_tokens);
    set(attributes, gen_ai::output_tokens, usage.completion_tokens);
    copy_counter(attributes, gen_ai::cache_read, usage.more, {"cached_tokens", "cache_read_tokens"});
    copy_counter(attributes, gen_ai::reasoning, usage.more, {"reasoning_tokens"});
    set(attributes, "lm.tokens", usage.prompt_tokens + usage.completion_tokens);
    if (usage.cost_msats) set(attributes, "lm.cost_msats", *usage.cost_msats);  // unknown is left out, never 0
    set(attributes, "assay.latency_ns", call.latency_ns);
    if (options_.content) set(attributes, gen_ai::output_messages, answer_text(call));
  }

  // A call without an answer failed, unless the record just ends there.
  void unanswered(TraceSpan& span, const Node& node, const LmCall& call) const {
    if (call.error.is_null() && node.status == "open") return set(span.attributes, "assay.status", "open");
    const Json& error = call.error.is_null() ? node.error : call.error;
    const Json& code = error.at("code");
    fail_span(span, code.is_string() ? code.as_string() : "_OTHER", error.at("message"));
  }

  const Graph& graph_;
  const CompiledModuleManifest* manifest_;
  const TraceContract::Options& options_;
  const std::string trace_id_;
  std::vector<TraceSpan> spans_;
};

}  // namespace

std::string trace_id_of(std::string_view run_id, std::string_view traceparent) {
  if (const auto incoming = read_traceparent(traceparent)) return std::string(incoming->trace_id);
  return id_from(sha256(fmt::format("assay.trace/1\n{}", run_id)), 16);
}

std::string span_id_of(std::string_view trace_id, std::string_view path) { return id_from(path_digest(trace_id, path), 8); }

std::string call_id_of(std::string_view trace_id, std::string_view path) {
  Bytes32 digest = path_digest(trace_id, path);
  digest[6] = static_cast<std::uint8_t>((digest[6] & 0x0F) | 0x80);  // version 8
  digest[8] = static_cast<std::uint8_t>((digest[8] & 0x3F) | 0x80);  // variant of RFC 9562
  std::string uuid = hex(std::span(digest).first(16));
  for (const std::size_t dash : {8, 13, 18, 23}) uuid.insert(dash, 1, '-');
  return uuid;
}

std::vector<TraceSpan> TraceContract::graph_to_spans(const Graph& graph, const CompiledModuleManifest* manifest) {
  return graph_to_spans(graph, manifest, Options{});
}

std::vector<TraceSpan> TraceContract::graph_to_spans(const Graph& graph, const CompiledModuleManifest* manifest, const Options& options) {
  return SpanWriter(graph, manifest, options).spans();
}

}  // namespace assay
