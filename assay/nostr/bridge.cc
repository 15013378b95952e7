#include "assay/nostr/bridge.h"

#include <openssl/hmac.h>

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "assay/contract/privacy.h"

namespace assay {
namespace {

constexpr std::size_t ids_in_one_event = 800;       // 54 KB of ids: below the 64 KB that relays take
constexpr std::size_t plain_bytes_max = 40 * 1024;  // larger plain contents are committed to instead
constexpr std::string_view sandbox_job_type = "oa.sandbox_run.v1";
constexpr std::size_t fetch_chunk = 200;

std::int64_t seconds(std::int64_t unix_ns) { return std::max<std::int64_t>(0, unix_ns / 1'000'000'000); }

// Everything one request and its result are made of.
struct Exchange {
  std::string path;
  std::int64_t index = 0;
  std::int64_t start_unix_ns = 0, end_unix_ns = 0;
  std::string model, job_type;
  Json request;
  std::optional<Json> result;
  JsonObject result_facts;  // what may be known: usage, finish reason, verdict
  std::optional<std::int64_t> cost_msats;
};

Exchange exchange_of(const LmCall& call) {
  Exchange out;
  out.path = call.path;
  out.index = call.index;
  out.start_unix_ns = call.start_unix_ns;
  out.end_unix_ns = call.end_unix_ns;
  out.model = call.model;
  out.request = call.request;
  if (call.content) {
    out.result = JsonObject{{"content", *call.content}, {"finish_reason", call.finish_reason}};
    out.result_facts.set("usage", call.usage.to_json());
    out.cost_msats = call.usage.cost_msats;
  }
  return out;
}

// A sandbox line holds request and response, or (older ones) only what came of it; the node's inputs then stand for the request.
Exchange exchange_of(const Node& node, const OperatorEvent& event, std::int64_t index) {
  Exchange out;
  out.path = node.path;
  out.index = index;
  out.start_unix_ns = node.start_unix_ns;
  out.end_unix_ns = event.unix_ns;
  out.job_type = event.data.at("job_type").is_string() ? event.data.at("job_type").as_string() : std::string(sandbox_job_type);
  out.request = event.data.at("request").is_null() ? node.input_values : event.data.at("request");
  out.result = event.data.at("response").is_null() ? event.data : event.data.at("response");
  return out;
}

std::vector<Exchange> exchanges(const Node& node) {
  std::vector<Exchange> out;
  for (const LmCall& call : node.calls) {
    if (!call.cached && call.sent) out.push_back(exchange_of(call));
  }
  std::int64_t index = 0;
  for (const OperatorEvent& event : node.events) {
    if (event.type == "sandbox") out.push_back(exchange_of(node, event, index++));
  }
  return out;
}

// {"format","role", …facts, and either "value" or "commitment"}.
Result<std::string> content_of(std::string_view role, const Json& value, bool plain, const std::string& salt, JsonObject facts) {
  facts.set("format", trace_format);
  facts.set("role", role);
  if (plain) {
    JsonObject with_value = facts;
    with_value.set("value", value);
    ASSAY_TRY(std::string text, canonical(with_value));
    if (text.size() <= plain_bytes_max && text.find('\x7F') == std::string::npos) return text;
  }
  ASSAY_TRY(const std::string commitment, hash(JsonList{salt, value}));
  facts.set("commitment", commitment);
  return canonical(facts);
}

// Canonical JSON writes other control characters as \u00xx; DEL, which relays hash differently, has no place in our contents.
Result<std::vector<VerifiedEvent>> events_of(const NostrBridge& bridge, const Exchange& exchange, bool plain) {
  std::vector<VerifiedEvent> out;
  const auto salt = [&](std::string_view role) {
    return bridge.commitment_salt(exchange.path, exchange.index, exchange.start_unix_ns, role);
  };
  const std::string& self = bridge.keypair.public_hex();
  UnsignedEvent request;
  request.created_at = seconds(exchange.start_unix_ns);
  request.kind = bridge.as_app_data ? trace_part_kind : trace_request_kind;
  request.tags = {{"p", self}, {"t", std::string(trace_tag)}};
  if (!exchange.job_type.empty()) request.tags.push_back({"param", "job_type", exchange.job_type});
  if (plain && !exchange.model.empty()) request.tags.push_back({"param", "model", exchange.model});  // its name may be a path
  ASSAY_TRY(request.content, content_of("request", exchange.request, plain, salt("request"), {}));
  ASSAY_TRY(VerifiedEvent signed_request, sign_event(std::move(request), bridge.keypair, *bridge.entropy));
  const EventId request_id = signed_request->id;
  out.push_back(std::move(signed_request));
  if (!exchange.result) return out;
  UnsignedEvent result;
  result.created_at = seconds(std::max(exchange.start_unix_ns, exchange.end_unix_ns));
  result.kind = bridge.as_app_data ? trace_part_kind : trace_result_kind;
  result.tags = {{"e", request_id}, {"p", self}, {"t", std::string(trace_tag)}};
  if (exchange.cost_msats) result.tags.push_back({"amount", std::to_string(*exchange.cost_msats)});
  ASSAY_TRY(result.content, content_of("result", *exchange.result, plain, salt("result"), exchange.result_facts));
  ASSAY_TRY(VerifiedEvent signed_result, sign_event(std::move(result), bridge.keypair, *bridge.entropy));
  out.push_back(std::move(signed_result));
  return out;
}

// Where a summary of that form stands; readers prefer the first that is there.
std::string summary_place(const std::string& run_id, bool ended, bool has_manifest, bool as_app_data) {
  return run_id + (ended ? "" : "/open") + (has_manifest ? "/module" : "") + (as_app_data ? "/app-data" : "");
}

std::vector<std::string> summary_places(const std::string& run_id) {
  std::vector<std::string> out;
  for (const bool ended : {true, false}) {
    for (const bool has_manifest : {true, false}) {
      for (const bool as_app_data : {false, true}) out.push_back(summary_place(run_id, ended, has_manifest, as_app_data));
    }
  }
  return out;
}

// A run id of anyone's making: what it is made of can stand in a line of output.
bool is_run_id(std::string_view text) {
  constexpr std::size_t bytes_max = 64;
  const auto plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  };
  return !text.empty() && text.size() <= bytes_max && std::all_of(text.begin(), text.end(), plain);
}

JsonList id_list(const std::vector<EventId>& ids, std::size_t begin, std::size_t end) {
  JsonList out;
  for (std::size_t i = begin; i < end; ++i) out.emplace_back(ids[i]);
  return out;
}

}  // namespace

std::string NostrBridge::commitment_salt(std::string_view path, std::int64_t index, std::int64_t start_unix_ns,
                                         std::string_view role) const {
  const std::string text = fmt::format("assay.salt/1\n{}\n{}\n{}\n{}", path, index, start_unix_ns, role);
  Bytes32 out{};
  unsigned length = 0;
  HMAC(EVP_sha256(), keypair.secret().data(), static_cast<int>(keypair.secret().size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(), &length);
  return hex(std::span<const std::uint8_t>(out));
}

std::optional<Event> NostrBridge::node_to_event(const Node& node, std::string_view privacy_mode) const {
  const auto all = node_events(node, privacy_mode);
  if (!all || all->empty()) return std::nullopt;
  return all->front().event();
}

Result<std::vector<VerifiedEvent>> NostrBridge::node_events(const Node& node, std::string_view privacy_mode) const {
  const bool plain = privacy_mode == privacy_name(PrivacyMode::PublicOk);
  std::vector<VerifiedEvent> out;
  if (node.type.kind == NodeType::Kind::Root || node.type.kind == NodeType::Kind::Map) return out;
  for (const Exchange& exchange : exchanges(node)) {
    auto events = events_of(*this, exchange, plain);
    if (!events) return std::unexpected(std::move(events).error().in(node.path));
    for (VerifiedEvent& event : *events) out.push_back(std::move(event));
  }
  return out;
}

Result<std::vector<VerifiedEvent>> NostrBridge::trace_events(const Graph& graph, const CompiledModuleManifest* manifest) const {
  if (graph.nodes.empty() || graph.run_id.empty()) return fail(ErrorCode::usage, "the graph is empty: nothing to publish");
  std::vector<VerifiedEvent> out;
  std::vector<EventId> ids;
  std::set<EventId> named;
  for (const Node& node : graph.nodes) {
    ASSAY_TRY(auto events, node_events(node, graph.privacy_mode));
    for (VerifiedEvent& event : events) {
      if (!named.insert(event->id).second) continue;  // equal calls within one second, in the clear, are one event
      ids.push_back(event->id);
      out.push_back(std::move(event));
    }
  }
  const std::int64_t ended = seconds(std::max(graph.nodes[0].start_unix_ns, graph.nodes[0].end_unix_ns));
  JsonObject content{{"format", trace_format},
                     {"role", "summary"},
                     {"run_id", graph.run_id},
                     {"root_hash", graph.root_hash.empty() ? Json() : Json(graph.root_hash)},
                     {"compiled_id", graph.compiled_id ? Json(*graph.compiled_id) : Json()},
                     {"totals", graph.totals.totals_json()},
                     {"count", ids.size()}};
  if (manifest != nullptr) {
    ASSAY_TRY(const std::string manifest_hash, canonical_hash(*manifest));
    content.set("manifest_hash", manifest_hash);
  }
  JsonList parts;
  if (ids.size() <= ids_in_one_event) {
    content.set("events", id_list(ids, 0, ids.size()));
  } else {
    for (std::size_t begin = 0; begin < ids.size(); begin += ids_in_one_event) {
      const Json part = JsonObject{{"format", trace_format},
                                   {"role", "part"},
                                   {"run_id", graph.run_id},
                                   {"events", id_list(ids, begin, std::min(begin + ids_in_one_event, ids.size()))}};
      ASSAY_TRY(const std::string text, canonical(part));
      ASSAY_TRY(
          VerifiedEvent event,
          sign_event({ended, trace_part_kind, {{"p", keypair.public_hex()}, {"t", std::string(trace_tag)}}, text}, keypair, *entropy));
      parts.emplace_back(event->id);
      out.push_back(std::move(event));
    }
    content.set("parts", parts);
  }
  ASSAY_TRY(const std::string text, canonical(content));
  const std::string place = summary_place(graph.run_id, !graph.root_hash.empty(), manifest != nullptr, as_app_data);
  EventTags tags{{"d", place}, {"p", keypair.public_hex()}, {"t", std::string(trace_tag)}};
  if (graph.compiled_id) tags.push_back({"x", *graph.compiled_id});
  ASSAY_TRY(VerifiedEvent summary, sign_event({ended, trace_summary_kind, std::move(tags), text}, keypair, *entropy));
  out.push_back(std::move(summary));
  return out;
}

Result<std::vector<EventId>> NostrBridge::publish_trace(const Graph& graph, const CompiledModuleManifest& manifest) const {
  return publish_trace(graph, &manifest);
}

Result<std::vector<EventId>> NostrBridge::publish_trace(const Graph& graph, const CompiledModuleManifest* manifest) const {
  ASSAY_TRY(const auto events, trace_events(graph, manifest));
  const Wait wait{Deadline::after(*clock, patience), stop};
  ASSAY_TRY(const auto client, RelayClient::connect(relay_url, wait, *clock));
  if (auto answers = client->publish_all(events, wait); !answers) {
    Error error = std::move(answers.error());  // the summary goes last, so no reader takes a part for the whole
    if (error.message.find("replaced:") != std::string::npos) {
      error.remedy = "the relay keeps another state of this run, of the same second or later: publish it once it has gone on, or ended";
    } else {
      error.remedy += error.remedy.empty() ? "" : "; ";
      error.remedy += "publish again: what the relay has is not stored twice";
    }
    return std::unexpected(std::move(error));
  }
  std::vector<EventId> ids;
  for (const VerifiedEvent& event : events) ids.push_back(event->id);
  return ids;
}

namespace {

// Events by id, in the order asked for; all must be there and of that author.
Result<std::vector<VerifiedEvent>> fetch_ids(RelayClient& relay, const std::vector<EventId>& ids, const std::string& author,
                                             const Wait& wait) {
  std::map<EventId, VerifiedEvent> found;
  for (std::size_t begin = 0; begin < ids.size(); begin += fetch_chunk) {
    Filter filter;
    filter.ids.emplace(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                       ids.begin() + static_cast<std::ptrdiff_t>(std::min(begin + fetch_chunk, ids.size())));
    filter.limit = static_cast<std::int64_t>(filter.ids->size());
    ASSAY_TRY(auto events, relay.fetch({filter}, wait));
    for (VerifiedEvent& event : events) {
      const EventId id = event->id;
      found.emplace(id, std::move(event));
    }
  }
  std::vector<VerifiedEvent> out;
  for (const EventId& id : ids) {
    const auto at = found.find(id);
    if (at == found.end())
      return fail(ErrorCode::unavailable, "the relay lacks an event that the summary names", "publish the trace again", id);
    if (at->second->pubkey != author) return fail(ErrorCode::mismatch, "the summary names an event of another author", "", id);
    out.push_back(at->second);
  }
  return out;
}

Result<std::vector<EventId>> read_ids(const Json& content, std::string_view name) {
  ASSAY_TRY(const Json* list, member(content, name, Json::Kind::list));
  std::vector<EventId> ids;
  for (const Json& id : list->as_list()) {
    if (!id.is_string() || !is_hex(id.as_string(), 64)) return fail(ErrorCode::malformed, "not an event id", "", std::string(name));
    ids.push_back(id.as_string());
  }
  return ids;
}

Result<std::vector<EventId>> ids_of_parts(RelayClient& relay, const Json& content, const std::string& author, const Wait& wait) {
  ASSAY_TRY(const std::vector<EventId> part_ids, read_ids(content, "parts"));
  ASSAY_TRY(const auto parts, fetch_ids(relay, part_ids, author, wait));
  std::vector<EventId> ids;
  for (const VerifiedEvent& part : parts) {
    ASSAY_TRY(const Json json, read_json(part->content));
    ASSAY_TRY(const auto more, read_ids(json, "events"));
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

Result<FetchedTrace> read_trace(RelayClient& relay, VerifiedEvent summary, const Wait& wait) {
  if (summary->kind != trace_summary_kind)
    return fail(ErrorCode::malformed, "the event is not a run's summary (kind 30078)", "its id is the last that `publish` printed");
  ASSAY_TRY(Json content, read_json(summary->content));
  if (content.at("format") != Json(trace_format) || content.at("role") != Json("summary")) {
    return fail(ErrorCode::malformed, "the event is not a run's summary of " + std::string(trace_format));
  }
  ASSAY_TRY(std::string run_id, string_member(content, "run_id"));
  if (!is_run_id(run_id)) return fail(ErrorCode::malformed, "the summary's run id is none", "", "run_id");
  const auto places = summary_places(run_id);
  if (std::find(places.begin(), places.end(), tag_value(*summary, "d").value_or("")) == places.end())
    return fail(ErrorCode::mismatch, "the summary's d tag names another run");
  const Json& root = content.at("root_hash");
  if (!root.is_null() && !(root.is_string() && is_hex(root.as_string(), 64)))
    return fail(ErrorCode::malformed, "the summary's root hash is none", "", "root_hash");
  const bool in_parts = content.at("events").is_null();
  ASSAY_TRY(const auto ids, in_parts ? ids_of_parts(relay, content, summary->pubkey, wait) : read_ids(content, "events"));
  if (content.at("count") != Json(ids.size())) return fail(ErrorCode::mismatch, "the summary's count differs from the events it names");
  ASSAY_TRY(auto events, fetch_ids(relay, ids, summary->pubkey, wait));
  const std::set<EventId> known(ids.begin(), ids.end());
  if (known.size() != ids.size()) return fail(ErrorCode::malformed, "the summary names an event twice", "", "events");
  for (const VerifiedEvent& event : events) {
    const auto request = tag_value(*event, "e");
    if (request && !known.contains(*request))
      return fail(ErrorCode::mismatch, "a result refers to a request outside the trace", "", event->id);
  }
  std::string root_hash = root.is_string() ? root.as_string() : "";
  return FetchedTrace{std::move(summary), std::move(run_id), std::move(root_hash), std::move(content), std::move(events)};
}

}  // namespace

Result<FetchedTrace> fetch_trace(RelayClient& relay, const EventId& summary_id, const Wait& wait) {
  if (!is_hex(summary_id, 64))
    return fail(ErrorCode::usage, "an event id is 64 lowercase hex digits", "give the id that `publish` printed last");
  ASSAY_TRY(auto found, relay.fetch({{.ids = {{summary_id}}}}, wait));
  if (found.empty())
    return fail(ErrorCode::unavailable, "the relay has no such event", "check the id, or publish the trace again", summary_id);
  return read_trace(relay, std::move(found.front()), wait);
}

Result<FetchedTrace> fetch_trace_of_run(RelayClient& relay, const std::string& author_hex, const std::string& run_id, const Wait& wait) {
  Filter filter;
  filter.authors = {{author_hex}};
  filter.kinds = {{trace_summary_kind}};
  const auto places = summary_places(run_id);
  filter.tags = {{'d', places}};
  ASSAY_TRY(auto found, relay.fetch({filter}, wait));
  if (found.empty())
    return fail(ErrorCode::unavailable, "the relay has no summary of this run by this author", "publish the trace first", run_id);
  const auto rank = [&places](const VerifiedEvent& event) {
    return std::find(places.begin(), places.end(), tag_value(*event, "d").value_or("")) - places.begin();
  };
  const auto best = std::min_element(found.begin(), found.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return read_trace(relay, std::move(*best), wait);
}

}  // namespace assay
