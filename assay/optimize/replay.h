#pragma once
/// @file
/// Replay of a compile: the optimizer and the program run again; only effects are answered, from the journal.
///
///     ASSAY_TRY(const ReplayReport report, replay_compile(journal, Metrics::built_in(), Rewards::built_in()));
///     report.compiled_id;                 // derived, not read
///
/// Thread safety: one call, one replay. Opens no socket and no model file.

#include "assay/optimize/compile.h"
#include "assay/program/run.h"

namespace assay {

/// `made`: the manifest of the module that the journal must have made; it must name an end of the
/// journal, and each member that follows from the pass that came to it is compared (made_by.h).
Result<ReplayReport> replay_compile(const RunRecord& journal, const Metrics& metrics, const Rewards& rewards,
                                    const Optimizers& optimizers = Optimizers::built_in(), const CompiledModuleManifest* made = nullptr);

/// The same for who has the plan at hand, with metrics and rewards of its own; the journal's rows must be the plan's (`diverged`).
/// The stop of `wait` ends it (`cancelled`).
Result<ReplayReport> replay_compile(const RunRecord& journal, const CompilePlan& plan, const Optimizers& optimizers, const Wait& wait = {});

/// Replay of an evaluation (`assay eval`): the program and the metric run again on the recorded rows. Errors: `refused` when the record
/// holds no rows, as those of 0.1 builds before 2026-11-26.
Result<ReplayReport> replay_evaluation(const Program& program, const RunRecord& record, const Metrics& metrics);

/// True if the record is of an evaluation.
bool is_evaluation(const RunRecord& record);
/// True if the record is the journal of a compile.
bool is_compile(const RunRecord& record);

}  // namespace assay
