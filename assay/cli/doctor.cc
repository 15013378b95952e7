// assay doctor: what this machine can do, found by trying: models, sandbox, keys, folders.
// Exit: 0 all that the demo needs is here · 7 something is missing (each with its remedy).
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/lanes.h"
#include "assay/cli/open.h"
#include "assay/contract/key_file.h"
#include "assay/sandbox/probe.h"

namespace assay {
namespace {

struct Check {
  std::string what, state, found, remedy;
};

Check check_models() {
  const auto models = known_models();
  if (!models) return {"model", "missing", models.error().message, models.error().remedy};
  std::string found;
  bool have_default = false;
  for (const KnownModel& model : *models) {
    found += fmt::format("{}{}{}", found.empty() ? "" : ", ", model.name, model.present ? "" : " (not fetched)");
    have_default = have_default || (model.is_default && model.present);
  }
  return {"model", have_default ? "ok" : "missing", found, have_default ? "" : "scripts/fetch-model --default, or ./x demo"};
}

Check check_sandbox(Cli& cli) {
  const SandboxCapabilities can = probe_sandbox(cli.wait(std::chrono::seconds(20)), cli.clock);
  if (!can.available) return {"sandbox", "missing", can.problem, can.remedy};
  return {"sandbox", "ok", fmt::format("{} (kernel {}, cgroup {}, {} ms)", can.level, can.kernel, can.cgroup, can.start_ms), ""};
}

Check check_folder(const std::string& what, const std::string& folder) {
  if (const auto made = make_folders(folder, 0700); !made)
    return {what, "missing", made.error().message, "make it writable, or set XDG_* variables"};
  if (::access(folder.c_str(), W_OK) != 0)
    return {what, "missing", folder + " cannot be written", "make it writable, or set XDG_* variables"};
  return {what, "ok", folder, ""};
}

Check check_keys() {
  const auto keys = list_keys(default_key_folder());
  if (!keys) return {"keys", "missing", keys.error().message, keys.error().remedy};
  std::string unusable;
  for (const KeyInfo& key : *keys) {
    if (!key.problem.empty()) unusable += fmt::format(" {}: {}", key.name, key.problem);
  }
  if (!unusable.empty()) return {"keys", "missing", unusable, "chmod 600 the key files"};
  return {"keys", "ok", keys->empty() ? "none yet (made when first needed)" : fmt::format("{} in {}", keys->size(), default_key_folder()),
          ""};
}

Check check_trust() {
  const auto trust = open_trust();
  if (!trust) return {"trust", "missing", trust.error().message + " at " + trust.error().path, trust.error().remedy};
  return {"trust", "ok", default_trust_path(), ""};
}

void doctor(Cli& cli) {
  JsonList checks;
  bool ok = true;
  for (const Check& check : {check_models(), check_sandbox(cli), check_keys(), check_trust(), check_folder("data", data_folder()),
                             check_folder("cache", cache_folder())}) {
    ok = ok && check.state == "ok";
    cli.terminal.out(fmt::format("{:<8} {:<8} {}", check.what, check.state, check.found));
    if (!check.remedy.empty()) cli.terminal.out("         try  " + check.remedy);
    checks.push_back(JsonObject{{"what", check.what}, {"state", check.state}, {"found", to_utf8(check.found)}, {"remedy", check.remedy}});
  }
  cli.terminal.out_json(JsonObject{{"ok", ok}, {"version", assay_version}, {"build", assay_build()}, {"checks", checks}});
  if (!ok) cli.exit_status = exit_code(ErrorCode::unavailable);
}

}  // namespace

void add_doctor(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("doctor", "Find out what this machine can do, and what is missing");
  command->footer("Examples:\n  assay doctor\n  assay doctor --json");
  command->callback([&cli] { doctor(cli); });
}

}  // namespace assay
