#include "assay/lm/local_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "assay/lm/logprobs.h"

namespace assay::local {
namespace {

struct Weighted {
  std::int32_t token;
  double weight;  // not normalised: exp((logit − max) / temperature)
};

std::int32_t most_likely(std::span<const float> logits, std::span<const std::int32_t> candidates) {
  std::int32_t best = candidates.front();
  for (const std::int32_t token : candidates) {
    const float here = logits[static_cast<std::size_t>(token)];
    const float there = logits[static_cast<std::size_t>(best)];
    if (here > there || (here == there && token < best)) best = token;
  }
  return best;
}

bool likelier(const Weighted& a, const Weighted& b) { return a.weight != b.weight ? a.weight > b.weight : a.token < b.token; }

/// The smallest set of likeliest tokens that together reach `share` of `total`.
void keep_nucleus(std::vector<Weighted>& tokens, double share, double total) {
  // Nearly all tokens of a vocabulary weigh nothing: sort only those above a bar, if they suffice to reach the share.
  std::vector<Weighted> heavy;
  double sum = 0;
  for (const Weighted& token : tokens) {
    if (token.weight < 1e-5) continue;
    heavy.push_back(token);
    sum += token.weight;
  }
  if (sum >= share * total) tokens.swap(heavy);
  std::sort(tokens.begin(), tokens.end(), likelier);
  double reached = 0;
  std::size_t kept = 0;
  while (kept < tokens.size() && reached < share * total) reached += tokens[kept++].weight;
  tokens.resize(std::max<std::size_t>(kept, 1));
}

}  // namespace

std::int32_t Sampler::pick(std::span<const float> logits, std::span<const std::int32_t> candidates) {
  const std::int32_t best = most_likely(logits, candidates);
  if (temperature_ <= 0 || candidates.size() == 1) return best;
  const double top = logits[static_cast<std::size_t>(best)];
  std::vector<Weighted> tokens;
  tokens.reserve(candidates.size());
  double total = 0;
  for (const std::int32_t token : candidates) {
    const double weight = std::exp((logits[static_cast<std::size_t>(token)] - top) / temperature_);
    tokens.push_back({token, weight});
    total += weight;
  }
  if (top_p_ < 1) {
    keep_nucleus(tokens, top_p_, total);
    total = 0;
    for (const Weighted& token : tokens) total += token.weight;
  }
  double point = random_.unit() * total;
  for (const Weighted& token : tokens) {
    point -= token.weight;
    if (point < 0) return token.token;
  }
  return tokens.back().token;  // rounding only
}

Distribution::Distribution(std::span<const float> logits) : logits_(logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float logit : logits) total += std::exp(logit - top);
  log_total_ = top + std::log(total);
}

double Distribution::logprob(std::int32_t token) const {
  // Rounding may give a little more than 0 where one token has all the probability.
  return std::clamp(logits_[static_cast<std::size_t>(token)] - log_total_, logprob_floor, 0.0);
}

std::vector<std::int32_t> Distribution::likeliest(std::size_t count) const {
  std::vector<std::int32_t> ids(logits_.size());
  std::iota(ids.begin(), ids.end(), 0);
  count = std::min(count, ids.size());
  const auto before = [&](std::int32_t a, std::int32_t b) {
    const float x = logits_[static_cast<std::size_t>(a)];
    const float y = logits_[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end(), before);
  ids.resize(count);
  return ids;
}

}  // namespace assay::local
