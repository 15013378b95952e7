// assay compile: search for the demos that score best, look at the test set once, write a signed module.
// Exit: 0 done (promoted or not) · 1 failed · 5 budget · 6 refused · 7 lane away · 130 interrupted (--resume goes on).
#include <charconv>
#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/contract/store.h"
#include "assay/hud/hud_callback.h"
#include "assay/hud/server.h"
#include "assay/optimize/compile.h"

namespace assay {
namespace {

struct CompileOptions {
  std::string program, out, journal, unanswered = "ask";
  CommonOptions common;
  std::optional<std::uint16_t> hud;
  bool resume = false, allow_overlap = false;
};

Json interval_json(const std::optional<Interval>& interval) {
  if (!interval) return Json();
  const auto json = to_json(*interval);
  return json ? *json : Json();
}

Json result_json(const CompileOutcome& outcome, const std::string& module_path, const std::string& journal) {
  const Scorecard& card = outcome.result.scorecard;
  return JsonObject{{"compiled_id", outcome.module.id()},
                    {"baseline", JsonObject{{"score", card.baseline->score}, {"interval", interval_json(card.baseline->interval)}}},
                    {"score", *card.score},
                    {"interval", interval_json(card.interval)},
                    {"gain", *card.gain},
                    {"gain_interval", interval_json(card.gain_interval)},
                    {"n_test", card.n_test},
                    {"p_fail", card.p_fail},
                    {"rollouts", card.rollouts},
                    {"usage", outcome.totals.usage_json()},
                    {"cost_msats", outcome.totals.unpriced_calls == 0 ? Json(outcome.totals.cost_msats) : Json()},
                    {"seconds", outcome.seconds},
                    {"promoted", outcome.result.promoted},
                    {"repeatable", outcome.repeatable},
                    {"module", module_path},
                    {"journal", journal}};
}

void show(const CompileOutcome& outcome, const std::string& module_path, const std::string& journal, Cli& cli) {
  const Scorecard& card = outcome.result.scorecard;
  Terminal& t = cli.terminal;
  const std::string metric = card.primary.value_or("score");
  t.out("");
  t.out(fmt::format("{}  {}", t.bold(outcome.result.program.artifact().program_name()), outcome.module.id()));
  t.out(fmt::format("  baseline  {} {:.3f} {}", metric, card.baseline->score, interval_text(card.baseline->interval)));
  t.out(fmt::format("  compiled  {} {:.3f} {}  n_test {}  ({} look{} at this test set)", metric, *card.score, interval_text(card.interval),
                    card.n_test, card.test_looks, card.test_looks == 1 ? "" : "s"));
  t.out(fmt::format("  gain      {:+.3f} {}  {}", *card.gain, interval_text(card.gain_interval),
                    outcome.result.promoted        ? "promoted"
                    : card.gain_interval->high < 0 ? "worse: not promoted"
                                                   : "within noise: not promoted"));
  t.out(fmt::format("  failures  {:.3f} {}", card.p_fail, interval_text(card.p_fail_interval)));
  if (const Json* overlaps = card.extra.find("overlaps"); overlaps != nullptr)
    t.out(fmt::format("  overlap   inputs in more than one set: {}; the scores are not those of unseen rows", overlaps->as_int()));
  t.out(fmt::format("  used      {} calls ({} cached), {} + {} tokens, {}, {:.1f} s", outcome.totals.calls, outcome.totals.cached_calls,
                    outcome.totals.prompt_tokens, outcome.totals.completion_tokens,
                    outcome.totals.unpriced_calls == 0 ? msats_text(outcome.totals.cost_msats) : "unpriced", outcome.seconds));
  t.out("  module    " + module_path);
  t.out("  journal   " + journal);
}

// The options of the command line do not touch [proposer]: what is wrong with it is mended in the file.
Error as_in_file(Error error, const std::string& file) {
  if (error.remedy.find("--") != std::string::npos)
    error.remedy = "its keys are kind, model, endpoint and key_env (the name of a variable that is set); no option stands for them";
  error.path = file + ": [proposer]";
  return error;
}

// The command that goes on: whatever decides the compile, and where it runs, must be the same.
std::string resume_line(const CompileOptions& options, const std::string& journal, const Cli& cli) {
  const CommonOptions& common = options.common;
  std::string out = fmt::format("assay compile {} --resume --journal {}", shell_word(options.program), shell_word(journal));
  if (common.seed) out += fmt::format(" --seed {}", *common.seed);
  const std::pair<const char*, const std::string*> texts[] = {{"--out", &options.out},
                                                              {"--lane", &common.lane},
                                                              {"--model", &common.model},
                                                              {"--fallback-lane", &common.fallback_lane},
                                                              {"--fallback-model", &common.fallback_model},
                                                              {"--fallback-endpoint", &common.fallback_endpoint},
                                                              {"--fallback-key-env", &common.fallback_key_env},
                                                              {"--relay", &common.relay},
                                                              {"--issuer", &common.issuer},
                                                              {"--issuer-node", &common.issuer_node},
                                                              {"--provider", &common.provider},
                                                              {"--privacy", &common.privacy},
                                                              {"--prices", &common.prices},
                                                              {"--cache", &common.cache},
                                                              {"--endpoint", &common.endpoint},
                                                              {"--dialect", &common.dialect},
                                                              {"--key-env", &common.key_env}};
  for (const auto& [option, value] : texts) {
    if (!value->empty()) out += fmt::format(" {} {}", option, shell_word(*value));
  }
  if (!common.ledger.empty()) out += " --ledger " + shell_word(common.ledger);
  if (common.threads > 0) out += fmt::format(" --threads {}", common.threads);
  if (common.day_cap) out += fmt::format(" --day-cap {}", *common.day_cap);
  if (common.key != "default") out += " --key " + shell_word(common.key);
  if (!cli.passphrase_file.empty()) out += " --passphrase-file " + shell_word(cli.passphrase_file);
  if (options.allow_overlap) out += " --allow-overlap";
  if (options.unanswered != "ask") out += " --unanswered " + options.unanswered;
  return out;
}

// The limits as they were; the one that is spent, twice as high.
// What the error itself asks for: "--budget NAME=N or more"; 0 if nothing.
std::int64_t asked_for(const Error& error, std::string_view name) {
  const std::string before = fmt::format("--budget {}=", name);
  const std::size_t at = error.remedy.find(before);
  std::int64_t out = 0;
  if (at != std::string::npos) std::from_chars(error.remedy.data() + at + before.size(), error.remedy.data() + error.remedy.size(), out);
  return out;
}

std::string budget_to_go_on(const BudgetLimits& limits, const Error& error) {
  std::string out;
  const auto put = [&](const char* name, const auto& limit, auto raised) {
    if (!limit) return;
    const bool spent = error.code == ErrorCode::over_budget && error.path.ends_with(fmt::format("budget.{}", name));
    const auto asked = static_cast<std::decay_t<decltype(*limit)>>(asked_for(error, name));
    out += fmt::format("{}{}={}", out.empty() ? "" : ",", name, spent ? std::max(raised(*limit), asked) : *limit);
  };
  const auto twice = [](std::int64_t count) { return std::min(2 * std::max<std::int64_t>(count, 1), json_integer_max); };
  put("calls", limits.calls, twice);
  put("tokens", limits.tokens, twice);
  put("msats", limits.msats, twice);
  put("seconds", limits.seconds, [](double seconds) { return std::max(1.0, 2 * seconds); });
  return out;
}

Error with_remedy(Error error, const std::string& more) {
  error.remedy += (error.remedy.empty() ? "" : "; ") + more;
  return error;
}

// A compile may take hours: what it needs to write at its end is tried at its beginning.
Result<void> check_places(const std::string& module_path) {
  const std::string beside = std::filesystem::path(module_path).parent_path().string();
  ASSAY_CHECK(check_gives_way(module_path, "module", is_module_text));
  ASSAY_CHECK(check_writable_folder(data_folder() + "/looks"));
  ASSAY_CHECK(Store(default_store_folder()).check_writable());
  return check_writable_folder(beside.empty() ? "." : beside);
}

void compile(const CompileOptions& options, Cli& cli) {
  auto opened = open_program(options.program, "", false, cli);
  if (!opened) return cli.fail_with(opened.error());
  if (!opened->file) return cli.fail_with({ErrorCode::usage, "compile takes a program file", options.program, "write one with assay init"});
  ProgramFile& file = *opened->file;
  file.data.allow_overlap = file.data.allow_overlap || options.allow_overlap;
  auto sets = load_data(file.data, file.folder, file.program.signature());
  if (!sets) return cli.fail_with(sets.error());
  cli.terminal.note(fmt::format("rows: {} train, {} val, {} test", sets->train.size(), sets->val.size(), sets->test.size()));
  auto plan = CompilePlan::of(file, std::move(*sets), Metrics::built_in(), options.common.seed.value_or(0));
  if (!plan) return cli.fail_with(plan.error());
  const std::string name = file.program.artifact().program_name();
  const std::string module_path = options.out.empty() ? file.folder + "/" + name + ".module.json" : options.out;
  if (const auto places = check_places(module_path); !places) return cli.fail_with(places.error());
  auto world = open_world(options.common, *opened, cli);
  if (!world) return cli.fail_with(world.error());
  if (const auto fits = check_module(*opened, **world); !fits) return cli.fail_with(fits.error());
  if (file.proposer) {
    CommonOptions own;
    own.key = options.common.key;
    own.privacy = options.common.privacy;
    auto proposer = open_lane(own, *file.proposer, cli);
    if (!proposer) return cli.fail_with(as_in_file(std::move(proposer.error()), options.program));
    const auto optimizer = Optimizers::built_in().make(file.optimizer.name, file.optimizer.config);
    Predictor asks;
    asks.config = Predictor::default_config();
    if (const auto takes = check_lane(**proposer, asks, (*world)->settings, (*world)->effects);
        !takes && optimizer && (*optimizer)->proposes())
      return cli.fail_with(Error(takes.error()).in("proposer"));
    (*world)->settings.lanes[proposer_requirement] = std::move(*proposer);
  }
  CommonOptions journal_options = options.common;
  if (!options.journal.empty()) journal_options.record = options.journal;
  if (options.resume && journal_options.record.empty())
    return cli.fail_with({ErrorCode::usage, "--resume needs the journal's name", "", "--journal FILE"});
  const auto journal = record_path(journal_options, name, ".compile.run.jsonl", cli);
  if (!journal) return cli.fail_with(journal.error());
  std::error_code ignored;
  if (same_place(*journal, module_path))
    return cli.fail_with({ErrorCode::usage, "journal and module would be one file", module_path, "name another one with --out"});
  cli.terminal.note("journal " + *journal);

  CompileWorld where{.effects = (*world)->effects,
                     .settings = (*world)->settings,
                     .journal_path = *journal,
                     .resume = options.resume,
                     .unanswered = options.unanswered == "stop" ? Unanswered::stop : Unanswered::ask_again,
                     .key = (*world)->signer(),
                     .assay_version = std::string(assay_version),
                     .assay_build = assay_build(),
                     .durability = (*world)->durability()};
  where.hooks.say = [&cli](const std::string& line) { cli.terminal.note(line); };
  where.hooks.evaluate.threads = options.common.threads > 0 ? static_cast<int>(options.common.threads) : (*world)->lane->concurrency();
  where.hooks.evaluate.progress = [&cli](std::size_t done, std::size_t total) {
    if (total > 1) cli.terminal.progress("rows", done, total);
  };
  std::unique_ptr<HudServer> hud;
  if (options.hud) {
    auto server = HudServer::start(
        {.port = *options.hud, .runs_folders = {}, .records = {*journal}, .version = std::string(assay_version), .build = assay_build()},
        cli.clock);
    if (!server) return cli.fail_with(server.error());
    hud = std::move(*server);
    const auto callback = std::make_shared<HudCallback>(hud->hub());
    where.settings.set_callback(callback);
    where.hooks.begun = [callback](const std::string& run_id) { callback->begin(run_id); };
    cli.terminal.note("HUD " + hud->url());
  }
  where.hooks.open_test = [](const std::string& id, const std::string& run_id) {
    return count_test_look(data_folder() + "/looks", id, run_id);
  };
  if (const auto countable = check_test_looks(data_folder() + "/looks", plan->data.test_id()); !countable)
    return cli.fail_with(countable.error());
  const bool was_there = std::filesystem::exists(*journal, ignored);
  auto outcome = compile_program(*plan, where);
  if (!outcome) {
    Error error = outcome.error();
    // Another's file, one of another compile, or none: nothing to go on with.
    const bool refused = options.resume && error.code == ErrorCode::refused;
    if ((was_there && !options.resume) || refused || !std::filesystem::exists(*journal, ignored)) return cli.fail_with(error);
    CompileOptions next = options;
    // Who is cheapest may be another one tomorrow: the journal's lane is this one's.
    constexpr std::string_view bought = "nip90:";
    const Lane& lane = (*world)->lane->lane();
    if (next.common.provider.empty() && lane.kind == "pylon" && lane.engine.starts_with(bought))
      next.common.provider = lane.engine.substr(bought.size(), 64);
    const bool ledger_spent = error.code == ErrorCode::over_budget && !options.common.ledger.empty();
    if (ledger_spent) next.common.ledger = "ANOTHER";
    std::string go_on = resume_line(next, *journal, cli);
    // It would fail the same way.
    if (error.code == ErrorCode::mismatch || error.code == ErrorCode::diverged) return cli.fail_with(error);
    const auto limits = open_budget(options.common, file.budget);
    const std::string budget = limits ? budget_to_go_on(*limits, error) : options.common.budget;
    const bool as_in_file = options.common.budget.empty() && error.code != ErrorCode::over_budget;
    if (ledger_spent) error.remedy = "the limits of a budget ledger stay as they are: name another one";
    if (!budget.empty() && !as_in_file) go_on += " --budget " + shell_word(budget);
    return cli.fail_with(with_remedy(std::move(error), "go on with: " + go_on));
  }
  // The journal holds all that was asked: what cannot be written now can be written later, and nothing is asked again.
  const auto later = [&](Error error) {
    cli.fail_with(with_remedy(std::move(error), "the compile is done; write it with: " + resume_line(options, *journal, cli)));
  };
  if (const auto written = write_file(module_path, outcome->module_text); !written) return later(written.error());
  Store store(default_store_folder());
  if (const auto kept = store.put(outcome->module); !kept) return later(kept.error());
  show(*outcome, module_path, *journal, cli);
  cli.terminal.out_json(result_json(*outcome, module_path, *journal));
}

}  // namespace

void add_compile(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<CompileOptions>();
  CLI::App* command = app.add_subcommand("compile", "Search for better demos, test once, write a signed module");
  command->add_option("program", options->program, "PROGRAM.toml")->required();
  command->add_option("-o,--out", options->out, "Module file (default: NAME.module.json beside the program)");
  command->add_option("--journal", options->journal, "Journal file (default: the data folder)");
  command->add_flag("--resume", options->resume, "Go on with --journal after a stop: nothing is paid twice");
  command
      ->add_option("--unanswered", options->unanswered,
                   "With --resume, calls that were sent and not answered: ask (send them again, default) or stop (exit 6)")
      ->check(CLI::IsMember({"ask", "stop"}));
  command->add_flag("--allow-overlap", options->allow_overlap, "Rows may stand in two sets; the scorecard says how many do");
  command->add_option("--hud", options->hud, "Serve the HUD on this port of 127.0.0.1 while it compiles (0: a free one)");
  add_common(*command, options->common);
  command->footer(
      "Examples:\n  assay compile PROGRAM.toml\n  assay compile PROGRAM.toml --seed 7 --budget seconds=600 --json\n  assay compile "
      "PROGRAM.toml --resume --journal FILE");
  command->callback([options, &cli] { compile(*options, cli); });
}

}  // namespace assay
