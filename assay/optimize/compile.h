#pragma once
/// @file
/// Compile: search, then one look at the test set, then a signed module. Journalled, budgeted, replayable.
/// Source: docs/formats.md §§3–4.
///
///     ASSAY_TRY(const CompilePlan plan, CompilePlan::of(program_file, sets, metric, seed));
///     ASSAY_TRY(const CompileOutcome outcome, compile_program(plan, world));
///     write_file("triage.module.json", outcome.module_text);
///
/// Thread safety: a compile is one call; its rows may run in several threads.

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "assay/contract/module_file.h"
#include "assay/optimize/optimizer.h"

namespace assay {

/// Everything that decides a compile, as the journal's run_start.program has it.
struct CompilePlan {
  Program program;      ///< the student
  Metric metric;
  std::string optimizer;
  JsonObject optimizer_config;
  std::int64_t seed = 0;
  std::int64_t order_seed = 0;
  Compatibility compatibility;
  DataSets data;

  static Result<CompilePlan> of(const ProgramFile& file, DataSets data, const Metrics& metrics, std::int64_t seed,
                                const Optimizers& optimizers = Optimizers::built_in());
  /// Without the rows (they stand in the journal's `data` events), with their set ids.
  Result<Json> to_json() const;
  /// From a journal: its first line's `program`, and the rows that one pass holds. Errors: `refused` when the metric's or a reward's code
  /// is not this build's, `malformed`, `diverged` when the rows are not those.
  static Result<CompilePlan> read(const Json& program, std::span<const RecordEntry> pass, const Metrics& metrics, const Rewards& rewards);
  /// Are the rows that a pass holds this plan's? Errors: `diverged`.
  Result<void> check_rows(std::span<const RecordEntry> pass) const;
};

/// What a program file says of its metric and its optimizer: names that are known, keys and values that they take. Errors name the place.
Result<void> check_program_file(const ProgramFile& file, const Metrics& metrics, const Optimizers& optimizers = Optimizers::built_in());

/// What search and test gave; derived again, to the last digit, by a replay.
struct CompileResult {
  Program program;  ///< the best candidate
  std::string candidate;  ///< its id
  Scorecard scorecard;
  JsonObject optimizer_config;  ///< with every default filled in
  std::string valset_id;  ///< of the rows that the search used
  bool promoted = false;  ///< the gain's interval lies above zero
  bool proposes = false;  ///< the optimizer asked a proposer
};

struct CompileHooks {
  EvaluateOptions evaluate;
  std::function<void(const std::string&)> say;
  /// Counts and returns how often this test set had been opened when this run did so, that time included. The same run counts once, and
  /// gets the same number, however often it asks:
  /// one that was killed between the count and its line in the journal asks again when it goes on. Empty: nobody counts, it is the first
  /// look (`count_test_look` counts in a folder).
  std::function<Result<std::int64_t>(const std::string& testset_id, const std::string& run_id)> open_test;
  /// Called once, when the journal is open and nothing has been asked yet.
  std::function<void(const std::string& run_id)> begun;
  Optimizers optimizers = Optimizers::built_in();
};

/// What a resumed compile does with calls that were sent and not answered before it stopped: what became of them is not known. They count
/// against the budget in full either way.
enum class Unanswered {
  ask_again,  ///< sends them once more
  stop,  ///< does not go on: `refused`, with their number and what they may have cost
};

/// The compile itself, on whatever answers the context gives: live, cached or recorded.
Result<CompileResult> run_compile(const CompilePlan& plan, const Context& context, const CompileHooks& hooks);

/// Where a compile happens.
struct CompileWorld {
  Effects effects;  ///< without recorder: compile_program makes it
  Settings settings;
  std::string journal_path;
  bool resume = false;  ///< go on with the journal that is there; with none of its lines whole, begin it anew
  Unanswered unanswered = Unanswered::ask_again;
  const SecretKey* key = nullptr;
  std::string assay_version, assay_build;
  Durability durability = Durability::process;
  CompileHooks hooks;
};

struct CompileOutcome {
  CompileResult result;
  ModuleFile module;
  std::string module_text;
  Totals totals;
  std::string journal_root;
  double seconds = 0;
  bool repeatable = false;  ///< every lane that could be asked answers the same request the same (`LM::repeats`)
};

Result<CompileOutcome> compile_program(const CompilePlan& plan, const CompileWorld& world);

/// The counter behind `open_test`: one small file a test set under `folder`, raised atomically: the count, then the runs that looked, one
/// a line, the last 1,000 of them. A run that is among them is not counted again. Errors: `malformed` (a counter that is damaged: it is
/// not begun anew), `io`.
Result<std::int64_t> count_test_look(const std::string& folder, const std::string& testset_id, const std::string& run_id);
/// Can the next look be counted? Asked before anything is spent on a search. Errors: as `count_test_look`.
Result<void> check_test_looks(const std::string& folder, const std::string& testset_id);

}  // namespace assay
