// assay store: modules by content hash, with refs and garbage collection. assay attest: a signed statement on somebody's module.
// Exit: 0 done · 2 wrong usage · 3 bad module · 6 no trusted signer · 7 not in the store.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/contract/store.h"

namespace assay {
namespace {

struct StoreOptions {
  std::string name, module, out;
  std::vector<std::string> runs;
  bool yes = false;
  std::int64_t older_than = 3600;
};

struct AttestOptions {
  std::string module, statement, out, key = "default";
};

void list(Cli& cli) {
  const Store store(default_store_folder());
  const auto trust = open_trust();
  if (!trust) return cli.fail_with(trust.error());
  const auto ids = store.list();
  if (!ids) return cli.fail_with(ids.error());
  const auto refs = store.refs();
  if (!refs) return cli.fail_with(refs.error());
  std::map<std::string, std::vector<std::string>> names;
  for (const std::string& name : *refs) {
    if (const auto id = store.ref(name)) names[id->hex()].push_back(name);
  }
  if (ids->empty()) cli.terminal.note("the store is empty: assay compile, or assay store put FILE");
  for (const CompiledId& id : *ids) {
    const auto manifests = store.manifests(id);
    const std::int64_t count = manifests ? static_cast<std::int64_t>(manifests->size()) : 0;
    const auto trusted = store.get(id, *trust);  // what `run` would take
    JsonList refs_json;
    std::string shown;
    for (const std::string& name : names[id.hex()]) {
      refs_json.push_back(Json(name));
      shown += "  " + name;
    }
    const Scorecard card = trusted ? trusted->manifest.scorecard : Scorecard();
    const std::string signature = count > 0 ? manifests->front().signature_name : "no manifest";
    const std::string score = card.score                                   ? fmt::format("  {:.3f}", *card.score)
                              : trusted || count == 0                      ? ""
                              : trusted.error().code == ErrorCode::refused ? "  (no trusted signer)"
                                                                           : "  (damaged)";
    cli.terminal.out(fmt::format("{}  {}{}{}", id.hex(), signature, score, shown));
    cli.terminal.out_json(JsonObject{{"id", id.hex()},
                                     {"signature_name", count > 0 ? Json(signature) : Json()},
                                     {"score", card.score ? Json(*card.score) : Json()},
                                     {"refs", std::move(refs_json)},
                                     {"manifests", count}});
  }
}

void put(const StoreOptions& options, Cli& cli) {
  const auto text = read_file(options.module);
  if (!text) return cli.fail_with(text.error());
  const auto module = read_module(*text);
  if (!module) return cli.fail_with(Error(module.error()).in(options.module));
  Store store(default_store_folder());
  const auto hash = store.put(*module);
  if (!hash) return cli.fail_with(hash.error().path.starts_with('/') ? hash.error() : Error(hash.error()).in(options.module));
  cli.terminal.out(module->id());
  cli.terminal.out_json(JsonObject{{"id", module->id()}, {"manifest", *hash}});
}

void get(const StoreOptions& options, Cli& cli) {
  const auto trust = open_trust();
  if (!trust) return cli.fail_with(trust.error());
  const auto id = stored_id(options.name);
  if (!id) return cli.fail_with(id.error());
  const auto module = Store(default_store_folder()).get(*id, *trust);
  if (!module) return cli.fail_with(module.error());
  const auto text = write_module(*module);
  if (!text) return cli.fail_with(text.error());
  if (options.out.empty()) return cli.terminal.raw(*text);
  if (const auto free = check_gives_way(options.out, "module", is_module_text); !free) return cli.fail_with(free.error());
  if (const auto written = write_file(options.out, *text); !written) return cli.fail_with(written.error());
  cli.terminal.out(module->id());
  cli.terminal.out_json(JsonObject{{"id", module->id()}, {"file", options.out}});
}

void ref(const StoreOptions& options, Cli& cli) {
  Store store(default_store_folder());
  const auto id = store.resolve(options.module);
  if (!id) return cli.fail_with(id.error());
  const auto trust = open_trust();
  if (!trust) return cli.fail_with(trust.error());
  if (const auto there = store.find(*id, *trust); !there) return cli.fail_with(there.error());  // a name gives no trust
  if (const auto set = store.set_ref(options.name, *id); !set) return cli.fail_with(set.error());
  cli.terminal.out(fmt::format("{}  {}", options.name, id->hex()));
  cli.terminal.out_json(JsonObject{{"ref", options.name}, {"id", id->hex()}});
}

void remove_ref(const StoreOptions& options, Cli& cli) {
  Store store(default_store_folder());
  if (const auto removed = store.remove_ref(options.name); !removed) return cli.fail_with(removed.error());
  cli.terminal.out_json(JsonObject{{"removed", options.name}});
}

// Adds those of `ids` that occur in a file, whatever kind of line names them: better too much kept than too little.
void add_named(const std::string& path, const std::set<std::string>& ids, std::set<std::string>& out) {
  std::ifstream file(path, std::ios::binary);
  std::string part(std::size_t{1} << 16, '\0'), run;
  while (file) {  // ends: with the file
    file.read(part.data(), static_cast<std::streamsize>(part.size()));
    for (std::streamsize i = 0; i < file.gcount(); ++i) {
      const char c = part[static_cast<std::size_t>(i)];
      if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
        if (run.size() <= 64) run += c;
        continue;
      }
      if (run.size() == 64 && ids.contains(run)) out.insert(run);
      run.clear();
    }
  }
}

Result<std::set<std::string>> named_in_records(const Store& store, const std::vector<std::string>& folders) {
  ASSAY_TRY(const std::vector<CompiledId> all, store.list());
  std::set<std::string> ids, out;
  for (const CompiledId& id : all) ids.insert(id.hex());
  for (const std::string& folder : folders) {
    std::error_code error, other;
    if (!std::filesystem::is_directory(folder, error)) {
      if (folder == runs_folder()) continue;  // no run yet
      return fail(ErrorCode::io, "there is no such folder of records", "what it would have kept must not go: check the name", folder);
    }
    for (std::filesystem::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      if (at->is_regular_file(other)) add_named(at->path().string(), ids, out);  // a record may have any name
    }
    if (error) return fail(ErrorCode::io, fmt::format("the records cannot be read: {}", error.message()), "check permissions", folder);
  }
  return out;
}

void gc(const StoreOptions& options, Cli& cli) {
  Store store(default_store_folder());
  Fd held;  // deleting, the store is ours alone from the look at it to its end
  if (options.yes) {
    auto lock = store.lock(true);
    if (!lock) return cli.fail_with(lock.error());
    held = std::move(*lock);
  }
  std::vector<std::string> folders = options.runs;
  folders.push_back(runs_folder());
  const auto named = named_in_records(store, folders);
  if (!named) return cli.fail_with(named.error());
  const auto garbage = store.garbage(*named, cli.clock.unix_ns() / 1000000000, options.older_than);
  if (!garbage) return cli.fail_with(garbage.error());
  for (const std::string& file : garbage->files) cli.terminal.out(file);
  if (options.yes) {
    if (const auto removed = store.remove(*garbage); !removed) return cli.fail_with(removed.error());
  }
  cli.terminal.note(fmt::format("{} modules, {} files, {} bytes {}", garbage->ids.size(), garbage->files.size(), garbage->bytes,
                                options.yes ? "deleted" : "could go: --yes deletes them"));
  JsonList ids, files;
  for (const std::string& id : garbage->ids) ids.push_back(Json(id));
  for (const std::string& file : garbage->files) files.push_back(Json(file));
  cli.terminal.out_json(
      JsonObject{{"deleted", options.yes}, {"ids", std::move(ids)}, {"files", std::move(files)}, {"bytes", garbage->bytes}});
}

void attest_module(const AttestOptions& options, Cli& cli) {
  const auto trust = open_trust();
  if (!trust) return cli.fail_with(trust.error());
  const bool stored = is_stored_name(options.module), into_store = stored && options.out.empty();
  const std::string& path = options.out.empty() ? options.module : options.out;
  const auto key = open_key({.key = options.key}, cli);  // before the lock: it may ask for a passphrase
  if (!key) return cli.fail_with(key.error());
  const auto held =
      into_store ? Result<Fd>(Fd()) : lock_folder_of(path);  // of two statements at once, none is lost: the store sees to its own
  if (!held) return cli.fail_with(held.error());
  const auto text = stored ? stored_text(options.module, *trust) : read_file(options.module);
  if (!text) return cli.fail_with(text.error());
  ModuleVerdict verdict = verify_module(*text, *trust);
  if (!verdict.intact())
    return cli.fail_with(
        {ErrorCode::mismatch, "only an intact, signed module can be attested", options.module, "assay verify says what is wrong"});
  auto statement = attest(*verdict.module, options.statement, *key, cli.entropy);
  if (!statement) return cli.fail_with(statement.error());
  if (!verdict.module->attestations.is_list()) verdict.module->attestations = JsonList{};
  verdict.module->attestations.as_list().push_back(*statement);
  if (into_store) {
    if (const auto put = Store(default_store_folder()).put(*verdict.module); !put) return cli.fail_with(put.error());
  } else {
    const auto written = write_module(*verdict.module);
    if (!written) return cli.fail_with(written.error());
    if (const auto free = check_gives_way(path, "module", is_module_text); !free) return cli.fail_with(free.error());
    if (const auto saved = write_file(path, *written); !saved) return cli.fail_with(saved.error());
  }
  cli.terminal.out(fmt::format("{} now has {} attestations", path, verdict.module->attestations.as_list().size()));
  cli.terminal.out_json(*statement);
}

}  // namespace

void add_store(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<StoreOptions>();
  CLI::App* command = app.add_subcommand("store", "Modules by content hash: list, put, get, name, clean up");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  assay store ls\n  assay store ref triage/prod 01af2f73…\n  assay run triage/prod ticket=\"Nobody can log in\"\n  assay "
      "store "
      "gc --yes");
  command->add_subcommand("ls", "All modules, with their refs")->callback([&cli] { list(cli); });
  CLI::App* putting = command->add_subcommand("put", "Keep a module file; prints its id");
  putting->add_option("module", options->module, "*.module.json")->required();
  putting->callback([options, &cli] { put(*options, cli); });
  CLI::App* getting = command->add_subcommand("get", "A module with its newest manifest of a trusted signer");
  getting->add_option("name", options->name, "id or ref")->required();
  getting->add_option("-o,--out", options->out, "File (default: standard output)");
  getting->callback([options, &cli] { get(*options, cli); });
  CLI::App* naming = command->add_subcommand("ref", "Give a module a name, or another one");
  naming->add_option("name", options->name, "like triage/prod")->required();
  naming->add_option("id", options->module, "id or another ref")->required();
  naming->callback([options, &cli] { ref(*options, cli); });
  CLI::App* forgetting = command->add_subcommand("unref", "Take a name away; the module stays until gc");
  forgetting->add_option("name", options->name, "the ref")->required();
  forgetting->callback([options, &cli] { remove_ref(*options, cli); });
  CLI::App* cleaning = command->add_subcommand("gc", "List what no ref, record or lineage names; --yes deletes it");
  cleaning->add_flag("--yes", options->yes, "Delete");
  cleaning->add_option("--runs", options->runs, "Further folders with records that name modules");
  cleaning->add_option("--older-than", options->older_than, "Seconds since a file was written")->capture_default_str();
  cleaning->callback([options, &cli] { gc(*options, cli); });
}

void add_attest(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<AttestOptions>();
  CLI::App* command = app.add_subcommand("attest", "Add a signed statement of your own to a module");
  command->add_option("module", options->module, "*.module.json")->required();
  command->add_option("--statement", options->statement, "What you state, e.g. \"0.81 on our own rows\"")->required();
  command->add_option("-o,--out", options->out, "File (default: the module itself)");
  command->add_option("--key", options->key, "Name of the signing key")->capture_default_str();
  command->footer("Examples:\n  assay attest triage.module.json --statement \"0.81 on 400 rows of our own\"");
  command->callback([options, &cli] { attest_module(*options, cli); });
}

}  // namespace assay
