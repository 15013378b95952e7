#pragma once
/// @file
/// Rewards and metrics by name: code that an artifact or a program file refers to as REF {"name","version","digest"}.
/// A registry is a value that the top of the program builds; there is no global one.
///
///     Rewards rewards = Rewards::built_in();
///     rewards.add({"short", "1", sha256_hex("short/1 source"), [](const Json&, const Prediction& p) { return 1.0; }});
///
/// Thread safety: a value; the functions must be callable from many threads.

#include <functional>
#include <map>
#include <string>

#include "assay/program/context.h"
#include "assay/program/example.h"

namespace assay {

using RewardFunction = std::function<double(const Json& inputs, const Prediction& prediction)>;

/// What a metric says of an answer. A function that returns a number alone will do as well.
struct Scored {
  Scored(double value, std::string words = {}) : score(value), feedback(std::move(words)) {}  // NOLINT(google-explicit-constructor)
  double score;
  std::string feedback;  ///< what was wrong, in words, for an optimizer that reads (GEPA); must follow from the arguments alone
};
using MetricFunction = std::function<Scored(const Example& example, const Prediction& prediction)>;
/// What can be said of one step of the program by itself.
using StepFeedback = std::function<std::string(const Example& example, const PredictorTrace::Step& step)>;

struct CodeRef {
  std::string name, version, digest;
  Json to_json() const;
  static Result<CodeRef> read(const Json& value);
  bool operator==(const CodeRef&) const = default;
};

struct Reward {
  CodeRef ref;
  RewardFunction function;
};
struct Metric {
  CodeRef ref;
  MetricFunction function;
  StepFeedback step_feedback = {};  ///< may be empty
};

class Rewards {
 public:
  /// "nonempty/1": share of outputs that are not empty.
  static Rewards built_in();
  void add(Reward reward);
  /// Name, version and digest must all match. Errors: `refused`, saying which differs.
  Result<Reward> find(const CodeRef& ref) const;
  Result<Reward> find(std::string_view name) const;

 private:
  std::map<std::string, Reward, std::less<>> rewards_;
};

class Metrics {
 public:
  /// "accuracy/1": 1 when every label equals its output. "token_f1/1": mean overlap of words of the labels' texts. Both name the outputs
  /// that differ in their feedback.
  static Metrics built_in();
  void add(Metric metric);
  Result<Metric> find(const CodeRef& ref) const;
  Result<Metric> find(std::string_view name) const;

 private:
  std::map<std::string, Metric, std::less<>> metrics_;
};

}  // namespace assay
