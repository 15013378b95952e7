#pragma once
/// @file
/// Tokens of calls really made. Source: docs/formats.md §3 USAGE, §4 lm_response.
///
/// Thread safety: a value.

#include <cstdint>
#include <optional>

#include "assay/base/json.h"

namespace assay {

/// What one LM call used. `cost_msats` is empty for a lane without a price: never 0 in its place.
struct LmUsage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  JsonObject more;  ///< further counters of the lane (cached_tokens, …), kept as they are
  std::optional<std::int64_t> cost_msats;
  bool from_cache = false;
  std::int64_t latency_ns = 0;  ///< of the call, as recorded; not part of the JSON

  Json to_json() const;  ///< {"prompt_tokens","completion_tokens",…}; without cost
  static Result<LmUsage> read(const Json& value);
};

/// Sums of a run or a compile: USAGE + {"cost_msats","unpriced_calls"}.
struct Totals {
  std::int64_t calls = 0;  ///< without cached ones
  std::int64_t cached_calls = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cost_msats = 0;
  std::int64_t unpriced_calls = 0;
  std::int64_t latency_ns = 0;  ///< sum over calls; not part of the JSON

  /// Sums stop at 2^53−1, the largest integer a record can hold.
  void add(const LmUsage& usage);
  void add(const Totals& other);
  Json usage_json() const;   ///< USAGE
  Json totals_json() const;  ///< USAGE + cost_msats + unpriced_calls
  /// Inverse of `totals_json`. Errors: `malformed` (absent, not an integer, negative); the path names the member.
  static Result<Totals> read(const Json& value);
  bool operator==(const Totals&) const = default;
};

}  // namespace assay
