// assay replay: run a record or a compile journal again, answered from itself: no lane, no socket, no model file.
// Exit: 0 identical · 4 it differs (the first difference is shown) · 3 the chain is broken · 6 refused.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/contract/store.h"
#include "assay/optimize/replay.h"

namespace assay {
namespace {

struct ReplayOptions {
  std::string record, module, allow_signer;
  bool allow_unsigned = false;
};

Json report_json(const ReplayReport& report, const std::string& file) {
  Json divergence;
  if (report.divergence) {
    divergence = JsonObject{{"node", to_utf8(report.divergence->node)},
                            {"what", report.divergence->what},
                            {"recorded", to_utf8(report.divergence->recorded)},
                            {"replayed", to_utf8(report.divergence->replayed)}};
  }
  const auto text = [](const std::optional<std::string>& value) { return value ? Json(*value) : Json(); };
  return JsonObject{{"file", to_utf8(file)},
                    {"identical", report.identical},
                    {"calls", report.calls},
                    {"compiled_id", text(report.compiled_id)},
                    {"output_hash", text(report.output_hash)},
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
  const Json& id = record.entries.front().data.at("compiled_id");
  if (!id.is_string())
    return fail(ErrorCode::usage, "the record is of an uncompiled program", "name its PROGRAM.toml with --module", options.record);
  const Store store(default_store_folder());
  ASSAY_TRY(const CompiledId compiled, CompiledId::parse(id.as_string()));
  ASSAY_TRY(const TrustStore trust, open_trust());
  auto module = store.get(compiled, trust);
  if (!module) return fail(module.error().code, module.error().message, "name the module file with --module", options.record);
  return Program::load(module->artifact, Rewards::built_in());
}

void replay(const ReplayOptions& options, Cli& cli) {
  const auto record = read_record_file(options.record);
  if (!record) return cli.fail_with(record.error());
  if (record->entries.empty()) return cli.fail_with({ErrorCode::malformed, "the record holds no line", options.record, ""});
  Result<ReplayReport> report = [&]() -> Result<ReplayReport> {
    if (is_compile(*record)) return replay_compile(*record, Metrics::built_in(), Rewards::built_in());
    ASSAY_TRY(const Program program, program_of_run(options, *record, cli));
    return replay_run(program, *record);
  }();
  if (!report) return cli.fail_with(std::move(report.error()).in(options.record));
  cli.terminal.out_json(report_json(*report, options.record));
  if (report->identical) {
    cli.terminal.out(fmt::format("replay: identical ({} LM calls answered from the record){}", report->calls,
                                 report->compiled_id ? "  id " + *report->compiled_id : ""));
    return;
  }
  const Divergence& divergence = *report->divergence;
  cli.terminal.out(
      fmt::format("replay: differs at {} ({})", divergence.node.empty() ? "the run itself" : divergence.node, divergence.what));
  cli.terminal.out("  recorded  " + clip(divergence.recorded));
  cli.terminal.out("  replayed  " + clip(divergence.replayed));
  cli.exit_status = exit_code(ErrorCode::diverged);
}

}  // namespace

void add_replay(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<ReplayOptions>();
  CLI::App* command = app.add_subcommand("replay", "Run a record or a journal again from itself: no LM, no network");
  command->add_option("record", options->record, "*.run.jsonl")->required();
  command->add_option("--module", options->module, "Module or program that ran (default: from the store)");
  command->add_option("--allow-signer", options->allow_signer, "Replay a module signed by this key although it is not trusted");
  command->add_flag("--allow-unsigned", options->allow_unsigned, "Replay a module that nobody signed");
  command->footer("Examples:\n  assay replay triage.compile.run.jsonl\n  assay replay triage.run.jsonl --module triage.module.json --json");
  command->callback([options, &cli] { replay(*options, cli); });
}

}  // namespace assay
