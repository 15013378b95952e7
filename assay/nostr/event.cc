#include "assay/nostr/event.h"

#include <fmt/format.h>

namespace assay {
namespace {

// Some peers hash control characters as they are, where NIP-01's text can be read so.
void append_verbatim(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '\n': out += "\\n"; break;
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      default: out += c;
    }
  }
  out += '"';
}

template <class Append>
std::string hashed_text(const Event& event, Append append) {
  std::string out = "[0,\"" + event.pubkey + "\"," + std::to_string(event.created_at) + "," + std::to_string(event.kind) + ",[";
  for (std::size_t i = 0; i < event.tags.size(); ++i) {
    out += i == 0 ? "[" : ",[";
    for (std::size_t j = 0; j < event.tags[i].size(); ++j) {
      if (j > 0) out += ',';
      append(out, event.tags[i][j]);
    }
    out += ']';
  }
  out += "],";
  append(out, event.content);
  out += ']';
  return out;
}

bool hashed_alike(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0x7F || (byte < 0x20 && std::string_view("\n\r\t\b\f").find(c) == std::string_view::npos)) return false;
  }
  return true;
}

Result<void> check_text(std::string_view text, std::string_view where) {
  if (!valid_utf8(text)) return fail(ErrorCode::malformed, "the text is not UTF-8", "encode it first", std::string(where));
  if (!hashed_alike(text)) {
    return fail(ErrorCode::malformed, "the text holds a control character that relays hash differently", "escape it in the payload",
                std::string(where));
  }
  return {};
}

Result<std::string> hex_member(const Json& json, std::string_view name, std::size_t digits) {
  ASSAY_TRY(std::string text, string_member(json, name));
  if (!is_hex(text, digits))
    return fail(ErrorCode::malformed, fmt::format("expected {} lowercase hex digits", digits), "", std::string(name));
  return text;
}

Result<EventTags> read_tags(const Json& json, const EventLimits& limits) {
  ASSAY_TRY(const Json* list, member(json, "tags", Json::Kind::list));
  if (list->as_list().size() > limits.tags_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("too many tags: {}, at most {}", list->as_list().size(), limits.tags_max), "",
                "tags");
  }
  EventTags tags;
  std::size_t items = 0;
  for (const Json& entry : list->as_list()) {
    if (!entry.is_list() || entry.as_list().empty())
      return fail(ErrorCode::malformed, "a tag is a list of at least one string", "", "tags");
    items += entry.as_list().size();
    if (items > limits.tag_items_max) return fail(ErrorCode::limit_exceeded, "too many tag values", "", "tags");
    EventTag tag;
    for (const Json& value : entry.as_list()) {
      if (!value.is_string()) return fail(ErrorCode::malformed, "a tag holds strings only", "", "tags");
      tag.push_back(value.as_string());
    }
    tags.push_back(std::move(tag));
  }
  return tags;
}

}  // namespace

std::string event_text(const Event& event) { return hashed_text(event, append_json_string); }

EventId event_id(const Event& event) { return sha256_hex(event_text(event)); }

Result<VerifiedEvent> sign_event(UnsignedEvent unsigned_event, const SecretKey& key, Entropy& entropy) {
  if (unsigned_event.kind < 0 || unsigned_event.kind > event_kind_max)
    return fail(ErrorCode::malformed, "kind is not 0 … 65535", "", "kind");
  if (unsigned_event.created_at < 0 || unsigned_event.created_at > json_integer_max) {
    return fail(ErrorCode::malformed, "created_at is not a Unix time in seconds", "", "created_at");
  }
  ASSAY_CHECK(check_text(unsigned_event.content, "content"));
  for (const EventTag& tag : unsigned_event.tags) {
    if (tag.empty()) return fail(ErrorCode::malformed, "a tag needs a name", "", "tags");
    for (const std::string& value : tag) ASSAY_CHECK(check_text(value, "tags"));
  }
  Event event;
  event.pubkey = key.public_hex();
  event.created_at = unsigned_event.created_at;
  event.kind = unsigned_event.kind;
  event.tags = std::move(unsigned_event.tags);
  event.content = std::move(unsigned_event.content);
  const Bytes32 digest = sha256(event_text(event));
  event.id = hex(std::span<const std::uint8_t>(digest));
  ASSAY_TRY(event.sig, key.sign(digest, entropy));
  return VerifiedEvent(std::move(event));
}

Result<Event> read_event(const Json& json, const EventLimits& limits) {
  if (!json.is_object()) return fail(ErrorCode::malformed, "an event is a JSON object");
  Event event;
  ASSAY_TRY(event.id, hex_member(json, "id", 64));
  ASSAY_TRY(event.pubkey, hex_member(json, "pubkey", 64));
  ASSAY_TRY(event.sig, hex_member(json, "sig", 128));
  ASSAY_TRY(event.created_at, int_member(json, "created_at"));
  ASSAY_TRY(event.kind, int_member(json, "kind"));
  ASSAY_TRY(event.content, string_member(json, "content"));
  if (event.created_at < 0) return fail(ErrorCode::malformed, "created_at is negative", "", "created_at");
  if (event.kind < 0 || event.kind > event_kind_max) return fail(ErrorCode::malformed, "kind is not 0 … 65535", "", "kind");
  ASSAY_TRY(event.tags, read_tags(json, limits));
  if (event_json(event).size() > limits.event_bytes_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("event too large: more than {} bytes", limits.event_bytes_max));
  }
  return event;
}

Result<void> check_event_id(const Event& event) {
  if (event_id(event) == event.id) return {};
  if (sha256_hex(hashed_text(event, append_verbatim)) == event.id) return {};
  return fail(ErrorCode::mismatch, "bad event id: it is not the hash of the event",
              "the event was altered, or made by a program that hashes wrongly");
}

Result<VerifiedEvent> verify_event(Event event) {
  ASSAY_CHECK(check_event_id(event));
  ASSAY_TRY(const Bytes32 digest, bytes32_from_hex(event.id));
  if (!verify_signature(event.pubkey, digest, event.sig)) {
    return fail(ErrorCode::mismatch, "bad signature: the event is not from the key it names", "do not trust the relay that sent it");
  }
  return VerifiedEvent(std::move(event));
}

Result<VerifiedEvent> verify_event_json(const Json& json, const EventLimits& limits) {
  ASSAY_TRY(Event event, read_event(json, limits));
  return verify_event(std::move(event));
}

Result<VerifiedEvent> verify_event(std::string_view text, const EventLimits& limits) {
  JsonLimits json_limits;
  json_limits.bytes_max = limits.event_bytes_max + 256;
  json_limits.depth_max = 8;
  ASSAY_TRY(const Json json, read_json(text, json_limits));
  return verify_event_json(json, limits);
}

Json to_json(const Event& event) {
  JsonList tags;
  for (const EventTag& tag : event.tags) {
    JsonList items;
    for (const std::string& value : tag) items.emplace_back(value);
    tags.emplace_back(std::move(items));
  }
  return JsonObject{{"id", event.id},     {"pubkey", event.pubkey},  {"created_at", event.created_at},
                    {"kind", event.kind}, {"tags", std::move(tags)}, {"content", event.content},
                    {"sig", event.sig}};
}

std::string event_json(const Event& event) {
  std::string out = "{\"id\":\"" + event.id + "\",\"pubkey\":\"" + event.pubkey + "\",\"created_at\":" + std::to_string(event.created_at) +
                    ",\"kind\":" + std::to_string(event.kind) + ",\"tags\":[";
  for (std::size_t i = 0; i < event.tags.size(); ++i) {
    out += i == 0 ? "[" : ",[";
    for (std::size_t j = 0; j < event.tags[i].size(); ++j) {
      if (j > 0) out += ',';
      append_json_string(out, event.tags[i][j]);
    }
    out += ']';
  }
  out += "],\"content\":";
  append_json_string(out, event.content);
  out += ",\"sig\":\"" + event.sig + "\"}";
  return out;
}

std::optional<std::string> tag_value(const Event& event, std::string_view name) {
  for (const EventTag& tag : event.tags) {
    if (tag.front() == name) return tag.size() > 1 ? tag[1] : "";
  }
  return std::nullopt;
}

std::vector<std::string> tag_values(const Event& event, std::string_view name) {
  std::vector<std::string> out;
  for (const EventTag& tag : event.tags) {
    if (tag.front() == name) out.push_back(tag.size() > 1 ? tag[1] : "");
  }
  return out;
}

bool is_replaceable(std::int64_t kind) { return kind == 0 || kind == 3 || (kind >= 10000 && kind < 20000); }
bool is_ephemeral(std::int64_t kind) { return kind >= 20000 && kind < 30000; }
bool is_addressable(std::int64_t kind) { return kind >= 30000 && kind < 40000; }

std::string event_address(const Event& event) {
  return std::to_string(event.kind) + ":" + event.pubkey + ":" + (is_addressable(event.kind) ? tag_value(event, "d").value_or("") : "");
}

}  // namespace assay
