#include "assay/lm/local_sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "assay/lm/logprobs.h"

namespace assay::local {
namespace {

RandomStream stream(std::int64_t seed) { return {.seed = seed, .phase = "lm", .iteration = 0, .purpose = "sample"}; }

TEST(Sampler, TakesTheMostLikelyAtTemperatureZeroAndTheLowestIdAmongEquals) {
  const std::vector<float> logits{1, 5, 3, 5};
  Sampler sampler(0, 1, stream(1));
  EXPECT_EQ(sampler.pick(logits, std::vector<std::int32_t>{0, 3, 2, 1}), 1);
  EXPECT_EQ(sampler.pick(logits, std::vector<std::int32_t>{0, 2}), 2) << "only candidates count";
}

TEST(Sampler, DrawsTheSameTokensForTheSameSeedAndOthersForAnother) {
  std::vector<float> logits(50, 0.0F);
  std::vector<std::int32_t> all;
  for (std::int32_t i = 0; i < 50; ++i) all.push_back(i);
  const auto draw = [&](std::int64_t seed) {
    Sampler sampler(1, 1, stream(seed));
    std::vector<std::int32_t> out;
    for (int i = 0; i < 20; ++i) out.push_back(sampler.pick(logits, all));
    return out;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

// The shares of 4,000 draws against those that softmax gives, within four standard errors.
TEST(Sampler, FollowsSoftmaxAtATemperature) {
  const std::vector<float> logits{0, 1, 2};
  const std::vector<std::int32_t> all{0, 1, 2};
  for (const double temperature : {0.5, 1.0, 2.0}) {
    Sampler sampler(temperature, 1, stream(3));
    std::map<std::int32_t, int> seen;
    for (int i = 0; i < 4000; ++i) ++seen[sampler.pick(logits, all)];
    double total = 0;
    for (const float logit : logits) total += std::exp(logit / temperature);
    for (const std::int32_t token : all) {
      const double want = std::exp(logits[static_cast<std::size_t>(token)] / temperature) / total;
      EXPECT_NEAR(seen[token] / 4000.0, want, 4 * std::sqrt(want * (1 - want) / 4000)) << "token " << token << " at " << temperature;
    }
  }
}

TEST(Sampler, NeverLeavesTheNucleus) {
  const std::vector<float> logits{std::log(0.5F), std::log(0.3F), std::log(0.15F), std::log(0.05F)};
  const std::vector<std::int32_t> all{0, 1, 2, 3};
  const auto seen = [&](double top_p) {
    Sampler sampler(1, top_p, stream(5));
    std::map<std::int32_t, int> count;
    for (int i = 0; i < 1000; ++i) ++count[sampler.pick(logits, all)];
    return count.size();
  };
  EXPECT_EQ(seen(0.4), 1u);
  EXPECT_EQ(seen(0.7), 2u);
  EXPECT_EQ(seen(0.9), 3u);
  EXPECT_EQ(seen(1.0), 4u);
}

TEST(Distribution, SumsToOneAndGivesACertainTokenNearlyZero) {
  std::vector<float> logits;
  for (int i = 0; i < 5000; ++i) logits.push_back(static_cast<float>(std::sin(i) * 12));
  const Distribution all(logits);
  double total = 0;
  for (std::int32_t token = 0; token < 5000; ++token) total += std::exp(all.logprob(token));
  EXPECT_NEAR(total, 1, 1e-9);
  logits[17] = 80;
  EXPECT_NEAR(Distribution(logits).logprob(17), 0, 1e-12);
  EXPECT_LE(Distribution(logits).logprob(17), 0);
  logits[18] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(Distribution(logits).logprob(18), logprob_floor);
}

TEST(Distribution, OrdersByProbabilityThenById) {
  const std::vector<float> logits{1, 5, 3, 5};
  EXPECT_EQ(Distribution(logits).likeliest(3), (std::vector<std::int32_t>{1, 3, 2}));
  EXPECT_EQ(Distribution(logits).likeliest(9).size(), 4u);
  EXPECT_TRUE(Distribution(logits).likeliest(0).empty());
}

}  // namespace
}  // namespace assay::local
