#include "assay/program/program.h"

#include <algorithm>

#include <fmt/format.h>

namespace assay {
namespace {

Result<RefineRule> read_refine(const Json& params, const Rewards& rewards) {
  RefineRule rule;
  ASSAY_TRY(rule.attempts, int_member(params, "attempts"));
  ASSAY_TRY(rule.threshold, number_member(params, "threshold"));
  ASSAY_TRY(const std::string exhausted, string_member(params, "on_exhausted"));
  if (exhausted != "best" && exhausted != "error") {
    return fail(ErrorCode::refused, fmt::format("unknown on_exhausted '{}'", exhausted), "best or error", "on_exhausted");
  }
  rule.best_on_exhausted = exhausted == "best";
  ASSAY_TRY(const bool feedback, bool_member(params, "feedback"));
  if (feedback) return fail(ErrorCode::refused, "unsupported: feedback=true", "compile the module with feedback = false", "feedback");
  if (rule.attempts < 1 || rule.attempts > refine_attempts_max)
    return fail(ErrorCode::limit_exceeded, fmt::format("attempts lie between 1 and {}", refine_attempts_max), "", "attempts");
  ASSAY_TRY(const Json* reward, member(params, "reward", Json::Kind::object));
  ASSAY_TRY(const CodeRef ref, CodeRef::read(*reward));
  ASSAY_TRY(const Reward found, rewards.find(ref));
  rule.reward = found.function;
  ASSAY_TRY(const Json* fallback, member(params, "fallback", Json::Kind::list));
  for (const Json& lane : fallback->as_list()) {
    if (!lane.is_string()) return fail(ErrorCode::malformed, "a fallback lane is named by a text like lm:any", "", "fallback");
    rule.fallback_requirements.push_back(lane.as_string());
  }
  return rule;
}

}  // namespace

std::pair<std::string, std::string> split_reference(std::string_view reference) {
  const std::size_t dot = reference.find('.');
  if (dot == std::string_view::npos) return {std::string(reference), ""};
  return {std::string(reference.substr(0, dot)), std::string(reference.substr(dot + 1))};
}

Result<Program> Program::load(Artifact artifact, const Rewards& rewards) {
  ASSAY_CHECK(artifact.check_supported());
  Program program(std::move(artifact));
  program.rewards_ = rewards;
  ASSAY_TRY(const CompiledId id, program.artifact_.id());
  program.id_ = id.hex();
  if (!program.artifact_.code().is_null()) {
    return fail(ErrorCode::refused,
                fmt::format("the module runs code '{}' that is not part of this build", program.artifact_.code().at("name").as_string()),
                "run it with the program that registers this code", "code");
  }
  if (!program.artifact_.tools().empty())
    return fail(ErrorCode::refused, "the module needs tools, and none are registered here", "", "tools");
  for (const auto& [path, value] : program.artifact_.predictors()) {
    auto predictor = Predictor::read(value);
    if (!predictor) return std::unexpected(std::move(predictor.error()).in("predictors." + path));
    program.predictors_.emplace(path, std::move(*predictor));
  }
  for (const auto& [path, value] : program.artifact_.modules()) {
    if (value.at("kind") != Json("refine/1")) {
      return fail(ErrorCode::refused, fmt::format("unknown module kind {}", value.at("kind").as_string()), "this build runs refine/1",
                  "modules." + path);
    }
    const Json& over = value.at("over");
    if (over.as_list().size() != 1) return fail(ErrorCode::malformed, "refine/1 is over exactly one part", "", "modules." + path + ".over");
    auto rule = read_refine(value.at("params"), rewards);
    if (!rule) return std::unexpected(std::move(rule.error()).in("modules." + path + ".params"));
    program.refines_.emplace(path, RefineModule{over.as_list()[0].as_string(), std::move(*rule)});
  }
  auto signature = Signature::read(program.artifact_.signature());
  if (!signature) return std::unexpected(std::move(signature.error()).in("signature"));
  program.signature_ = std::move(*signature);
  if (const Json& flow = program.artifact_.flow(); !flow.is_null()) {
    if (auto read = program.read_flow(flow); !read) return std::unexpected(std::move(read.error()).in("flow"));
  }
  return program;
}

Result<void> Program::read_flow(const Json& flow) {
  for (const Json& node : flow.at("nodes").as_list()) {
    FlowNode step{node.at("id").as_string(), node.at("run").as_string(), {}, {}};
    for (const auto& [field, source] : node.at("in").as_object()) step.in.emplace(field, source.as_string());
    if (const auto under = predictors_under(step.run); !under.empty()) step.predictor = under.front();
    flow_.push_back(std::move(step));
  }
  for (const auto& [field, source] : flow.at("out").as_object()) flow_out_.emplace(field, source.as_string());
  return check_wires(flow);
}

// Null: nothing is known about it.
const Json* Program::schema_of(const std::string& reference) const {
  const auto [node, name] = split_reference(reference);
  const Field* field = node == "input" ? signature_.input(name) : nullptr;
  for (const FlowNode& step : flow_) {
    if (step.id == node && !step.predictor.empty()) field = predictors_.at(step.predictor).signature.output(name);
  }
  return field != nullptr ? &field->schema : nullptr;
}

// What can never work is told before anything is asked.
Result<void> Program::check_wires(const Json& flow) const {
  const auto check = [&](const Field* to, const std::string& source, const std::string& place) -> Result<void> {
    const Json* from = schema_of(source);
    if (to == nullptr || from == nullptr || may_fit(*from, to->schema)) return {};
    return fail(ErrorCode::malformed, fmt::format("'{}' never takes what {} is: their types have no value in common", to->name, source),
                "give both the same type", place);
  };
  for (std::size_t i = 0; i < flow_.size(); ++i) {
    const FlowNode& step = flow_[i];
    if (step.predictor.empty()) continue;
    const Signature& signature = predictors_.at(step.predictor).signature;
    const std::string place = fmt::format("nodes[{}].in", i);
    for (const auto& [field, source] : step.in) ASSAY_CHECK(check(signature.input(field), source, place + "." + field));
    for (const Field& field : signature.inputs) {
      if (!step.in.contains(field.name) && !is_optional(field.schema))
        return fail(ErrorCode::malformed, fmt::format("the step '{}' needs '{}', and nothing gives it", step.id, field.name),
                    fmt::format("in = {{ {} = \"step.field\" }}", field.name), place);
    }
  }
  for (const auto& [field, source] : flow.at("out").as_object())
    ASSAY_CHECK(check(signature_.output(field), source.as_string(), "out." + field));
  return {};
}

Result<Prediction> Program::forward(const Context& context, const Json& inputs) const {
  ASSAY_TRY(const Json typed, signature_.check_inputs(inputs));
  if (!flow_.empty()) return run_flow(context, typed);
  return run_path(context, artifact_.entry(), artifact_.entry(), typed);
}

Result<Prediction> Program::run_path(const Context& context, std::string_view name, const std::string& path, const Json& inputs) const {
  const auto predictor = predictors_.find(path);
  if (predictor != predictors_.end()) return run_predictor(context, name, predictor->second, inputs, path);
  const auto refine = refines_.find(path);
  if (refine == refines_.end()) return fail(ErrorCode::malformed, fmt::format("nothing runs under '{}'", path), "", path);
  const std::string& over = refine->second.over;
  return run_refine(
      context, name, refine->second.rule, [&](const Context& attempt, const Json& given) { return run_path(attempt, over, over, given); },
      inputs);
}

// An answer that fits its own signature and not what comes next is a failed execution, as an unreadable one is (formats.md §3, p_fail); it
// is no mistake in the program's inputs.
Result<void> Program::check_step(const FlowNode& step, const Json& given) const {
  if (step.predictor.empty()) return {};
  std::optional<Json> filled;
  auto fits = predictors_.at(step.predictor).signature.fit_inputs(given, filled);
  if (fits) return {};
  Error error = std::move(fits.error());
  const std::string field = error.path.starts_with("inputs.") ? error.path.substr(error.path.find('.') + 1) : "";
  const auto source = step.in.find(field.substr(0, field.find_first_of(".[")));
  const std::string what = source != step.in.end() ? fmt::format("{} as its {}", source->second, source->first) : "what it is given";
  return fail(ErrorCode::mismatch, fmt::format("the step '{}' cannot take {}: {}", step.id, what, error.message),
              "the signatures of both steps say what it may be", fmt::format("steps.{}.{}", step.id, field));
}

Result<Prediction> Program::run_flow(const Context& context, const Json& inputs) const {
  std::map<std::string, Json> outputs{{"input", inputs}};
  Prediction out;
  const auto value_of = [&](const std::string& reference) -> Json {
    const auto [node, field] = split_reference(reference);
    const auto at = outputs.find(node);
    return at == outputs.end() ? Json() : at->second.at(field);
  };
  for (const FlowNode& step : flow_) {
    Json given = JsonObject{};
    for (const auto& [field, source] : step.in) given.set(field, value_of(source));
    ASSAY_CHECK(check_step(step, given));
    ASSAY_TRY(Prediction result, run_path(context, step.id, step.run, given));
    out.totals.add(result.totals);
    outputs.insert_or_assign(step.id, std::move(result.outputs));
  }
  for (const auto& [field, source] : flow_out_) out.outputs.set(field, value_of(source));
  if (auto fits = signature_.fit_outputs(out.outputs); !fits) {
    fits.error().code = ErrorCode::mismatch;
    fits.error().message.insert(0, "what the steps answered is no output of the program: ");
    return std::unexpected(std::move(fits.error()));
  }
  return out;
}

Result<void> Program::check_fallbacks(const Settings& settings) const {
  for (const auto& [path, refine] : refines_) {
    for (const std::string& requirement : refine.rule.fallback_requirements) {
      auto lane = fallback_lane(settings, requirement);
      if (!lane) return std::unexpected(std::move(lane.error()).in("modules." + path));
    }
  }
  return {};
}

std::vector<std::string> Program::predictors_under(const std::string& path) const {
  std::string at = path;
  for (std::size_t steps = 0; steps <= refines_.size(); ++steps) {  // a Refine is over one part, which may be a Refine
    if (predictors_.contains(at)) return {at};
    const auto refine = refines_.find(at);
    if (refine == refines_.end()) break;
    at = refine->second.over;
  }
  return {};
}

Result<void> Program::check_lanes(const Settings& settings, const Effects& effects) const {
  try {
    return ask_lanes(settings, effects);
  } catch (const std::exception& thrown) {  // a lane is anyone's code
    return fail(ErrorCode::internal, fmt::format("a lane threw: {}", to_utf8(thrown.what())), "mend the lane");
  } catch (...) {
    return fail(ErrorCode::internal, "a lane threw something that is no exception", "mend the lane");
  }
}

Result<void> Program::ask_lanes(const Settings& settings, const Effects& effects) const {
  ASSAY_CHECK(check_fallbacks(settings));
  const auto check = [&](const std::shared_ptr<LM>& lane, const std::string& path) -> Result<void> {
    if (lane == nullptr) return {};
    auto takes = check_lane(*lane, predictors_.at(path), settings, effects);
    return takes ? takes : std::unexpected(std::move(takes.error()).in(path));
  };
  for (const auto& [path, predictor] : predictors_) ASSAY_CHECK(check(settings.lm, path));
  for (const auto& [path, refine] : refines_) {
    std::vector<std::shared_ptr<LM>> lanes = refine.rule.fallback_lanes;
    for (const std::string& requirement : refine.rule.fallback_requirements) {
      ASSAY_TRY(lanes.emplace_back(), fallback_lane(settings, requirement));
    }
    for (const std::string& under : predictors_under(path)) {
      for (const auto& lane : lanes) ASSAY_CHECK(check(lane, under));
    }
  }
  return {};
}

std::vector<std::string> Program::predictor_paths() const {
  std::vector<std::string> out;
  for (const auto& [path, predictor] : predictors_) out.push_back(path);
  return out;
}

Result<Program> Program::with_demos(std::string_view path, JsonList demos) const {
  ASSAY_TRY(Artifact changed, artifact_.with_demos(path, std::move(demos)));
  ASSAY_TRY(const Program loaded, load(std::move(changed), rewards_));
  return loaded.with_fallbacks(fallbacks_);
}

Result<Program> Program::with_instructions(std::string_view path, std::string text) const {
  ASSAY_TRY(Artifact changed, artifact_.with_instructions(path, std::move(text)));
  ASSAY_TRY(const Program loaded, load(std::move(changed), rewards_));
  return loaded.with_fallbacks(fallbacks_);
}

Result<Program> Program::with_config(std::string_view path, std::string_view key, Json value) const {
  const auto at = predictors_.find(std::string(path));
  if (at == predictors_.end()) return fail(ErrorCode::usage, fmt::format("no predictor '{}'", path));
  Json config = at->second.config;
  config.set(std::string(key), std::move(value));
  ASSAY_TRY(Artifact changed, artifact_.with_config(path, std::move(config)));
  ASSAY_TRY(const Program loaded, load(std::move(changed), rewards_));
  return loaded.with_fallbacks(fallbacks_);
}

Program Program::with_fallbacks(const Fallbacks& lanes) const {
  Program out = *this;
  out.fallbacks_ = lanes;
  for (const auto& [path, list] : lanes) {
    const auto at = out.refines_.find(path);
    if (at == out.refines_.end()) continue;
    at->second.rule.fallback_lanes = list;
    at->second.rule.fallback_requirements.clear();
  }
  return out;
}

Result<void> ArtifactParts::add_predictor(const std::string& path, const Predictor& predictor) {
  if (predictors_.contains(path) || modules_.contains(path)) {
    return fail(ErrorCode::usage, fmt::format("two parts are called '{}'", path), "name them apart");
  }
  predictors_.set(path, predictor.to_json());
  return {};
}

Result<void> ArtifactParts::add_module(const std::string& path, Json module) {
  if (predictors_.contains(path) || modules_.contains(path)) {
    return fail(ErrorCode::usage, fmt::format("two parts are called '{}'", path), "name them apart");
  }
  modules_.set(path, std::move(module));
  return {};
}

Json ArtifactParts::base(const std::string& name, const std::string& version) const {
  return JsonObject{{"format", artifact_format},
                    {"program", JsonObject{{"name", name}, {"version", version}}},
                    {"entry", Json()},
                    {"predictors", predictors_},
                    {"modules", modules_},
                    {"flow", Json()},
                    {"code", Json()},
                    {"tools", JsonObject{}}};
}

Result<Artifact> ArtifactParts::artifact(const std::string& name, const std::string& version, const std::string& entry) const {
  Json json = base(name, version);
  json.set("entry", entry);
  return Artifact::read(json);
}

Result<Artifact> ArtifactParts::artifact_with_flow(const std::string& name, const std::string& version, Json flow) const {
  Json json = base(name, version);
  json.set("flow", std::move(flow));
  return Artifact::read(json);
}

}  // namespace assay
