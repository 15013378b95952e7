#pragma once
/// @file
/// BootstrapFewShot and its random search over demo sets. Source: Khattab et al., DSPy (arXiv:2310.03714), §4.
///
/// Demos are bootstrapped (what the student itself did on a training row that the metric accepts) and labelled (training
/// rows as they are, where the program is one predictor whose outputs the row holds).
///
/// Thread safety: values.

#include "assay/optimize/optimizer.h"

namespace assay {

struct BootstrapConfig {
  std::int64_t max_bootstrapped_demos = 4;
  std::int64_t max_labeled_demos = 16;
  std::int64_t min_demos = 1;           ///< fewest demos of a random set
  std::int64_t num_candidates = 8;      ///< random demo sets, besides the student as it is (random search only)
  double metric_threshold = 1;          ///< a bootstrapped demo's score must reach it
  std::int64_t val_rows = 0;            ///< of the validation set, in hash order; 0: all
  std::string balance;                  ///< an output: demos take its values in turn; empty: as drawn

  static Result<BootstrapConfig> read(const JsonObject& config, bool random_search);
  JsonObject to_json(bool random_search) const;
};

class BootstrapFewShot final : public Optimizer {
 public:
  explicit BootstrapFewShot(BootstrapConfig config) : config_(std::move(config)) {}
  std::string name() const override { return "BootstrapFewShot"; }
  JsonObject config() const override { return config_.to_json(false); }
  Result<void> check(const Program& program) const override;
  Result<Candidate> compile(Search& search) const override;

 private:
  BootstrapConfig config_;
};

class BootstrapFewShotWithRandomSearch final : public Optimizer {
 public:
  explicit BootstrapFewShotWithRandomSearch(BootstrapConfig config) : config_(std::move(config)) {}
  std::string name() const override { return "BootstrapFewShotWithRandomSearch"; }
  JsonObject config() const override { return config_.to_json(true); }
  Result<void> check(const Program& program) const override;
  Result<Candidate> compile(Search& search) const override;

 private:
  BootstrapConfig config_;
};

}  // namespace assay
