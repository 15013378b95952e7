#pragma once
/// @file
/// Modules for C++ programs: anything with `forward(context, inputs)`; composition is ordinary C++.
///
///     ASSAY_TRY(const Signature s, Signature::parse("ticket -> urgency: Literal['low','high']", "Triage"));
///     auto classify = Refine(ChainOfThought("classify", s)).with_retries(3).with_threshold(1.0);
///     const Result<Prediction> p = classify.forward(context, JsonObject{{"ticket", "the disk is full"}});
///     ASSAY_TRY(const Program program, program_of("triage", "1", classify, Rewards::built_in()));   // for compile
///
/// Thread safety: `forward` may be called from many threads.

#include <string>

#include "assay/program/program.h"

namespace assay {

class Module {
 public:
  virtual ~Module() = default;
  virtual Result<Prediction> forward(const Context& context, const Json& inputs) const = 0;
  /// Adds itself and its parts to an artifact; returns its path. Errors: `usage` when it has no form as data.
  virtual Result<std::string> describe(ArtifactParts& parts) const = 0;
};

/// One call of an LM by a signature.
class Predict : public Module {
 public:
  Predict(std::string name, Signature signature);
  Predict& with_demos(JsonList demos);
  Predict& with_config(std::string_view key, Json value);
  Result<Prediction> forward(const Context& context, const Json& inputs) const override;
  Result<std::string> describe(ArtifactParts& parts) const override;
  const Predictor& predictor() const { return predictor_; }

 protected:
  std::string name_;
  Predictor predictor_;
};

/// Predict whose signature has an output `reasoning` in front: its text is part of signature and template.
class ChainOfThought : public Predict {
 public:
  ChainOfThought(std::string name, Signature signature);
};
/// The signature that ChainOfThought uses: an output `reasoning` of its own is moved to the front.
Signature with_reasoning(Signature signature);

/// "nonempty/1" of this build.
Reward default_reward();

/// Meta-operator for retries and fallback (the plan's Phase 6); see run_refine for the rule.
template <class M>
class Refine final : public Module {
 public:
  /// The reward is "nonempty/1" until another one is given, as in a program file.
  explicit Refine(M module, std::string name = "refine") : module_(std::move(module)), name_(std::move(name)) {
    const Reward reward = default_reward();
    rule_.reward = reward.function;
    reward_ = reward.ref;
  }

  Refine with_retries(std::size_t n) && {
    rule_.attempts = static_cast<std::int64_t>(n);
    return std::move(*this);
  }
  /// A reward of one's own. Without `ref` the program runs but cannot be compiled: its code would have no name.
  Refine with_reward(RewardFunction f, CodeRef ref = {}) && {
    rule_.reward = std::move(f);
    reward_ = std::move(ref);
    return std::move(*this);
  }
  Refine with_reward(const Reward& reward) && {
    rule_.reward = reward.function;
    reward_ = reward.ref;
    return std::move(*this);
  }
  Refine with_threshold(double t) && {
    rule_.threshold = t;
    return std::move(*this);
  }
  Refine with_fallback(std::shared_ptr<LM> lm) && {
    rule_.fallback_lanes.push_back(std::move(lm));
    return std::move(*this);
  }
  /// What happens when no attempt reaches the threshold: the best answer (default), or an error.
  Refine or_error() && {
    rule_.best_on_exhausted = false;
    return std::move(*this);
  }

  Result<Prediction> forward(const Context& context, const Json& inputs) const override {
    return run_refine(
        context, name_, rule_, [this](const Context& attempt, const Json& given) { return module_.forward(attempt, given); }, inputs);
  }

  Result<std::string> describe(ArtifactParts& parts) const override {
    if (reward_.name.empty())
      return fail(ErrorCode::usage, "the reward of Refine has no name", "with_reward(f, {name, version, digest})", name_);
    ASSAY_TRY(const std::string inner, module_.describe(parts));
    // A lane object has no address in an artifact: a fallback is named by requirement.
    JsonList fallback;
    if (!rule_.fallback_lanes.empty()) fallback.push_back(Json("lm:any"));
    parts.add_fallback(name_, rule_.fallback_lanes);
    const Json params = JsonObject{
        {"attempts", rule_.attempts}, {"threshold", rule_.threshold}, {"on_exhausted", rule_.best_on_exhausted ? "best" : "error"},
        {"feedback", false},          {"reward", reward_.to_json()},  {"fallback", fallback}};
    ASSAY_CHECK(parts.add_module(name_, JsonObject{{"kind", "refine/1"}, {"over", JsonList{Json(inner)}}, {"params", params}}));
    return name_;
  }

 private:
  M module_;
  std::string name_;
  RefineRule rule_;
  CodeRef reward_;
};

/// Refine(Refine(…)) is one over the other (name them apart), not a copy.
template <class M>
Refine(Refine<M>) -> Refine<Refine<M>>;

Result<Program> program_of(const std::string& name, const std::string& version, const Module& module, const Rewards& rewards);

}  // namespace assay
