#pragma once
/// @file
/// Optimizers: how a compile searches for better demos and instructions. Deterministic: draws come from random/1, decisions
/// from recorded scores in a fixed order.
///
///     ASSAY_TRY(const auto optimizer, Optimizers::built_in().make("BootstrapFewShotWithRandomSearch", {{"num_candidates", 8}}));
///     ASSAY_TRY(const Candidate best, optimizer->compile(search));
///
/// One of one's own: derive from Optimizer, `Optimizers::add` it, give the registry to CompilePlan::of, CompileHooks and replay_compile.
/// It has what reflective and joint searches need too (GEPA, MIPROv2: optimizer_test.cc holds a small one of each): rows of its choosing
/// with scores, feedback in words and what each predictor did (`try_candidate`), a proposer's lane, decisions that the journal keeps.
///
/// Thread safety: an optimizer is a value in use by one compile.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "assay/optimize/evaluate.h"

namespace assay {

struct Candidate {
  std::string id;  ///< "cand:3", its place in paths
  Program program;
  std::map<std::string, double> metrics;  ///< on the validation set
  std::string note;                       ///< how it was made, for people
  std::vector<std::string> parents = {};  ///< ids of the candidates it was made from; recorded
};

/// What an optimizer is given. All references outlive the compile.
struct Search {
  Context context;
  const Program& student;
  const std::vector<Row>& train;
  std::span<const Row> val;  ///< an optimizer may take a front part of it; what it used is what the manifest names
  const Metric& metric;
  std::int64_t seed = 0;
  std::int64_t order_seed = 0;
  std::shared_ptr<LM> proposer = {};  ///< lane that writes instructions; null: the task's own
  EvaluateOptions evaluate;
  std::function<void(const std::string&)> say;  ///< a line for people; may be empty
  std::int64_t rollouts = 0;                    ///< counted up by the optimizer
  std::vector<double> best_scores;              ///< validation scores of the chosen candidate

  void tell(const std::string& line) const {
    if (say) say(line);
  }
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual std::string name() const = 0;   ///< DSPy's class name
  virtual JsonObject config() const = 0;  ///< every hyper-parameter with its value
  /// What of its configuration does not fit the program. Errors: `usage`, path "optimizer.KEY".
  virtual Result<void> check(const Program&) const { return {}; }
  virtual bool proposes() const { return false; }  ///< asks `Search::proposer`, which the manifest then names
  virtual Result<Candidate> compile(Search& search) const = 0;
};

/// The requirement under which Settings::lanes holds the proposer's lane.
inline constexpr const char* proposer_requirement = "lm:proposer";

/// Optimizers by name. A registry is a value that the top of the program builds; there is no global one.
class Optimizers {
 public:
  using Make = std::function<Result<std::unique_ptr<Optimizer>>(const JsonObject& config)>;
  /// "BootstrapFewShot", "BootstrapFewShotWithRandomSearch" (also "BootstrapRS"), "COPRO".
  static Optimizers built_in();
  void add(std::string name, Make make);
  /// Errors: `refused` (unknown name), `malformed` (hyper-parameters, by name).
  Result<std::unique_ptr<Optimizer>> make(const std::string& name, const JsonObject& config) const;

 private:
  std::map<std::string, Make, std::less<>> makers_;
};

/// Runs a candidate on the validation set, writes the `candidate` line and tells the callback. The scores are in the order of `search.val`.
Result<std::vector<double>> score_candidate(Search& search, Candidate& candidate);

/// Runs a candidate on rows of the optimizer's choosing (a minibatch), each at most once, at `phase` under the candidate's path ("batch:3",
/// another one each time). Each outcome has its score, its feedback and the steps of the predictors; feedback is recorded.
Result<Evaluation> try_candidate(Search& search, const Candidate& candidate, std::string_view phase, std::span<const Row> rows);

/// Writes a decision into the journal; a replay derives it again. Whatever depends on exp, log or pow is to be recorded so.
Result<void> record_decision(const Search& search, std::string_view what, Json value);

}  // namespace assay
