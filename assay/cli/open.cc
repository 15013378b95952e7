#include "assay/cli/open.h"

#include <unistd.h>

#include <filesystem>
#include <limits>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/lanes.h"
#include "assay/cli/passphrase.h"
#include "assay/contract/compatibility.h"
#include "assay/contract/key_file.h"
#include "assay/contract/store.h"
#include "assay/lm/response_cache.h"
#include "assay/optimize/compile.h"
#include "assay/trace/budget_ledger.h"

namespace assay {

void add_common(CLI::App& command, CommonOptions& options) {
  command.add_option("--budget", options.budget, "Most that may be spent: calls=N,tokens=N,msats=N,seconds=N")
      ->check(
          [](const std::string& text) { return text.empty() ? std::string("an empty budget is no budget: leave it out") : std::string(); });
  command.add_option("--ledger", options.ledger, "Budget ledger that processes share; --budget sets its limits when it is made")
      ->check(
          [](const std::string& text) { return text.empty() ? std::string("an empty name is no ledger: leave it out") : std::string(); });
  command.add_option("--privacy", options.privacy, "public_ok, no_pii, private_repo_redacted or private_repo_allowed (default)");
  command.add_option("--lane", options.lane, "local (default), pylon, or openai: a server with OpenAI's chat interface");
  command.add_option("--model", options.model,
                     "Model of the lane: a name of assay doctor's list, a GGUF file, or the server's name for it");
  command.add_option("--endpoint", options.endpoint, "Base URL of an openai lane, e.g. http://127.0.0.1:8080/v1");
  command.add_option("--key-env", options.key_env, "Environment variable that holds the key of an openai lane");
  command.add_option("--dialect", options.dialect, "Of an openai lane: openai (default), or llama.cpp, which can constrain answers");
  command.add_option("--fallback-lane", options.fallback_lane, "Lane that Refine falls back to: local, pylon or openai");
  command.add_option("--fallback-model", options.fallback_model,
                     "Its model (default: --model if it is a lane of the same kind, else that kind's own default)");
  command.add_option("--fallback-endpoint", options.fallback_endpoint, "Its base URL, if it is another openai lane");
  command.add_option("--fallback-key-env", options.fallback_key_env, "Environment variable that holds its key");
  command.add_option("--threads", options.threads, "Calls at once, 1 to 256 (default: one a processor on the local lane)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{256}));
  command.add_option("--key", options.key, "Name of the signing key; none: nothing is signed")->capture_default_str();
  command.add_option("--record", options.record, "Where the run record goes (default: the data folder)");
  command.add_option("--seed", options.seed, "Seed of the run, 0 to 2^53-1");
  command.add_option("--prices", options.prices, "Price book (JSON) instead of the built-in one");
  command.add_option("--cache", options.cache, "Folder that keeps answers: the same request to the same lane is not asked again")
      ->check(
          [](const std::string& text) { return text.empty() ? std::string("an empty name is no folder: leave it out") : std::string(); });
  command.add_option("--relay", options.relay, "Relay of a pylon lane, ws://…");
  command.add_option("--issuer", options.issuer, "Ledger that pays for a pylon lane, http://…");
  command.add_option("--issuer-node", options.issuer_node, "The issuer's node id (default: the one that answered there first)");
  command.add_option("--provider", options.provider, "Only this provider (public key)");
  add_day_cap(command, options);
}

void add_day_cap(CLI::App& command, CommonOptions& options) {
  command
      .add_option("--day-cap", options.day_cap, "Most msats that all purchases of 24 hours may cost (default: 10000000, 5000000 to one)")
      ->check(CLI::Range(std::int64_t{0}, json_integer_max));
}

Result<TrustStore> open_trust() {
  ASSAY_TRY(TrustStore trust, TrustStore::load(default_trust_path()));
  ASSAY_TRY(const auto keys, list_keys(default_key_folder()));
  for (const KeyInfo& key : keys) {
    if (key.problem.empty()) trust.trust_own(key.public_hex);
  }
  return trust;
}

namespace {

// An unknown signer is allowed by name, or by a yes on a terminal.
bool is_allowed_by_hand(const ModuleVerdict& verdict, const std::string& allow_signer, Cli& cli) {
  if (verdict.state != ModuleState::intact_unknown_signer || !allow_signer.empty()) return false;
  return cli.terminal.ask(fmt::format("'{}' is signed by {}, whom you do not trust. Run it this once?", verdict.program, verdict.signer));
}

// One's own keys that cannot be used vouch for nothing: perhaps the signer is one of them.
std::string unusable_keys() {
  std::string out;
  const auto keys = list_keys(default_key_folder());
  for (const KeyInfo& key : keys ? *keys : std::vector<KeyInfo>()) {
    if (!key.problem.empty()) out += fmt::format("; your key '{}' could not be used: {}", key.name, key.problem);
  }
  return out;
}

Result<OpenedProgram> open_module(const ModuleVerdict& verdict, const std::string& path, const std::string& allow_signer,
                                  bool allow_unsigned, Cli& cli) {
  const bool by_hand = is_allowed_by_hand(verdict, allow_signer, cli);
  if (auto runnable = check_runnable(verdict, by_hand ? verdict.signer : allow_signer, allow_unsigned); !runnable) {
    Error error = std::move(runnable.error()).in(path);
    if (verdict.state == ModuleState::intact_unknown_signer) error.remedy += unusable_keys();
    return std::unexpected(std::move(error));
  }
  if (!verdict.module) return fail(ErrorCode::mismatch, "the module cannot be read", "", path);
  auto program = Program::load(verdict.module->artifact, Rewards::built_in());
  if (!program) return std::unexpected(std::move(program.error()).in(path));
  return OpenedProgram{std::move(*program), verdict.module, std::nullopt};
}

}  // namespace

bool is_stored_name(const std::string& path) {
  const bool as_file = path.ends_with(".json") || path.ends_with(".jsonl") || path.ends_with(".toml");
  return !as_file && ::access(path.c_str(), F_OK) != 0;
}

Result<CompiledId> stored_id(const std::string& name) {
  auto id = Store(default_store_folder()).resolve(name);
  if (!id && id.error().code == ErrorCode::unavailable) id.error().remedy += "; there is no file of that name either";
  return id;
}

Result<ModuleFile> stored_module(const std::string& name, const TrustStore& trust, const std::string& allow_signer) {
  ASSAY_TRY(const CompiledId id, stored_id(name));
  return Store(default_store_folder()).find(id, trust, allow_signer);
}

Result<std::string> stored_text(const std::string& name, const TrustStore& trust, const std::string& allow_signer) {
  ASSAY_TRY(const ModuleFile module, stored_module(name, trust, allow_signer));
  return write_module(module);
}

Result<OpenedProgram> open_stored(const std::string& name, const std::string& allow_signer, bool allow_unsigned, Cli& cli) {
  ASSAY_TRY(const TrustStore trust, open_trust());
  ASSAY_TRY(const ModuleFile module, stored_module(name, trust, allow_signer));
  return open_module(verify_module(module, trust), name, allow_signer, allow_unsigned, cli);
}

Result<OpenedProgram> open_program(const std::string& path, const std::string& allow_signer, bool allow_unsigned, Cli& cli) {
  if (path.ends_with(".toml")) {
    ASSAY_TRY(ProgramFile file, read_program_file(path, Rewards::built_in()));
    ASSAY_CHECK(check_program_file(file, Metrics::built_in()));  // a slip is told at the first run, not at the first compile
    Program program = file.program;
    return OpenedProgram{std::move(program), std::nullopt, std::move(file)};
  }
  if (is_stored_name(path)) return open_stored(path, allow_signer, allow_unsigned, cli);
  ASSAY_TRY(const TrustStore trust, open_trust());
  ASSAY_TRY(const std::string text, read_file(path));
  if (!path.ends_with(".json") && text.find_first_not_of(" \t\r\n") != text.find('{'))
    return fail(ErrorCode::usage, "this is neither a module (JSON) nor a program file (*.toml)", "assay init writes a program file", path);
  return open_module(verify_module(text, trust), path, allow_signer, allow_unsigned, cli);
}

Result<PriceBook> open_prices(const CommonOptions& options) {
  if (options.prices.empty()) return PriceBook::built_in();
  return PriceBook::load(options.prices);
}

Result<std::optional<SecretKey>> open_signer(const CommonOptions& options, Cli& cli) {
  if (options.key == "none") return std::optional<SecretKey>();
  ASSAY_TRY(SecretKey key, open_key(options, cli));
  return std::optional(std::move(key));
}

Result<SecretKey> open_key(const CommonOptions& options, Cli& cli) {
  if (options.key == "none") return fail(ErrorCode::usage, "this needs a key: it signs what it sends", "name one of assay key ls", "--key");
  return unlock_key(options.key, options.key == "default", cli);
}

Result<PrivacyMode> open_privacy(const CommonOptions& options) {
  if (options.privacy.empty()) return default_privacy_mode;
  auto mode = parse_privacy(options.privacy);
  if (!mode) return fail(ErrorCode::usage, mode.error().message, mode.error().remedy, "--privacy");
  return *mode;
}

Result<BudgetLimits> open_budget(const CommonOptions& options, const BudgetLimits& from_file) {
  if (options.budget.empty()) return from_file;
  auto limits = BudgetLimits::parse(options.budget);
  if (!limits) return std::unexpected(std::move(limits.error()).in("--budget"));
  BudgetLimits out = from_file;
  if (limits->calls) out.calls = limits->calls;
  if (limits->tokens) out.tokens = limits->tokens;
  if (limits->msats) out.msats = limits->msats;
  if (limits->seconds) out.seconds = limits->seconds;
  return out;
}

Result<void> check_gives_way(const std::string& path, std::string_view what, bool (*is_one)(std::string_view text)) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored) || std::filesystem::file_size(path, ignored) == 0) return {};
  const auto text = read_file(path);
  if (text && is_one(*text)) return {};
  return fail(ErrorCode::refused, fmt::format("a file stands there that is no {}: it is left as it is", what),
              "name another file, or remove it", path);
}

bool is_module_text(std::string_view text) { return read_module(text).has_value(); }

std::string buyer_folder() { return data_folder() + "/buyer"; }

std::string runs_folder() { return data_folder() + "/runs"; }

Result<std::string> record_path(const CommonOptions& options, std::string_view program, std::string_view ending, Cli& cli) {
  if (options.record == "-")
    return fail(ErrorCode::usage, "a record is a file, which others can verify and replay", "name one", "--record");
  if (!options.record.empty()) {
    if (const auto beside = std::filesystem::path(options.record).parent_path(); !beside.empty())
      ASSAY_CHECK(make_folders(beside.string()));
    return options.record;
  }
  ASSAY_CHECK(make_folders(runs_folder()));
  return fmt::format("{}/{}-{}-{}{}", runs_folder(), cli.clock.unix_ns() / 1000000000, program, cli.entropy.hex_bytes(4), ending);
}

Result<void> check_clock(Cli& cli) {
  constexpr std::int64_t day_ns = 86'400'000'000'000;
  if (const std::int64_t now = cli.clock.unix_ns(); now >= 0 && now < std::numeric_limits<std::int64_t>::max() - 365 * day_ns) return {};
  return fail(ErrorCode::refused, "this machine's clock stands before 1970 or after 2261: what is signed by it could not be verified",
              "set the clock");
}

Result<std::unique_ptr<OpenedWorld>> open_world(const CommonOptions& options, const OpenedProgram& opened, Cli& cli) {
  ASSAY_CHECK(check_clock(cli));
  auto world = std::make_unique<OpenedWorld>();
  const LaneSpec spec = opened.file ? opened.file->lane : LaneSpec{};
  ASSAY_TRY(world->prices, open_prices(options));
  ASSAY_TRY(const BudgetLimits limits, open_budget(options, opened.file ? opened.file->budget : BudgetLimits{}));
  // The program file's limits are those of one process; a ledger's come from the command line or stand in it already.
  ASSAY_TRY(const BudgetLimits shared, open_budget(options, {}));
  world->budget = std::make_unique<Budget>(options.ledger.empty() ? limits : shared);
  ASSAY_TRY(world->key, open_signer(options, cli));
  ASSAY_TRY(world->effects.privacy, open_privacy(options));
  CommonOptions with_needs = options;
  if (const CompiledModuleManifest* manifest = opened.manifest(); manifest != nullptr)
    with_needs.min_reputation = manifest->compatibility.min_provider_reputation;
  else if (opened.file) with_needs.min_reputation = opened.file->compatibility.min_provider_reputation;
  ASSAY_TRY(world->lane, open_lane(with_needs, spec, cli));
  world->effects.clock = &cli.clock;
  world->effects.entropy = &cli.entropy;
  world->effects.budget = world->budget.get();
  world->effects.prices = &world->prices;
  world->effects.seed = options.seed.value_or(0);
  if (world->effects.seed < 0 || world->effects.seed > json_integer_max)
    return fail(ErrorCode::usage, "a seed lies between 0 and 2^53-1", "", "--seed");
  world->effects.wait.stop = cli.stop;
  if (limits.seconds) {
    world->effects.wait.deadline = Deadline::after(cli.clock, std::chrono::nanoseconds(static_cast<std::int64_t>(*limits.seconds * 1e9)));
  }
  world->settings.lm = world->lane;
  if (!options.cache.empty()) {
    ASSAY_CHECK(make_folders(options.cache, 0700));  // answers may be private
    ASSAY_CHECK(check_writable_folder(options.cache));
    world->settings.cache = std::make_shared<ResponseCache>(options.cache);
    world->say = [&cli](const std::string& text) { cli.terminal.note(text); };
  }
  if (!options.fallback_lane.empty()) {
    CommonOptions other = with_needs;
    other.lane = options.fallback_lane;
    const bool same_kind = world->lane->lane().kind == other.lane;
    if (!options.fallback_model.empty() || !same_kind) other.model = options.fallback_model;
    if (!options.fallback_endpoint.empty()) {
      other.endpoint = options.fallback_endpoint;
      other.key_env = options.fallback_key_env;  // another server has another key, or none
    }
    auto fallback = open_lane(other, same_kind ? spec : LaneSpec{}, cli);
    if (!fallback) return std::unexpected(std::move(fallback.error()).in("--fallback-lane"));
    world->settings.lanes["lm:any"] = std::move(*fallback);
  }
  ASSAY_CHECK(opened.program.check_lanes(world->settings, world->effects));
  if (options.ledger.empty()) return world;
  // Last: its limits hold from then on, so what is refused must not have made it.
  ASSAY_TRY(world->budget, BudgetLedger::open(options.ledger, shared, cli.entropy));
  world->effects.budget = world->budget.get();
  ASSAY_CHECK(opened.program.check_lanes(world->settings, world->effects));
  return world;
}

OpenedWorld::~OpenedWorld() {
  const ResponseCache::NotKept lost = say && settings.cache ? settings.cache->not_kept() : ResponseCache::NotKept{};
  if (lost.answers == 0) return;
  say(fmt::format("the cache could not keep {} answer{}, which the next run asks for again: {}", lost.answers, lost.answers == 1 ? "" : "s",
                  lost.why->message));
}

Durability OpenedWorld::durability() const {
  const auto paid = [this](const std::shared_ptr<LM>& one) {
    const Lane& named = one->lane();
    return named.kind == "pylon" || (named.kind != "local" && prices.find(named.kind, named.model).has_value());
  };
  bool any = paid(lane);
  for (const auto& [requirement, other] : settings.lanes) any = any || paid(other);
  return any ? Durability::power : Durability::process;
}

Result<void> check_module(const OpenedProgram& opened, const OpenedWorld& world) {
  const CompiledModuleManifest* manifest = opened.manifest();
  if (manifest == nullptr && !opened.file) return {};
  Offered offered;
  offered.lanes = {"lm:" + world.lane->lane().kind};
  offered.capabilities = world.lane->capabilities();
  offered.privacy_mode = world.effects.privacy;
  // A lane that buys from nobody needs no one's good name.
  offered.provider_reputation = world.lane->lane().kind == "pylon" ? world.lane->provider_reputation() : 1;
  return require_compatible(manifest != nullptr ? manifest->compatibility : opened.file->compatibility, offered);
}

std::string shell_word(const std::string& word) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@%+";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string msats_text(std::int64_t msats) { return fmt::format("{}.{:03} sat", msats / 1000, msats % 1000); }

std::string interval_text(const std::optional<Interval>& interval) {
  return interval ? fmt::format("[{:.3f}, {:.3f}]", interval->low, interval->high) : "";
}

}  // namespace assay
