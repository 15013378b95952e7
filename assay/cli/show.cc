// assay show: what a module, record or program holds, for people; --json gives the canonical value.
// Exit: 0 done · 1 it cannot be read.
#include <chrono>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/optimize/unanswered.h"
#include "assay/trace/graph.h"

namespace assay {
namespace {

// Unix seconds as a date; a number that is none stays a number.
std::string utc_text(std::int64_t seconds) {
  if (seconds <= 0 || seconds > 253'402'300'799) return std::to_string(seconds);  // to the end of 9999
  const std::chrono::sys_seconds at{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(at - day);
  return fmt::format("{}-{:02}-{:02} {:02}:{:02}:{:02} UTC", static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                     static_cast<unsigned>(date.day()), time.hours().count(), time.minutes().count(), time.seconds().count());
}

void show_module(const ModuleFile& module, Cli& cli) {
  Terminal& t = cli.terminal;
  const CompiledModuleManifest& m = module.manifest;
  const Scorecard& card = m.scorecard;
  t.out(fmt::format("{}  {}", t.bold(module.artifact.program_name()), module.id()));
  t.out(fmt::format("  made by     {}  on {}", m.optimizer, utc_text(m.created_at)));
  t.out(fmt::format("  signer      {}", m.signer.value_or("nobody")));
  for (const auto& [signer, statement] : attestations_of(module)) t.out(fmt::format("  attested    {}  by {}", statement, signer));
  if (card.score && card.primary) {
    t.out(fmt::format("  {:<11} {:.3f} {}  baseline {:.3f}  gain {:+.3f} {}  n_test {}", *card.primary, *card.score,
                      interval_text(card.interval), card.baseline ? card.baseline->score : 0, card.gain.value_or(0),
                      interval_text(card.gain_interval), card.n_test));
  }
  if (const Json* overlaps = card.extra.find("overlaps"); overlaps != nullptr)
    t.out(fmt::format("  overlap     inputs in more than one set: {}; the scores are not those of unseen rows", overlaps->as_int()));
  if (m.provenance.task) t.out(fmt::format("  lane        {}  {}", m.provenance.task->model, m.provenance.task->lane_id));
  t.out(fmt::format("  cost        {}", m.provenance.cost_msats ? msats_text(*m.provenance.cost_msats) : "unpriced"));
  for (const auto& [path, predictor] : module.artifact.predictors()) {
    const Json& signature = predictor.at("signature");
    t.out(fmt::format("  {}  {} ({} demos)", t.bold(path), signature.at("name").as_string(), predictor.at("demos").as_list().size()));
    t.out("    " + signature.at("instructions").as_string());
    for (const Json& demo : predictor.at("demos").as_list()) {
      t.out(t.dim(fmt::format("    {} -> {}", canonical(demo.at("inputs")).value_or(""), canonical(demo.at("outputs")).value_or(""))));
    }
  }
}

void show_node(const Graph& graph, std::size_t index, std::size_t depth, Cli& cli) {
  const Node& node = graph.nodes[index];
  const double ms = static_cast<double>(node.end_unix_ns - node.start_unix_ns) / 1e6;
  cli.terminal.out(fmt::format("{}{}  {} {:.1f} ms  {}", std::string(depth * 2, ' '), node.path.empty() ? "run" : node.path,
                               name(node.type.kind), ms, node.status));
  for (const LmCall& call : node.calls) {
    if (!call.content && !call.cached) {
      const Json& code = call.error.at("code");
      const std::string what = call.error.is_null() ? "not answered" : call.sent ? "failed" : "not sent";
      cli.terminal.out(fmt::format("{}chat {}  {}  {}", std::string(depth * 2 + 2, ' '), call.model, what,
                                   code.is_string() ? printable(code.as_string()) : ""));
      continue;
    }
    cli.terminal.out(fmt::format("{}chat {}  {} + {} tokens  {}", std::string(depth * 2 + 2, ' '), call.model, call.usage.prompt_tokens,
                                 call.usage.completion_tokens,
                                 call.cached             ? "cached"
                                 : call.usage.cost_msats ? fmt::format("{} msats", *call.usage.cost_msats)
                                                         : "unpriced"));
  }
  for (std::size_t child = 0; child < graph.nodes.size(); ++child) {
    if (graph.nodes[child].parent == index) show_node(graph, child, depth + 1, cli);
  }
}

// What was sent and brought no whole answer, at the prices of the record's own book, if that is the one at hand.
Amount lost_in(const RunRecord& record, const PriceBook& book) {
  const auto id = book.id();
  const bool known = id && !record.entries.empty() && record.entries.front().data.at("price_book") == Json(*id);
  return unanswered_calls(record.entries, known ? &book : nullptr).all;
}

void show_record(const RunRecord& record, const PriceBook& book, Cli& cli) {
  const Graph graph = graph_of(record.entries);
  cli.terminal.out(
      fmt::format("{}  {}  {} lines", cli.terminal.bold("run " + graph.run_id), name(record.verdict.state), record.entries.size()));
  if (graph.nodes.size() > 200) {
    cli.terminal.out(fmt::format("  {} nodes (too many to list: assay hud shows them)", graph.nodes.size()));
  } else if (!graph.nodes.empty()) {
    show_node(graph, 0, 1, cli);
  }
  for (const RecordEntry& entry : record.entries) {
    if (entry.type == "candidate") cli.terminal.out(fmt::format("  {}  {}", entry.node, canonical(entry.data.at("metrics")).value_or("")));
  }
  cli.terminal.out(fmt::format("  {} calls ({} cached), {} + {} tokens, {}", graph.totals.calls, graph.totals.cached_calls,
                               graph.totals.prompt_tokens, graph.totals.completion_tokens,
                               graph.totals.unpriced_calls == 0 ? msats_text(graph.totals.cost_msats) : "unpriced"));
  if (const Amount lost = lost_in(record, book); lost.calls > 0)
    cli.terminal.out(fmt::format("  {} more sent that brought no whole answer: up to {} tokens and {} may have been used", lost.calls,
                                 lost.tokens, lost.msats > 0 ? msats_text(lost.msats) : "msats that are not known"));
}

Result<ModuleFile> from_store(const std::string& name) {
  ASSAY_TRY(const TrustStore trust, open_trust());
  return stored_module(name, trust);
}

// A receipt, an attestation or another signed object: its members, and whether its signature holds.
bool show_signed(const std::string& text, Cli& cli) {
  const auto value = read_json(text);
  if (!value || !value->is_object() || !value->at("signature").is_string() || !value->at("format").is_string()) return false;
  if (!value->at("artifact").is_null() || !value->at("signer").is_string()) return false;
  const auto genuine = verify_object(*value);
  cli.terminal.out(fmt::format("{}  {}", cli.terminal.bold(printable(value->at("format").as_string())),
                               genuine ? "intact" : "BAD: " + genuine.error().message));
  for (const auto& [name, member] : value->as_object()) {
    if (name == "format" || name == "signature") continue;
    cli.terminal.out(fmt::format("  {:<14}{}", printable(name), printable(value_text(member).value_or(""))));
  }
  cli.terminal.out_json(*value);
  if (!genuine) cli.exit_status = exit_code(ErrorCode::mismatch);
  return true;
}

// A module that is not what it says is shown for what it is.
Result<ModuleFile> from_text(const std::string& text, const std::string& path, Cli& cli) {
  ASSAY_TRY(const TrustStore trust, open_trust());
  const ModuleVerdict verdict = verify_module(text, trust);
  if (!verdict.module) {
    auto module = read_module(text);
    if (module) return module;
    if (read_json(text)) {  // JSON, and no module that holds together: as verify says it
      module.error().code = ErrorCode::mismatch;
      if (module.error().remedy.empty()) module.error().remedy = "assay verify says what is wrong; get it again from where it came";
    }
    if (module.error().remedy.empty()) module.error().remedy = "the file is cut, or no file of Assay's: get it again from where it came";
    return std::unexpected(std::move(module.error()).in(path));
  }
  if (verdict.state == ModuleState::bad) {
    for (const Error& problem : verdict.problems)
      cli.fail_with(
          {ErrorCode::mismatch, "BAD MODULE: " + problem.message, problem.path, "do not run it; get it again from where it came"});
  } else if (!verdict.intact()) {
    cli.terminal.note("nobody signed this module");
  } else if (verdict.state == ModuleState::intact_unknown_signer) {
    cli.terminal.note(fmt::format("its signer {} is not trusted here", verdict.signer));
  }
  return *verdict.module;
}

void show_record_of(const Result<RunRecord>& record, const CommonOptions& options, Cli& cli) {
  if (!record) return cli.fail_with(record.error());
  const auto book = open_prices(options);
  if (!book) return cli.fail_with(book.error());
  show_record(*record, *book, cli);
  if (!cli.terminal.json) return;
  for (const RecordEntry& entry : record->entries) {
    cli.terminal.out_json(JsonObject{
        {"seq", entry.seq}, {"t", entry.t}, {"type", entry.type}, {"node", entry.node}, {"prev", entry.prev}, {"data", entry.data}});
  }
}

void show_module_of(const Result<ModuleFile>& module, Cli& cli) {
  if (!module) return cli.fail_with(module.error());
  show_module(*module, cli);
  if (const auto json = to_json(module->manifest))
    cli.terminal.out_json(JsonObject{{"artifact", module->artifact.json()}, {"manifest", *json}, {"attestations", module->attestations}});
}

void show_program(const std::string& path, Cli& cli) {
  const auto file = read_program_file(path, Rewards::built_in());
  if (!file) return cli.fail_with(file.error());
  cli.terminal.out(fmt::format("{}  (uncompiled)", cli.terminal.bold(file->program.artifact().program_name())));
  cli.terminal.out(file->program.artifact().text());
  cli.terminal.out_json(file->program.artifact().json());
}

void show(const std::string& path, const CommonOptions& options, Cli& cli) {
  if (path.ends_with(".jsonl")) return show_record_of(read_record_file(path), options, cli);
  if (path.ends_with(".toml")) return show_program(path, cli);
  if (is_stored_name(path)) return show_module_of(from_store(path), cli);
  const auto text = read_file(path);  // once: a pipe gives it only once
  if (!text) return cli.fail_with(text.error());
  if (is_record_text(*text)) {
    auto record = read_record(*text);
    if (!record) return cli.fail_with(std::move(record).error().in(path));
    return show_record_of(record, options, cli);
  }
  if (!show_signed(*text, cli)) show_module_of(from_text(*text, path, cli), cli);
}

}  // namespace

void add_show(CLI::App& app, Cli& cli) {
  const auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("show", "Show what a module, a record, a receipt or a program file holds");
  command->add_option("file", *path, "*.module.json, *.run.jsonl, receipts, PROGRAM.toml, or an id of the store")->required();
  command->footer("Examples:\n  assay show triage.module.json\n  assay show triage.run.jsonl\n  assay show PROGRAM.toml --json");
  const auto options = std::make_shared<CommonOptions>();
  command->add_option("--prices", options->prices,
                      "Price book of the record, for what was asked and not answered (default: the built-in one)");
  command->callback([path, options, &cli] {
    const EndsAtOnce reads(cli);
    show(*path, *options, cli);
  });
}

}  // namespace assay
