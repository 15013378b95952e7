#pragma once
/// @file
/// A program: an artifact that can be run. The interpreter of predictors, Refine modules and flows.
///
///     ASSAY_TRY(const Program program, Program::load(artifact, Rewards::built_in()));
///     const Result<Prediction> p = program.forward(context, JsonObject{{"description", "imap client"}});
///
/// Thread safety: a value; `forward` may run in many threads.

#include <map>
#include <string>
#include <vector>

#include "assay/contract/artifact.h"
#include "assay/program/predictor.h"

namespace assay {

class Program {
 public:
  /// Refuses by name what this build cannot run (unknown members, kinds, renderers, rewards with another digest, code).
  static Result<Program> load(Artifact artifact, const Rewards& rewards);

  const Artifact& artifact() const { return artifact_; }
  const std::string& id() const { return id_; }
  const Signature& signature() const { return signature_; }
  /// Checks the inputs against the program's signature, then runs entry or flow below the context.
  Result<Prediction> forward(const Context& context, const Json& inputs) const;

  /// The same program with other demos, instructions or config of one predictor: what optimizers change.
  Result<Program> with_demos(std::string_view path, JsonList demos) const;
  Result<Program> with_instructions(std::string_view path, std::string text) const;
  Result<Program> with_config(std::string_view path, std::string_view key, Json value) const;
  /// Lanes given as objects in C++, by the path of their Refine; no part of the artifact or its id.
  using Fallbacks = std::map<std::string, std::vector<std::shared_ptr<LM>>>;
  const Fallbacks& fallbacks() const { return fallbacks_; }
  /// The same program whose Refine modules fall back to these lanes instead of what the run's Settings name.
  Program with_fallbacks(const Fallbacks& lanes) const;
  /// Has each Refine the lanes that it falls back to? Asked before a run begins. Errors: `refused`, at the Refine's path.
  Result<void> check_fallbacks(const Settings& settings) const;
  /// Would every lane that this program can ask take what it is asked? Errors: as `check_fallbacks` and `check_lane`.
  Result<void> check_lanes(const Settings& settings, const Effects& effects) const;
  /// Paths of all predictors, sorted.
  std::vector<std::string> predictor_paths() const;
  const Predictor& predictor(const std::string& path) const { return predictors_.at(path); }

 private:
  struct FlowNode {
    std::string id, run, predictor;         // `run` is the predictor itself, or what stands around it
    std::map<std::string, std::string> in;  // field → "input.x" or "node.field"
  };
  Result<void> read_flow(const Json& flow);
  const Json* schema_of(const std::string& reference) const;
  Result<void> check_wires(const Json& flow) const;
  Result<void> check_step(const FlowNode& step, const Json& given) const;
  explicit Program(Artifact artifact) : artifact_(std::move(artifact)) {}
  Result<Prediction> run_path(const Context& context, std::string_view name, const std::string& path, const Json& inputs) const;
  Result<void> ask_lanes(const Settings& settings, const Effects& effects) const;
  std::vector<std::string> predictors_under(const std::string& path) const;
  Result<Prediction> run_flow(const Context& context, const Json& inputs) const;

  Artifact artifact_;
  Fallbacks fallbacks_;
  Rewards rewards_;
  std::string id_;
  Signature signature_;
  std::map<std::string, Predictor> predictors_;
  struct RefineModule {
    std::string over;
    RefineRule rule;
  };
  std::map<std::string, RefineModule> refines_;
  std::vector<FlowNode> flow_;
  std::map<std::string, std::string> flow_out_;
};

/// Gathers the parts of an artifact while a program is built.
class ArtifactParts {
 public:
  /// Errors: `usage` when the path is taken by another part.
  Result<void> add_predictor(const std::string& path, const Predictor& predictor);
  Result<void> add_module(const std::string& path, Json module);
  /// Lanes as objects, for the fallback of the Refine at `path`: no part of the artifact, which names them by requirement.
  void add_fallback(const std::string& path, std::vector<std::shared_ptr<LM>> lanes) { fallbacks_[path] = std::move(lanes); }
  const Program::Fallbacks& fallbacks() const { return fallbacks_; }
  /// An artifact whose `entry` is this path.
  Result<Artifact> artifact(const std::string& name, const std::string& version, const std::string& entry) const;
  /// An artifact whose flow runs.
  Result<Artifact> artifact_with_flow(const std::string& name, const std::string& version, Json flow) const;

 private:
  Json base(const std::string& name, const std::string& version) const;
  JsonObject predictors_, modules_;
  Program::Fallbacks fallbacks_;
};

/// Splits "node.field".
std::pair<std::string, std::string> split_reference(std::string_view reference);

}  // namespace assay
