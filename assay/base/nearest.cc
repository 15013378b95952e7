#include "assay/base/nearest.h"

#include <algorithm>
#include <numeric>

namespace assay {

std::string nearest(std::string_view word, const std::vector<std::string_view>& known) {
  std::string best;
  std::size_t best_distance = std::min<std::size_t>(4, std::max<std::size_t>(word.size(), 1));
  if (word.size() > 64) return best;
  for (const std::string_view candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= word.size(); ++i) {  // Levenshtein, one row at a time
      std::size_t diagonal = row[0]++;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t cost = diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({cost, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace assay
