#include "assay/program/call.h"

#include <fmt/format.h>

#include "assay/lm/recorded_answers.h"
#include "assay/lm/response_cache.h"
#include "assay/trace/contract.h"

namespace assay {
namespace {

Json recorded_bytes(const std::string& bytes) {
  if (valid_utf8(bytes)) return Json(bytes);
  return JsonObject{{"$base64", base64(bytes)}};
}

// REQUEST as it stands in the record: long texts may be kept once, as a blob. The hash is that of the whole request.
Result<Json> recorded_request(const Context& node, const Json& request) {
  if (!node.settings().journal) return request;
  Json out = request;
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
              "give more with --budget seconds=…; a compile goes on with --resume", "budget.seconds");
}

// One call: what its lines in the record share.
struct Call {
  const Context& node;
  const Lane& lane;
  const LmRequest& request;
  Json json;
  std::string request_hash, lane_id;
  CallId call_id;
};

Result<Call> begin_call(const Context& node, const Lane& lane, const LmRequest& request) {
  Call call{node, lane, request, request_json(request, lane), "", "", ""};
  ASSAY_TRY(call.request_hash, hash(call.json));
  ASSAY_TRY(call.lane_id, lane.id());
  call.call_id = call_id_of(node.trace_id(), fmt::format("{}#{}", node.path(), node.next_call_index()));
  return call;
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

Result<void> record_request(const Call& call) {
  ASSAY_TRY(Json request, recorded_request(call.node, call.json));
  return call.node.record("lm_request",
                          JsonObject{{"lane_id", call.lane_id}, {"request", std::move(request)}, {"request_hash", call.request_hash}});
}

Result<void> record_response(const Call& call, const LmResponse& answer) {
  return call.node.record("lm_response", JsonObject{{"request_hash", call.request_hash},
                                                    {"content", recorded_bytes(answer.content)},
                                                    {"finish_reason", answer.finish_reason},
                                                    {"usage", answer.usage.to_json()},
                                                    {"cost_msats", answer.usage.cost_msats ? Json(*answer.usage.cost_msats) : Json()},
                                                    {"latency_ns", answer.usage.latency_ns}});
}

Result<void> record_hit(const Call& call, const LmResponse& answer) {
  ASSAY_TRY(Json request, recorded_request(call.node, call.json));
  return call.node.record("cache_hit", JsonObject{{"lane_id", call.lane_id},
                                                  {"request", std::move(request)},
                                                  {"request_hash", call.request_hash},
                                                  {"content", recorded_bytes(answer.content)},
                                                  {"finish_reason", answer.finish_reason},
                                                  {"usage", answer.usage.to_json()}});
}

Result<void> record_error(const Call& call, const Error& error) {
  return call.node.record("error", JsonObject{{"code", name(error.code)},
                                              {"message", to_utf8(error.message)},
                                              {"path", to_utf8(error.path)},
                                              {"request_hash", call.request_hash}});
}

struct WorstCase {
  Amount amount;
  bool is_bought = false;  // the lane pays for it: what becomes of a call that fails is not known
};

// The most the call can use: reserved before it is sent.
Result<WorstCase> worst_case(const Context& node, const LM& lm, const LmRequest& request) {
  Amount amount{.calls = 1};
  ASSAY_TRY(const std::int64_t prompt, lm.prompt_tokens_max(request));
  const Json& most = request.config.at("max_tokens");
  LmUsage usage;
  usage.prompt_tokens = prompt;
  usage.completion_tokens = most.is_int() ? most.as_int() : 0;
  amount.tokens = prompt + usage.completion_tokens;
  ASSAY_TRY(const std::optional<std::int64_t> known, lm.cost_msats_max(request));
  if (known) amount.msats = *known;
  else if (node.effects().prices != nullptr) amount.msats = node.effects().prices->cost(lm.lane().kind, lm.lane().model, usage).value_or(0);
  return WorstCase{amount, known.value_or(0) > 0};
}

// Asks the lane: the request stands in the record before it is sent, the response after.
Result<LmResponse> ask(const Call& call, LM& lm) {
  const Effects& effects = call.node.effects();
  std::optional<Budget::Reservation> reservation;
  WorstCase worst;
  if (effects.budget != nullptr) {
    ASSAY_TRY(worst, worst_case(call.node, lm, call.request));
    ASSAY_TRY(Budget::Reservation reserved, effects.budget->reserve(worst.amount));
    reservation.emplace(std::move(reserved));
  }
  ASSAY_CHECK(record_request(call));
  const std::int64_t begin = effects.clock->steady_ns();
  auto answer = lm.complete(call.request, effects.wait);
  if (!answer) {
    if (answer.error().code == ErrorCode::timed_out) {
      if (auto in_time = check_time(effects); !in_time) answer = std::unexpected(in_time.error());
    }
    if (reservation && worst.is_bought) reservation->settle(worst.amount);  // it may have been paid: charged in full
    ASSAY_CHECK(record_error(call, answer.error()));
    return answer;
  }
  LmUsage& usage = answer->usage;
  usage.latency_ns = effects.clock->steady_ns() - begin;
  if (!usage.cost_msats && effects.prices != nullptr) usage.cost_msats = effects.prices->cost(call.lane.kind, call.lane.model, usage);
  if (reservation)
    reservation->settle({.calls = 1, .tokens = usage.prompt_tokens + usage.completion_tokens, .msats = usage.cost_msats.value_or(0)});
  if (answer->payment.is_object()) ASSAY_CHECK(call.node.record("payment", answer->payment));
  ASSAY_CHECK(record_response(call, *answer));
  return answer;
}

Result<LmResponse> replayed(const Context& node, const LmRequest& request) {
  ASSAY_TRY(RecordedAnswer recorded, node.settings().answers->next(node.path(), request));
  ASSAY_TRY(const Call call, begin_call(node, recorded.lane, request));
  tell_start(call);
  Result<LmResponse> answer = std::move(recorded.response);
  if (recorded.failed) {
    ASSAY_CHECK(record_request(call));
    ASSAY_CHECK(record_error(call, recorded.error));
    answer = std::unexpected(recorded.error);
  } else if (answer->usage.from_cache) {
    ASSAY_CHECK(record_hit(call, *answer));
  } else {
    ASSAY_CHECK(record_request(call));
    ASSAY_CHECK(record_response(call, *answer));
  }
  tell_end(call, answer);
  if (answer) node.add_usage(answer->usage);
  return answer;
}

}  // namespace

Result<LmResponse> call_lm(const Context& context, const LmRequest& request) {
  const Settings& settings = context.settings();
  if (settings.answers != nullptr) return replayed(context, request);
  if (settings.lm == nullptr) return fail(ErrorCode::usage, "no lane was given", "set Settings::lm, or --lane", context.path());
  LM& lm = *settings.lm;
  ASSAY_CHECK(check_time(context.effects()));
  ASSAY_CHECK(check_privacy(context.effects().privacy, settings.module_privacy, lm.privacy_modes(), lm.lane().model));
  ASSAY_TRY(const Call call, begin_call(context, lm.lane(), request));
  tell_start(call);
  Result<LmResponse> answer = [&]() -> Result<LmResponse> {
    if (settings.cache == nullptr) return ask(call, lm);
    ASSAY_TRY(const std::string key, ResponseCache::key(call.request_hash, call.lane_id));
    ASSAY_TRY(ResponseCache::Found found,
              settings.cache->get_or_compute(key, context.effects().wait, *context.effects().clock, [&] { return ask(call, lm); }));
    if (found.hit) {
      found.response.usage.from_cache = true;
      ASSAY_CHECK(record_hit(call, found.response));
    }
    return std::move(found.response);
  }();
  tell_end(call, answer);
  if (answer) context.add_usage(answer->usage);
  return answer;
}

}  // namespace assay
