#pragma once
// What most commands need: the options they share, and opening programs, lanes, budgets and record paths from them.
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "assay/cli/cli.h"
#include "assay/contract/module_file.h"
#include "assay/program/program_file.h"
#include "assay/program/run.h"

namespace assay {

struct CommonOptions {
  std::string budget, ledger, privacy, key = "default", record, prices, cache;
  std::string lane, model;
  std::string fallback_lane, fallback_model, fallback_endpoint, fallback_key_env;
  std::string relay, issuer, issuer_node, provider;  ///< of a pylon lane
  std::optional<std::int64_t> day_cap;               ///< msats of all that is bought in 24 hours
  std::optional<double> min_reputation;              ///< of its provider, as the program requires
  std::string endpoint, dialect, key_env;   ///< of an openai lane
  std::optional<std::int64_t> seed;
  std::int64_t threads = 0;  ///< answers at once
  bool content = false;
};

/// --budget --privacy --lane --model --key --record --seed and what a pylon lane needs.
void add_common(CLI::App& command, CommonOptions& options);
/// --day-cap, which is among them.
void add_day_cap(CLI::App& command, CommonOptions& options);

/// A module file, a program file, or an id or ref of the store.
struct OpenedProgram {
  Program program;
  std::optional<ModuleFile> module;
  std::optional<ProgramFile> file;
  const CompiledModuleManifest* manifest() const { return module ? &module->manifest : nullptr; }
};

/// Verifies a module and checks trust before it is loaded. Errors: `mismatch` (bad), `refused` (unknown signer).
Result<OpenedProgram> open_program(const std::string& path, const std::string& allow_signer, bool allow_unsigned, Cli& cli);

/// True for what can only be an id or a ref of the store: no such file, and no dot in it.
bool is_stored_name(const std::string& path);
Result<CompiledId> stored_id(const std::string& name);
/// Whoever signed it; a trusted signer's manifest first, then `allow_signer`'s. What may be done with it is for the caller to ask.
Result<ModuleFile> stored_module(const std::string& name, const TrustStore& trust, const std::string& allow_signer = {});
/// Its text, as a module's file has it.
Result<std::string> stored_text(const std::string& name, const TrustStore& trust, const std::string& allow_signer = {});
/// As open_program, of an id or a ref.
Result<OpenedProgram> open_stored(const std::string& name, const std::string& allow_signer, bool allow_unsigned, Cli& cli);

Result<TrustStore> open_trust();
/// The lane that options and program file name; the default is the local one with the default model.
Result<std::shared_ptr<LM>> open_lane(const CommonOptions& options, const LaneSpec& spec, Cli& cli);
Result<PriceBook> open_prices(const CommonOptions& options);
Result<SecretKey> open_key(const CommonOptions& options, Cli& cli);
/// Nothing with `--key none`: what is made is not signed.
Result<std::optional<SecretKey>> open_signer(const CommonOptions& options, Cli& cli);
Result<PrivacyMode> open_privacy(const CommonOptions& options);
/// The limits of --budget, over those of the program file.
Result<BudgetLimits> open_budget(const CommonOptions& options, const BudgetLimits& from_file);

/// data_folder()/buyer: purchases and wallet of all that is bought on this machine.
std::string buyer_folder();

/// What stands at `path` is replaced if it is another `what`, as `is_one` says of its text, or empty; devices and pipes are written to.
/// Anything else, a key or a record say, is left alone. Errors: `refused`.
Result<void> check_gives_way(const std::string& path, std::string_view what, bool (*is_one)(std::string_view text));
bool is_module_text(std::string_view text);

/// data_folder()/runs
std::string runs_folder();
/// --record, else a new name under runs_folder().
Result<std::string> record_path(const CommonOptions& options, std::string_view program, std::string_view ending, Cli& cli);

/// Everything that a run or an evaluation stands in; owns what the effects point to.
struct OpenedWorld {
  ~OpenedWorld();  ///< says what a cache could not keep
  std::shared_ptr<LM> lane;
  PriceBook prices;
  std::unique_ptr<Budget> budget;
  std::optional<SecretKey> key;  ///< signs records and modules; none with --key none
  const SecretKey* signer() const { return key ? &*key : nullptr; }
  Effects effects;
  Settings settings;
  std::function<void(const std::string&)> say;  ///< notes for people
  /// `power` where a call may cost money: a lane of the market, or one outside the process that has a price; else `process`.
  Durability durability() const;
};
/// Is it a time that records and receipts can hold? Errors: `refused`.
Result<void> check_clock(Cli& cli);
Result<std::unique_ptr<OpenedWorld>> open_world(const CommonOptions& options, const OpenedProgram& opened, Cli& cli);

/// Is what the module, or the program file, needs here? Errors: `refused`, with all that is missing.
Result<void> check_module(const OpenedProgram& opened, const OpenedWorld& world);

/// A word as a shell reads it back, quoted where it must be.
std::string shell_word(const std::string& word);

std::string msats_text(std::int64_t msats);
std::string interval_text(const std::optional<Interval>& interval);

}  // namespace assay
