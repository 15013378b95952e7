#pragma once
/// @file
/// COPRO: search over instructions, one predictor after the other. Source: the optimizer of that name in DSPy; the algorithm as
/// docs/reference/optimizers.md says it, the texts that propose are ours.
///
///     ASSAY_TRY(const auto optimizer, Optimizers::built_in().make("COPRO", {{"breadth", 6}, {"depth", 2}}));
///
/// Proposals come from the lane that the program file's [proposer] names, else from the task's own. A proposal that cannot be read
/// is left out; a lane that is away, a spent budget and a cancel end the compile, which goes on with --resume.
/// Thread safety: values.

#include "assay/optimize/optimizer.h"

namespace assay {

struct CoproConfig {
  std::int64_t breadth = 6;        ///< instructions that are tried in a round, the current one included in the first
  std::int64_t depth = 3;          ///< rounds
  double init_temperature = 1.2;   ///< of the proposals
  std::int64_t max_tokens = 256;   ///< of a proposal
  std::int64_t val_rows = 0;       ///< of the validation set, in hash order; 0: all

  static Result<CoproConfig> read(const JsonObject& config);
  JsonObject to_json() const;
};

class Copro final : public Optimizer {
 public:
  explicit Copro(CoproConfig config) : config_(config) {}
  std::string name() const override { return "COPRO"; }
  JsonObject config() const override { return config_.to_json(); }
  bool proposes() const override { return true; }
  Result<Candidate> compile(Search& search) const override;

 private:
  CoproConfig config_;
};

}  // namespace assay
