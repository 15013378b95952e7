#pragma once
/// @file
/// Log-probabilities of an answer's tokens, as a lane reports them when the config asks (`logprobs`, `top_logprobs`).
///
///     const std::vector<SaidToken>& said = *response.logprobs;      // said[0].logprob: ln of its probability
///
/// They are those of the model's own distribution at temperature 1, before any constraint, `top_p` or penalty.
/// Thread safety: values. Source: docs/formats.md §4 LOGPROBS.

#include <cstdint>
#include <string>
#include <vector>

#include "assay/base/json.h"
#include "assay/base/result.h"

namespace assay {

struct TokenLogprob {
  std::string token;   ///< bytes; a character may be cut between two tokens
  double logprob = 0;  ///< natural logarithm of the probability; never below `logprob_floor`
};

struct SaidToken {
  TokenLogprob said;
  std::vector<TokenLogprob> top;  ///< the likeliest tokens at this place, likeliest first; empty when none were asked for
};

/// In place of the logarithm of 0, which JSON cannot hold.
inline constexpr double logprob_floor = -9999;
inline constexpr std::int64_t top_logprobs_max = 20;

/// What a config asks for.
struct LogprobsWanted {
  bool yes = false;
  int top = 0;
};
/// Errors: `malformed` with the key (`logprobs` is no boolean, `top_logprobs` no integer from 0 to 20 or without `logprobs`).
Result<LogprobsWanted> logprobs_wanted(const Json& config);

/// [{"token","logprob","top":[{"token","logprob"}]}]
Json logprobs_json(const std::vector<SaidToken>& tokens);
/// Inverse of `logprobs_json`; unknown members are passed over. Errors: `malformed` with the place.
Result<std::vector<SaidToken>> read_logprobs(const Json& value);

}  // namespace assay
