#pragma once
/// @file
/// Intervals of the scorecard. Bootstrap draws come from random/1 with phase "stats", so that they repeat.
///
///     wilson_interval(243, 300);
///     paired_bootstrap(differences, 7);
///
/// Thread safety: pure.

#include <cstdint>
#include <vector>

#include "assay/contract/manifest.h"

namespace assay {

constexpr std::int64_t bootstrap_resamples = 2000;

double mean(const std::vector<double>& values);    ///< 0 of nothing
double median(std::vector<double> values);         ///< mean of the two middle ones when even; 0 of nothing
/// Nearest-rank quantile, q in (0, 1]. Nullopt of nothing.
std::optional<double> quantile(std::vector<double> values, double q);

/// 95 % interval of a share (E. B. Wilson, 1927). n > 0.
Interval wilson_interval(std::int64_t successes, std::int64_t n);
/// 95 % percentile bootstrap of the mean. `purpose` keeps draws of several intervals apart.
Interval bootstrap_interval(const std::vector<double>& values, std::int64_t seed, std::string_view purpose);
/// The same over paired differences.
Interval paired_bootstrap(const std::vector<double>& differences, std::int64_t seed, std::string_view purpose);
/// wilson/1 when all values are 0 or 1, else bootstrap/1.
Interval score_interval(const std::vector<double>& values, std::int64_t seed, std::string_view purpose);

}  // namespace assay
