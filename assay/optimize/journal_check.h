#pragma once
/// @file
/// Before a compile goes on with its journal: is what stands there sound, and what its own answers lead to?
///
///     ASSAY_CHECK(check_journal(before, plan, Optimizers::built_in(), {.path = "a.run.jsonl"}));   // then the first call is made
///
/// A journal that an unfinished compile left has no signature over its end, and what it says is paid for and signed with the rest. Thread
/// safety: one call, one journal. Opens no socket and no file.

#include "assay/optimize/replay.h"

namespace assay {

struct JournalCheck {
  std::string path;                    ///< the place in errors
  const PriceBook* prices = nullptr;   ///< costs are computed again if it is the journal's
  Wait wait = {};                      ///< its stop ends the check
};

/// How many LM calls were answered from the journal. Errors: `mismatch` for what `assay verify` refuses, `diverged` for what `assay replay`
/// calls different, `cancelled`, and those of a replay that cannot be made.
Result<std::int64_t> check_journal(const RunRecord& journal, const CompilePlan& plan, const Optimizers& optimizers,
                                   const JournalCheck& how);

}  // namespace assay
