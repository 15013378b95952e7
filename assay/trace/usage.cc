#include "assay/trace/usage.h"

#include <algorithm>

namespace assay {
namespace {

// Sums stay within what canonical JSON can carry: a provider that claims 2^53 tokens must not make the record unwritable.
std::int64_t capped_sum(std::int64_t a, std::int64_t b) { return b > json_integer_max - a ? json_integer_max : a + b; }

Result<std::int64_t> count_member(const Json& value, std::string_view key) {
  ASSAY_TRY(const std::int64_t count, int_member(value, key));
  if (count < 0) return fail(ErrorCode::malformed, "a token count is negative", "counts start at 0", std::string(key));
  return count;
}

}  // namespace

Json LmUsage::to_json() const {
  JsonObject out = more;
  out.set("prompt_tokens", prompt_tokens);
  out.set("completion_tokens", completion_tokens);
  return out;
}

Result<LmUsage> LmUsage::read(const Json& value) {
  LmUsage usage;
  ASSAY_TRY(usage.prompt_tokens, count_member(value, "prompt_tokens"));
  ASSAY_TRY(usage.completion_tokens, count_member(value, "completion_tokens"));
  usage.more = value.as_object();
  usage.more.erase("prompt_tokens");
  usage.more.erase("completion_tokens");
  return usage;
}

void Totals::add(const LmUsage& usage) {
  if (usage.from_cache) {
    cached_calls = capped_sum(cached_calls, 1);
    return;
  }
  calls = capped_sum(calls, 1);
  latency_ns = capped_sum(latency_ns, usage.latency_ns);
  prompt_tokens = capped_sum(prompt_tokens, usage.prompt_tokens);
  completion_tokens = capped_sum(completion_tokens, usage.completion_tokens);
  if (usage.cost_msats) {
    cost_msats = capped_sum(cost_msats, *usage.cost_msats);
  } else {
    unpriced_calls = capped_sum(unpriced_calls, 1);
  }
}

void Totals::add(const Totals& other) {
  calls = capped_sum(calls, other.calls);
  latency_ns = capped_sum(latency_ns, other.latency_ns);
  cached_calls = capped_sum(cached_calls, other.cached_calls);
  prompt_tokens = capped_sum(prompt_tokens, other.prompt_tokens);
  completion_tokens = capped_sum(completion_tokens, other.completion_tokens);
  cost_msats = capped_sum(cost_msats, other.cost_msats);
  unpriced_calls = capped_sum(unpriced_calls, other.unpriced_calls);
}

Json Totals::usage_json() const {
  JsonObject out;
  out.set("calls", calls);
  out.set("cached_calls", cached_calls);
  out.set("prompt_tokens", prompt_tokens);
  out.set("completion_tokens", completion_tokens);
  return out;
}

Json Totals::totals_json() const {
  Json out = usage_json();
  out.set("cost_msats", cost_msats);
  out.set("unpriced_calls", unpriced_calls);
  return out;
}

Result<Totals> Totals::read(const Json& value) {
  Totals totals;
  ASSAY_TRY(totals.calls, count_member(value, "calls"));
  ASSAY_TRY(totals.cached_calls, count_member(value, "cached_calls"));
  ASSAY_TRY(totals.prompt_tokens, count_member(value, "prompt_tokens"));
  ASSAY_TRY(totals.completion_tokens, count_member(value, "completion_tokens"));
  ASSAY_TRY(totals.cost_msats, count_member(value, "cost_msats"));
  ASSAY_TRY(totals.unpriced_calls, count_member(value, "unpriced_calls"));
  return totals;
}

}  // namespace assay
