#pragma once
/// @file
/// Is a manifest the one that a journal makes? A module's signer may say anything of it; what follows from the journal can be looked up.
///
///     // end: the run_end that `is_end_of` names; result: of the pass that came to it
///     ASSAY_TRY(const auto differs, manifest_divergence(journal, end, plan, result, module.manifest));
///     if (differs) return differs->what;                                  // e.g. "manifest.scorecard.score"
///
/// Thread safety: a pure function.

#include "assay/optimize/compile.h"
#include "assay/program/run.h"

namespace assay {

/// Does the manifest name this end as its journal's? A journal that was gone on with after its end has several.
bool is_end_of(const RecordEntry& end, const CompiledModuleManifest& made);

/// The first member that differs from what the journal gives: compiled_id, optimizer and its config, the sets' ids, scorecard,
/// compatibility; lanes, usage and cost. The rest is its signer's word: created_at, duration_ms, Assay's version, members
/// that this version does not know.
Result<std::optional<Divergence>> manifest_divergence(const RunRecord& journal, const RecordEntry& end, const CompilePlan& plan,
                                                      const CompileResult& result, const CompiledModuleManifest& made);

}  // namespace assay
