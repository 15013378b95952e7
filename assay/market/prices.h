#pragma once
/// @file
/// What a provider asks for a job, in msats, before it runs: the most the job may use, so that the price never rises.
///
///     const MarketPrices prices;                                   // the documented defaults, none of them zero
///     prices.text(prompt_tokens_max, max_tokens);                  // 10 + ceil(…)
///
/// Thread safety: a value.

#include <cstdint>

#include "assay/base/json.h"
#include "assay/sandbox/request.h"

namespace assay {

struct MarketPrices {
  std::int64_t text_base = 10;                     ///< a job
  std::int64_t prompt_per_mtok = 20'000;           ///< per 1,000,000 tokens that the prompt can have at most
  std::int64_t completion_per_mtok = 100'000;      ///< per 1,000,000 tokens of max_tokens
  std::int64_t sandbox_base = 100;                 ///< a job
  std::int64_t sandbox_command = 50;               ///< each command
  std::int64_t sandbox_cpu_second = 10;            ///< each second of timeout_secs × cpus, rounded up

  /// Errors of both: `limit_exceeded` (more than 2^53−1).
  Result<std::int64_t> text(std::int64_t prompt_tokens, std::int64_t completion_tokens) const;
  Result<std::int64_t> sandbox(const SandboxRunRequest& request) const;

  Json to_json() const;
  /// Errors: `malformed` (a member that is no count).
  static Result<MarketPrices> read(const Json& value);
};

}  // namespace assay
