// The shape of an artifact, top down: program, predictors, modules, flow, code, tools; then what runs.
#include "assay/contract/artifact_shape.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "assay/base/nearest.h"
#include "assay/contract/artifact.h"
#include "assay/contract/privacy.h"
#include "assay/contract/shape.h"

namespace assay {
namespace {

using Kind = Json::Kind;

Result<void> check_strings(const Spot& list) {
  for (std::size_t i = 0; i < list.size(); ++i) ASSAY_CHECK(list.item(i).is(Kind::string));
  return {};
}

Result<void> check_type(const Spot& type);

Result<void> check_types(const Spot& list) {
  if (list.size() == 0) return list.error("no alternatives", "name one at least");
  for (std::size_t i = 0; i < list.size(); ++i) ASSAY_CHECK(check_type(list.item(i)));
  return {};
}

Result<void> check_type_name(const Spot& type) {
  constexpr std::string_view known[] = {"string", "integer", "number", "boolean", "array", "object", "null"};
  ASSAY_TRY(const auto name, type.get_if_set("type", Kind::string));
  if (!name || std::find(std::begin(known), std::end(known), name->value().as_string()) != std::end(known)) return {};
  return name->error(fmt::format("\"{}\" is no type of a value", name->value().as_string()));
}

// A type as schemas/signature.schema.json has it; what a combination means is for who runs it. As deep as the artifact is at most.
Result<void> check_type(const Spot& type) {
  ASSAY_CHECK(type.is(Kind::object));
  ASSAY_CHECK(check_type_name(type));
  for (const char* list : {"enum", "required", "x-order"}) {
    ASSAY_TRY(const auto texts, type.get_if_set(list, Kind::list));
    if (texts) ASSAY_CHECK(check_strings(*texts));
    if (texts && texts->size() == 0 && std::string_view(list) == "enum")
      return texts->error("a Literal without values", "name one at least");
  }
  ASSAY_TRY(const auto any_of, type.get_if_set("anyOf", Kind::list));
  if (any_of) ASSAY_CHECK(check_types(*any_of));
  ASSAY_TRY(const auto items, type.get_if_set("items", Kind::object));
  if (items) ASSAY_CHECK(check_type(*items));
  ASSAY_TRY(const auto properties, type.get_if_set("properties", Kind::object));
  if (properties) {
    for (const auto& [name, value] : properties->value().as_object()) ASSAY_CHECK(check_type(properties->member(name, value)));
  }
  const Json* const others = type.value().as_object().find("additionalProperties");
  if (others != nullptr && *others != Json(false)) ASSAY_CHECK(check_type(type.member("additionalProperties", *others)));
  ASSAY_CHECK(type.get_if_set("contentMediaType", Kind::string));
  ASSAY_TRY(const auto encoding, type.get_if_set("contentEncoding", Kind::string));
  if (encoding && encoding->value().as_string() != "base64") return encoding->error("content parts are base64");
  return {};
}

Result<void> check_field(const Spot& field, std::set<std::string>& names) {
  ASSAY_TRY(const std::string name, field.text("name"));
  if (!is_name(name)) return field.error("a field's name has letters, digits, '_', '.' and '-', and begins with a letter or '_'");
  if (!names.insert(name).second)
    return field.error(fmt::format("the field \"{}\" occurs twice in one signature", name), "rename one of them");
  ASSAY_CHECK(field.text("description"));
  ASSAY_TRY(const Spot type, field.get("schema", Kind::object));
  ASSAY_CHECK(check_type(type));
  ASSAY_TRY(const auto label, field.get_if_set("label", Kind::string));
  if (label) {
    if (auto mode = parse_privacy(label->value().as_string()); !mode) return label->error(mode.error().message, mode.error().remedy);
  }
  return {};
}

Result<void> check_signature(const Spot& signature) {
  ASSAY_TRY(const std::string name, signature.text("name"));
  if (!is_name(name)) return signature.error("a signature's name has letters, digits, '_', '.' and '-', and begins with a letter or '_'");
  ASSAY_CHECK(signature.text("instructions"));
  std::set<std::string> names;
  for (const char* side : {"inputs", "outputs"}) {
    ASSAY_TRY(const Spot fields, signature.get(side, Kind::list));
    for (std::size_t i = 0; i < fields.size(); ++i) ASSAY_CHECK(check_field(fields.item(i), names));
  }
  return {};
}

// Demo values are the signature's fields; one that the signature does not know would be dropped in silence when rendering.
Result<void> check_demo_side(const Spot& demo, const char* side, const Json& signature) {
  ASSAY_TRY(const Spot values, demo.get(side, Kind::object));
  for (const auto& [key, value] : values.value().as_object()) {
    const JsonList& fields = signature.at(side).as_list();
    const bool known = std::any_of(fields.begin(), fields.end(), [&](const Json& f) { return f.at("name").as_string() == key; });
    if (!known) return values.member(key, value).error(fmt::format("the signature has no field \"{}\" in its {}", key, side));
  }
  return {};
}

Result<void> check_demos(const Spot& demos, const Json& signature) {
  for (std::size_t i = 0; i < demos.size(); ++i) {
    const Spot demo = demos.item(i);
    ASSAY_CHECK(demo.is(Kind::object));
    ASSAY_CHECK(check_demo_side(demo, "inputs", signature));
    ASSAY_CHECK(check_demo_side(demo, "outputs", signature));
  }
  return {};
}

Result<void> check_frame(const Spot& frame) {  // what a template and each of its fallbacks have in common
  for (const char* key : {"renderer", "reader"}) {
    ASSAY_TRY(const std::string text, frame.text(key));
    if (text.empty()) return frame.error(fmt::format("\"{}\" is empty", key));
  }
  ASSAY_TRY(const Spot slots, frame.get("slots", Kind::object));
  for (const auto& [name, text] : slots.value().as_object()) ASSAY_CHECK(slots.member(name, text).is(Kind::string));
  return {};
}

Result<void> check_template(const Spot& spot) {
  ASSAY_CHECK(check_frame(spot));
  ASSAY_TRY(const Spot fallback, spot.get("fallback", Kind::list));
  for (std::size_t i = 0; i < fallback.size(); ++i) {
    ASSAY_CHECK(check_frame(fallback.item(i)));
    ASSAY_CHECK(fallback.item(i).text("on"));
  }
  return {};
}

Result<void> check_config(const Spot& config) {
  ASSAY_TRY(const double temperature, config.number("temperature"));
  if (temperature < 0) return config.error(fmt::format("temperature is 0 or more, found {}", number_text(temperature)));
  ASSAY_TRY(const double top_p, config.number("top_p"));
  if (top_p < 0 || top_p > 1) return config.error(fmt::format("top_p is from 0 to 1, found {}", number_text(top_p)));
  ASSAY_CHECK(config.integer("max_tokens", 1));
  ASSAY_CHECK(config.integer("n", 1, 65536));
  ASSAY_TRY(const Spot stop, config.get("stop", Kind::list));
  ASSAY_CHECK(check_strings(stop));
  ASSAY_TRY(const std::string policy, config.text("seed_policy"));
  if (policy != "fixed" && policy != "per_rollout" && policy != "none") {
    return config.error(fmt::format("seed_policy is \"fixed\", \"per_rollout\" or \"none\", found \"{}\"", policy));
  }
  for (const auto& [key, value] : config.value().as_object()) {
    if (value.is_null()) return config.member(key, value).error("a setting is never null", "leave it out");
  }
  for (const char* flag : {"constrain", "logprobs"}) ASSAY_CHECK(config.get_if_set(flag, Kind::boolean));
  ASSAY_TRY(const auto top, config.get_if_set("top_logprobs", Kind::integer));
  if (top) ASSAY_CHECK(config.integer("top_logprobs", 0, 20));
  return {};
}

Result<void> check_predictor(const Spot& predictor) {
  ASSAY_TRY(const std::string kind, predictor.text("kind"));
  if (kind.empty()) return predictor.error("\"kind\" is empty");
  ASSAY_TRY(const Spot signature, predictor.get("signature", Kind::object));
  ASSAY_CHECK(check_signature(signature));
  ASSAY_TRY(const Spot demos, predictor.get("demos", Kind::list));
  ASSAY_CHECK(check_demos(demos, signature.value()));
  ASSAY_TRY(const Spot frame, predictor.get("template", Kind::object));
  ASSAY_CHECK(check_template(frame));
  ASSAY_TRY(const Spot config, predictor.get("config", Kind::object));
  return check_config(config);
}

Result<void> check_ref(const Spot& ref) {
  ASSAY_TRY(const std::string name, ref.text("name"));
  if (!is_name(name)) return ref.error("a reward or metric needs a name");
  ASSAY_CHECK(ref.text("version"));
  ASSAY_CHECK(ref.hex_text("digest"));
  return {};
}

Result<void> check_refine(const Spot& params) {
  ASSAY_CHECK(params.integer("attempts", 1, 65536));
  ASSAY_CHECK(params.number("threshold"));
  ASSAY_CHECK(params.boolean("feedback"));
  ASSAY_TRY(const std::string end, params.text("on_exhausted"));
  if (end != "best" && end != "error") return params.error(fmt::format("on_exhausted is \"best\" or \"error\", found \"{}\"", end));
  ASSAY_TRY(const Spot reward, params.get("reward", Kind::object));
  ASSAY_CHECK(check_ref(reward));
  ASSAY_TRY(const Spot fallback, params.get("fallback", Kind::list));
  return check_strings(fallback);
}

Result<void> check_react(const Spot& params, const Json& tools) {
  ASSAY_CHECK(params.integer("max_iters", 1, 65536));
  ASSAY_TRY(const Spot names, params.get("tools", Kind::list));
  ASSAY_CHECK(check_strings(names));
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& name = names.item(i).value().as_string();
    if (!tools.as_object().contains(name)) return names.item(i).error(fmt::format("the artifact has no tool \"{}\"", name));
  }
  return {};
}

Result<void> check_module(const Spot& module, const Json& artifact) {
  ASSAY_TRY(const std::string kind, module.text("kind"));
  if (kind.empty()) return module.error("\"kind\" is empty");
  ASSAY_TRY(const Spot over, module.get("over", Kind::list));
  ASSAY_CHECK(check_strings(over));
  for (std::size_t i = 0; i < over.size(); ++i) {
    const std::string& path = over.item(i).value().as_string();
    if (!artifact.at("predictors").as_object().contains(path) && !artifact.at("modules").as_object().contains(path)) {
      return over.item(i).error(fmt::format("there is no predictor or module \"{}\"", path));
    }
  }
  ASSAY_TRY(const Spot params, module.get("params", Kind::object));
  const bool known = kind == "refine/1" || kind == "react/1";
  if (known && over.size() == 0) return over.error(fmt::format("a {} module works over at least one path", kind));
  if (kind == "refine/1" && over.size() != 1) return over.error("a refine/1 module works over exactly one path");
  if (kind == "refine/1") return check_refine(params);
  if (kind == "react/1") return check_react(params, artifact.at("tools"));
  return {};
}

// Depth-first over `over`; the number of modules bounds the depth, and the artifact's size bounds that.
Result<void> check_no_cycle(const Spot& modules, const std::string& path, std::set<std::string>& done, std::vector<std::string>& open) {
  const Json* module = modules.value().as_object().find(path);
  if (module == nullptr || done.contains(path)) return {};
  if (std::find(open.begin(), open.end(), path) != open.end()) {
    return modules.member(path, *module).error("the module works over itself", "let it lead to a predictor");
  }
  if (open.size() >= artifact_limits.depth_max) return modules.member(path, *module).error("modules are nested too deeply");
  open.push_back(path);
  for (const Json& under : module->at("over").as_list()) ASSAY_CHECK(check_no_cycle(modules, under.as_string(), done, open));
  open.pop_back();
  done.insert(path);
  return {};
}

bool has_field(const Json& fields, std::string_view name) {
  const JsonList& list = fields.as_list();
  return std::any_of(list.begin(), list.end(), [&](const Json& field) { return field.at("name").as_string() == name; });
}

// What may have been meant, as a remedy.
std::string near_field(const Json& fields, std::string_view name) {
  std::vector<std::string_view> known;
  if (fields.is_list()) {
    for (const Json& field : fields.as_list()) {
      if (field.at("name").is_string()) known.push_back(field.at("name").as_string());
    }
  }
  const std::string near = nearest(name, known);
  return near.empty() ? fmt::format("it has: {}", fmt::join(known, ", ")) : fmt::format("did you mean \"{}\"?", near);
}

std::unexpected<Error> no_node(const Spot& source, const std::string& name, const Json& flow, const std::vector<std::string>& before) {
  const JsonList& nodes = flow.at("nodes").as_list();
  if (std::any_of(nodes.begin(), nodes.end(), [&](const Json& node) { return node.at("id") == Json(name); }))
    return source.error(fmt::format("the node \"{}\" is not before this place", name),
                        "list nodes after those they use; none uses its own outputs");
  std::vector<std::string_view> known{"input"};
  known.insert(known.end(), before.begin(), before.end());
  const std::string near = nearest(name, known);
  return source.error(fmt::format("there is no node \"{}\"", name),
                      near.empty() ? fmt::format("there are: {}", fmt::join(known, ", ")) : fmt::format("did you mean \"{}\"?", near));
}

// A source is "input.FIELD" or "NODE.FIELD"; node ids have no dot, so the first dot divides.
Result<void> check_source(const Spot& source, const Json& flow, const Json& artifact, const std::vector<std::string>& before) {
  ASSAY_CHECK(source.is(Kind::string));
  const std::string& text = source.value().as_string();
  const std::size_t dot = text.find('.');
  if (dot == std::string::npos) return source.error(fmt::format("expected \"input.FIELD\" or \"NODE.FIELD\", found \"{}\"", text));
  const std::string node = text.substr(0, dot);
  const std::string field = text.substr(dot + 1);
  if (!is_name(field)) return source.error(fmt::format("\"{}\" is no name of a field", field));
  if (node == "input") {
    if (has_field(flow.at("signature").at("inputs"), field)) return {};
    return source.error(fmt::format("the flow has no input \"{}\"", field), near_field(flow.at("signature").at("inputs"), field));
  }
  const auto at = std::find(before.begin(), before.end(), node);
  if (at == before.end()) return no_node(source, node, flow, before);
  const std::string& run = flow.at("nodes").as_list()[static_cast<std::size_t>(at - before.begin())].at("run").as_string();
  const Json* signature = signature_under(artifact, run);
  if (signature != nullptr && !has_field(signature->at("outputs"), field)) {
    return source.error(fmt::format("\"{}\" has no output \"{}\"", node, field), near_field(signature->at("outputs"), field));
  }
  return {};
}

Result<void> check_flow_node(const Spot& node, const Json& flow, const Json& artifact, std::vector<std::string>& before) {
  ASSAY_TRY(const std::string id, node.text("id"));
  if (!is_name(id) || id.find('.') != std::string::npos || id == "input") {
    return node.error(fmt::format("\"{}\" is no node id", id), "use letters, digits, '_' and '-', and not \"input\"");
  }
  if (std::find(before.begin(), before.end(), id) != before.end()) return node.error(fmt::format("the node id \"{}\" occurs twice", id));
  ASSAY_TRY(const std::string run, node.text("run"));
  if (!artifact.at("predictors").as_object().contains(run) && !artifact.at("modules").as_object().contains(run)) {
    return node.error(fmt::format("there is no predictor or module \"{}\"", run));
  }
  ASSAY_TRY(const Spot in, node.get("in", Kind::object));
  const Json* signature = signature_under(artifact, run);
  for (const auto& [field, source] : in.value().as_object()) {
    const Spot spot = in.member(field, source);
    if (signature != nullptr && !has_field(signature->at("inputs"), field))
      return spot.error(fmt::format("\"{}\" has no input \"{}\"", run, field), near_field(signature->at("inputs"), field));
    ASSAY_CHECK(check_source(spot, flow, artifact, before));
  }
  before.push_back(id);
  return {};
}

Result<void> check_flow(const Spot& flow, const Json& artifact) {
  ASSAY_TRY(const Spot signature, flow.get("signature", Kind::object));
  ASSAY_CHECK(check_signature(signature));
  ASSAY_TRY(const Spot nodes, flow.get("nodes", Kind::list));
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < nodes.size(); ++i) ASSAY_CHECK(check_flow_node(nodes.item(i), flow.value(), artifact, ids));
  ASSAY_TRY(const Spot out, flow.get("out", Kind::object));
  for (const auto& [field, source] : out.value().as_object()) {
    const Spot spot = out.member(field, source);
    if (const Json& outputs = signature.value().at("outputs"); !has_field(outputs, field))
      return spot.error(fmt::format("the flow has no output \"{}\"", field), near_field(outputs, field));
    ASSAY_CHECK(check_source(spot, flow.value(), artifact, ids));
  }
  for (const Json& field : signature.value().at("outputs").as_list()) {
    if (!out.value().as_object().contains(field.at("name").as_string())) {
      return out.error(fmt::format("the output \"{}\" comes from nowhere", field.at("name").as_string()), "name its \"node.field\"");
    }
  }
  return {};
}

Result<void> check_code(const Spot& code) {
  ASSAY_TRY(const Spot signature, code.get("signature", Kind::object));
  ASSAY_CHECK(check_signature(signature));
  ASSAY_TRY(const std::string name, code.text("name"));
  if (name.empty()) return code.error("the code needs a name");
  ASSAY_CHECK(code.text("version"));
  ASSAY_CHECK(code.hex_text("digest"));
  ASSAY_CHECK(code.boolean("declared"));
  return {};
}

Result<void> check_tools(const Spot& tools) {
  for (const auto& [name, tool] : tools.value().as_object()) {
    const Spot spot = tools.member(name, tool);
    if (!is_name(name)) return spot.error(fmt::format("\"{}\" is no tool name", name));
    ASSAY_CHECK(spot.text("description"));
    ASSAY_CHECK(spot.get("schema", Kind::object));
    ASSAY_TRY(const auto digest, spot.get_or_null("digest", Kind::string));
    if (digest) ASSAY_CHECK(spot.hex_text("digest"));
  }
  return {};
}

Result<void> check_program(const Spot& program) {
  ASSAY_TRY(const std::string name, program.text("name"));
  if (!is_name(name)) return program.error(fmt::format("\"{}\" is no program name", name), "use letters, digits, '_', '.' and '-'");
  ASSAY_CHECK(program.text("version"));
  return {};
}

// Exactly one of entry, flow and code runs.
Result<void> check_what_runs(const Spot& root) {
  ASSAY_TRY(const auto entry, root.get_or_null("entry", Kind::string));
  ASSAY_TRY(const auto flow, root.get_or_null("flow", Kind::object));
  ASSAY_TRY(const auto code, root.get_or_null("code", Kind::object));
  const int runs = (entry ? 1 : 0) + (flow ? 1 : 0) + (code ? 1 : 0);
  if (runs != 1) return root.error(fmt::format("exactly one of \"entry\", \"flow\" and \"code\" is not null, found {}", runs));
  if (entry && signature_under(root.value(), entry->value().as_string()) == nullptr) {
    return entry->error(fmt::format("there is no predictor at or under \"{}\"", entry->value().as_string()));
  }
  if (flow) return check_flow(*flow, root.value());
  if (code) return check_code(*code);
  return {};
}

Result<void> check_paths(const Spot& parts) {
  for (const auto& [path, part] : parts.value().as_object()) {
    if (!is_path(path)) return parts.member(path, part).error(fmt::format("\"{}\" is no path: names joined by '/'", path));
  }
  return {};
}

}  // namespace

const Json* signature_under(const Json& artifact, std::string_view path) {
  std::string at(path);
  for (std::size_t round = 0; round <= artifact_limits.depth_max; ++round) {  // modules nest at most so deep
    if (const Json& predictor = artifact.at("predictors").at(at); predictor.is_object()) return &predictor.at("signature");
    const Json& over = artifact.at("modules").at(at).at("over");
    if (!over.is_list() || over.as_list().empty() || !over.as_list()[0].is_string()) return nullptr;
    at = over.as_list()[0].as_string();
  }
  return nullptr;
}

Result<void> check_signature_shape(const Json& signature, const std::string& path) {
  const Spot spot(signature, path);
  ASSAY_CHECK(spot.is(Kind::object));
  return check_signature(spot);
}

Result<void> check_artifact_shape(const Json& artifact) {
  const Spot root(artifact, "");
  ASSAY_CHECK(root.is(Kind::object));
  ASSAY_CHECK(root.text("format"));
  ASSAY_TRY(const Spot program, root.get("program", Kind::object));
  ASSAY_CHECK(check_program(program));
  ASSAY_TRY(const Spot predictors, root.get("predictors", Kind::object));
  ASSAY_TRY(const Spot modules, root.get("modules", Kind::object));
  ASSAY_TRY(const Spot tools, root.get("tools", Kind::object));
  ASSAY_CHECK(check_paths(predictors));
  ASSAY_CHECK(check_paths(modules));
  ASSAY_CHECK(check_tools(tools));
  for (const auto& [path, value] : predictors.value().as_object()) ASSAY_CHECK(check_predictor(predictors.member(path, value)));
  for (const auto& [path, value] : modules.value().as_object()) {
    const Spot module = modules.member(path, value);
    if (predictors.value().as_object().contains(path))
      return module.error("a predictor and a module have the same path", "rename one of them");
    ASSAY_CHECK(check_module(module, artifact));
  }
  std::set<std::string> done;
  std::vector<std::string> open;
  for (const auto& [path, value] : modules.value().as_object()) ASSAY_CHECK(check_no_cycle(modules, path, done, open));
  return check_what_runs(root);
}

}  // namespace assay
