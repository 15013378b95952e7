#include "assay/market/prices.h"

#include <cmath>

namespace assay {
namespace {

__extension__ using Wide = __int128;

Result<std::int64_t> in_range(Wide msats) {
  if (msats < 0 || msats > json_integer_max)
    return fail(ErrorCode::limit_exceeded, "the price is larger than any amount of money", "ask for less");
  return static_cast<std::int64_t>(msats);
}

Result<std::int64_t> count(const Json& value, std::string_view key) {
  ASSAY_TRY(const std::int64_t out, int_member(value, key));
  if (out < 0) return fail(ErrorCode::malformed, "expected a count", {}, std::string(key));
  return out;
}

}  // namespace

Result<std::int64_t> MarketPrices::text(std::int64_t prompt_tokens, std::int64_t completion_tokens) const {
  const Wide micro = Wide(prompt_tokens) * prompt_per_mtok + Wide(completion_tokens) * completion_per_mtok;
  return in_range(text_base + (micro + 999'999) / 1'000'000);
}

Result<std::int64_t> MarketPrices::sandbox(const SandboxRunRequest& request) const {
  const double seconds = std::ceil(static_cast<double>(request.resources.timeout_secs) * request.resources.cpus);
  if (!(seconds >= 0 && seconds < 1e9)) return fail(ErrorCode::limit_exceeded, "more CPU seconds than can be sold", {}, "resources");
  return in_range(sandbox_base + Wide(request.commands.size()) * sandbox_command +
                  Wide(static_cast<std::int64_t>(seconds)) * sandbox_cpu_second);
}

Json MarketPrices::to_json() const {
  JsonObject out{{"text_base", text_base}, {"prompt_per_mtok", prompt_per_mtok}, {"completion_per_mtok", completion_per_mtok}};
  out.set("sandbox_base", sandbox_base);
  out.set("sandbox_command", sandbox_command);
  out.set("sandbox_cpu_second", sandbox_cpu_second);
  return Json(std::move(out));
}

Result<MarketPrices> MarketPrices::read(const Json& value) {
  MarketPrices out;
  ASSAY_TRY(out.text_base, count(value, "text_base"));
  ASSAY_TRY(out.prompt_per_mtok, count(value, "prompt_per_mtok"));
  ASSAY_TRY(out.completion_per_mtok, count(value, "completion_per_mtok"));
  ASSAY_TRY(out.sandbox_base, count(value, "sandbox_base"));
  ASSAY_TRY(out.sandbox_command, count(value, "sandbox_command"));
  ASSAY_TRY(out.sandbox_cpu_second, count(value, "sandbox_cpu_second"));
  return out;
}

}  // namespace assay
