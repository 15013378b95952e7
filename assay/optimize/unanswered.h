#pragma once
/// @file
/// Calls of a record that were sent and never answered, as a crash or a lost connection leaves them: what became of them is not known, so
/// they count in full (docs/formats.md §4).
///
///     const UnansweredCalls unknown = unanswered_calls(record.entries, &prices);
///     unknown.all.calls;
///
/// Thread safety: a pure function.

#include <vector>

#include "assay/trace/budget.h"
#include "assay/trace/price_book.h"
#include "assay/trace/record.h"

namespace assay {

struct UnansweredCalls {
  Amount all;     ///< the most that they can have used
  Amount to_ask;  ///< of those that no later pass had answered
};

/// `prices` null: msats are not known, and 0. `entries` are those of an intact record.
UnansweredCalls unanswered_calls(const std::vector<RecordEntry>& entries, const PriceBook* prices);

}  // namespace assay
