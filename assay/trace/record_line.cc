#include "assay/trace/record_line.h"

#include <algorithm>
#include <charconv>
#include <span>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/contract/privacy.h"

namespace assay {
namespace {

// What a member may be; kinds are added.
enum Kinds : unsigned {
  null_ = 1,
  text = 2,
  whole = 4,
  object = 8,
  list = 16,
  hex64 = 32,
  anything = 64,
  number = 128,
  count = 256,
  flag = 512,
  content = 1024  // text, or a wrapper of bytes or of a blob
};

struct MemberRule {
  std::string_view name;
  unsigned kinds;
  bool optional = false;
};

struct DataRule {
  std::string_view type;
  std::span<const MemberRule> members;
};

constexpr MemberRule run_start_members[] = {
    {"assay", object},         {"compiled_id", hex64 | null_}, {"format", text}, {"lanes", list}, {"price_book", hex64},
    {"privacy_mode", text},    {"program", object | null_},    {"run_id", text}, {"seed", whole}, {"settings", object},
    {"started_unix_ns", text}, {"traceparent", text | null_}};
constexpr MemberRule node_start_members[] = {{"inputs", anything}, {"name", anything}, {"node_type", text}};
constexpr MemberRule node_end_members[] = {{"error", object | null_}, {"outputs", anything}, {"status", text}};
constexpr MemberRule lm_request_members[] = {{"lane_id", hex64}, {"request", object}, {"request_hash", hex64}, {"sent", flag, true}};
constexpr MemberRule lm_response_members[] = {{"content", content},  {"cost_msats", whole | null_}, {"finish_reason", text},
                                              {"latency_ns", whole}, {"lost", object, true},        {"request_hash", hex64},
                                              {"usage", object}};
constexpr MemberRule cache_hit_members[] = {{"content", content}, {"finish_reason", text}, {"lane_id", hex64},
                                            {"request", object},  {"request_hash", hex64}, {"usage", object}};
constexpr MemberRule attempt_members[] = {{"error", text, true}, {"index", count}, {"lane", text | null_, true}, {"score", number | null_}};
constexpr MemberRule repair_members[] = {{"detail", text}, {"kind", text}};
constexpr MemberRule tool_members[] = {{"arguments", anything}, {"name", text}, {"result", anything}};
constexpr MemberRule sandbox_members[] = {{"request_hash", hex64}, {"response_hash", hex64 | null_}};
constexpr MemberRule payment_members[] = {{"amount_msats", count},    {"job_hash", hex64, true}, {"job_id", hex64, true},
                                          {"job_type", text, true},   {"payment_hash", hex64},   {"provider", hex64, true},
                                          {"result_id", hex64, true}, {"state", text, true}};
constexpr MemberRule budget_members[] = {{"limit", anything}, {"spent", anything}};
constexpr MemberRule candidate_members[] = {{"compiled_id", hex64}, {"id", text}, {"metrics", object}, {"parents", list, true}};
constexpr MemberRule score_members[] = {{"example", hex64}, {"feedback", text, true}, {"metric", text}, {"value", number | null_}};
constexpr MemberRule what_members[] = {{"value", anything}, {"what", text}};
constexpr MemberRule event_members[] = {{"data", anything}, {"name", text}};
constexpr MemberRule error_members[] = {
    {"code", text}, {"lost", object, true}, {"message", text}, {"path", text}, {"request_hash", hex64, true}};
constexpr MemberRule node_error_members[] = {{"code", text}, {"message", text}, {"path", text}};
constexpr MemberRule blob_members[] = {{"hash", hex64}, {"text", text}};
constexpr MemberRule head_members[] = {{"format", text},    {"run_id", text},  {"seq", count},
                                       {"signature", text}, {"signer", hex64}, {"tip", hex64}};
constexpr MemberRule resume_members[] = {{"cut_bytes", count}, {"cut_sha256", hex64 | null_}, {"reason", text}};
// `signature` may be absent: such a record is complete and unsigned.
constexpr MemberRule run_end_members[] = {
    {"output_hash", hex64 | null_}, {"root_hash", hex64}, {"signer", hex64 | null_}, {"totals", object}};
constexpr MemberRule totals_members[] = {{"cached_calls", whole}, {"calls", whole},         {"completion_tokens", whole},
                                         {"cost_msats", whole},   {"prompt_tokens", whole}, {"unpriced_calls", whole}};
constexpr MemberRule usage_members[] = {{"completion_tokens", whole}, {"prompt_tokens", whole}};
constexpr MemberRule amount_members[] = {{"calls", count}, {"msats", count}, {"tokens", count}};
constexpr MemberRule request_members[] = {{"config", anything}, {"messages", list},      {"model", object}, {"rollout", count},
                                          {"schema", anything}, {"seed", whole | null_}, {"tools", object}};
constexpr MemberRule message_members[] = {{"content", anything}, {"role", text}};
constexpr MemberRule model_members[] = {{"digest", hex64 | null_}, {"id", text}};
constexpr MemberRule token_members[] = {{"logprob", number}, {"token", content}, {"top", list, true}};
constexpr MemberRule lane_members[] = {
    {"chat_template_sha256", hex64 | null_}, {"engine", text}, {"kind", text}, {"model", text}, {"model_sha256", hex64 | null_},
    {"tokenizer_sha256", hex64 | null_}};
constexpr MemberRule assay_members[] = {{"build", text}, {"version", text}};

constexpr DataRule data_rules[] = {{"run_start", run_start_members},
                                   {"node_start", node_start_members},
                                   {"node_end", node_end_members},
                                   {"lm_request", lm_request_members},
                                   {"lm_response", lm_response_members},
                                   {"cache_hit", cache_hit_members},
                                   {"attempt", attempt_members},
                                   {"repair", repair_members},
                                   {"tool", tool_members},
                                   {"sandbox", sandbox_members},
                                   {"payment", payment_members},
                                   {"budget", budget_members},
                                   {"candidate", candidate_members},
                                   {"score", score_members},
                                   {"decision", what_members},
                                   {"value", what_members},
                                   {"override", what_members},
                                   {"event", event_members},
                                   {"error", error_members},
                                   {"blob", blob_members},
                                   {"head", head_members},
                                   {"resume", resume_members},
                                   {"run_end", run_end_members}};

bool is_content(const Json& value) {
  if (value.is_string()) return true;
  if (!value.is_object() || value.as_object().size() != 1) return false;
  const auto& [wrapper, inside] = *value.as_object().begin();
  if (!inside.is_string()) return false;
  return wrapper == "$base64" ? from_base64(inside.as_string()).has_value() : wrapper == "$blob" && is_hex(inside.as_string(), 64);
}

bool fits(const Json& value, unsigned kinds) {
  if (kinds & anything) return true;
  if (kinds & content) return is_content(value);
  switch (value.kind()) {
    case Json::Kind::null: return kinds & null_;
    case Json::Kind::boolean: return kinds & flag;
    case Json::Kind::integer: return (kinds & (whole | number)) || ((kinds & count) && value.as_int() >= 0);
    case Json::Kind::number: return kinds & number;
    case Json::Kind::object: return kinds & object;
    case Json::Kind::list: return kinds & list;
    case Json::Kind::string: return (kinds & text) || ((kinds & hex64) && is_hex(value.as_string(), 64));
    default: return false;
  }
}

// Rules stand in the order of their names, as members do: a rule's member mostly follows the one of the rule before.
Result<void> check_members(const Json& data, std::span<const MemberRule> rules, std::string_view place) {
  const JsonObject& members = data.as_object();
  auto next = members.begin();
  for (const MemberRule& rule : rules) {
    const bool follows = next != members.end() && next->first == rule.name;
    const Json* value = follows ? &(next++)->second : members.find(rule.name);
    if (value == nullptr && rule.optional) continue;
    if (value == nullptr) return fail(ErrorCode::malformed, fmt::format("member '{}' of {} is missing", rule.name, place));
    if (!fits(*value, rule.kinds)) return fail(ErrorCode::malformed, fmt::format("member '{}' of {} has the wrong type", rule.name, place));
  }
  return {};
}

bool is_one_of(const Json& value, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), value.as_string()) != words.end();
}

bool is_decimal(std::string_view digits) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return problem == std::errc{} && end == digits.data() + digits.size() && fmt::format("{}", value) == digits && value >= 0 &&
         value < 9'000'000'000'000'000'000;
}

Result<void> check_request(const Json& request) {
  ASSAY_CHECK(check_members(request, request_members, "request"));
  ASSAY_CHECK(check_members(request.at("model"), model_members, "request.model"));
  for (const Json& message : request.at("messages").as_list()) {
    if (!message.is_object()) return fail(ErrorCode::malformed, "a message of the request is no object");
    ASSAY_CHECK(check_members(message, message_members, "a message"));
  }
  return {};
}

Result<void> check_token(const Json& token) {
  ASSAY_CHECK(check_members(token, token_members, "logprobs"));
  if (const double logprob = token.at("logprob").as_double(); logprob >= -9999 && logprob <= 0) return {};
  return fail(ErrorCode::malformed, "a logprob lies beyond -9999 and 0");
}

Result<void> check_logprobs(const Json& data) {
  if (!data.as_object().contains("logprobs")) return {};
  const Json& tokens = data.at("logprobs");
  if (!tokens.is_list()) return fail(ErrorCode::malformed, "logprobs is no list");
  for (const Json& token : tokens.as_list()) {
    if (!token.is_object() || !token.at("top").is_list()) return fail(ErrorCode::malformed, "an entry of logprobs has no alternatives");
    ASSAY_CHECK(check_token(token));
    if (token.at("top").as_list().size() > 20) return fail(ErrorCode::malformed, "an entry of logprobs has more than 20 alternatives");
    for (const Json& other : token.at("top").as_list()) {
      if (!other.is_object()) return fail(ErrorCode::malformed, "an alternative in logprobs is no object");
      ASSAY_CHECK(check_token(other));
    }
  }
  return {};
}

// What the member tables cannot say.
Result<void> check_values(std::string_view type, const Json& data) {
  const auto bad = [&](std::string_view what) {
    return fail(ErrorCode::malformed, fmt::format("{} of {} {}", what, type, "is not as formats.md says"));
  };
  if (type == "run_start") {
    if (data.at("format").as_string() != run_format) {
      return fail(ErrorCode::malformed, fmt::format("format is '{}', expected '{}'", data.at("format").as_string(), run_format));
    }
    if (!is_hex(data.at("run_id").as_string(), 32)) return bad("run_id");
    if (!is_decimal(data.at("started_unix_ns").as_string())) return bad("started_unix_ns");
    if (data.at("seed").as_int() < 0) return bad("seed");
    if (!parse_privacy(data.at("privacy_mode").as_string())) return bad("privacy_mode");
    for (const Json& lane : data.at("lanes").as_list()) {
      if (!lane.is_object()) return bad("lanes");
      ASSAY_CHECK(check_members(lane, lane_members, "a lane"));
    }
    return check_members(data.at("assay"), assay_members, "assay");
  }
  if (type == "node_start" && !is_one_of(data.at("node_type"), {"Predict", "Operator", "Map"})) return bad("node_type");
  if (type == "node_end" && !is_one_of(data.at("status"), {"ok", "error", "cancelled"})) return bad("status");
  if ((type == "lm_response" || type == "error") && data.at("lost").is_object())
    ASSAY_CHECK(check_members(data.at("lost"), amount_members, "lost"));
  if (type == "lm_request" || type == "cache_hit") ASSAY_CHECK(check_request(data.at("request")));
  if (type == "lm_response" || type == "cache_hit") {
    ASSAY_CHECK(check_logprobs(data));
    ASSAY_CHECK(check_members(data.at("usage"), usage_members, "usage"));
    for (const auto& [name, value] : {std::pair<std::string_view, const Json*>{"prompt_tokens", &data.at("usage").at("prompt_tokens")},
                                      {"completion_tokens", &data.at("usage").at("completion_tokens")},
                                      {"cost_msats", &data.at("cost_msats")},
                                      {"latency_ns", &data.at("latency_ns")}}) {
      if (value->is_int() && value->as_int() < 0) return bad(name);
    }
    return {};
  }
  if (type == "payment" && data.at("state").is_string() && !is_one_of(data.at("state"), {"settled", "unknown"})) return bad("state");
  if (type == "node_end" && data.at("error").is_object()) return check_members(data.at("error"), node_error_members, "error");
  if (type == "candidate") {
    for (const auto& [name, value] : data.at("metrics").as_object()) {
      if (!fits(value, number | null_)) return bad("metrics");
    }
    if (const Json& parents = data.at("parents"); parents.is_list()) {
      for (const Json& parent : parents.as_list()) {
        if (!parent.is_string()) return bad("parents");
      }
    }
  }
  if (type == "head") {
    if (data.at("format").as_string() != head_format) return bad("format");
    if (!is_hex(data.at("run_id").as_string(), 32)) return bad("run_id");
    if (!is_hex(data.at("signature").as_string(), 128)) return bad("signature");
  }
  if (type == "run_end") {
    const Json& signature = data.at("signature");
    if (!signature.is_null() && !(signature.is_string() && is_hex(signature.as_string(), 128))) return bad("signature");
    for (const auto& [name, value] : data.at("totals").as_object()) {
      if (!fits(value, count)) return bad("totals");
    }
    return check_members(data.at("totals"), totals_members, "totals");
  }
  return {};
}

constexpr MemberRule line_members[] = {{"data", object}, {"node", text}, {"prev", hex64}, {"seq", whole}, {"t", whole}, {"type", text}};

bool is_name_byte(char c, bool first) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return letter || (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-'));
}

bool is_segment(std::string_view segment) {
  const std::size_t colon = segment.find(':');
  const std::string_view name = segment.substr(0, colon);
  if (name.empty() || !is_name_byte(name[0], true)) return false;
  if (!std::all_of(name.begin(), name.end(), [](char c) { return is_name_byte(c, false); })) return false;
  if (colon == std::string_view::npos) return true;
  const std::string_view index = segment.substr(colon + 1);
  return !index.empty() && std::all_of(index.begin(), index.end(), [](char c) { return is_name_byte(c, false); });
}

}  // namespace

std::string_view first_prev() { return "0000000000000000000000000000000000000000000000000000000000000000"; }

bool is_record_path(std::string_view path) {
  if (path.size() > record_path_bytes_max) return false;
  while (!path.empty()) {  // ends: every round takes a segment off
    const std::size_t slash = path.find('/');
    if (!is_segment(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
    if (path.empty()) return false;
  }
  return true;
}

Result<void> check_record_data(std::string_view type, const Json& data) {
  if (!data.is_object()) return fail(ErrorCode::malformed, "data is not an object");
  for (const DataRule& rule : data_rules) {
    if (rule.type != type) continue;
    ASSAY_CHECK(check_members(data, rule.members, type));
    return check_values(type, data);
  }
  return {};
}

Result<std::string> record_line_text(const RecordEntry& entry) {
  std::string line;
  ASSAY_CHECK(append_record_line(
      line,
      {.seq = entry.seq, .t = entry.t, .type = entry.type, .node = entry.node, .prev = entry.prev, .data = &entry.data, .data_text = {}}));
  return line;
}

Result<void> append_record_line(std::string& out, const LineParts& line) {
  const std::size_t begin = out.size();
  out += "{\"data\":";
  if (line.data != nullptr) {
    JsonLimits limits;
    limits.depth_max -= 1;  // the line itself is a container
    ASSAY_CHECK(append_canonical(out, *line.data, limits));
  } else {
    out += line.data_text;
  }
  out += ",\"node\":";
  append_json_string(out, line.node);
  out += ",\"prev\":\"";
  out += line.prev;
  out += "\",\"seq\":";
  out += std::string_view(fmt::format_int(line.seq).c_str());
  out += ",\"t\":";
  out += std::string_view(fmt::format_int(line.t).c_str());
  out += ",\"type\":";
  append_json_string(out, line.type);
  out += '}';
  if (const std::size_t bytes = out.size() - begin; bytes > record_line_bytes_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("a record's line would have {} bytes", bytes),
                fmt::format("at most {} bytes: keep large content as a blob", record_line_bytes_max), std::string(line.node));
  }
  return {};
}

namespace {

Result<RecordEntry> entry_of(Json value);

// What is looked at of these lies no deeper than a message of a request, and of its texts only that they are texts.
bool may_be_shallow(std::string_view line) {
  constexpr std::string_view ends[] = {R"(,"type":"lm_request"})", R"(,"type":"node_start"})", R"(,"type":"node_end"})"};
  return std::any_of(std::begin(ends), std::end(ends), [&](std::string_view end) { return line.ends_with(end); });
}

}  // namespace

Result<RecordEntry> check_record_line(std::string_view line, std::size_t bytes_max) {
  if (line.size() <= bytes_max && may_be_shallow(line)) {
    bool as_written = false;
    auto value = read_json(line, {.bytes_max = bytes_max, .depth_kept = 5, .depth_texts = 4}, &as_written);
    if (value && value->is_object() && as_written) return entry_of(*std::move(value));
  }
  return read_record_line(line, bytes_max);  // also for what is wrong, to be named in full
}

Result<RecordEntry> read_record_line(std::string_view line, std::size_t bytes_max) {
  if (line.size() > bytes_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("it has {} bytes, at most {} are read", line.size(), bytes_max));
  }
  JsonLimits limits;
  limits.bytes_max = bytes_max;
  bool as_written = false;
  ASSAY_TRY(Json value, read_json(line, limits, &as_written));
  if (!value.is_object()) return fail(ErrorCode::malformed, "it is not an object");
  if (!as_written) {
    ASSAY_TRY(const std::string text_again, canonical(value, limits));
    const auto [a, b] = std::mismatch(line.begin(), line.end(), text_again.begin(), text_again.end());
    return fail(ErrorCode::malformed, fmt::format("it is not canonical JSON from byte {} on", a - line.begin() + 1));
  }
  return entry_of(std::move(value));
}

namespace {

Result<RecordEntry> entry_of(Json value) {
  ASSAY_CHECK(check_members(value, line_members, "the line"));
  RecordEntry entry;
  auto next = value.as_object().begin();
  const auto member = [&next](std::string_view name) -> Json& {  // asked for in their order; each is there
    while (next->first != name) ++next;
    return (next++)->second;
  };
  entry.data = std::move(member("data"));
  entry.node = std::move(member("node").as_string());
  entry.prev = std::move(member("prev").as_string());
  entry.seq = member("seq").as_int();
  entry.t = member("t").as_int();
  entry.type = std::move(member("type").as_string());
  if (entry.seq < 0 || entry.t < 0) return fail(ErrorCode::malformed, "seq or t is negative");
  if (entry.node.size() > record_path_bytes_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("its path has more than {} bytes", record_path_bytes_max));
  }
  if (!is_record_path(entry.node)) return fail(ErrorCode::malformed, "its path is not one of names joined by '/'");
  ASSAY_CHECK(check_record_data(entry.type, entry.data));
  return entry;
}

}  // namespace

Result<Bytes32> run_end_signing_hash(std::string_view line) {
  JsonLimits limits;
  limits.bytes_max = line.size();
  ASSAY_TRY(Json value, read_json(line, limits));
  Json* data = value.is_object() ? value.as_object().find("data") : nullptr;
  if (data == nullptr || !data->is_object()) return fail(ErrorCode::malformed, "the line has no data");
  data->as_object().erase("signature");
  ASSAY_TRY(const std::string bare, canonical(value, limits));
  return sha256(bare);
}

namespace {

// The figures of a call; the lane's further counters are not wanted here.
std::optional<LmUsage> counts_of_line(std::string_view type, const Json& data) {
  if (type != "lm_response" && type != "cache_hit") return std::nullopt;
  const Json &prompt = data.at("usage").at("prompt_tokens"), &completion = data.at("usage").at("completion_tokens");
  if (!prompt.is_int() || !completion.is_int() || prompt.as_int() < 0 || completion.as_int() < 0) return std::nullopt;
  LmUsage usage;
  usage.prompt_tokens = prompt.as_int();
  usage.completion_tokens = completion.as_int();
  usage.from_cache = type == "cache_hit";
  if (const Json& cost = data.at("cost_msats"); cost.is_int()) usage.cost_msats = cost.as_int();
  return usage;
}

}  // namespace

std::optional<LmUsage> usage_of_line(std::string_view type, const Json& data) {
  if (type != "lm_response" && type != "cache_hit") return std::nullopt;
  auto usage = LmUsage::read(data.at("usage"));
  if (!usage) return std::nullopt;
  usage->from_cache = type == "cache_hit";
  if (const Json& cost = data.at("cost_msats"); cost.is_int()) usage->cost_msats = cost.as_int();
  return *std::move(usage);
}

void TotalsFold::add(std::string_view type, std::string_view node, const Json& data) {
  if (type == "payment") {
    const Json& amount = data.at("amount_msats");
    if (!amount.is_int() || amount.as_int() < 0) return;
    if (const Json& hash = data.at("payment_hash"); hash.is_string() && !told_.insert({std::string(node), hash.as_string()}).second) return;
    totals_.add(Totals{.cost_msats = amount.as_int()});
    open_[std::string(node)] = amount.as_int();  // an answer takes the place of the payment that is its own, not of one that brought none
    return;
  }
  if (const auto usage = counts_of_line(type, data)) add_answer(node, *usage);
}

void TotalsFold::add_answer(std::string_view node, const LmUsage& usage) {
  // An answer that cost nothing was paid for before: the payment, perhaps one of an earlier pass of this record, stays counted.
  if (const auto paid = open_.find(node); paid != open_.end() && !usage.from_cache && usage.cost_msats.value_or(0) > 0) {
    totals_.cost_msats -= std::min(paid->second, totals_.cost_msats);
    open_.erase(paid);
  }
  totals_.add(usage);
}

Json recorded_text(std::string_view bytes) {
  if (valid_utf8(bytes)) return Json(bytes);
  JsonObject wrapper;
  wrapper.set("$base64", base64(bytes));
  return wrapper;
}

Result<std::string> recorded_bytes(const Json& value) {
  if (value.is_string()) return value.as_string();
  if (value.is_object() && value.as_object().size() == 1 && value.at("$base64").is_string())
    return from_base64(value.at("$base64").as_string());
  return fail(ErrorCode::malformed, "recorded content is neither text nor {\"$base64\": text}");
}

}  // namespace assay
