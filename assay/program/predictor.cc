#include "assay/program/predictor.h"

#include <fmt/format.h>

#include "assay/base/object_text.h"
#include "assay/base/random.h"
#include "assay/lm/recorded_answers.h"
#include "assay/program/call.h"
#include "assay/program/call_account.h"
#include "assay/trace/contract.h"

namespace assay {
namespace {

constexpr std::size_t data_depth_max = JsonLimits{}.depth_max - 2;  // inside a line and its data

// The artifact's config, with the run's overrides on top; an override is recorded, for it is not the module's own behaviour.
Result<SharedJson> effective_config(const Context& node, const SharedJson& config) {
  const Json& override = node.settings().config_override;
  if (!override.is_object() || override.as_object().empty()) return config;
  Json out = config.get();
  for (const auto& [key, value] : override.as_object()) {
    ASSAY_CHECK(node.record("override", JsonObject{{"what", "config." + key}, {"value", value}}));
    out.set(key, value);
  }
  return SharedJson(std::move(out));
}

Result<std::optional<std::int64_t>> seed_of(const Context& node, const Json& config, std::int64_t rollout) {
  const Json& policy = config.at("seed_policy");
  const std::string_view text = policy.is_string() ? std::string_view(policy.as_string()) : "fixed";
  if (text == "none") return std::optional<std::int64_t>();
  if (text == "fixed") return std::optional<std::int64_t>(node.effects().seed);
  if (text == "per_rollout") {
    Random random({node.effects().seed, node.path(), rollout, "seed"});
    return std::optional<std::int64_t>(static_cast<std::int64_t>(random.below(std::uint64_t{1} << 53)));
  }
  return fail(ErrorCode::refused, fmt::format("unknown seed_policy '{}'", text), "fixed, per_rollout or none", "config.seed_policy");
}

Result<Json> read_one(const Context& node, const Predictor& predictor, const ChatTemplate& chat, const std::string& content) {
  std::vector<Repair> repairs;
  auto outputs = chat.read_answer(predictor.signature, content, &repairs);
  for (const Repair& repair : repairs) {
    ASSAY_CHECK(node.record("repair", JsonObject{{"kind", repair.kind}, {"detail", to_utf8(repair.detail)}}));
  }
  if (!outputs) return outputs;
  auto checked = predictor.signature.fit_outputs(*outputs);
  if (!checked) return fail(ErrorCode::unreadable, checked.error().message, "", checked.error().path);
  return outputs;
}

// How many answers a call asks for.
Result<std::int64_t> answers_asked(const Json& config) {
  const Json& asked = config.at("n");
  const std::int64_t count = asked.is_int() ? asked.as_int() : 1;
  if (count >= 1 && count <= answers_max) return count;
  return fail(ErrorCode::limit_exceeded, fmt::format("n is {}, between 1 and {} are asked", count, answers_max), "", "config.n");
}

Result<Prediction> answer(const Context& node, const Predictor& predictor, const Json& inputs) {
  std::shared_ptr<const ChatTemplate> chat = predictor.chat;
  if (chat == nullptr) {
    auto read = ChatTemplate::read(predictor.template_json, predictor.signature);
    if (!read) return std::unexpected(std::move(read.error()).in("template"));
    chat = std::make_shared<const ChatTemplate>(std::move(*read));
  }
  LmRequest request;
  ASSAY_TRY(request.messages, chat->render(predictor.signature, predictor.demos, inputs));
  ASSAY_TRY(request.config, effective_config(node, predictor.config));
  if (const Json& constrain = request.config.at("constrain"); constrain.is_bool() && constrain.as_bool()) {
    request.schema = chat->answer_schema(predictor.signature);
  }
  ASSAY_TRY(const std::int64_t count, answers_asked(request.config));
  Prediction prediction;
  prediction.completions.reserve(static_cast<std::size_t>(count));
  Result<Json> first_problem;
  for (std::int64_t i = 0; i < count; ++i) {
    request.rollout = node.rollout() * count + i;
    ASSAY_TRY(request.seed, seed_of(node, request.config, request.rollout));
    ASSAY_TRY(const LmResponse response, call_lm(node, request));
    prediction.totals.add(response.usage);
    auto outputs = read_one(node, predictor, *chat, response.content);
    if (outputs) {
      prediction.completions.push_back(std::move(*outputs));
      continue;
    }
    Error problem = outputs.error();
    if (problem.code != ErrorCode::unreadable) return std::unexpected(std::move(problem));
    if (response.finish_reason == "length") problem.remedy = "the answer was cut at max_tokens: give it more room, or ask for less";
    if (first_problem) first_problem = std::unexpected(std::move(problem));
  }
  if (prediction.completions.empty()) return std::unexpected(first_problem.error());
  prediction.outputs = prediction.completions.front();
  return prediction;
}

}  // namespace

Result<void> check_lane(const LM& lm, const Predictor& predictor, const Settings& settings, const Effects& effects) {
  ASSAY_CHECK(check_privacy(effects.privacy, settings.module_privacy, lm.privacy_modes(), lm.lane().model));
  LmRequest request;
  request.messages = {{"user", ""}};
  Settings config_only;
  config_only.config_override = settings.config_override;
  ASSAY_TRY(request.config, effective_config(Context(Effects{}, config_only), predictor.config));
  if (const Json& constrain = request.config.at("constrain"); constrain.is_bool() && constrain.as_bool()) {
    ASSAY_TRY(const ChatTemplate chat, ChatTemplate::read(predictor.template_json, predictor.signature));
    request.schema = chat.answer_schema(predictor.signature);
  }
  ASSAY_CHECK(lm.takes(request));
  return check_priced(effects, lm, request);
}

namespace {

bool ends_refine(ErrorCode code) {
  return code == ErrorCode::over_budget || code == ErrorCode::cancelled || code == ErrorCode::diverged || code == ErrorCode::refused ||
         code == ErrorCode::usage || code == ErrorCode::internal || code == ErrorCode::io;
}

Result<std::vector<std::shared_ptr<LM>>> fallback_lanes(const Context& node, const RefineRule& rule) {
  if (node.settings().answers != nullptr) {  // a replay asks no lane: the record answers, whoever did
    if (auto refused = node.settings().answers->refusal(node.path())) return std::unexpected(std::move(*refused));
    return std::vector<std::shared_ptr<LM>>(rule.fallback_lanes.size() + rule.fallback_requirements.size());
  }
  std::vector<std::shared_ptr<LM>> lanes = rule.fallback_lanes;
  for (const std::string& requirement : rule.fallback_requirements) {
    auto lane = fallback_lane(node.settings(), requirement);
    if (!lane) return not_asked(node, std::move(lane.error()));
    lanes.push_back(std::move(*lane));
  }
  return lanes;
}

}  // namespace

Result<std::shared_ptr<LM>> fallback_lane(const Settings& settings, const std::string& requirement) {
  if (const auto at = settings.lanes.find(requirement); at != settings.lanes.end()) return at->second;
  const auto meets = [&](const std::shared_ptr<LM>& lane) {
    return lane != nullptr && (requirement == "lm:any" || requirement == "lm:" + lane->lane().kind);
  };
  if (const auto any = settings.lanes.find("lm:any"); any != settings.lanes.end() && meets(any->second)) return any->second;
  if (meets(settings.lm)) return settings.lm;
  return fail(ErrorCode::refused, fmt::format("no lane here meets '{}'", requirement),
              "give one of that kind with --fallback-lane; \"lm:any\" is met by every lane", "fallback");
}

namespace {

// State of the tries of one Refine: the best answer so far and the last error.
struct Tries {
  std::optional<Prediction> best;
  double best_score = 0;
  std::optional<Error> last_error;
  Totals totals;
  std::vector<PredictorTrace::Step> best_steps;  // of the best answer: a rejected one must not become a demo
};

enum class TryEnd { good, poor, unreachable };

Result<TryEnd> one_try(const Context& node, std::int64_t index, const std::string& lane_name, const std::shared_ptr<LM>& lane,
                       const RefineRule& rule, const Forward& inner, const Json& inputs, Tries& tries) {
  Context attempt = node.at(fmt::format("attempt:{}", index)).with_rollout(node.rollout() * 1000 + index);
  const auto trace = node.settings().trace != nullptr ? std::make_shared<PredictorTrace>() : nullptr;
  Settings settings = attempt.settings();
  settings.trace = trace;
  if (lane != nullptr) settings.lm = lane;
  attempt = attempt.with_settings(std::move(settings));
  auto result = inner(attempt, inputs);
  Json entry = JsonObject{{"index", index}, {"score", Json()}, {"lane", lane_name}};
  if (!result) {
    tries.last_error = result.error();
    entry.set("error", name(result.error().code));
    ASSAY_CHECK(attempt.record("attempt", std::move(entry)));
    if (ends_refine(result.error().code)) return std::unexpected(result.error());
    return result.error().code == ErrorCode::unreadable ? TryEnd::poor : TryEnd::unreachable;
  }
  tries.totals.add(result->totals);
  const double score = rule.reward ? rule.reward(inputs, *result) : 1.0;
  entry.set("score", score);
  ASSAY_CHECK(attempt.record("attempt", std::move(entry)));
  if (!tries.best || score > tries.best_score) {
    tries.best = std::move(*result);
    tries.best_score = score;
    if (trace != nullptr) tries.best_steps = std::move(trace->steps);
  }
  return score >= rule.threshold ? TryEnd::good : TryEnd::poor;
}

Result<Prediction> refine(const Context& node, const RefineRule& rule, const Forward& inner, const Json& inputs) {
  Tries tries;
  const auto done = [&] {
    Prediction out = std::move(*tries.best);
    out.totals = tries.totals;
    if (node.settings().trace != nullptr) {
      for (auto& step : tries.best_steps) node.settings().trace->steps.push_back(std::move(step));
    }
    return out;
  };
  ASSAY_TRY(const auto lanes, fallback_lanes(node, rule));  // needed or not: before anything is sent
  std::int64_t index = 0;
  for (std::int64_t i = 0; i < rule.attempts; ++i) {
    ASSAY_TRY(const TryEnd end, one_try(node, index++, "primary", nullptr, rule, inner, inputs, tries));
    if (end == TryEnd::good) return done();
    if (end == TryEnd::unreachable) break;
  }
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    ASSAY_TRY(const TryEnd end, one_try(node, index++, fmt::format("fallback:{}", i), lanes[i], rule, inner, inputs, tries));
    if (end == TryEnd::good) return done();
  }
  if (tries.best && rule.best_on_exhausted) return done();
  if (!tries.best && tries.last_error) return std::unexpected(*tries.last_error);
  return fail(ErrorCode::unreadable,
              fmt::format("no attempt of {} reached the threshold {} (best {})", index, rule.threshold, tries.best_score),
              "raise the attempts, lower the threshold, or set on_exhausted = \"best\"", node.path());
}

Result<void> record_start(const Context& node, std::string_view node_type, std::string_view node_name, const Json& inputs) {
  if (!node.recorded()) return {};
  std::string text;
  text.reserve(512);
  ObjectText data(text, data_depth_max);
  Json wrapped;
  data.value("inputs", recorded_value(inputs, wrapped));
  data.text("name", node_name);
  data.text("node_type", node_type);
  ASSAY_CHECK(data.finish());
  return node.record_text("node_start", text);
}

Result<void> record_end(const Context& node, const Result<Prediction>& result) {
  if (!node.recorded()) return {};
  std::string text;
  text.reserve(256);
  ObjectText data(text, data_depth_max);
  Json wrapped;
  data.value("error", result ? Json() : Json(error_data(result.error())));
  data.value("outputs", result ? recorded_value(result->outputs, wrapped) : wrapped);
  data.text("status", result ? "ok" : result.error().code == ErrorCode::cancelled ? "cancelled" : "error");
  ASSAY_CHECK(data.finish());
  return node.record_text("node_end", text);
}

// What a user's reward, metric or lane throws is an error like others: the end is still reported, the run goes on.
Result<Prediction> guarded(const Context& node, const std::function<Result<Prediction>()>& work) {
  try {
    return work();
  } catch (const std::exception& thrown) {
    return fail(ErrorCode::internal, fmt::format("the module threw: {}", thrown.what()), "", node.path());
  } catch (...) {
    return fail(ErrorCode::internal, "the module threw an exception", "", node.path());
  }
}

}  // namespace

Json Predictor::default_config() {
  return JsonObject{{"temperature", 0}, {"top_p", 1}, {"max_tokens", 256}, {"stop", JsonList{}}, {"n", 1}, {"seed_policy", "fixed"}};
}

Result<Predictor> Predictor::read(const Json& value) {
  Predictor out;
  ASSAY_TRY(out.kind, string_member(value, "kind"));
  if (out.kind != "predict/1" && out.kind != "chain_of_thought/1") {
    return fail(ErrorCode::refused, fmt::format("unknown predictor kind '{}'", out.kind),
                "this build runs predict/1 and chain_of_thought/1", "kind");
  }
  ASSAY_TRY(const Json* signature, member(value, "signature", Json::Kind::object));
  auto read = Signature::read(*signature);
  if (!read) return std::unexpected(std::move(read.error()).in("signature"));
  out.signature = std::move(*read);
  ASSAY_TRY(const Json* demos, member(value, "demos", Json::Kind::list));
  out.demos = demos->as_list();
  ASSAY_CHECK(check_demos(out.signature, out.demos));
  ASSAY_TRY(const Json* chat, member(value, "template", Json::Kind::object));
  out.template_json = *chat;
  ASSAY_TRY(const Json* config, member(value, "config", Json::Kind::object));
  out.config = *config;
  ASSAY_CHECK(answers_asked(*config));
  const Json& stop = config->at("stop");
  for (const Json& text : stop.is_list() ? stop.as_list() : JsonList()) {
    if (text == Json("")) return fail(ErrorCode::refused, "an empty stop text would end every answer before it begins", "", "config.stop");
  }
  auto checked = ChatTemplate::read(out.template_json, out.signature);
  if (!checked) return std::unexpected(std::move(checked.error()).in("template"));
  if (config->at("constrain") == Json(true)) {
    if (auto readable = checked->check_constrained(out.signature); !readable)
      return std::unexpected(std::move(readable.error()).in("template"));
  }
  out.chat = std::make_shared<const ChatTemplate>(std::move(*checked));
  return out;
}

Json Predictor::to_json() const {
  return JsonObject{
      {"kind", kind}, {"signature", signature.to_json()}, {"demos", demos}, {"template", template_json}, {"config", config.get()}};
}

Result<Prediction> run_node(const Context& node, std::string_view node_type, std::string_view node_name, const Json& inputs,
                            const std::function<Result<Prediction>()>& work) {
  const CallId call_id = node.callback() != nullptr ? call_id_of(node.trace_id(), node.path()) : CallId();
  ASSAY_CHECK(record_start(node, node_type, node_name, inputs));
  notify(node.callback(), [&](DspyCallback& c) { c.on_module_start(call_id, node.path(), Example(inputs)); });
  Result<Prediction> result = guarded(node, work);
  notify(node.callback(), [&](DspyCallback& c) { c.on_module_end(call_id, result); });
  ASSAY_CHECK(record_end(node, result));
  return result;
}

Result<Prediction> run_predictor(const Context& parent, std::string_view name, const Predictor& predictor, const Json& inputs,
                                 std::string_view path) {
  const Context node = parent.child(name);
  std::optional<Json> filled;
  ASSAY_CHECK(predictor.signature.fit_inputs(inputs, filled));
  const Json& typed = filled ? *filled : inputs;
  const auto work = [&] { return answer(node, predictor, typed); };
  auto result = run_node(node, "Predict", predictor.signature.name, typed, std::ref(work));
  if (result && node.settings().trace != nullptr) {
    node.settings().trace->steps.push_back({std::string(path.empty() ? name : path), typed, result->outputs});
  }
  return result;
}

Result<Prediction> run_refine(const Context& parent, std::string_view name, const RefineRule& rule, const Forward& inner,
                              const Json& inputs) {
  const Context node = parent.child(name);
  if (rule.attempts < 1) return fail(ErrorCode::usage, "Refine needs at least one attempt", "with_retries(1) or more", node.path());
  return run_node(node, "Operator", "refine", inputs, [&] { return refine(node, rule, inner, inputs); });
}

}  // namespace assay
