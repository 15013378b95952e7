#include "assay/market/job_event.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "assay/nostr/bridge.h"
#include "assay/nostr/nip44.h"

namespace assay {
namespace {

constexpr std::int64_t age_seconds_max = 300;
constexpr std::int64_t ahead_seconds_max = 60;

std::unexpected<Error> unsupported(std::string_view what) {
  return fail(ErrorCode::refused, fmt::format("unsupported: {}", what), "leave it out, or ask another provider", std::string(what));
}

Result<std::int64_t> read_count(std::string_view text, std::string_view what) {
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < 0 || out > json_integer_max) {
    return fail(ErrorCode::malformed, "expected a count in decimal digits", {}, std::string(what));
  }
  return out;
}

std::string item(const EventTag& tag, std::size_t at) { return at < tag.size() ? tag[at] : std::string(); }

JsonList tag_json(const EventTags& tags) {
  JsonList out;
  for (const EventTag& tag : tags) {
    JsonList items;
    for (const std::string& text : tag) items.emplace_back(text);
    out.emplace_back(std::move(items));
  }
  return out;
}

Result<std::string> encrypted_text(std::string_view text, const SecretKey& mine, const std::string& theirs, Entropy& entropy) {
  ASSAY_TRY(const ConversationKey key, ConversationKey::derive(mine, theirs));
  return encrypt_nip44(text, key, entropy);
}

Result<std::string> decrypted_text(const Event& event, const SecretKey& mine) {
  ASSAY_TRY(const ConversationKey key, ConversationKey::derive(mine, event.pubkey));
  return decrypt_nip44(event.content, key);
}

// The i and param tags that an encrypted request carries inside its content.
Result<EventTags> hidden_tags(const Event& event, const SecretKey& provider, std::size_t bytes_max) {
  ASSAY_TRY(const std::string text, decrypted_text(event, provider));
  ASSAY_TRY(const Json list, read_json(text, {.bytes_max = bytes_max * 2 + 4096, .depth_max = 4}));
  if (!list.is_list()) return fail(ErrorCode::malformed, "expected a list of tags", {}, "content");
  EventTags out;
  for (const Json& tag : list.as_list()) {
    if (!tag.is_list() || tag.as_list().empty()) return fail(ErrorCode::malformed, "expected a tag", {}, "content");
    EventTag items;
    for (const Json& part : tag.as_list()) {
      if (!part.is_string()) return fail(ErrorCode::malformed, "expected a text", {}, "content");
      items.push_back(part.as_string());
    }
    if (items[0] != "i" && items[0] != "param" && items[0] != "output") return unsupported("an encrypted tag " + items[0]);
    out.push_back(std::move(items));
  }
  return out;
}

// A plain number or a text, as a parameter of a plain request means it.
Json parameter_value(const std::string& text) {
  auto read = read_json(text, {.bytes_max = 64, .depth_max = 1});
  return read && read->is_number() ? *read : Json(text);
}

// Gathers what the tags of a request demand.
class RequestReader {
 public:
  explicit RequestReader(const JobLimits& limits) : limits_(limits) {}

  Result<void> read(const EventTags& tags) {
    for (const EventTag& tag : tags) {
      ASSAY_CHECK(read_tag(tag));
    }
    return {};
  }

  Result<void> finish(JobRequest& out) {
    if (!has_input_) return fail(ErrorCode::malformed, "the request has no input", "add one i tag", "i");
    out.bid_msats = bid_;
    out.sandbox_profile = std::move(profile_);
    out.plain = job_type_.empty();
    if (out.plain) return finish_plain(out);
    if (!parameters_.empty()) return unsupported("param " + parameters_.begin()->first + " beside a job type");
    if (output_ != "" && output_ != "application/json") return unsupported("output " + output_);
    if (job_type_ != text_job_type && job_type_ != sandbox_job_type) return unsupported("job_type " + job_type_);
    if (!out.sandbox_profile.empty() && job_type_ != sandbox_job_type) return unsupported("param profile of a text job");
    ASSAY_TRY(Json payload, read_json(input_, {.bytes_max = limits_.payload_bytes_max}));
    out.job = JobEnvelope{job_type_, schema_version_, job_hash_, std::move(payload)};
    ASSAY_TRY(JobEnvelope checked, read_envelope(to_json(out.job)));
    ASSAY_TRY(out.job, completed_request(std::move(checked)));
    return {};
  }

 private:
  Result<void> finish_plain(JobRequest& out) {
    if (!profile_.empty() || !out.sandbox_profile.empty()) return unsupported("param profile of a plain request");
    if (output_ != "" && output_ != "text/plain" && output_ != "text/markdown") return unsupported("output " + output_);
    if (!stops_.empty()) parameters_.set("stop", stops_);
    ASSAY_TRY(out.job, make_job(plain_job_type, plain_text_payload(input_, parameters_)));
    return {};
  }

  Result<void> read_tag(const EventTag& tag) {
    static const std::set<std::string_view> without_demand{"p",          "t",         "alt",    "client", "nonce",
                                                           "expiration", "encrypted", "relays", "-",      "deadline"};
    if (tag[0] == "i") return read_input(tag);
    if (tag[0] == "param") return read_parameter(tag);
    if (tag[0] == "output") {
      output_ = item(tag, 1);
      return {};
    }
    if (tag[0] == "bid") {
      ASSAY_TRY(bid_, read_count(item(tag, 1), "bid"));
      return {};
    }
    if (without_demand.contains(tag[0])) return {};
    return unsupported("tag " + tag[0].substr(0, 32));
  }

  Result<void> read_input(const EventTag& tag) {
    const std::string type = item(tag, 2);
    if (type != "text" && type != "prompt" && !type.empty()) return unsupported("input type " + type);
    if (has_input_) return unsupported("more than one input");
    if (item(tag, 1).size() > limits_.payload_bytes_max) {
      return fail(ErrorCode::limit_exceeded,
                  fmt::format("the input has {} bytes, at most {} are taken", item(tag, 1).size(), limits_.payload_bytes_max), "send less",
                  "i");
    }
    has_input_ = true;
    input_ = item(tag, 1);
    return {};
  }

  Result<void> read_parameter(const EventTag& tag) {
    const std::string key = item(tag, 1);
    const std::string value = item(tag, 2);
    if (tag.size() > 3) return unsupported("param " + key + " with several values");
    if (key == "job_type") job_type_ = value;
    else if (key == "job_hash") job_hash_ = value;
    else if (key == "schema_version") schema_version_ = value;
    else if (key == "profile") profile_ = value;
    else if (key == "request_nonce") return {};
    else if (key.starts_with("stop_")) stops_.emplace_back(value);
    else if (key == "model") parameters_.set("model", value);
    else if (key == "temperature" || key == "top_p" || key == "max_tokens" || key == "seed") parameters_.set(key, parameter_value(value));
    else if (key == "top-p") parameters_.set("top_p", parameter_value(value));
    else return unsupported("param " + key.substr(0, 64));
    return {};
  }

  const JobLimits& limits_;
  bool has_input_ = false;
  std::string input_, output_, job_type_, job_hash_, schema_version_ = std::string(job_schema_version), profile_;
  JsonObject parameters_;
  JsonList stops_;
  std::optional<std::int64_t> bid_;
};

// A trace that someone published (docs/formats.md §6) looks like a request and asks nobody for work.
bool is_trace(const Event& event) {
  const std::vector<std::string> to = tag_values(event, "p");
  if (std::find(to.begin(), to.end(), event.pubkey) != to.end()) return true;
  return std::any_of(event.tags.begin(), event.tags.end(), [](const EventTag& tag) { return tag[0] == "t" && item(tag, 1) == trace_tag; });
}

}  // namespace

Result<std::string> event_json_text(const Json& value) {
  ASSAY_TRY(const std::string text, canonical(value));
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {  // DEL stands only inside strings, where an escape means the same
    if (c == '\x7f') out += "\\u007f";
    else out.push_back(c);
  }
  return out;
}

std::string printable_text(std::string_view text, std::size_t bytes_max) {
  std::string out = to_utf8(text.substr(0, bytes_max));
  std::replace_if(out.begin(), out.end(), [](unsigned char c) { return c < 32 || c == 127; }, '?');
  for (std::size_t at = out.find('\xC2'); at != std::string::npos; at = out.find('\xC2', at + 1)) {  // U+0080 … U+009F move cursors too
    if (at + 1 < out.size() && static_cast<unsigned char>(out[at + 1]) < 0xA0) out.replace(at, 2, "?");
  }
  return out;
}

Result<UnsignedEvent> request_event(const JobEnvelope& job, const RequestTerms& terms, const SecretKey& buyer, std::int64_t now,
                                    Entropy& entropy) {
  ASSAY_TRY(std::string payload, event_json_text(job.payload));
  EventTags demands{{"i", std::move(payload), "text"}, {"output", "application/json"}};
  demands.push_back({"param", "job_type", job.job_type});
  demands.push_back({"param", "job_hash", job.job_hash});
  demands.push_back({"param", "schema_version", job.schema_version});
  if (!terms.sandbox_profile.empty()) demands.push_back({"param", "profile", terms.sandbox_profile});
  demands.push_back({"param", "request_nonce", entropy.hex_bytes(16)});
  UnsignedEvent out;
  out.created_at = now;
  out.kind = job_request_kind;
  const bool encrypt = terms.encrypt && terms.provider.has_value();
  if (encrypt) {
    ASSAY_TRY(const std::string text, canonical(Json(tag_json(demands))));
    ASSAY_TRY(out.content, encrypted_text(text, buyer, *terms.provider, entropy));
  } else {
    out.tags = std::move(demands);
  }
  out.tags.push_back({"bid", std::to_string(terms.bid_msats)});
  out.tags.push_back({"relays", terms.relay_url});
  if (terms.provider) out.tags.push_back({"p", *terms.provider});
  if (encrypt) out.tags.push_back({"encrypted"});
  out.tags.push_back({"expiration", std::to_string(terms.expires_at)});
  return out;
}

bool is_for_provider(const Event& event, const std::string& provider, std::int64_t now) {
  if (event.kind != job_request_kind || event.pubkey == provider || is_trace(event)) return false;
  const std::vector<std::string> to = tag_values(event, "p");
  if (!to.empty() && std::find(to.begin(), to.end(), provider) == to.end()) return false;
  if (event.created_at < now - age_seconds_max || event.created_at > now + ahead_seconds_max) return false;
  const auto expiration = tag_value(event, "expiration");
  if (!expiration) return true;
  const auto at = read_count(*expiration, "expiration");
  return at && *at > now;
}

Result<JobRequest> read_job_request(const Event& event, const SecretKey& provider, const JobLimits& limits) {
  JobRequest out;
  out.id = event.id;
  out.buyer = event.pubkey;
  out.encrypted = tag_value(event, "encrypted").has_value();
  RequestReader reader(limits);
  ASSAY_CHECK(reader.read(event.tags));
  if (out.encrypted) {
    if (event.content.find("?iv=") != std::string::npos) return unsupported("encryption by NIP-04");
    ASSAY_TRY(const EventTags hidden, hidden_tags(event, provider, limits.payload_bytes_max));
    ASSAY_CHECK(reader.read(hidden));
  } else if (!event.content.empty()) {
    return unsupported("content outside the tags");
  }
  ASSAY_CHECK(reader.finish(out));
  return out;
}

Result<std::string> quote_commitment(const EventId& request_id, const std::string& provider, const std::string& job_hash,
                                     std::int64_t amount_msats) {
  return hash(JsonObject{{"format", "assay.quote/1"},
                         {"request_id", request_id},
                         {"provider", provider},
                         {"job_hash", job_hash},
                         {"amount_msats", amount_msats}});
}

UnsignedEvent feedback_event(const EventId& request_id, const std::string& buyer, const JobFeedback& feedback, const std::string& relay_url,
                             std::int64_t now) {
  UnsignedEvent out;
  out.created_at = now;
  out.kind = job_feedback_kind;
  out.tags.push_back(feedback.text.empty() ? EventTag{"status", feedback.status} : EventTag{"status", feedback.status, feedback.text});
  out.tags.push_back({"e", request_id, relay_url});
  out.tags.push_back({"p", buyer});
  if (feedback.amount_msats) {
    EventTag amount{"amount", std::to_string(*feedback.amount_msats)};
    if (!feedback.invoice.empty()) amount.push_back(feedback.invoice);
    out.tags.push_back(std::move(amount));
  }
  return out;
}

Result<JobFeedback> read_feedback(const Event& event) {
  JobFeedback out;
  for (const EventTag& tag : event.tags) {
    if (tag[0] == "status" && out.status.empty()) {
      out.status = printable_text(item(tag, 1), 40);
      out.text = printable_text(item(tag, 2));
    }
    if (tag[0] == "amount" && !out.amount_msats) {
      if (const auto amount = read_count(item(tag, 1), "amount")) out.amount_msats = *amount;  // else it is a quote without one
      out.invoice = item(tag, 2);
    }
    if (tag[0] == "bolt11" && out.invoice.empty()) out.invoice = item(tag, 1);
  }
  if (out.status.empty()) return fail(ErrorCode::malformed, "feedback without a status", {}, "status");
  return out;
}

Result<UnsignedEvent> result_event(const JobRequest& request, std::string content, std::int64_t amount_msats, const std::string& relay_url,
                                   const SecretKey& provider, std::int64_t now, Entropy& entropy) {
  UnsignedEvent out;
  out.created_at = now;
  out.kind = job_result_kind;
  out.content = std::move(content);
  if (request.encrypted) {
    ASSAY_TRY(out.content, encrypted_text(out.content, provider, request.buyer, entropy));
  }
  out.tags.push_back({"e", request.id, relay_url});
  out.tags.push_back({"p", request.buyer});
  out.tags.push_back({"amount", std::to_string(amount_msats)});
  out.tags.push_back({"status", "success"});
  if (request.encrypted) out.tags.push_back({"encrypted"});
  return out;
}

Result<std::string> read_result_text(const Event& event, const SecretKey& buyer, const JobLimits& limits) {
  std::string text = event.content;
  if (tag_value(event, "encrypted")) {
    ASSAY_TRY(text, decrypted_text(event, buyer));
  }
  if (text.size() > limits.result_bytes_max) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("the result has {} bytes, at most {} are taken", text.size(), limits.result_bytes_max), "ask for less",
                "content");
  }
  return text;
}

Result<void> check_answers(const Event& event, const EventId& request_id, const std::string& buyer) {
  const auto about = tag_values(event, "e");
  if (about.size() != 1 || about.front() != request_id)
    return fail(ErrorCode::mismatch, "the answer is about another request", "do not trust it", "e");
  const auto to = tag_values(event, "p");
  if (to.size() != 1 || to.front() != buyer) return fail(ErrorCode::mismatch, "the answer is to someone else", "do not trust it", "p");
  return {};
}

}  // namespace assay
