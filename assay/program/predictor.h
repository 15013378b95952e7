#pragma once
/// @file
/// A predictor (one signature, one template, demos, config) and the Refine rule: what both the C++ modules and the artifact
/// interpreter run, so that a program behaves the same before it is saved and after it is loaded.
///
/// Thread safety: values; running is safe from many threads.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "assay/program/chat_template.h"
#include "assay/program/context.h"
#include "assay/program/rewards.h"
#include "assay/program/signature.h"

namespace assay {

struct Predictor {
  std::string kind = "predict/1";
  Signature signature;
  JsonList demos;       ///< [{"inputs":{…},"outputs":{…}}]
  Json template_json;   ///< TEMPLATE
  SharedJson config;    ///< CONFIG
  std::shared_ptr<const ChatTemplate> chat = {};  ///< `template_json` as read, if it has been: set by `read` and by Predict

  static Json default_config();
  static Result<Predictor> read(const Json& value);
  Json to_json() const;
};

/// Runs one predictor as a node `name` below the context. `path`: its path in the artifact; empty means `name`.
Result<Prediction> run_predictor(const Context& parent, std::string_view name, const Predictor& predictor, const Json& inputs,
                                 std::string_view path = {});

/// Would that lane answer this predictor in this run: privacy, price under a limit of msats, config, constrained answers? Errors: those
/// with which its first call would end.
Result<void> check_lane(const LM& lm, const Predictor& predictor, const Settings& settings, const Effects& effects);

using Forward = std::function<Result<Prediction>(const Context&, const Json& inputs)>;

inline constexpr std::int64_t answers_max = 64;           ///< `n` of a call
inline constexpr std::int64_t refine_attempts_max = 100;

struct RefineRule {
  std::int64_t attempts = 2;
  double threshold = 0.5;
  bool best_on_exhausted = true;  ///< else an error when no attempt reaches the threshold
  RewardFunction reward;
  std::vector<std::shared_ptr<LM>> fallback_lanes;      ///< given as objects (C++)
  std::vector<std::string> fallback_requirements;       ///< named by an artifact ("lm:any"), looked up in Settings::lanes
};

/// The lane that a fallback `requirement` names: that of Settings::lanes, else that of "lm:any" or the main one, if it is of its kind
/// ("lm:local"; "lm:any" takes each). Errors: `refused`.
Result<std::shared_ptr<LM>> fallback_lane(const Settings& settings, const std::string& requirement);

/// Up to `attempts` tries, each with a new rollout; then one on each fallback lane. The first that reaches the threshold is
/// taken. An answer that cannot be read scores 0; a lane that cannot be reached sends the rest to the fallback lanes.
/// A spent budget, a cancel and a divergence end it at once.
Result<Prediction> run_refine(const Context& parent, std::string_view name, const RefineRule& rule, const Forward& inner,
                              const Json& inputs);

/// Wraps a piece of work as a node: start and end lines, callbacks; every start has exactly one end.
Result<Prediction> run_node(const Context& node, std::string_view node_type, std::string_view node_name, const Json& inputs,
                            const std::function<Result<Prediction>()>& work);

}  // namespace assay
