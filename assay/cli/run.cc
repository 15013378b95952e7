// assay run: one input, or one a line of JSONL, through a module or a program; recorded, priced, capped.
// Exit: 0 done · 1 failed · 3 bad module · 5 budget · 6 refused · 7 lane away · 130 interrupted.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"

namespace assay {
namespace {

struct RunOptions {
  std::string program, inputs_file, allow_signer;
  std::vector<std::string> fields;
  CommonOptions common;
  bool allow_unsigned = false;
};

// NAME=TEXT fields, read as the signature's types.
Result<Json> inputs_of(const std::vector<std::string>& fields, const Signature& signature) {
  Json out = JsonObject{};
  for (const std::string& pair : fields) {
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos)
      return fail(ErrorCode::usage, fmt::format("'{}' is not NAME=VALUE", pair), "e.g. description=\"an imap client\"", "inputs");
    const std::string field_name = pair.substr(0, equals);
    const Field* field = signature.input(field_name);
    if (field == nullptr) {
      std::string known;
      for (const Field& f : signature.inputs) known += (known.empty() ? "" : ", ") + f.name;
      return fail(ErrorCode::usage, fmt::format("the program has no input '{}'", field_name), "its inputs are: " + known, "inputs");
    }
    if (out.as_object().contains(field_name)) {
      return fail(ErrorCode::usage, fmt::format("the input '{}' is given twice", field_name), "keep one of them", "inputs");
    }
    if (!valid_utf8(pair))
      return fail(ErrorCode::usage, fmt::format("the input '{}' is not UTF-8", field_name), "give text in UTF-8", "inputs." + field_name);
    if (is_string_schema(field->schema)) {
      out.set(field_name, pair.substr(equals + 1));
      continue;
    }
    auto value = value_from_text(pair.substr(equals + 1), field->schema, nullptr);
    if (!value) return fail(ErrorCode::usage, value.error().message, "", "inputs." + field_name);
    out.set(field_name, std::move(*value));
  }
  auto typed = signature.check_inputs(out);
  if (!typed) return fail(ErrorCode::usage, typed.error().message, typed.error().remedy, typed.error().path);
  return out;
}

constexpr std::size_t inputs_bytes_max = std::size_t{256} << 20, input_bytes_max = std::size_t{8} << 20;  // as rows of data

struct Input {
  Json value;
  std::string place;  // "FILE:LINE", if it came from a file
};

Result<std::vector<Input>> all_inputs(const RunOptions& options, const Signature& signature) {
  std::vector<Input> out;
  if (options.inputs_file.empty()) {
    ASSAY_TRY(Json one, inputs_of(options.fields, signature));
    out.push_back({std::move(one), ""});
    return out;
  }
  ASSAY_TRY(const std::string text,
            read_file(options.inputs_file == "-" ? "/dev/stdin" : options.inputs_file, inputs_bytes_max, input_bytes_max));
  std::string_view rest = text;
  for (std::size_t line = 1; !rest.empty(); ++line) {  // ends: each round takes a line off
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view one = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (trim(one).empty()) continue;
    auto value = read_json(one);
    const std::string place = fmt::format("{}:{}", options.inputs_file, line);
    if (!value) {
      if (value.error().remedy.empty()) value.error().remedy = "one JSON object a line: {\"NAME\": \"TEXT\"}";
      return std::unexpected(std::move(value.error()).in(place));
    }
    out.push_back({std::move(*value), place});
  }
  return out;
}

// Null where a call had no price: 0 would be one.
Json cost_json(const Totals& totals) { return totals.unpriced_calls == 0 ? Json(totals.cost_msats) : Json(); }

void show(const RunOutcome& outcome, const std::string& record, Cli& cli) {
  const Prediction& prediction = *outcome.prediction;
  for (const auto& [field, value] : prediction.outputs.as_object()) {
    cli.terminal.out(fmt::format("{}: {}", cli.terminal.bold(field), printable(value_text(value).value_or(""))));
  }
  const bool priced = outcome.totals.unpriced_calls == 0;
  cli.terminal.note(fmt::format("{} calls, {} + {} tokens, {}; record {}", outcome.totals.calls, outcome.totals.prompt_tokens,
                                outcome.totals.completion_tokens, priced ? msats_text(outcome.totals.cost_msats) : "unpriced", record));
  cli.terminal.out_json(JsonObject{{"output", prediction.outputs},
                                   {"usage", outcome.totals.usage_json()},
                                   {"cost_msats", cost_json(outcome.totals)},
                                   {"record", record},
                                   {"root_hash", outcome.root_hash}});
}

void run(const RunOptions& options, Cli& cli) {
  auto opened = open_program(options.program, options.allow_signer, options.allow_unsigned, cli);
  if (!opened) return cli.fail_with(opened.error());
  const auto inputs = all_inputs(options, opened->program.signature());
  if (!inputs) return cli.fail_with(inputs.error());
  if (!options.inputs_file.empty() && !options.fields.empty()) {
    return cli.fail_with({ErrorCode::usage, "inputs are given on the command line and in a file", "--inputs", "keep one of the two"});
  }
  if (inputs->size() > 1 && !options.common.record.empty()) {
    return cli.fail_with(
        {ErrorCode::usage, "one --record cannot hold several runs", "--record", "leave it out: each run gets a record of its own"});
  }
  auto world = open_world(options.common, *opened, cli);
  if (!world) return cli.fail_with(world.error());
  if (const auto fits = check_module(*opened, **world); !fits) return cli.fail_with(fits.error());
  Totals totals;
  std::int64_t failed = 0, runs = 0;
  // Also where the list ends early.
  const auto summarise = [&] {
    if (options.inputs_file.empty()) return;
    cli.terminal.out_json(JsonObject{
        {"summary", JsonObject{{"runs", runs}, {"failed", failed}, {"totals", totals.totals_json()}, {"cost_msats", cost_json(totals)}}}});
  };
  for (const auto& [input, place] : *inputs) {
    if (cli.terminal.output_lost()) break;  // nobody hears of the rest
    CommonOptions common = options.common;
    const auto path = record_path(common, opened->program.artifact().program_name(), ".run.jsonl", cli);
    if (!path) return cli.fail_with(path.error());
    RunWorld run_world{.effects = (*world)->effects,
                       .settings = (*world)->settings,
                       .record_path = *path,
                       .durability = (*world)->durability(),
                       .key = (*world)->signer(),
                       .manifest = opened->manifest(),
                       .assay_version = std::string(assay_version),
                       .assay_build = assay_build()};
    auto outcome = run_program(opened->program, input, run_world);
    if (!outcome) {
      cli.fail_with(outcome.error());
      return summarise();
    }
    ++runs;
    totals.add(outcome->totals);
    if (outcome->prediction) {
      show(*outcome, *path, cli);
      continue;
    }
    ++failed;
    Error error = outcome->prediction.error();
    // What one input is to blame for does not end the list; what the lane, a budget or a person ended would end the next one too.
    const bool goes_on = error.code == ErrorCode::unreadable || error.code == ErrorCode::limit_exceeded || error.path == "inputs" ||
                         error.path.starts_with("inputs.");
    cli.fail_with(place.empty() ? error : std::move(error).in(place));
    cli.terminal.note("record " + *path);
    if (!goes_on) break;
  }
  summarise();
}

}  // namespace

void add_run(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Run a module or program on an input");
  command->add_option("program", options->program, "*.module.json, PROGRAM.toml, or an id of the store")->required();
  command->add_option("inputs", options->fields, "NAME=VALUE for each input");
  command->add_option("--inputs", options->inputs_file, "JSONL file with one input object a line (- for standard input)");
  command->add_option("--allow-signer", options->allow_signer, "Run a module signed by this key although it is not trusted");
  command->add_flag("--allow-unsigned", options->allow_unsigned, "Run a module that nobody signed");
  add_common(*command, options->common);
  command->footer(
      "Examples:\n  assay run triage.module.json description=\"mail client for the terminal\"\n  assay run triage.module.json --inputs "
      "rows.jsonl --json --budget msats=5000");
  command->callback([options, &cli] { run(*options, cli); });
}

}  // namespace assay
