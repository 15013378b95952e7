#include "assay/optimize/compile.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>
#include <tuple>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/lm/response_cache.h"
#include "assay/optimize/journal_check.h"
#include "assay/optimize/stats.h"
#include "assay/optimize/unanswered.h"
#include "assay/program/call.h"
#include "assay/program/run.h"
#include "assay/trace/record_line.h"

namespace assay {
namespace {

// Figures a call, over the test executions that really called a lane: a cached one has no tokens of its own.
PerCall per_call(const Evaluation& evaluation) {
  std::vector<double> tokens, msats, latency;
  bool priced = true;
  for (const RowOutcome& row : evaluation.rows) {
    if (row.totals.calls == 0) continue;
    tokens.push_back(static_cast<double>(row.totals.prompt_tokens + row.totals.completion_tokens));
    msats.push_back(static_cast<double>(row.totals.cost_msats));
    latency.push_back(static_cast<double>(row.totals.latency_ns) / 1e6);
    priced = priced && row.totals.unpriced_calls == 0;
  }
  if (!priced) msats.clear();
  const auto capped = [](std::optional<double> value) -> std::optional<double> {
    if (!value) return std::nullopt;
    return std::min(*value, static_cast<double>(json_integer_max));  // as sums are: a lane may claim anything
  };
  const auto both = [&](const std::vector<double>& values) {
    Quantiles out;
    out.p50 = capped(quantile(values, 0.5));
    out.p95 = capped(quantile(values, 0.95));
    return out;
  };
  PerCall out;
  out.tokens = both(tokens);
  out.msats = both(msats);
  out.latency_ms = both(latency);
  return out;
}

Scorecard make_scorecard(const CompilePlan& plan, const Search& search, const Candidate& best, const Evaluation& baseline,
                         const Evaluation& compiled, std::int64_t test_looks) {
  const std::string& metric = plan.metric.ref.name;
  const auto before = baseline.scores(), after = compiled.scores();
  const auto n = static_cast<std::int64_t>(after.size());
  std::vector<double> differences;
  for (std::size_t i = 0; i < after.size(); ++i) differences.push_back(after[i] - before[i]);
  Scorecard card;
  card.proxy_metrics = best.metrics;
  card.truth_metrics[metric] = mean(after);
  card.primary = metric;
  card.rollouts = search.rollouts + 2 * n;
  card.median_score = median(after);
  card.p_fail = static_cast<double>(compiled.failures()) / static_cast<double>(n);
  card.p_fail_interval = wilson_interval(compiled.failures(), n);
  card.n_test = n;
  card.score = mean(after);
  card.interval = score_interval(after, plan.seed, "score");
  Score base;
  base.score = mean(before);
  base.interval = score_interval(before, plan.seed, "baseline");
  card.baseline = base;
  card.gain = mean(differences);
  card.gain_interval = paired_bootstrap(differences, plan.seed, "gain");
  card.test_looks = test_looks;
  // A compiled program that is the student was answered from the cache: its figures are those of the baseline.
  card.per_call = per_call(best.program.id() == plan.program.id() ? baseline : compiled);
  if (const std::int64_t overlaps = plan.data.overlaps(); overlaps > 0) card.extra.set("overlaps", overlaps);
  return card;
}

Result<void> record_decision(const Context& context, std::string_view what, Json value) {
  return context.record("decision", JsonObject{{"what", what}, {"value", std::move(value)}});
}

bool repeats(const Settings& settings) {
  return settings.lm->repeats() &&
         std::all_of(settings.lanes.begin(), settings.lanes.end(), [](const auto& named) { return named.second->repeats(); });
}

std::shared_ptr<LM> proposer_of(const Settings& settings) {
  const auto own = settings.lanes.find(proposer_requirement);
  return own != settings.lanes.end() ? own->second : settings.lm;
}

Result<CompiledModuleManifest> make_manifest(const CompilePlan& plan, const CompileResult& result, const CompileWorld& world,
                                             const Totals& totals, const std::string& root, std::int64_t duration_ms) {
  CompiledModuleManifest manifest;
  manifest.optimizer = plan.optimizer;
  manifest.optimizer_config = result.optimizer_config;
  manifest.trainset_id = plan.data.train_id();
  manifest.valset_id = result.valset_id;
  manifest.testset_id = plan.data.test_id();
  manifest.created_at = std::max<std::int64_t>(world.effects.clock->unix_ns() / 1000000000, 0);  // no clock's fault loses a compile
  manifest.scorecard = result.scorecard;
  manifest.compatibility = plan.compatibility;
  const Lane& lane = world.settings.lm->lane();
  ASSAY_TRY(const std::string lane_id, lane.id());
  LaneRef task;
  task.lane_id = lane_id;
  task.model = lane.model;
  manifest.provenance.task = task;
  if (result.proposes) {
    const std::shared_ptr<LM> proposer = proposer_of(world.settings);
    LaneRef named;
    named.model = proposer->lane().model;
    ASSAY_TRY(named.lane_id, proposer->lane().id());
    manifest.provenance.proposer = named;
  }
  manifest.provenance.assay.version = world.assay_version;
  manifest.provenance.assay.build = world.assay_build;
  manifest.provenance.journal_root = root;
  manifest.provenance.usage.calls = totals.calls;
  manifest.provenance.usage.cached_calls = totals.cached_calls;
  manifest.provenance.usage.prompt_tokens = totals.prompt_tokens;
  manifest.provenance.usage.completion_tokens = totals.completion_tokens;
  if (totals.unpriced_calls == 0) manifest.provenance.cost_msats = totals.cost_msats;
  manifest.provenance.duration_ms = duration_ms;
  return manifest;
}

Result<RunStart> run_start(const CompilePlan& plan, const CompileWorld& world) {
  RunStart start;
  ASSAY_TRY(start.program, plan.to_json());
  start.seed = plan.seed;
  if (world.effects.prices != nullptr) {
    ASSAY_TRY(start.price_book, world.effects.prices->id());
  }
  start.lanes = lanes_of(plan.program, world.settings);
  start.privacy_mode = privacy_name(world.effects.privacy);
  start.assay_version = world.assay_version;
  start.assay_build = world.assay_build;
  return start;
}

// A record has one price book, one privacy mode and the lanes of its first line: another pass cannot have others.
Result<void> same_terms(const Json& start, const CompilePlan& plan, const CompileWorld& world) {
  ASSAY_TRY(RunStart now, run_start(plan, world));
  const std::tuple<const char*, Json, const char*> terms[] = {{"price_book", Json(now.price_book), "the price book (--prices)"},
                                                              {"privacy_mode", Json(now.privacy_mode), "the privacy mode (--privacy)"},
                                                              {"lanes", Json(now.lanes), "the lane or its model (--lane, --model)"}};
  for (const auto& [member, value, what] : terms) {
    const bool by_default = value == Json("");  // the recorder fills these in
    if (!by_default && start.at(member) != value)
      return fail(ErrorCode::refused, fmt::format("{} differs from that of the journal", what),
                  "give the same again, or begin another journal", fmt::format("{}.{}", world.journal_path, member));
  }
  return {};
}

// What an earlier pass of this compile did: its answers are not paid twice, what it spent counts, its look at the test set is this one.
struct EarlierPass {
  std::optional<std::int64_t> test_looks;
};

Result<void> check_unanswered(const Amount& unknown, const CompileWorld& world) {
  if (unknown.calls == 0 || world.unanswered == Unanswered::ask_again) return {};
  return fail(
      ErrorCode::refused,
      fmt::format("what became of {} call(s) is not known, which were sent and not answered before the compile stopped: they may have used "
                  "up to {} tokens and {}",
                  unknown.calls, unknown.tokens, unknown.msats > 0 ? fmt::format("{} msats", unknown.msats) : "msats that are not known"),
      "ask the lane's owner what became of them; --unanswered ask sends them again", world.journal_path);
}

Result<EarlierPass> take_over(const RunRecord& before, const CompilePlan& plan, const CompileWorld& world, ResponseCache& cache) {
  ASSAY_TRY(const Json plan_json, plan.to_json());
  if (before.entries.empty() || before.entries.front().data.at("program") != plan_json) {
    const Json theirs = before.entries.empty() ? Json() : before.entries.front().data.at("program");
    if (const Json& seed = theirs.at("seed"); seed.is_int() && seed != plan_json.at("seed"))
      return fail(ErrorCode::refused, fmt::format("the journal was made with seed {}, not {}", seed.as_int(), plan.seed),
                  fmt::format("--seed {}, or name another journal", seed.as_int()), world.journal_path);
    std::string differs;
    for (const auto& [name, value] : plan_json.as_object()) {
      if (theirs.at(name) != value) differs += (differs.empty() ? "" : ", ") + name;
    }
    return fail(ErrorCode::refused, fmt::format("the journal is of another compile, which differs in: {}", differs),
                "begin another journal: leave --resume and --journal out", world.journal_path);
  }
  ASSAY_CHECK(same_terms(before.entries.front().data, plan, world));
  ASSAY_TRY(const std::int64_t replayed,
            check_journal(before, plan, world.hooks.optimizers,
                          {.path = world.journal_path, .prices = world.effects.prices, .wait = world.effects.wait}));
  if (world.hooks.say && replayed > 0) world.hooks.say(fmt::format("the journal holds, {} calls replayed", replayed));
  const UnansweredCalls unknown = unanswered_calls(before.entries, world.effects.prices);
  ASSAY_CHECK(check_unanswered(unknown.to_ask, world));
  ASSAY_CHECK(cache.preload(before.entries));
  EarlierPass out;
  TotalsFold fold;
  for (const RecordEntry& entry : before.entries) {
    fold.add(entry.type, entry.node, entry.data);
    if (entry.type == "value" && entry.data.at("what") == Json("test_looks")) {
      ASSAY_TRY(out.test_looks, int_member(entry.data, "value"));
    }
  }
  const Totals& totals = fold.totals();
  if (world.effects.budget != nullptr) {
    Amount spent{.calls = totals.calls, .tokens = totals.prompt_tokens + totals.completion_tokens, .msats = totals.cost_msats};
    add_amount(spent, unknown.all);
    world.effects.budget->charge(spent);
  }
  return out;
}

// Takes over under the journal's lock: two who resume one journal at once cannot both have read it before either has paid.
Result<std::unique_ptr<RunRecorder>> open_journal(const CompilePlan& plan, const CompileWorld& world, ResponseCache& cache,
                                                  EarlierPass& earlier) {
  RecorderOptions options;
  options.path = world.journal_path;
  options.durability = world.durability;
  options.key = world.key;
  const bool unborn = world.resume && is_unborn_record(world.journal_path);
  if (world.resume && !unborn) {
    const auto accept = [&](const RunRecord& before) -> Result<void> {
      ASSAY_TRY(earlier, take_over(before, plan, world, cache));
      return {};
    };
    return RunRecorder::resume(std::move(options), "compile goes on", *world.effects.clock, *world.effects.entropy, accept);
  }
  options.over_unborn = unborn;
  ASSAY_TRY(RunStart start, run_start(plan, world));
  return RunRecorder::create(std::move(options), std::move(start), *world.effects.clock, *world.effects.entropy);
}

Result<void> check_world(const CompileWorld& world) {
  if (world.effects.clock == nullptr || world.effects.entropy == nullptr)
    return fail(ErrorCode::usage, "no clock or no entropy was given",
                "set CompileWorld::effects, e.g. to &system_clock() and &system_entropy()");
  if (world.settings.lm == nullptr) return fail(ErrorCode::usage, "no lane was given", "set CompileWorld::settings.lm");
  if (world.journal_path.empty()) return fail(ErrorCode::usage, "no place for the journal was given", "set CompileWorld::journal_path");
  return {};
}

Result<std::int64_t> look_at_test(const CompileHooks& hooks, const std::string& testset_id, const Context& context) {
  if (!hooks.open_test) return 1;
  return hooks.open_test(testset_id, context.effects().recorder != nullptr ? context.effects().recorder->run_id() : "");
}

}  // namespace

Result<CompileResult> run_compile(const CompilePlan& plan, const Context& context, const CompileHooks& hooks) {
  ASSAY_TRY(const auto optimizer, hooks.optimizers.make(plan.optimizer, plan.optimizer_config));
  Search search{.context = context.at("search"),
                .student = plan.program,
                .train = plan.data.train,
                .val = plan.data.val,
                .metric = plan.metric,
                .seed = plan.seed,
                .order_seed = plan.order_seed,
                .proposer = proposer_of(context.settings()),
                .evaluate = hooks.evaluate,
                .say = hooks.say};
  ASSAY_TRY(const Candidate best, optimizer->compile(search));
  ASSAY_CHECK(record_decision(context, "best", best.id));
  ASSAY_CHECK(record_decision(context, "compiled_id", best.program.id()));

  const std::string testset_id = plan.data.test_id();
  ASSAY_TRY(const std::int64_t looks, look_at_test(hooks, testset_id, context));
  ASSAY_CHECK(context.record("value", JsonObject{{"what", "test_looks"}, {"value", looks}}));
  search.tell(fmt::format("test set opened ({} rows, look {})", plan.data.test.size(), looks));
  const Context test = context.at("test");
  ASSAY_TRY(const Evaluation baseline, evaluate(test.at("baseline"), plan.program, plan.data.test, plan.metric, hooks.evaluate));
  search.tell(fmt::format("baseline  {} {:.3f}", plan.metric.ref.name, mean(baseline.scores())));
  ASSAY_TRY(const Evaluation compiled, evaluate(test.at("compiled"), best.program, plan.data.test, plan.metric, hooks.evaluate));
  search.tell(fmt::format("compiled  {} {:.3f}", plan.metric.ref.name, mean(compiled.scores())));

  CompileResult result{best.program, best.id, make_scorecard(plan, search, best, baseline, compiled, looks), optimizer->config(), {},
                       false,        false};
  result.optimizer_config.set("seed", plan.seed);
  result.optimizer_config.set("order_seed", plan.order_seed);
  result.proposes = optimizer->proposes();
  result.valset_id = DataSets::id({search.val.begin(), search.val.end()});
  result.promoted = result.scorecard.gain_interval->low > 0;
  ASSAY_TRY(Json card, to_json(result.scorecard));
  ASSAY_CHECK(record_decision(context, "scorecard", std::move(card)));
  ASSAY_CHECK(record_decision(context, "promoted", result.promoted));
  return result;
}

Result<CompileOutcome> compile_program(const CompilePlan& plan, const CompileWorld& world) {
  ASSAY_CHECK(check_world(world));
  Clock& clock = *world.effects.clock;
  const std::int64_t begin = clock.steady_ns();
  Settings settings = world.settings;
  settings.journal = true;
  ASSAY_CHECK(plan.program.check_lanes(settings, world.effects));
  if (settings.cache == nullptr) settings.cache = std::make_shared<ResponseCache>();
  CompileHooks hooks = world.hooks;
  EarlierPass earlier;
  ASSAY_TRY(const auto recorder, open_journal(plan, world, *settings.cache, earlier));
  if (earlier.test_looks) {
    // The same look, unless the counter says that it was a later one than the journal does.
    hooks.open_test = [looks = *earlier.test_looks, &counted = world.hooks.open_test](const std::string& id,
                                                                                      const std::string& run_id) -> Result<std::int64_t> {
      ASSAY_TRY(const std::int64_t count, counted ? counted(id, run_id) : Result<std::int64_t>(1));
      return std::max(looks, count);
    };
  }
  if (hooks.begun) hooks.begun(recorder->run_id());
  Effects effects = world.effects;
  effects.recorder = recorder.get();
  effects.seed = plan.seed;
  const Context context(effects, settings);
  ASSAY_CHECK(record_rows(context, "train", plan.data.train));
  ASSAY_CHECK(record_rows(context, "val", plan.data.val));
  ASSAY_CHECK(record_rows(context, "test", plan.data.test));
  auto result = run_compile(plan, context, hooks);
  if (!result) {  // the journal stays open: `--resume` goes on from here
    const Error& error = result.error();
    ASSAY_CHECK(context.record("error", error_data(error)));
    return std::unexpected(error);
  }
  ASSAY_TRY(const std::string root, recorder->finish(std::nullopt));
  const std::int64_t took_ns = clock.steady_ns() - begin;
  const Totals totals = recorder->totals();
  ASSAY_TRY(CompiledModuleManifest manifest, make_manifest(plan, *result, world, totals, root, took_ns / 1000000));
  Result<ModuleFile> module = world.key != nullptr
                                  ? seal_module(result->program.artifact(), std::move(manifest), *world.key, *effects.entropy)
                                  : unsigned_module(result->program.artifact(), std::move(manifest));
  if (!module) return std::unexpected(module.error());
  ASSAY_TRY(std::string text, write_module(*module));
  const Graph graph = graph_of(recorder->entries());
  notify(context.callback(), [&](DspyCallback& c) { c.on_trace_complete(graph, &module->manifest); });
  return CompileOutcome{std::move(*result),     std::move(*module), std::move(text), totals, root, static_cast<double>(took_ns) / 1e9,
                        repeats(world.settings)};
}

namespace {

// Under the lock: a half-written counter belongs to a writer that was killed.
void remove_half_written(const std::string& folder, const std::string& testset_id) {
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = file.path().filename().string();
    if (name.starts_with(testset_id + ".") && name != testset_id + ".lock") std::filesystem::remove(file.path(), ignored);
  }
}

std::unexpected<Error> damaged_looks(const std::string& path) {
  return fail(ErrorCode::malformed, "the counter of test looks is damaged: how often this test set was looked at is not known",
              "restore it from a copy; remove it if the count may begin anew, and say so where you report the score", path);
}

// Nothing if there is no such file.
Result<std::optional<std::string>> text_of_looks(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::optional<std::string>();
  ASSAY_TRY(std::string text, read_file(path, std::size_t{1} << 20));
  return std::optional<std::string>(std::move(text));
}

Result<void> read_looks(const std::string& text, const std::string& path, std::int64_t& looks, std::vector<std::string>& runs) {
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), looks);
  if (problem != std::errc{} || end != line.data() + line.size() || looks < 1 || !text.ends_with('\n')) return damaged_looks(path);
  while (std::getline(lines, line)) runs.push_back(line);  // ends: a line less each time
  return static_cast<std::int64_t>(runs.size()) <= looks ? Result<void>{} : damaged_looks(path);
}

}  // namespace

Result<void> check_test_looks(const std::string& folder, const std::string& testset_id) {
  const std::string path = folder + "/" + testset_id;
  std::int64_t looks = 0;
  std::vector<std::string> runs;
  ASSAY_TRY(const std::optional<std::string> text, text_of_looks(path));
  return text ? read_looks(*text, path, looks, runs) : Result<void>{};
}

Result<std::int64_t> count_test_look(const std::string& folder, const std::string& testset_id, const std::string& run_id) {
  constexpr std::size_t runs_kept = 1000;
  ASSAY_CHECK(make_folders(folder));
  const std::string path = folder + "/" + testset_id;
  const Fd lock(::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock.open()) return fail(ErrorCode::io, "the counter of test looks cannot be locked", "check the folder's permissions", path);
  ASSAY_CHECK(lock_file(lock, true, path));
  remove_half_written(folder, testset_id);
  std::int64_t looks = 0;
  std::vector<std::string> runs;
  ASSAY_TRY(std::optional<std::string> text, text_of_looks(path));
  if (text) {
    ASSAY_CHECK(read_looks(*text, path, looks, runs));
  }
  // The last of the list had the last look.
  if (const auto own = std::find(runs.begin(), runs.end(), run_id); own != runs.end()) return looks - (runs.end() - own - 1);
  runs.push_back(run_id);
  if (runs.size() > runs_kept) runs.erase(runs.begin(), runs.end() - static_cast<std::ptrdiff_t>(runs_kept));
  ASSAY_CHECK(write_file(path, fmt::format("{}\n{}\n", ++looks, fmt::join(runs, "\n"))));
  return looks;
}

}  // namespace assay
