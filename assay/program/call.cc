#include "assay/program/call.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "assay/base/object_text.h"
#include "assay/base/sha256.h"
#include "assay/lm/recorded_answers.h"
#include "assay/lm/response_cache.h"
#include "assay/program/call_account.h"
#include "assay/trace/contract.h"

namespace assay {
namespace {

constexpr std::size_t data_depth_max = JsonLimits{}.depth_max - 2;  // inside a line and its data

Json recorded_bytes(const std::string& bytes) {
  if (valid_utf8(bytes)) return Json(bytes);
  return JsonObject{{"$base64", base64(bytes)}};
}

// REQUEST as it stands in a journal: long texts are kept once, as a blob. The hash is that of the whole request.
Result<Json> journal_request(const Context& node, const LmRequest& request, const Lane& lane) {
  Json out = request_json(request, lane);
  for (Json& message : out.as_object().find("messages")->as_list()) {
    Json* content = message.as_object().find("content");
    if (!content->is_string()) continue;
    ASSAY_TRY(Json compact, node.compact_text(content->as_string()));
    *content = std::move(compact);
  }
  return out;
}

// A deadline that a budget of seconds set is a spent budget, not a slow lane.
Result<void> check_time(const Effects& effects) {
  auto in_time = effects.wait.check(*effects.clock, "the run");
  if (in_time || in_time.error().code != ErrorCode::timed_out || effects.budget == nullptr || !effects.budget->limits().seconds)
    return in_time;
  return fail(ErrorCode::over_budget, fmt::format("the time budget of {} seconds is spent", *effects.budget->limits().seconds),
              "give more with --budget seconds=…", "budget.seconds");
}

// One call: what its lines in the record share.
struct Call {
  const Context& node;
  const Lane& lane;
  const LmRequest& request;
  std::string text = {};  // canonical REQUEST, for the hash and for the record
  std::string request_hash = {}, lane_id = {};
  CallId call_id = {};
};

// Request and hash as text; only a record or a cache asks for them.
Result<void> write_request(Call& call) {
  JsonLimits limits;
  if (call.node.recorded()) limits.depth_max = data_depth_max;
  ASSAY_TRY(call.text, request_text(call.request, call.lane, limits));
  call.request_hash = sha256_hex(call.text);
  return {};
}

void name_call(Call& call) {
  const std::int64_t index = call.node.next_call_index();
  if (call.node.callback() != nullptr) call.call_id = call_id_of(call.node.trace_id(), fmt::format("{}#{}", call.node.path(), index));
}

void tell_start(const Call& call) {
  notify(call.node.callback(), [&](DspyCallback& c) { c.on_lm_start(call.call_id, call.lane.model, call.request.messages); });
}

void tell_end(const Call& call, const Result<LmResponse>& answer) {
  notify(call.node.callback(), [&](DspyCallback& c) {
    if (answer) c.on_lm_end(call.call_id, Message{"assistant", Json(to_utf8(answer->content))}, answer->usage);
    else c.on_lm_end(call.call_id, std::unexpected(answer.error()), LmUsage{});
  });
}

// What lm_request and cache_hit begin with: which lane was or would have been asked what.
Result<void> put_request(ObjectText& data, const Call& call) {
  data.text("lane_id", call.lane_id);
  if (call.node.settings().journal) {
    ASSAY_TRY(const Json request, journal_request(call.node, call.request, call.lane));
    data.value("request", request);
  } else {
    data.raw("request", call.text);
  }
  data.text("request_hash", call.request_hash);
  return {};
}

Result<void> record_request(const Call& call, bool is_sent = true) {
  if (!call.node.recorded()) return {};
  std::string text;
  text.reserve(call.text.size() + 256);
  ObjectText data(text, data_depth_max);
  ASSAY_CHECK(put_request(data, call));
  if (!is_sent) data.value("sent", Json(false));
  ASSAY_CHECK(data.finish());
  return call.node.record_text("lm_request", text);
}

// Members that a line has only when the call had them.
JsonObject with_logprobs(JsonObject data, const LmResponse& answer) {
  if (answer.logprobs) data.set("logprobs", logprobs_json(*answer.logprobs));
  return data;
}

// What an honest lane says: everything else goes the slow way, where the line is checked.
bool plain_answer(const LmResponse& answer) {
  const LmUsage& usage = answer.usage;
  const auto fits = [](std::int64_t count) { return count >= 0 && count <= json_integer_max; };
  return !answer.logprobs && !usage.from_cache && fits(usage.prompt_tokens) && fits(usage.completion_tokens) &&
         fits(usage.cost_msats.value_or(0)) && fits(usage.latency_ns) && valid_utf8(answer.content);
}

Result<void> record_plain_response(const Call& call, const LmResponse& answer) {
  const LmUsage& usage = answer.usage;
  std::string text;
  text.reserve(answer.content.size() + 384);
  ObjectText data(text, data_depth_max);
  data.text("content", answer.content);
  data.value("cost_msats", usage.cost_msats ? Json(*usage.cost_msats) : Json());
  data.text("finish_reason", answer.finish_reason);
  data.value("latency_ns", usage.latency_ns);
  data.text("request_hash", call.request_hash);
  data.value("usage", usage.to_json());
  ASSAY_CHECK(data.finish());
  return call.node.record_text("lm_response", text, &usage);
}

JsonObject with_lost(JsonObject data, const Amount& lost) {
  if (lost.calls > 0) data.set("lost", to_json(lost));
  return data;
}

Result<void> record_response(const Call& call, const LmResponse& answer, const Amount& lost = {}) {
  if (!call.node.recorded()) return {};
  if (lost.calls == 0 && plain_answer(answer)) return record_plain_response(call, answer);
  JsonObject data{{"request_hash", call.request_hash},
                  {"content", recorded_bytes(answer.content)},
                  {"finish_reason", answer.finish_reason},
                  {"usage", answer.usage.to_json()},
                  {"cost_msats", answer.usage.cost_msats ? Json(*answer.usage.cost_msats) : Json()},
                  {"latency_ns", answer.usage.latency_ns}};
  return call.node.record("lm_response", with_lost(with_logprobs(std::move(data), answer), lost));
}

Result<void> record_hit(const Call& call, const LmResponse& answer) {
  if (!call.node.recorded()) return {};
  ASSAY_TRY(Json request, call.node.settings().journal ? journal_request(call.node, call.request, call.lane)
                                                       : Result<Json>(request_json(call.request, call.lane)));
  JsonObject data{{"lane_id", call.lane_id},
                  {"request", std::move(request)},
                  {"request_hash", call.request_hash},
                  {"content", recorded_bytes(answer.content)},
                  {"finish_reason", answer.finish_reason},
                  {"usage", answer.usage.to_json()}};
  return call.node.record("cache_hit", with_logprobs(std::move(data), answer));
}

Result<void> record_error(const Call& call, const Error& error, const Amount& lost = {}) {
  if (!call.node.recorded()) return {};
  JsonObject data = error_data(error);
  if (!call.request_hash.empty()) data.set("request_hash", call.request_hash);
  return call.node.record("error", with_lost(std::move(data), lost));
}

Result<void> record_lost(const Call& call, const Amount& lost) {
  if (!call.node.recorded()) return {};
  return call.node.record(
      "event", JsonObject{{"name", "lm_lost"}, {"data", JsonObject{{"request_hash", call.request_hash}, {"lost", to_json(lost)}}}});
}

// A lane is anyone's code: what it throws is its error, the call still ends, and nobody knows what it used.
Result<LmResponse> ask_lane(LM& lm, const LmRequest& request, const Wait& wait, const LM::Events& events) {
  const auto threw = [&](const std::string& what) {
    static_cast<void>(events.lost(false));
    return fail(ErrorCode::internal, fmt::format("the lane {} threw{}", lm.lane().model, what), "mend the lane");
  };
  try {
    return lm.complete_with(request, wait, events);
  } catch (const std::exception& thrown) {
    return threw(": " + to_utf8(thrown.what()));
  } catch (...) {
    return threw(" something that is no exception");
  }
}

// A deadline that a budget of seconds set is a spent budget; that money is spent is said first.
Error lane_error(const Effects& effects, Error error, bool money_moved) {
  if (error.code != ErrorCode::timed_out) return error;
  auto in_time = check_time(effects);
  if (in_time || in_time.error().code != ErrorCode::over_budget) return error;
  if (money_moved) {
    in_time.error().message = error.message + "; " + in_time.error().message;
    in_time.error().remedy = error.remedy;
  }
  return std::move(in_time).error();
}

// What a lane says went wrong has to fit a line of the record, and a screen.
std::string shortened(std::string text) {
  constexpr std::size_t bytes_max = 64 * 1024;
  if (text.size() <= bytes_max) return text;
  text.resize(bytes_max);
  return to_utf8(text) + "…";
}

// A lane is anyone's code, and counts nobody can have used make a line that no reader takes.
Result<void> check_counts(const Lane& lane, const LmResponse& answer) {
  const LmUsage& usage = answer.usage;
  if (answer.logprobs) {
    if (auto said = read_logprobs(logprobs_json(*answer.logprobs)); !said) return std::unexpected(std::move(said.error()).in("logprobs"));
  }
  for (const std::int64_t count : {usage.prompt_tokens, usage.completion_tokens, usage.cost_msats.value_or(0)}) {
    if (count < 0 || count > json_integer_max)
      return fail(ErrorCode::malformed, fmt::format("the lane {} claims a count of {}", lane.model, count), "mend the lane", "usage");
  }
  return {};
}

// A lane that throws here will give the answer once more.
void tell_kept(LmResponse& answer) {
  const std::function<void()> kept = std::exchange(answer.kept, {});
  if (!kept) return;
  try {
    kept();
  } catch (...) {
    return;
  }
}

// Asks the lane: the request stands in the record before it is sent, a payment when it is made, the response after. `told` is set once the
// record has lines of this call.
Result<LmResponse> ask(const Call& call, LM& lm, bool& told) {
  const Effects& effects = call.node.effects();
  CallAccount account(call.node, lm, call.request);
  if (auto reserved = account.reserve(); !reserved) return std::unexpected(lane_error(effects, std::move(reserved.error()), false));
  ASSAY_CHECK(record_request(call));
  told = true;
  const std::int64_t begin = effects.clock->steady_ns();
  Result<void> recorded;
  const auto on_paid = [&](const Json& payment) {
    account.paid(payment);
    if (auto written = call.node.record("payment", payment); !written) recorded = std::move(written);
    return recorded && call.node.recorded();
  };
  // A try stands in the record before the next one is sent, so that a crash between them loses none.
  const auto on_lost = [&](bool again) -> Result<void> {
    ASSAY_CHECK(account.lost(again));
    return again ? record_lost(call, account.take_lost()) : Result<void>();
  };
  const std::string record = call.node.recorded() ? call.node.effects().recorder->path() : std::string();
  auto answer = ask_lane(lm, call.request, effects.wait, {std::ref(on_paid), std::ref(on_lost), record});
  if (answer) {
    if (auto sound = check_counts(call.lane, *answer); !sound) {
      static_cast<void>(account.lost(false));
      answer = std::unexpected(std::move(sound.error()));
    }
  }
  if (answer && !recorded) {  // a payment that the record does not take
    static_cast<void>(account.lost(false));
    answer = std::unexpected(recorded.error());
  }
  if (!answer) {
    for (std::string* text : {&answer.error().message, &answer.error().path}) *text = shortened(std::move(*text));
    if (account.money_moved() && !account.anything_lost()) static_cast<void>(account.lost(false));
    answer = std::unexpected(lane_error(effects, std::move(answer.error()), account.money_moved()));
    ASSAY_CHECK(record_error(call, answer.error(), account.take_lost()));
    return answer;
  }
  LmUsage& usage = answer->usage;
  usage.latency_ns = effects.clock->steady_ns() - begin;
  if (!usage.cost_msats && account.money_moved()) usage.cost_msats = account.paid_msats();
  if (!usage.cost_msats && effects.prices != nullptr) usage.cost_msats = effects.prices->cost(call.lane.kind, call.lane.model, usage);
  const auto honest = account.settle(usage);
  if (auto written = record_response(call, *answer, account.take_lost()); !written) {
    // An answer that no line can hold ends as one that was lost; where nothing can be written, the record ends here.
    const Amount used{.calls = 1, .tokens = usage.prompt_tokens + usage.completion_tokens, .msats = usage.cost_msats.value_or(0)};
    static_cast<void>(record_error(call, written.error(), used));
    if (written.error().code != ErrorCode::io) tell_kept(*answer);  // it would be no better the next time
    return std::unexpected(std::move(written.error()));
  }
  tell_kept(*answer);
  if (honest) return answer;
  ASSAY_CHECK(record_error(call, honest.error()));
  return std::unexpected(honest.error());
}

// A call that is not sent leaves its request and the reason, so that a replay comes to the same end; where there is no request, or it does
// not fit a line, the reason alone.
void record_refusal(Call& call, const Error& why) {
  if (!call.node.recorded()) return;
  if (call.request_hash.empty() || !record_request(call, false)) call.request_hash.clear();
  static_cast<void>(record_error(call, why));  // the call's own error is the one to tell
}

// The lines that the recorded call left, and its answer or error.
Result<LmResponse> retell(const Call& call, const RecordedAnswer& recorded) {
  if (recorded.failed) {
    if (!call.request_hash.empty()) ASSAY_CHECK(record_request(call, recorded.sent));
    if (recorded.disbelieved) ASSAY_CHECK(record_response(call, recorded.response));
    ASSAY_CHECK(record_error(call, recorded.error));
    return std::unexpected(recorded.error);
  }
  if (recorded.response.usage.from_cache) {
    ASSAY_CHECK(record_hit(call, recorded.response));
  } else {
    ASSAY_CHECK(record_request(call));
    ASSAY_CHECK(record_response(call, recorded.response));
  }
  return recorded.response;
}

Result<LmResponse> replayed(const Context& node, const LmRequest& request) {
  ASSAY_TRY(RecordedAnswer recorded, node.settings().answers->next(node.path(), request));
  Call call{node, recorded.lane, request};
  if (!recorded.request_hash.empty()) ASSAY_CHECK(write_request(call));
  call.lane_id = recorded.lane_id;
  name_call(call);
  tell_start(call);
  Result<LmResponse> answer = retell(call, recorded);
  tell_end(call, answer);
  if (answer) node.add_usage(answer->usage);
  return answer;
}

}  // namespace

JsonObject error_data(const Error& error) {
  return {{"code", name(error.code)}, {"message", to_utf8(error.message)}, {"path", to_utf8(error.path)}};
}

std::unexpected<Error> not_asked(const Context& node, Error why) {
  if (node.recorded()) static_cast<void>(node.record("error", error_data(why)));
  return std::unexpected(std::move(why));
}

Result<LmResponse> call_lm(const Context& context, const LmRequest& request) {
  const Settings& settings = context.settings();
  if (settings.answers != nullptr) return replayed(context, request);
  if (context.effects().clock == nullptr)
    return fail(ErrorCode::usage, "no clock was given", "set Effects::clock, e.g. to &system_clock()", context.path());
  if (settings.lm == nullptr)
    return not_asked(context, {ErrorCode::usage, "no lane was given", context.path(), "set Settings::lm, or --lane"});
  LM& lm = *settings.lm;
  Call call{context, lm.lane(), request};
  if (context.recorded() || settings.cache != nullptr) {
    if (auto written = write_request(call); !written) return not_asked(context, std::move(written.error()));
    ASSAY_TRY(call.lane_id, lm.lane_id());
  }
  name_call(call);
  tell_start(call);
  bool told = false;
  Result<LmResponse> answer = [&]() -> Result<LmResponse> {
    ASSAY_CHECK(check_time(context.effects()));
    ASSAY_CHECK(check_privacy(context.effects().privacy, settings.module_privacy, lm.privacy_modes(), lm.lane().model));
    if (settings.cache == nullptr) return ask(call, lm, told);
    ASSAY_TRY(const std::string key, ResponseCache::key(call.request_hash, call.lane_id));
    auto found = settings.cache->get_or_compute(key, context.effects().wait, *context.effects().clock, [&] { return ask(call, lm, told); });
    if (!found) {  // a wait for another's answer to the same ends like any other
      if (found.error().code == ErrorCode::timed_out && !told) ASSAY_CHECK(check_time(context.effects()));
      return std::unexpected(std::move(found.error()));
    }
    if (found->hit) {
      found->response.usage.from_cache = true;
      ASSAY_CHECK(record_hit(call, found->response));
      told = true;
    }
    return std::move(found->response);
  }();
  if (!answer && !told) record_refusal(call, answer.error());
  tell_end(call, answer);
  if (answer) context.add_usage(answer->usage);
  return answer;
}

}  // namespace assay
