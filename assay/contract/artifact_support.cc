// What of an artifact this implementation does not understand, by name and place. Ignoring any of it would send or read
// something else than the id says.
#include <algorithm>
#include <initializer_list>

#include <fmt/format.h>

#include "assay/contract/artifact.h"
#include "assay/contract/shape.h"

namespace assay {
namespace {

class Unsupported {
 public:
  Unsupported(const Supported& supported) : supported_(supported) {}
  std::vector<std::string> found;

  void artifact(const Spot& root) {
    members(root, {"format", "program", "entry", "predictors", "modules", "flow", "code", "tools"});
    members(at(root, "program"), {"name", "version"});
    each(at(root, "predictors"), [this](const Spot& spot) { predictor(spot); });
    each(at(root, "modules"), [this](const Spot& spot) { module(spot); });
    each(at(root, "tools"), [this](const Spot& spot) {
      members(spot, {"description", "schema", "digest"});
      schema(at(spot, "schema"));
    });
    flow(at(root, "flow"));
    const Spot code = at(root, "code");
    members(code, {"signature", "name", "version", "digest", "declared"});
    signature(at(code, "signature"));
  }

 private:
  static Spot at(const Spot& spot, std::string_view key) { return spot.member(key, spot.value().at(key)); }

  template <class Visit>
  static void each(const Spot& spot, Visit visit) {
    if (spot.value().is_object()) {
      for (const auto& [key, value] : spot.value().as_object()) visit(spot.member(key, value));
    } else if (spot.value().is_list()) {
      for (std::size_t i = 0; i < spot.size(); ++i) visit(spot.item(i));
    }
  }

  void report(std::string_view what, std::string_view which, const Spot& spot) {
    found.push_back(spot.path().empty() ? fmt::format("{} {}", what, which) : fmt::format("{} {} ({})", what, which, spot.path()));
  }

  void members(const Spot& spot, std::initializer_list<std::string_view> known) {
    if (!spot.value().is_object()) return;
    for (const auto& [key, value] : spot.others(known)) report("member", key, spot);
  }

  void known(std::string_view what, const Spot& spot, const std::vector<std::string>& list) {
    const Json& value = spot.value().at(what);
    if (!value.is_string() || std::find(list.begin(), list.end(), value.as_string()) != list.end()) return;
    report(what, value.as_string(), spot);
  }

  void signature(const Spot& spot) {
    members(spot, {"name", "instructions", "inputs", "outputs"});
    for (const char* side : {"inputs", "outputs"}) {
      each(at(spot, side), [this](const Spot& field) {
        members(field, {"name", "description", "schema", "label"});
        schema(at(field, "schema"));
      });
    }
  }

  // A keyword of JSON Schema that is not understood would let values through that the signature forbids.
  void schema(const Spot& spot) {
    if (!spot.value().is_object()) return;
    for (const auto& [key, value] : spot.value().as_object()) {
      const auto& words = supported_.schema_keywords;
      if (std::find(words.begin(), words.end(), key) == words.end()) report("schema keyword", key, spot);
    }
    for (const char* key : {"items", "additionalProperties"}) schema(at(spot, key));
    each(at(spot, "anyOf"), [this](const Spot& part) { schema(part); });
    each(at(spot, "properties"), [this](const Spot& part) { schema(part); });
  }

  void frame(const Spot& spot) {
    known("renderer", spot, supported_.renderers);
    known("reader", spot, supported_.readers);
  }

  void predictor(const Spot& spot) {
    members(spot, {"kind", "signature", "demos", "template", "config"});
    known("kind", spot, supported_.predictor_kinds);
    signature(at(spot, "signature"));
    each(at(spot, "demos"), [this](const Spot& demo) { members(demo, {"inputs", "outputs"}); });
    const Spot frames = at(spot, "template");
    members(frames, {"renderer", "reader", "slots", "fallback"});
    frame(frames);
    each(at(frames, "fallback"), [this](const Spot& other) {
      members(other, {"on", "renderer", "reader", "slots"});
      frame(other);
    });
    const Spot config = at(spot, "config");
    if (!config.value().is_object()) return;
    for (const auto& [key, value] : config.others({"temperature", "top_p", "max_tokens", "stop", "n", "seed_policy"})) {
      const auto& settings = supported_.config_settings;
      if (std::find(settings.begin(), settings.end(), key) == settings.end()) report("setting", key, config);
    }
  }

  void module(const Spot& spot) {
    members(spot, {"kind", "over", "params"});
    known("kind", spot, supported_.module_kinds);
    const Spot params = at(spot, "params");
    const Json& kind = spot.value().at("kind");
    if (kind == Json("refine/1")) {
      members(params, {"attempts", "threshold", "on_exhausted", "feedback", "reward", "fallback"});
      members(at(params, "reward"), {"name", "version", "digest"});
    }
    if (kind == Json("react/1")) members(params, {"max_iters", "tools"});
  }

  void flow(const Spot& spot) {
    members(spot, {"signature", "nodes", "out"});
    signature(at(spot, "signature"));
    each(at(spot, "nodes"), [this](const Spot& node) { members(node, {"id", "run", "in"}); });
  }

  const Supported& supported_;
};

}  // namespace

std::vector<std::string> Artifact::unsupported(const Supported& supported) const {
  const Json& format = json_.at("format");
  if (format != Json(artifact_format)) return {fmt::format("format {}", format.as_string())};
  Unsupported walk(supported);
  walk.artifact(Spot(json_, ""));
  return std::move(walk.found);
}

}  // namespace assay
