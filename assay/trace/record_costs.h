#pragma once
/// @file
/// Does every call of a record cost what its price book says, and every bought one what was paid? Source: docs/formats.md §4.
///
///     const CostCheck check = check_costs(record.entries, PriceBook::built_in());
///     check.problems;          // empty: cost_msats = ceil(Σ tokens · price / 10^6) for every priced call
///
/// Thread safety: a pure function.

#include <vector>

#include "assay/trace/price_book.h"
#include "assay/trace/record.h"

namespace assay {

struct CostCheck {
  bool book_known = false;      ///< the record names this price book; if not, only bought calls are checked
  std::int64_t calls = 0;       ///< whose cost was computed again
  std::vector<RecordProblem> problems;  ///< at most 16
};

CostCheck check_costs(const std::vector<RecordEntry>& entries, const PriceBook& book);

}  // namespace assay
