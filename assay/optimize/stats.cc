#include "assay/optimize/stats.h"

#include <algorithm>
#include <cmath>

#include "assay/base/random.h"

namespace assay {
namespace {

constexpr double z95 = 1.959963984540054;

Interval resample(const std::vector<double>& values, std::int64_t seed, std::string_view purpose, std::string method) {
  Random random({seed, "stats", 0, std::string(purpose)});
  std::vector<double> means;
  means.reserve(bootstrap_resamples);
  for (std::int64_t b = 0; b < bootstrap_resamples; ++b) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[random.below(values.size())];
    means.push_back(sum / static_cast<double>(values.size()));
  }
  std::sort(means.begin(), means.end());
  Interval out;
  out.low = means[static_cast<std::size_t>(bootstrap_resamples * 25 / 1000)];
  out.high = means[static_cast<std::size_t>(bootstrap_resamples * 975 / 1000 - 1)];
  out.method = std::move(method);
  out.seed = seed;
  out.b = bootstrap_resamples;
  return out;
}

}  // namespace

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::optional<double> quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

Interval wilson_interval(std::int64_t successes, std::int64_t n) {
  const double total = static_cast<double>(n), share = static_cast<double>(successes) / total;
  const double z2 = z95 * z95;
  const double centre = (share + z2 / (2 * total)) / (1 + z2 / total);
  const double half = z95 * std::sqrt(share * (1 - share) / total + z2 / (4 * total * total)) / (1 + z2 / total);
  Interval out;
  out.low = successes == 0 ? 0 : std::max(0.0, centre - half);
  out.high = successes == n ? 1 : std::min(1.0, centre + half);
  out.method = "wilson/1";
  return out;
}

Interval bootstrap_interval(const std::vector<double>& values, std::int64_t seed, std::string_view purpose) {
  return resample(values, seed, purpose, "bootstrap/1");
}

Interval paired_bootstrap(const std::vector<double>& differences, std::int64_t seed, std::string_view purpose) {
  return resample(differences, seed, purpose, "paired-bootstrap/1");
}

Interval score_interval(const std::vector<double>& values, std::int64_t seed, std::string_view purpose) {
  const bool shares = std::all_of(values.begin(), values.end(), [](double v) { return v == 0 || v == 1; });
  if (!shares) return bootstrap_interval(values, seed, purpose);
  return wilson_interval(std::count(values.begin(), values.end(), 1.0), static_cast<std::int64_t>(values.size()));
}

}  // namespace assay
