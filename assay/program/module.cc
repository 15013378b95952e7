#include "assay/program/module.h"

#include <algorithm>

namespace assay {

Predict::Predict(std::string name, Signature signature) : name_(std::move(name)) {
  predictor_.signature = std::move(signature);
  predictor_.template_json = ChatTemplate::make(predictor_.signature);
  predictor_.config = Predictor::default_config();
  if (auto chat = ChatTemplate::read(predictor_.template_json, predictor_.signature))
    predictor_.chat = std::make_shared<const ChatTemplate>(std::move(*chat));
}

Predict& Predict::with_demos(JsonList demos) {
  predictor_.demos = std::move(demos);
  return *this;
}

Predict& Predict::with_config(std::string_view key, Json value) {
  predictor_.config.set(std::string(key), std::move(value));
  return *this;
}

Result<Prediction> Predict::forward(const Context& context, const Json& inputs) const {
  return run_predictor(context, name_, predictor_, inputs);
}

Result<std::string> Predict::describe(ArtifactParts& parts) const {
  ASSAY_CHECK(parts.add_predictor(name_, predictor_));
  return name_;
}

Signature with_reasoning(Signature signature) {
  const auto own = std::find_if(signature.outputs.begin(), signature.outputs.end(), [](const Field& f) { return f.name == "reasoning"; });
  if (own != signature.outputs.end()) {  // it reasons before it answers, wherever the signature has it
    std::rotate(signature.outputs.begin(), own, own + 1);
    return signature;
  }
  Field reasoning;
  reasoning.name = "reasoning";
  reasoning.description = "the steps that lead to the answer, in one short paragraph";
  signature.outputs.insert(signature.outputs.begin(), std::move(reasoning));
  return signature;
}

ChainOfThought::ChainOfThought(std::string name, Signature signature) : Predict(std::move(name), with_reasoning(std::move(signature))) {
  predictor_.kind = "chain_of_thought/1";
}

Reward default_reward() { return Rewards::built_in().find("nonempty").value(); }

Result<Program> program_of(const std::string& name, const std::string& version, const Module& module, const Rewards& rewards) {
  ArtifactParts parts;
  ASSAY_TRY(const std::string entry, module.describe(parts));
  ASSAY_TRY(Artifact artifact, parts.artifact(name, version, entry));
  ASSAY_TRY(const Program program, Program::load(std::move(artifact), rewards));
  return program.with_fallbacks(parts.fallbacks());
}

}  // namespace assay
