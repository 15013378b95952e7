// assay eval: score a module or program on rows of one's own.
// Exit: 0 done · 3 the score lies below --at-least · 5 budget · 6 refused · 7 lane away.
#include <cmath>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/cli/open.h"
#include "assay/optimize/evaluate.h"
#include "assay/optimize/stats.h"
#include "assay/program/call.h"

namespace assay {
namespace {

struct EvalOptions {
  std::string program, data, metric, set, allow_signer;
  std::vector<std::string> map;
  std::optional<double> at_least;
  CommonOptions common;
  bool allow_unsigned = false;
};

// FIELD=COLUMN, over what the program file says.
Result<JsonObject> columns_of(const EvalOptions& options, const OpenedProgram& opened) {
  const Signature& signature = opened.program.signature();
  JsonObject columns = opened.file ? opened.file->data.fields : JsonObject{};
  for (const std::string& pair : options.map) {
    const std::size_t equals = pair.find('=');
    const std::string field = pair.substr(0, equals);
    if (equals == std::string::npos || equals + 1 == pair.size())
      return fail(ErrorCode::usage, fmt::format("'{}' is not FIELD=COLUMN", pair), "e.g. --map section=label", "--map");
    if (signature.input(field) == nullptr && signature.output(field) == nullptr)
      return fail(ErrorCode::usage, fmt::format("the program has no field '{}'", field), "assay show lists its fields", "--map");
    if (columns.contains(field))
      return fail(ErrorCode::usage, fmt::format("the field '{}' is named twice", field), "keep one of them", "--map");
    columns.set(field, pair.substr(equals + 1));
  }
  return columns;
}

Result<std::vector<Row>> rows_of(const EvalOptions& options, const OpenedProgram& opened) {
  const Signature& signature = opened.program.signature();
  if (!options.data.empty() && !options.set.empty())
    return fail(ErrorCode::usage, "--set names rows of the program file, --data other ones", "leave one of them out", "--set");
  if (options.data.empty() && !options.map.empty())
    return fail(ErrorCode::usage, "--map says how the columns of --data are named", "give --data, or leave --map out", "--map");
  if (!options.data.empty()) {
    ASSAY_TRY(const JsonObject columns, columns_of(options, opened));
    ASSAY_TRY(std::vector<Row> rows, read_rows(options.data, signature, columns));
    order_rows(rows);
    return rows;
  }
  if (!opened.file) return fail(ErrorCode::usage, "no data was named", "--data rows.csv", "eval");
  ASSAY_TRY(DataSets sets, load_data(opened.file->data, opened.file->folder, signature));
  if (options.set == "train") return std::move(sets.train);
  if (options.set == "val" || options.set.empty()) return std::move(sets.val);
  return fail(ErrorCode::usage, fmt::format("eval reads the train or val set, not '{}'", options.set),
              "the test set is opened by compile only, once, after the search", "--set");
}

void eval(const EvalOptions& options, Cli& cli) {
  if (options.at_least && !std::isfinite(*options.at_least))
    return cli.fail_with({ErrorCode::usage, "a gate is a number", "--at-least", "give the least score that passes, e.g. 0.8"});
  auto opened = open_program(options.program, options.allow_signer, options.allow_unsigned, cli);
  if (!opened) return cli.fail_with(opened.error());
  const auto rows = rows_of(options, *opened);
  if (!rows) return cli.fail_with(rows.error());
  if (rows->empty()) return cli.fail_with({ErrorCode::malformed, "there are no rows", options.data, "give a file with rows"});
  const auto metric = Metrics::built_in().find(!options.metric.empty() ? options.metric : opened->file ? opened->file->metric : "accuracy");
  if (!metric) return cli.fail_with(metric.error());
  auto world = open_world(options.common, *opened, cli);
  if (!world) return cli.fail_with(world.error());
  if (const auto fits = check_module(*opened, **world); !fits) return cli.fail_with(fits.error());
  const std::string program = opened->program.artifact().program_name();
  const auto path = record_path(options.common, program, ".eval.run.jsonl", cli);
  if (!path) return cli.fail_with(path.error());
  RunStart start;
  if (opened->manifest() != nullptr) start.compiled_id = opened->program.id();
  start.settings = JsonObject{{"program", opened->program.artifact().json().at("program")}, {"metric", metric->ref.to_json()}};
  start.seed = (*world)->effects.seed;
  start.price_book = (*world)->prices.id().value_or("");
  start.lanes = lanes_of(opened->program, (*world)->settings);
  start.privacy_mode = privacy_name((*world)->effects.privacy);
  start.assay_version = assay_version;
  start.assay_build = assay_build();
  auto recorder =
      RunRecorder::create({.path = *path, .durability = (*world)->durability(), .keep_entries = false, .key = (*world)->signer()}, start,
                          cli.clock, cli.entropy);
  if (!recorder) return cli.fail_with(recorder.error());
  Effects effects = (*world)->effects;
  effects.recorder = recorder->get();
  const Context context(effects, (*world)->settings);
  if (const auto kept = record_rows(context, "eval", *rows); !kept) return cli.fail_with(kept.error());
  EvaluateOptions how;
  how.threads = options.common.threads > 0 ? static_cast<int>(options.common.threads) : (*world)->lane->concurrency();
  how.progress = [&cli](std::size_t done, std::size_t total) { cli.terminal.progress("rows", done, total); };
  const auto evaluation = evaluate(context.at("eval"), opened->program, *rows, *metric, how);
  if (!evaluation) {
    const Error& error = evaluation.error();
    static_cast<void>(context.record("error", error_data(error)));
    static_cast<void>((*recorder)->finish(std::nullopt));  // the evaluation's own error is the one to tell
    return cli.fail_with(error);
  }
  const auto root = (*recorder)->finish(std::nullopt);
  if (!root) return cli.fail_with(root.error());
  const auto scores = evaluation->scores();
  const std::optional<Interval> interval = score_interval(scores, effects.seed, "score");
  const Totals totals = (*recorder)->totals();
  const bool priced = totals.unpriced_calls == 0;
  cli.terminal.out(fmt::format("{}  {} {:.3f} {}  n {}  failures {}  {}", program, metric->ref.name, mean(scores), interval_text(interval),
                               scores.size(), evaluation->failures(), priced ? msats_text(totals.cost_msats) : "unpriced"));
  cli.terminal.out_json(JsonObject{{"metric", metric->ref.name},
                                   {"score", mean(scores)},
                                   {"interval", interval ? to_json(*interval).value_or(Json()) : Json()},
                                   {"n", scores.size()},
                                   {"failures", evaluation->failures()},
                                   {"usage", totals.usage_json()},
                                   {"cost_msats", priced ? Json(totals.cost_msats) : Json()},
                                   {"record", *path},
                                   {"root_hash", *root}});
  if (options.at_least && !(mean(scores) >= *options.at_least)) {
    cli.fail_with({ErrorCode::mismatch, fmt::format("the score {:.4f} lies below {}", mean(scores), *options.at_least), "--at-least",
                   "see which rows failed: assay show RECORD"});
  }
}

}  // namespace

void add_eval(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Score a module or program on rows");
  command->add_option("program", options->program, "*.module.json, PROGRAM.toml, or an id of the store")->required();
  command->add_option("--data", options->data, "CSV or JSONL rows (default: the program file's validation set)");
  command->add_option("--map", options->map, "FIELD=COLUMN where --data names a field of the program otherwise; may be repeated")
      ->type_name("FIELD=COLUMN")
      ->allow_extra_args(false);
  command->add_option("--set", options->set, "Set of the program file: val (default) or train");
  command->add_option("--metric", options->metric, "accuracy or token_f1 (default: the program file's, else accuracy)");
  command->add_option("--at-least", options->at_least, "Gate: exit 3 when the score lies below");
  command->add_option("--allow-signer", options->allow_signer, "Run a module signed by this key although it is not trusted");
  command->add_flag("--allow-unsigned", options->allow_unsigned, "Run a module that nobody signed");
  add_common(*command, options->common);
  command->footer(
      "Examples:\n  assay eval triage.module.json --data mine.csv\n  assay eval triage.module.json --data mine.csv --map section=label "
      "--at-least 0.6 --json");
  command->callback([options, &cli] { eval(*options, cli); });
}

}  // namespace assay
