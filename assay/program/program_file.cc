#include "assay/program/program_file.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/nearest.h"
#include "assay/lm/logprobs.h"
#include "assay/program/module.h"
#include "assay/program/toml_table.h"

namespace assay {
namespace {

constexpr std::size_t file_bytes_max = std::size_t{1} << 20;

Result<std::map<std::string, Signature>> read_signatures(const TomlTable& root) {
  std::map<std::string, Signature> out;
  ASSAY_TRY(const TomlTable all, root.table("signature"));
  for (const std::string& name : all.keys()) {
    ASSAY_TRY(const TomlTable table, all.table(name));
    ASSAY_CHECK(table.only({"text", "instructions", "describe", "labels"}));
    std::string text, instructions;
    ASSAY_CHECK(table.text("text", text));
    ASSAY_CHECK(table.text("instructions", instructions));
    auto signature = Signature::parse(text, name, std::string(trim(instructions)));
    if (!signature)
      return table.error("text", signature.error().message + (signature.error().path.empty() ? "" : " at " + signature.error().path),
                         signature.error().remedy);
    for (const char* what : {"describe", "labels"}) {
      if (!table.has(what)) continue;
      ASSAY_TRY(const TomlTable notes, table.table(what));
      for (const std::string& field : notes.keys()) {
        std::string note;
        ASSAY_CHECK(notes.text(field, note));
        bool known = false;
        if (const auto mode = parse_privacy(note); std::string_view(what) == "labels" && !mode)
          return notes.error(field, mode.error().message, mode.error().remedy);
        for (auto* side : {&signature->inputs, &signature->outputs}) {
          for (Field& f : *side) {
            if (f.name != field) continue;
            known = true;
            (std::string_view(what) == "describe" ? f.description : f.label) = note;
          }
        }
        if (!known) return notes.error(field, fmt::format("the signature {} has no field '{}'", name, field));
      }
    }
    out.emplace(name, std::move(*signature));
  }
  return out;
}

// Types are looked at here, where the place in the file is known; what a value may be is the artifact's matter.
Result<void> read_config(const TomlTable& config, Json& out) {
  double number = 0;
  std::int64_t whole = 0;
  bool yes = false;
  std::string text;
  std::vector<std::string> list;
  for (const char* key : {"temperature", "top_p"}) ASSAY_CHECK(config.number(key, number));
  for (const char* key : {"max_tokens", "n", "top_logprobs"}) ASSAY_CHECK(config.integer(key, whole));
  ASSAY_CHECK(config.texts("stop", list));
  if (std::find(list.begin(), list.end(), std::string()) != list.end())
    return config.error("stop", "an empty stop text would end every answer before it begins");
  ASSAY_CHECK(config.text("seed_policy", text));
  for (const char* key : {"constrain", "logprobs"}) ASSAY_CHECK(config.boolean(key, yes));
  ASSAY_TRY(const Json given, config.as_json());
  for (const auto& [key, value] : given.as_object()) out.set(key, value);
  if (config.has("max_tokens") && out.at("max_tokens").as_int() < 1)
    return config.error("max_tokens", "max_tokens is at least 1", "give as many as the longest answer needs, e.g. 16");
  if (config.has("n") && (out.at("n").as_int() < 1 || out.at("n").as_int() > answers_max))
    return config.error("n", fmt::format("n lies between 1 and {}", answers_max));
  if (config.has("temperature") && out.at("temperature").as_double() < 0)
    return config.error("temperature", "a temperature is not negative");
  if (config.has("top_p") && !(out.at("top_p").as_double() > 0 && out.at("top_p").as_double() <= 1))
    return config.error("top_p", "top_p lies above 0 and is at most 1");
  if (auto wanted = logprobs_wanted(out); !wanted)
    return config.error(wanted.error().path.substr(wanted.error().path.find('.') + 1), wanted.error().message, wanted.error().remedy);
  if (config.has("seed_policy") && text != "fixed" && text != "per_rollout" && text != "none")
    return config.error("seed_policy", fmt::format("unknown seed_policy '{}'", text), "fixed, per_rollout or none");
  return {};
}

// A program of one step is that step: what only a flow can use has no place there.
Result<void> check_single(const TomlTable& head, const TomlTable& step, const Signature& used) {
  if (step.has("in")) {
    return step.error("in", "a program of one step takes its signature's inputs as they are",
                      "leave 'in' out, or give [program] a signature and 'out' to make it a flow");
  }
  std::string named;
  ASSAY_CHECK(head.text("signature", named));
  if (named.empty() || named == used.name) return {};
  return head.error("signature", fmt::format("the program's only step has the signature {}, not {}", used.name, named),
                    "leave [program] signature out, or give 'out' too to make it a flow");
}

// [[step]]: one part of the program. Returns the path that runs it (the Refine around it, if there is one).
Result<std::string> read_step(const TomlTable& step, const std::map<std::string, Signature>& signatures, const Rewards& rewards,
                              ArtifactParts& parts, Signature* used) {
  ASSAY_CHECK(step.only({"id", "kind", "signature", "config", "slots", "in", "refine"}));
  std::string id, kind = "predict", signature_name;
  ASSAY_CHECK(step.text("id", id));
  ASSAY_CHECK(step.text("kind", kind));
  ASSAY_CHECK(step.text("signature", signature_name));
  if (!is_name(id)) return step.error("id", "a step has an 'id' of letters, digits, '_', '.' and '-', at most 128 of them");
  const auto signature = signatures.find(signature_name);
  if (signature == signatures.end()) {
    std::vector<std::string_view> known;
    for (const auto& [name, value] : signatures) known.push_back(name);
    const std::string near = nearest(signature_name, known);
    return step.error("signature", fmt::format("there is no signature '{}'", signature_name),
                      near.empty() ? "add [signature.NAME]" : fmt::format("did you mean '{}'?", near));
  }
  Predictor predictor;
  if (kind == "predict") predictor.kind = "predict/1";
  else if (kind == "chain_of_thought") predictor.kind = "chain_of_thought/1";
  else return step.error("kind", fmt::format("unknown kind '{}'", kind), "predict or chain_of_thought");
  predictor.signature = kind == "predict" ? signature->second : with_reasoning(signature->second);
  predictor.template_json = ChatTemplate::make(predictor.signature);
  Json settings = Predictor::default_config();
  if (step.has("config")) {
    ASSAY_TRY(const TomlTable config, step.table("config"));
    ASSAY_CHECK(config.only({"temperature", "top_p", "max_tokens", "stop", "n", "seed_policy", "constrain", "logprobs", "top_logprobs"}));
    ASSAY_CHECK(read_config(config, settings));
  }
  predictor.config = std::move(settings);
  if (step.has("slots")) {
    ASSAY_TRY(const TomlTable slots, step.table("slots"));
    ASSAY_CHECK(slots.only({"system", "user", "assistant"}));
    for (const std::string& key : slots.keys()) {
      std::string text;
      ASSAY_CHECK(slots.text(key, text));
      predictor.template_json.as_object().find("slots")->set(key, text);
    }
  }
  const auto chat = ChatTemplate::read(predictor.template_json, predictor.signature);
  if (!chat) return step.error("slots", chat.error().message, chat.error().remedy);
  if (predictor.config.get().at("constrain") == Json(true)) {
    if (const auto readable = chat->check_constrained(predictor.signature); !readable)
      return step.error("config", readable.error().message, readable.error().remedy);
  }
  if (const auto added = parts.add_predictor(id, predictor); !added) return step.error("id", added.error().message, added.error().remedy);
  *used = predictor.signature;
  if (!step.has("refine")) return id;

  ASSAY_TRY(const TomlTable refine, step.table("refine"));
  ASSAY_CHECK(refine.only({"attempts", "threshold", "reward", "on_exhausted", "fallback"}));
  std::int64_t attempts = 2;
  double threshold = 0.5;
  std::string reward = "nonempty", exhausted = "best";
  std::vector<std::string> fallback;
  ASSAY_CHECK(refine.integer("attempts", attempts));
  if (attempts < 1 || attempts > refine_attempts_max)
    return refine.error("attempts", fmt::format("attempts lie between 1 and {}", refine_attempts_max));
  ASSAY_CHECK(refine.number("threshold", threshold));
  ASSAY_CHECK(refine.text("reward", reward));
  ASSAY_CHECK(refine.text("on_exhausted", exhausted));
  if (exhausted != "best" && exhausted != "error")
    return refine.error("on_exhausted", fmt::format("unknown on_exhausted '{}'", exhausted), "best or error");
  ASSAY_CHECK(refine.texts("fallback", fallback));
  const auto found = rewards.find(reward);
  if (!found) return refine.error("reward", found.error().message, found.error().remedy);
  JsonList lanes;
  for (const std::string& lane : fallback) lanes.push_back(Json(lane));
  const std::string path = id + ".refine";
  const Json params = JsonObject{{"attempts", attempts}, {"threshold", threshold},         {"on_exhausted", exhausted},
                                 {"feedback", false},    {"reward", found->ref.to_json()}, {"fallback", lanes}};
  const auto added = parts.add_module(path, JsonObject{{"kind", "refine/1"}, {"over", JsonList{Json(id)}}, {"params", params}});
  if (!added) return step.error("id", added.error().message, "the Refine of a step is called ID.refine: give the other one another id");
  return path;
}

Result<Program> read_program(const TomlTable& root, const Rewards& rewards) {
  ASSAY_TRY(const TomlTable head, root.table("program"));
  ASSAY_CHECK(head.only({"name", "version", "signature", "out"}));
  std::string name, version = "1", flow_signature;
  ASSAY_CHECK(head.text("name", name));
  ASSAY_CHECK(head.text("version", version));
  ASSAY_CHECK(head.text("signature", flow_signature));
  if (!is_name(name)) return head.error("name", "a program has a 'name' of letters, digits, '_', '.' and '-', at most 128 of them");
  ASSAY_TRY(const auto signatures, read_signatures(root));
  ASSAY_TRY(const auto steps, root.tables("step"));
  if (steps.empty()) return head.error("name", "the program has no [[step]]", "add [[step]] with id and signature");
  ArtifactParts parts;
  JsonList nodes;
  std::string entry;
  Signature used;
  for (const TomlTable& step : steps) {
    ASSAY_TRY(entry, read_step(step, signatures, rewards, parts, &used));
    std::string id;
    ASSAY_CHECK(step.text("id", id));
    ASSAY_TRY(const Json in, step.json("in"));
    nodes.push_back(JsonObject{{"id", id}, {"run", entry}, {"in", in.is_null() ? Json(JsonObject{}) : in}});
  }
  // Places of the artifact as those of the file: what a flow's node takes stands in its step.
  const auto placed = [&](const Error& error) -> std::unexpected<Error> {
    if (error.path.starts_with("flow.out")) return head.error("out", error.message, error.remedy);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const std::string node = fmt::format("flow.nodes[{}]", i);
      if (!error.path.starts_with(node)) continue;
      const bool of_inputs = error.path.substr(node.size()).starts_with(".in") && steps[i].has("in");
      return steps[i].error(of_inputs ? "in" : "id", error.message, error.remedy);
    }
    return head.error("name", fmt::format("{}: {}", error.path, error.message), error.remedy);
  };
  const auto finish = [&](Result<Artifact> artifact) -> Result<Program> {
    if (!artifact) return placed(artifact.error());
    auto program = Program::load(std::move(*artifact), rewards);
    if (!program && program.error().path.starts_with("flow.")) return placed(program.error());
    return program;
  };
  if (steps.size() == 1 && !head.has("out")) {
    ASSAY_CHECK(check_single(head, steps[0], used));
    return finish(parts.artifact(name, version, entry));
  }
  const auto own = signatures.find(flow_signature);
  if (own == signatures.end()) {
    return head.error("signature", "a program of several steps names its own signature",
                      "signature = \"NAME\" and out = { field = \"step.field\" }");
  }
  ASSAY_TRY(const Json out, head.json("out"));
  if (!out.is_object())
    return head.error("out", "a program of several steps says where its outputs come from", "out = { field = \"step.field\" }");
  return finish(parts.artifact_with_flow(name, version, JsonObject{{"signature", own->second.to_json()}, {"nodes", nodes}, {"out", out}}));
}

Result<DataSpec> read_data(const TomlTable& root) {
  DataSpec data;
  if (!root.has("data")) return data;
  ASSAY_TRY(const TomlTable table, root.table("data"));
  ASSAY_CHECK(table.only({"file", "train", "val", "test", "fields", "split", "salt", "allow_overlap"}));
  ASSAY_CHECK(table.text("file", data.file));
  ASSAY_CHECK(table.text("train", data.train));
  ASSAY_CHECK(table.text("val", data.val));
  ASSAY_CHECK(table.text("test", data.test));
  ASSAY_CHECK(table.text("salt", data.salt));
  ASSAY_CHECK(table.boolean("allow_overlap", data.allow_overlap));
  ASSAY_TRY(const Json fields, table.json("fields"));
  if (fields.is_object()) data.fields = fields.as_object();
  if (table.has("split")) {
    ASSAY_TRY(const TomlTable split, table.table("split"));
    ASSAY_CHECK(split.only({"train", "val", "test"}));
    ASSAY_CHECK(split.number("train", data.fractions[0]));
    ASSAY_CHECK(split.number("val", data.fractions[1]));
    ASSAY_CHECK(split.number("test", data.fractions[2]));
  }
  if (auto fits = check_fractions(data.fractions); !fits) return table.error("split", fits.error().message, fits.error().remedy);
  if (!data.file.empty() && !(data.train + data.val + data.test).empty()) {
    return table.error("file", "either 'file' with a split, or 'train', 'val' and 'test'");
  }
  return data;
}

Result<BudgetLimits> read_budget(const TomlTable& root) {
  BudgetLimits out;
  if (!root.has("budget")) return out;
  ASSAY_TRY(const TomlTable table, root.table("budget"));
  ASSAY_CHECK(table.only({"calls", "tokens", "msats", "seconds"}));
  const std::pair<const char*, std::optional<std::int64_t>*> counts[] = {
      {"calls", &out.calls}, {"tokens", &out.tokens}, {"msats", &out.msats}};
  for (const auto& [key, into] : counts) {
    if (!table.has(key)) continue;
    std::int64_t value = 0;
    ASSAY_CHECK(table.integer(key, value));
    if (value < 0) return table.error(key, "a budget is not negative");
    if (value > json_integer_max) return table.error(key, "a budget is at most 2^53-1");
    *into = value;
  }
  if (table.has("seconds")) {
    double value = 0;
    ASSAY_CHECK(table.number("seconds", value));
    if (!(value > 0 && value <= 1e9)) return table.error("seconds", "a time budget lies between 0 and 1,000,000,000 seconds");
    out.seconds = value;
  }
  return out;
}

Result<void> read_privacy(const TomlTable& table, std::string_view key, std::vector<PrivacyMode>& out) {
  if (!table.has(key)) return {};
  std::vector<std::string> modes;
  ASSAY_CHECK(table.texts(key, modes));
  out.clear();
  for (const std::string& text : modes) {
    const auto mode = parse_privacy(text);
    if (!mode) return table.error(key, mode.error().message, mode.error().remedy);
    out.push_back(*mode);
  }
  return {};
}

Result<void> read_lane(const TomlTable& root, std::string_view name, LaneSpec& out) {
  if (!root.has(name)) return {};
  ASSAY_TRY(const TomlTable table, root.table(name));
  ASSAY_CHECK(table.only({"kind", "model", "endpoint", "dialect", "key_env", "context", "privacy", "threads"}));
  ASSAY_CHECK(table.text("kind", out.kind));
  if (out.kind != "local" && out.kind != "pylon" && out.kind != "openai")
    return table.error("kind", fmt::format("unknown lane '{}'", out.kind), "local, pylon or openai");
  ASSAY_CHECK(table.text("dialect", out.dialect));
  if (!out.dialect.empty() && out.dialect != "openai" && out.dialect != "llama.cpp")
    return table.error("dialect", fmt::format("unknown dialect '{}'", out.dialect), "openai or llama.cpp");
  ASSAY_CHECK(table.text("key_env", out.key_env));
  ASSAY_CHECK(table.integer("context", out.context));
  ASSAY_CHECK(read_privacy(table, "privacy", out.privacy));
  ASSAY_CHECK(table.text("model", out.model));
  ASSAY_CHECK(table.text("endpoint", out.endpoint));
  ASSAY_CHECK(table.integer("threads", out.threads));
  if (out.threads < 0 || out.threads > 256) return table.error("threads", "threads lie between 0 (as the lane thinks) and 256");
  return {};
}

Result<Compatibility> read_requires(const TomlTable& root) {
  Compatibility out;
  out.required_lanes = {"lm:any"};
  out.privacy_modes_allowed = all_privacy_modes();
  if (!root.has("requires")) return out;
  ASSAY_TRY(const TomlTable table, root.table("requires"));
  ASSAY_CHECK(table.only({"required_tools", "required_lanes", "privacy_modes_allowed", "min_provider_reputation", "capabilities"}));
  ASSAY_CHECK(table.texts("required_tools", out.required_tools));
  ASSAY_CHECK(table.texts("required_lanes", out.required_lanes));
  ASSAY_CHECK(table.texts("capabilities", out.capabilities));
  ASSAY_CHECK(read_privacy(table, "privacy_modes_allowed", out.privacy_modes_allowed));
  if (table.has("min_provider_reputation")) {
    double value = 0;
    ASSAY_CHECK(table.number("min_provider_reputation", value));
    if (!(value >= 0 && value <= 1)) return table.error("min_provider_reputation", "a reputation lies between 0 and 1");
    out.min_provider_reputation = value;
  }
  return out;
}

}  // namespace

Result<ProgramFile> parse_program_file(std::string_view text, const std::string& name, const std::string& folder, const Rewards& rewards) {
  if (text.size() > file_bytes_max)
    return fail(ErrorCode::limit_exceeded, "a program file has at most 1 MiB", "is it the right file?", name);
  if (!valid_utf8(text)) return fail(ErrorCode::malformed, "the file is not UTF-8", "save it as UTF-8", name);
  const toml::parse_result parsed = toml::parse(text, name);
  if (!parsed) {
    const auto& at = parsed.error().source().begin;
    const std::string_view said = parsed.error().description();  // it may end with the name of the parser's own constant
    return fail(ErrorCode::malformed, std::string(said.substr(0, said.find(" (TOML_"))), "see docs/reference/program-file.md",
                fmt::format("{}:{}:{}", name, at.line, at.column));
  }
  const TomlTable root(parsed.table(), name, "the file");
  ASSAY_CHECK(
      root.only({"format", "program", "signature", "step", "data", "metric", "optimizer", "budget", "lane", "proposer", "requires"}));
  std::string format;
  ASSAY_CHECK(root.text("format", format));
  if (format != "assay.program/1") {
    return root.error("format", fmt::format("expected format = \"assay.program/1\", found \"{}\"", format),
                      "the first line of a program file is: format = \"assay.program/1\"");
  }
  ASSAY_TRY(Program program, read_program(root, rewards));
  ProgramFile out{.path = name, .folder = folder, .program = std::move(program)};
  ASSAY_TRY(out.data, read_data(root));
  if (root.has("metric")) {
    ASSAY_TRY(const TomlTable metric, root.table("metric"));
    ASSAY_CHECK(metric.only({"name"}));
    ASSAY_CHECK(metric.text("name", out.metric));
    out.metric_place = metric.where("name");
  }
  if (root.has("optimizer")) {
    ASSAY_TRY(const TomlTable optimizer, root.table("optimizer"));
    ASSAY_CHECK(optimizer.text("name", out.optimizer.name));
    ASSAY_TRY(const Json config, optimizer.as_json());
    out.optimizer.config = config.as_object();
    out.optimizer.config.erase("name");
    for (const std::string& key : optimizer.keys()) out.optimizer.places[key] = optimizer.where(key);
  }
  ASSAY_TRY(out.budget, read_budget(root));
  ASSAY_CHECK(read_lane(root, "lane", out.lane));
  if (root.has("proposer")) ASSAY_CHECK(read_lane(root, "proposer", out.proposer.emplace()));
  ASSAY_TRY(out.compatibility, read_requires(root));
  return out;
}

Result<ProgramFile> read_program_file(const std::string& path, const Rewards& rewards) {
  ASSAY_TRY(const std::string text, read_file(path, file_bytes_max));
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return parse_program_file(text, path, folder.empty() ? "." : folder, rewards);
}

}  // namespace assay
