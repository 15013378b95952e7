#include "assay/lm/recorded_answers.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/lm/answer_lanes.h"
#include "assay/trace/budget.h"

namespace assay {
namespace {

using Blobs = std::map<std::string, std::string>;

// {"$blob": hash} → the text that the record keeps once.
Result<void> put_blobs_back(Json& request, const Blobs& blobs) {
  Json* messages = request.is_object() ? request.as_object().find("messages") : nullptr;
  if (messages == nullptr || !messages->is_list()) return fail(ErrorCode::malformed, "a recorded request has no list of messages");
  for (Json& message : messages->as_list()) {
    const Json& content = message.at("content");
    if (!content.is_object() || content.as_object().size() != 1 || !content.at("$blob").is_string()) continue;
    const auto blob = blobs.find(content.at("$blob").as_string());
    if (blob == blobs.end())
      return fail(ErrorCode::malformed, fmt::format("blob {} is not in the record", content.at("$blob").as_string()));
    message.set("content", blob->second);
  }
  return {};
}

Result<Blobs> blobs_of(const std::vector<RecordEntry>& entries) {
  Blobs blobs;
  for (const RecordEntry& entry : entries) {
    if (entry.type != "blob") continue;
    ASSAY_TRY(std::string id, string_member(entry.data, "hash"));
    ASSAY_TRY(std::string text, string_member(entry.data, "text"));
    if (sha256_hex(text) != id)
      return fail(ErrorCode::mismatch, "a blob's text has another hash than its name", {}, fmt::format("line {}", entry.seq + 1));
    blobs.insert_or_assign(std::move(id), std::move(text));
  }
  return blobs;
}

ErrorCode code_named(std::string_view text) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::internal); ++code) {
    if (name(static_cast<ErrorCode>(code)) == text) return static_cast<ErrorCode>(code);
  }
  return ErrorCode::internal;
}

Error recorded_error(const Json& data) {
  const auto text = [&](std::string_view key) { return data.at(key).is_string() ? data.at(key).as_string() : std::string(); };
  return Error{code_named(text("code")), text("message"), text("path"), {}};
}

Result<LmResponse> recorded_response(const Json& data, bool from_cache) {
  LmResponse response;
  ASSAY_TRY(response.content, recorded_bytes(data.at("content")));
  ASSAY_TRY(response.finish_reason, string_member(data, "finish_reason"));
  ASSAY_TRY(response.usage, LmUsage::read(data.at("usage")));
  if (const Json& cost = data.at("cost_msats"); cost.is_int()) response.usage.cost_msats = cost.as_int();
  if (const Json& latency = data.at("latency_ns"); latency.is_int()) response.usage.latency_ns = latency.as_int();
  response.usage.from_cache = from_cache;
  if (const Json& tokens = data.at("logprobs"); !tokens.is_null()) {
    ASSAY_TRY(response.logprobs, read_logprobs(tokens));
  }
  return response;
}

// --- how two requests differ ---

// The text around its first difference, as JSON, so that a long prompt does not hide it.
std::string excerpt(const std::string& text, std::size_t differs_at) {
  constexpr std::size_t before = 24, shown = 120;
  const std::size_t begin = differs_at > before ? differs_at - before : 0;
  std::string out;
  append_json_string(out, to_utf8(std::string_view(text).substr(begin, shown)));
  if (begin > 0) out = "…" + out;
  if (begin + shown < text.size()) out += "…";
  return out;
}

std::string shown(const Json* value) {
  if (value == nullptr) return "nothing";
  const std::string text = canonical(*value).value_or("?");
  return text.size() <= 160 ? text : to_utf8(std::string_view(text).substr(0, 157)) + "…";
}

std::string two_sides(std::string_view pointer, std::string_view want, std::string_view found) {
  return fmt::format("{}: want {} found {}", pointer.empty() ? "/" : pointer, want, found);
}

std::optional<std::string> difference(const Json* want, const Json* found, const std::string& pointer);

std::optional<std::string> object_difference(const JsonObject& want, const JsonObject& found, const std::string& pointer) {
  for (const auto& [key, value] : want) {
    if (auto differs = difference(&value, found.find(key), pointer + "/" + pointer_token(key))) return differs;
  }
  for (const auto& [key, value] : found) {
    if (!want.contains(key)) return two_sides(pointer + "/" + pointer_token(key), "nothing", shown(&value));
  }
  return std::nullopt;
}

std::optional<std::string> list_difference(const JsonList& want, const JsonList& found, const std::string& pointer) {
  for (std::size_t i = 0; i < std::max(want.size(), found.size()); ++i) {
    const Json* a = i < want.size() ? &want[i] : nullptr;
    const Json* b = i < found.size() ? &found[i] : nullptr;
    if (auto differs = difference(a, b, fmt::format("{}/{}", pointer, i))) return differs;
  }
  return std::nullopt;
}

// Depth is bounded by the reader and writer (128 containers).
std::optional<std::string> difference(const Json* want, const Json* found, const std::string& pointer) {
  if (want == nullptr || found == nullptr) return two_sides(pointer, shown(want), shown(found));
  if (want->is_object() && found->is_object()) return object_difference(want->as_object(), found->as_object(), pointer);
  if (want->is_list() && found->is_list()) return list_difference(want->as_list(), found->as_list(), pointer);
  if (*want == *found) return std::nullopt;
  if (!want->is_string() || !found->is_string()) return two_sides(pointer, shown(want), shown(found));
  const std::string &a = want->as_string(), &b = found->as_string();
  const auto at = static_cast<std::size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())), b.begin()).first - a.begin());
  return two_sides(pointer, excerpt(a, at), excerpt(b, at));
}

std::unexpected<Error> diverged(const std::string& path, std::string message) {
  return fail(ErrorCode::diverged, std::move(message), "replay with the module, data and seed of this record", path);
}

// Lines in, calls out: answers go to the oldest call at their path with their request hash.
class CallReader {
 public:
  CallReader(const std::map<std::string, Lane>& lanes, const Blobs& blobs) : lanes_(lanes), blobs_(blobs) {}

  std::int64_t unasked_line = 0;  // of the first answer that belongs to no request; 0: none
  std::string unasked_path;

  template <class Calls>
  Result<void> read(const RecordEntry& entry, Calls& calls) {
    if (entry.type == "lm_request") {
      ASSAY_TRY(auto call, new_call<typename Calls::mapped_type::value_type>(entry));
      waiting_[{entry.node, call.request_hash}].push_back(calls[entry.node].size());
      calls[entry.node].push_back(std::move(call));
    } else if (entry.type == "cache_hit") {
      ASSAY_TRY(auto call, new_call<typename Calls::mapped_type::value_type>(entry));
      ASSAY_TRY(call.answer.response, recorded_response(entry.data, true));
      call.answered = true;
      calls[entry.node].push_back(std::move(call));
    } else if (entry.type == "lm_response" || (entry.type == "error" && entry.data.at("request_hash").is_string())) {
      return answer(entry, calls);
    } else if (entry.type == "error" && !entry.node.empty()) {  // of a call that came to no request
      typename Calls::mapped_type::value_type call;
      call.answer.failed = call.answered = true;
      call.answer.sent = false;
      call.answer.error = recorded_error(entry.data);
      calls[entry.node].push_back(std::move(call));
    } else if (entry.type == "event" && entry.data.at("name") == Json("lm_lost")) {
      return check_lost(entry);
    }
    return {};
  }

 private:
  template <class Call>
  Result<Call> new_call(const RecordEntry& entry) const {
    Call call;
    ASSAY_TRY(call.request_hash, string_member(entry.data, "request_hash"));
    ASSAY_TRY(const std::string lane_id, string_member(entry.data, "lane_id"));
    const auto lane = lanes_.find(lane_id);
    if (lane == lanes_.end()) return fail(ErrorCode::malformed, fmt::format("lane {} is not among the lanes of run_start", lane_id));
    call.answer.lane = lane->second;
    call.answer.lane_id = lane_id;
    call.answer.request_hash = call.request_hash;
    call.answer.sent = entry.data.at("sent") != Json(false);
    call.request = entry.data.at("request");
    ASSAY_CHECK(put_blobs_back(call.request, blobs_));
    ASSAY_TRY(const std::string computed, hash(call.request));
    if (computed != call.request_hash) {
      return fail(ErrorCode::mismatch, fmt::format("request_hash is {}, but the request hashes to {}", call.request_hash, computed),
                  "the record was altered and sealed again");
    }
    return call;
  }

  // A try that was lost is one of a request that waits at that node.
  Result<void> check_lost(const RecordEntry& entry) const {
    const Json& told = entry.data.at("data");
    const auto lost = read_amount(told.at("lost"));
    const Json& request_hash = told.at("request_hash");
    const auto waiting = request_hash.is_string() ? waiting_.find({entry.node, request_hash.as_string()}) : waiting_.end();
    if (lost && lost->calls == 1 && waiting != waiting_.end() && !waiting->second.empty()) return {};
    return fail(ErrorCode::mismatch, "this lost try is of no request that waits here", "the record was altered and sealed again");
  }

  // What was not sent has no answer and lost nothing.
  static Result<void> check_claims(const RecordEntry& entry, const RecordedAnswer& answer) {
    const auto lost = read_amount(entry.data.at("lost"));
    const auto wrong = [](std::string what) {
      return fail(ErrorCode::mismatch, std::move(what), "the record was altered and sealed again");
    };
    if (!answer.sent && (entry.type == "lm_response" || lost)) return wrong("a request that was not sent has an answer, or lost something");
    if (lost && lost->calls < 1) return wrong("what was lost is no call");
    return {};
  }

  template <class Calls>
  Result<void> answer(const RecordEntry& entry, Calls& calls) {
    const std::pair<std::string, std::string> key{entry.node, entry.data.at("request_hash").as_string()};
    const auto waiting = waiting_.find(key);
    if (waiting == waiting_.end() || waiting->second.empty()) {  // an answer that nobody asked for answers nobody
      if (const auto told = answered_.find(key); entry.type == "error" && told != answered_.end()) {
        auto& answer = calls[entry.node][told->second].answer;
        answer.disbelieved = answer.failed = true;
        answer.error = recorded_error(entry.data);
        answered_.erase(told);
      }
      if (entry.type == "lm_response" && unasked_line == 0) unasked_line = entry.seq + 1, unasked_path = entry.node;
      return {};
    }
    const std::size_t index = waiting->second.front();
    auto& call = calls[entry.node][index];
    waiting->second.pop_front();
    ASSAY_CHECK(check_claims(entry, call.answer));
    call.answered = true;
    if (entry.type == "error") {
      call.answer.failed = true;
      call.answer.error = recorded_error(entry.data);
      return {};
    }
    ASSAY_TRY(call.answer.response, recorded_response(entry.data, false));
    answered_.insert_or_assign(key, index);
    return {};
  }

  const std::map<std::string, Lane>& lanes_;
  const Blobs& blobs_;
  std::map<std::pair<std::string, std::string>, std::deque<std::size_t>> waiting_;
  std::map<std::pair<std::string, std::string>, std::size_t> answered_;  // the last one answered
};

Result<std::map<std::string, Lane>> lanes_of(const RecordEntry& run_start) {
  std::map<std::string, Lane> lanes;
  ASSAY_TRY(const Json* list, member(run_start.data, "lanes", Json::Kind::list));
  for (const Json& item : list->as_list()) {
    ASSAY_TRY(Lane lane, Lane::read(item));
    ASSAY_TRY(std::string id, hash(item));
    lanes.insert_or_assign(std::move(id), std::move(lane));
  }
  return lanes;
}

// What an answer says, whether it came from a lane or was repeated from the cache.
std::string said(const Json& data) {
  return canonical(JsonObject{{"content", data.at("content")},
                              {"finish_reason", data.at("finish_reason")},
                              {"usage", data.at("usage")},
                              {"logprobs", data.at("logprobs")}})
      .value_or("");
}

// The requests that a resume does not send again.
class Had {
 public:
  // Is it a request that was sent although an earlier pass had its answer?
  bool sent_again(const RecordEntry& entry) {
    if (entry.type == "resume") before_.merge(now_);
    const auto text_at = [&](const char* key) { return entry.data.at(key).is_string() ? entry.data.at(key).as_string() : std::string(); };
    if (auto lane = lanes_.take(entry)) now_.emplace(text_at("request_hash"), std::move(*lane));
    return entry.type == "lm_request" && entry.data.at("sent") != Json(false) &&
           before_.contains({text_at("request_hash"), text_at("lane_id")});
  }

 private:
  AnswerLanes lanes_;
  std::set<std::pair<std::string, std::string>> before_, now_;  // (request hash, lane), by pass
};

// A hit repeats an answer: where the record has the answer to that request, the two are the same. So an answer that was changed in an
// earlier pass of a journal contradicts the hit by which a later pass, which is the one that is replayed, took it over. And what an
// earlier pass had is not asked again: passes that change places show so.
Result<void> check_hits(const std::vector<RecordEntry>& entries) {
  std::map<std::string, std::set<std::string>> answers;  // request hash → what was said
  const bool resumed = std::any_of(entries.begin(), entries.end(), [](const RecordEntry& entry) { return entry.type == "resume"; });
  Had had;
  for (const RecordEntry& entry : entries) {
    if (resumed && had.sent_again(entry))
      return fail(ErrorCode::mismatch, "this request was answered in an earlier pass already, and is asked again",
                  "the record was altered and sealed again", fmt::format("line {}", entry.seq + 1));
    if (entry.type != "lm_response" && entry.type != "cache_hit") continue;
    const Json& request_hash = entry.data.at("request_hash");
    if (!request_hash.is_string()) continue;
    if (entry.type == "lm_response") {
      answers[request_hash.as_string()].insert(said(entry.data));
    } else if (const auto told = answers.find(request_hash.as_string());
               told != answers.end() && !told->second.contains(said(entry.data))) {
      return fail(ErrorCode::mismatch, "this cache hit says something else than the answer that it repeats",
                  "the record was altered and sealed again", fmt::format("line {}", entry.seq + 1));
    }
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<RecordedAnswers>> RecordedAnswers::of(const RunRecord& record) {
  const std::span<const RecordEntry> entries = record.entries;
  const auto resume = std::find_if(entries.rbegin(), entries.rend(), [](const RecordEntry& entry) { return entry.type == "resume"; });
  return of(record, entries.subspan(static_cast<std::size_t>(entries.rend() - resume)));
}

Result<std::shared_ptr<RecordedAnswers>> RecordedAnswers::of(const RunRecord& record, std::span<const RecordEntry> pass) {
  const std::vector<RecordEntry>& entries = record.entries;
  if (entries.empty()) return fail(ErrorCode::malformed, "the record has no lines", "replay a record with a run in it");
  ASSAY_CHECK(check_hits(entries));
  auto answers = std::make_shared<RecordedAnswers>();
  ASSAY_TRY(answers->lanes_, lanes_of(entries.front()));
  ASSAY_TRY(const Blobs blobs, blobs_of(entries));
  CallReader reader(answers->lanes_, blobs);
  for (const RecordEntry& entry : pass) {
    if (auto read = reader.read(entry, answers->calls_); !read)
      return std::unexpected(std::move(read).error().in(fmt::format("line {}", entry.seq + 1)));
  }
  if (reader.unasked_line > 0)
    answers->unasked_ = Leftover{reader.unasked_path, fmt::format("the answer in line {} belongs to no request", reader.unasked_line)};
  return answers;
}

Result<void> RecordedAnswers::check(const RunRecord& record) {
  if (record.entries.empty()) return {};
  ASSAY_CHECK(check_hits(record.entries));
  ASSAY_TRY(const auto lanes, lanes_of(record.entries.front()));
  ASSAY_TRY(const Blobs blobs, blobs_of(record.entries));
  std::map<std::string, std::vector<Call>> calls;
  std::optional<CallReader> pass;
  for (const RecordEntry& entry : record.entries) {
    if (!pass || entry.type == "resume") {
      calls.clear();  // what an earlier pass left unanswered, a crash did
      pass.emplace(lanes, blobs);
    }
    if (auto read = pass->read(entry, calls); !read)
      return std::unexpected(std::move(read).error().in(fmt::format("line {}", entry.seq + 1)));
    if (pass->unasked_line > 0)
      return fail(ErrorCode::mismatch, "this answer belongs to no request", "the record was altered and sealed again",
                  fmt::format("line {}", pass->unasked_line));
  }
  if (record.entries.back().type != "run_end") return {};
  for (const auto& [path, list] : calls) {
    if (std::any_of(list.begin(), list.end(), [](const Call& call) { return !call.answered; }))
      return fail(ErrorCode::mismatch, "a request here was never answered, and the run is said to have ended",
                  "the record was altered and sealed again", path);
  }
  return {};
}

std::optional<RecordedAnswers::Leftover> RecordedAnswers::leftover() {
  const std::scoped_lock lock(mutex_);
  if (unasked_) return unasked_;
  for (const auto& [path, calls] : calls_) {
    const auto unused = std::count_if(calls.begin(), calls.end(), [](const Call& call) { return !call.used; });
    if (unused > 0) return Leftover{path, fmt::format("the record has {} LM call(s) here that the program does not make", unused)};
  }
  return std::nullopt;
}

bool RecordedAnswers::told(const Error& error) {
  const std::scoped_lock lock(mutex_);
  return std::any_of(calls_.begin(), calls_.end(), [&](const auto& at) {
    return std::any_of(at.second.begin(), at.second.end(), [&](const Call& call) {
      const RecordedAnswer& answer = call.answer;
      return call.used && answer.failed && answer.error.code == error.code && answer.error.message == error.message;
    });
  });
}

std::optional<Error> RecordedAnswers::refusal(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  const auto at = calls_.find(path);
  if (at == calls_.end()) return std::nullopt;
  for (Call& call : at->second) {
    if (call.used || !call.request_hash.empty()) continue;
    call.used = true;
    return call.answer.error;
  }
  return std::nullopt;
}

Result<RecordedAnswer> RecordedAnswers::next(const std::string& path, const LmRequest& request) {
  const std::scoped_lock lock(mutex_);
  const auto at = calls_.find(path);
  if (at == calls_.end()) {
    ran_out_ = true;
    return diverged(path, "the record has no LM call at this path");
  }
  Call *nearest = nullptr, *refused = nullptr;
  for (Call& call : at->second) {
    if (call.used) continue;
    if (call.request_hash.empty()) {
      if (refused == nullptr) refused = &call;
      continue;
    }
    const auto asked = request_text(request, call.answer.lane);  // one that cannot be written is none that was recorded
    if (asked && sha256_hex(*asked) == call.request_hash) {
      call.used = true;
      if (!call.answered) {
        ran_out_ = true;
        return diverged(path, "the record ends before this request was answered");
      }
      return call.answer;
    }
    if (nearest == nullptr) nearest = &call;
  }
  if (refused != nullptr) {
    refused->used = true;
    return refused->answer;
  }
  ran_out_ = ran_out_ || nearest == nullptr;
  if (nearest == nullptr) return diverged(path, fmt::format("the record has only {} LM call(s) at this path", at->second.size()));
  const Json asked = request_json(request, nearest->answer.lane);
  auto differs =
      diverged(path, "the request differs from the recorded one at " + difference(&nearest->request, &asked, "").value_or("its hash"));
  if (!contradiction_) contradiction_ = differs.error();
  return differs;
}

}  // namespace assay
