// assay replay: run a record or a compile journal again, answered from itself: no lane, no socket, no model file.
// Exit: 0 identical · 4 it differs (the first difference is shown) · 3 the chain is broken · 6 refused.
#include <algorithm>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/contract/store.h"
#include "assay/lm/recorded_answers.h"
#include "assay/optimize/made_by.h"
#include "assay/optimize/replay.h"
#include "assay/trace/record_costs.h"

namespace assay {
namespace {

struct ReplayOptions {
  std::string record, module, allow_signer, prices;
  bool allow_unsigned = false;
};

Json report_json(const ReplayReport& report, bool costs_checked, const std::string& file) {
  Json divergence;
  if (report.divergence) {
    divergence = JsonObject{{"node", to_utf8(report.divergence->node)},
                            {"what", report.divergence->what},
                            {"reason", to_utf8(report.divergence->reason)},
                            {"recorded", to_utf8(report.divergence->recorded)},
                            {"replayed", to_utf8(report.divergence->replayed)}};
  }
  const auto text = [](const std::optional<std::string>& value) { return value ? Json(*value) : Json(); };
  return JsonObject{{"file", to_utf8(file)},
                    {"identical", report.identical},
                    {"complete", report.complete},
                    {"calls", report.calls},
                    {"passes", report.passes},
                    {"differs_in_pass", report.differs_in_pass > 0 ? Json(report.differs_in_pass) : Json()},
                    {"compiled_id", text(report.compiled_id)},
                    {"output_hash", text(report.output_hash)},
                    {"costs_checked", costs_checked},
                    {"divergence", divergence}};
}

std::string clip(const std::string& text) {
  if (text.size() <= 400) return text;
  std::size_t cut = 400;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return text.substr(0, cut) + fmt::format("… ({} bytes)", text.size());
}

// The module of a run: named, or found in the store by the record's compiled_id.
Result<Program> program_of_run(const ReplayOptions& options, const RunRecord& record, Cli& cli) {
  if (!options.module.empty()) {
    ASSAY_TRY(OpenedProgram opened, open_program(options.module, options.allow_signer, options.allow_unsigned, cli));
    return std::move(opened.program);
  }
  for (const RecordEntry& entry : record.entries) {
    if (entry.type == "sandbox")
      return fail(ErrorCode::refused, "a job in a sandbox is not answered from its record",
                  "assay verify checks the record; assay sandbox run --request runs the job anew", options.record);
  }
  const Json& id = record.entries.front().data.at("compiled_id");
  if (!id.is_string())
    return fail(ErrorCode::usage, "the record is of an uncompiled program", "name its PROGRAM.toml with --module", options.record);
  const Store store(default_store_folder());
  ASSAY_TRY(const CompiledId compiled, CompiledId::parse(id.as_string()));
  if (auto there = store.find(compiled, TrustStore()); !there)
    return fail(there.error().code, there.error().message, "name the module file with --module", options.record);
  auto opened = open_stored(compiled.hex(), options.allow_signer, options.allow_unsigned, cli);
  if (opened) return std::move(opened->program);
  opened.error().path.clear();  // the record's path is the place
  return std::unexpected(std::move(opened.error()));
}

// A replay is given costs as it is given answers; whether they are price times usage is looked at beside it.
Result<CostCheck> costs_of(const ReplayOptions& options, const RunRecord& record) {
  CommonOptions common;
  common.prices = options.prices;
  ASSAY_TRY(const PriceBook book, open_prices(common));
  return check_costs(record.entries, book);
}

void show(const ReplayReport& report, Cli& cli) {
  Terminal& t = cli.terminal;
  const std::string id = report.compiled_id ? "  id " + *report.compiled_id : "";
  const bool resumed = report.passes > 1;
  if (report.identical) {
    const std::string calls =
        fmt::format("{} LM calls answered from the record{}", report.calls, resumed ? fmt::format(", in {} passes", report.passes) : "");
    return t.out(report.complete
                     ? fmt::format("replay: identical ({}){}", calls, id)
                     : fmt::format("replay: identical as far as the record goes ({}); it is open: its end is missing{}", calls, id));
  }
  const Divergence& divergence = *report.divergence;
  t.out(fmt::format("replay: differs at {} ({}){}", divergence.node.empty() ? "the run itself" : divergence.node, divergence.what,
                    resumed && report.differs_in_pass > 0 ? fmt::format(", in pass {} of {}", report.differs_in_pass, report.passes) : ""));
  if (!divergence.reason.empty()) return t.out("  " + clip(divergence.reason));
  t.out("  recorded  " + (divergence.recorded.empty() ? "nothing" : clip(divergence.recorded)));
  t.out("  replayed  " + (divergence.replayed.empty() ? "nothing" : clip(divergence.replayed)));
}

// The manifest that is held against a journal. The store may keep several of one id, as compiled twice: the one that names this journal.
Result<CompiledModuleManifest> manifest_beside(const ReplayOptions& options, const OpenedProgram& opened, const RunRecord& journal) {
  if (!is_stored_name(options.module)) return opened.module->manifest;
  ASSAY_TRY(const CompiledId id, stored_id(options.module));
  ASSAY_TRY(const auto all, Store(default_store_folder()).manifests(id));
  ASSAY_TRY(const TrustStore trust, open_trust());
  for (const CompiledModuleManifest& manifest : all) {
    const bool named =
        std::any_of(journal.entries.begin(), journal.entries.end(), [&](const RecordEntry& e) { return is_end_of(e, manifest); });
    const ModuleVerdict verdict = verify_module(ModuleFile{opened.module->artifact, manifest, Json()}, trust);
    if (named && check_runnable(verdict, options.allow_signer, options.allow_unsigned)) return manifest;
  }
  return opened.module->manifest;
}

// A module that is named beside a journal must be the one that the journal makes, with what its manifest says of the making.
Result<ReplayReport> replay_journal(const ReplayOptions& options, const RunRecord& journal, Cli& cli) {
  if (options.module.empty()) return replay_compile(journal, Metrics::built_in(), Rewards::built_in());
  ASSAY_TRY(const OpenedProgram opened, open_program(options.module, options.allow_signer, options.allow_unsigned, cli));
  if (!opened.module)
    return fail(ErrorCode::usage, "a journal makes a module, and this is none", "name the module, or leave it out", "--module");
  ASSAY_TRY(const CompiledModuleManifest made, manifest_beside(options, opened, journal));
  ASSAY_TRY(ReplayReport report, replay_compile(journal, Metrics::built_in(), Rewards::built_in(), Optimizers::built_in(), &made));
  if (report.divergence && report.divergence->what.starts_with("manifest.")) report.divergence->what += " of " + options.module;
  return report;
}

void replay(const ReplayOptions& options, Cli& cli) {
  const auto record = read_record_file(options.record);
  if (!record) return cli.fail_with(record.error());
  if (record->entries.empty()) return cli.fail_with({ErrorCode::malformed, "the record holds no line", options.record, ""});
  const auto costs = costs_of(options, *record);
  if (!costs) return cli.fail_with(costs.error());
  Result<ReplayReport> report = [&]() -> Result<ReplayReport> {
    if (is_compile(*record)) return replay_journal(options, *record, cli);
    ASSAY_TRY(const Program program, program_of_run(options, *record, cli));
    if (is_evaluation(*record)) return replay_evaluation(program, *record, Metrics::built_in());
    return replay_run(program, *record);
  }();
  if (!report && !RecordedAnswers::check(*record)) report.error().code = ErrorCode::mismatch;  // it does not hold: as verify says
  if (!report && !options.module.empty() && report.error().path.starts_with(options.module)) return cli.fail_with(report.error());
  if (!report) return cli.fail_with(std::move(report.error()).in(options.record));
  if (report->identical && !costs->problems.empty()) {
    report->identical = false;
    report->divergence = Divergence{"", "cost_msats", "", "", costs->problems.front().message};
  }
  cli.terminal.out_json(report_json(*report, costs->book_known, options.record));
  show(*report, cli);
  if (!costs->book_known && report->calls > 0) cli.terminal.note("another price book: costs not computed again (--prices)");
  if (!report->identical) cli.exit_status = exit_code(ErrorCode::diverged);
}

}  // namespace

void add_replay(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<ReplayOptions>();
  CLI::App* command = app.add_subcommand("replay", "Run a record or a journal again from itself: no LM, no network");
  command->add_option("record", options->record, "*.run.jsonl")->required();
  command->add_option("--module", options->module,
                      "Module or program that ran (default: from the store); of a journal, the module that it must make, manifest and all");
  command->add_option("--allow-signer", options->allow_signer, "Replay a module signed by this key although it is not trusted");
  command->add_flag("--allow-unsigned", options->allow_unsigned, "Replay a module that nobody signed");
  command->add_option("--prices", options->prices, "Price book of the record, to compute its costs again (default: the built-in one)");
  command->footer("Examples:\n  assay replay triage.compile.run.jsonl\n  assay replay triage.run.jsonl --module triage.module.json --json");
  command->callback([options, &cli] {
    const EndsAtOnce reads(cli);
    replay(*options, cli);
  });
}

}  // namespace assay
