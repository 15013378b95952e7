#pragma once
/// @file
/// Private to `assay/lm`: chooses the next token from logits. Ours, so that a draw is random/1 and nothing else.
/// Thread safety: a Sampler belongs to one answer.

#include <cstdint>
#include <span>
#include <vector>

#include "assay/base/random.h"

namespace assay::local {

class Sampler {
 public:
  Sampler(double temperature, double top_p, RandomStream stream) : temperature_(temperature), top_p_(top_p), random_(std::move(stream)) {}

  /// One of `candidates` (not empty, ids into `logits`). Temperature 0, or a single candidate: no draw.
  std::int32_t pick(std::span<const float> logits, std::span<const std::int32_t> candidates);

 private:
  double temperature_;
  double top_p_;
  Random random_;
};

/// What the model itself says at one place: softmax of all logits, at temperature 1. Looks into `logits`, which must outlive it.
class Distribution {
 public:
  explicit Distribution(std::span<const float> logits);
  /// ln of the token's probability, at least `logprob_floor`.
  double logprob(std::int32_t token) const;
  /// The `count` likeliest tokens, likeliest first, lower ids first among equals.
  std::vector<std::int32_t> likeliest(std::size_t count) const;

 private:
  std::span<const float> logits_;
  double log_total_;  // ln Σ exp(logit)
};

}  // namespace assay::local
