// assay trust: whose modules may run here, and which programs of theirs.
// Exit: 0 done · 1 the trust file could not be read or written · 2 wrong usage.
#include <algorithm>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/cli.h"
#include "assay/contract/key_file.h"
#include "assay/contract/trust.h"

namespace assay {
namespace {

struct TrustOptions {
  std::string signer, note;
  std::vector<std::string> programs;
};

// A secret key has as many hex digits as a public one. What it opens is one of the keys here: it must not come to lie in the trust file.
Result<void> check_public(const std::string& signer) {
  const auto secret = SecretKey::parse(signer);
  const auto own = list_keys(default_key_folder());
  if (!secret || !own) return {};
  const std::string opens = secret->public_hex();
  if (std::none_of(own->begin(), own->end(), [&](const KeyInfo& key) { return key.public_hex == opens; })) return {};
  return fail(ErrorCode::usage, "that is the secret of one of your keys",
              "give the public key, as assay key ls shows it; and make a new key: "
              "others can read what stands on a command line",
              "signer");
}

template <class Change>
void change_trust(Cli& cli, Change change) {
  const auto held = lock_folder_of(default_trust_path());  // of two changes at once, none is lost
  if (!held) return cli.fail_with(held.error());
  auto store = TrustStore::load(default_trust_path());
  if (!store) return cli.fail_with(store.error());
  if (const Result<void> changed = change(*store); !changed) return cli.fail_with(changed.error());
  if (const auto saved = store->save(default_trust_path()); !saved) return cli.fail_with(saved.error());
  cli.terminal.out("saved " + default_trust_path());
  cli.terminal.out_json(store->json());
}

}  // namespace

void add_trust(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<TrustOptions>();
  CLI::App* command = app.add_subcommand("trust", "Keep the signers whose modules may run here");
  command->require_subcommand(1);
  command->footer("Examples:\n  assay trust add dff1…a659 package-triage\n  assay trust ls\n  assay trust rm dff1…a659");
  CLI::App* add = command->add_subcommand("add", "Trust a signer for named programs");
  add->add_option("signer", options->signer, "public key, 64 hex digits")->required();
  add->add_option("programs", options->programs, "exact program names")->required();
  add->add_option("--note", options->note, "who this is");
  add->callback([options, &cli] {
    if (const auto fits = check_public(options->signer); !fits) return cli.fail_with(fits.error());
    change_trust(cli, [&](TrustStore& store) { return store.add(options->signer, options->programs, options->note); });
  });
  CLI::App* remove = command->add_subcommand("rm", "Take programs off a signer's scope; none named: the signer goes");
  remove->add_option("signer", options->signer, "public key, 64 hex digits")->required();
  remove->add_option("programs", options->programs, "exact program names");
  remove->callback(
      [options, &cli] { change_trust(cli, [&](TrustStore& store) { return store.remove(options->signer, options->programs); }); });
  CLI::App* list = command->add_subcommand("ls", "List trusted signers");
  list->callback([&cli] {
    const auto store = TrustStore::load(default_trust_path());
    if (!store) return cli.fail_with(store.error());
    if (store->signers().empty()) cli.terminal.note("no signers yet (your own keys are always trusted)");
    for (const auto& [signer, entry] : store->signers()) {
      std::string programs;
      for (const std::string& program : entry.programs) programs += " " + program;
      cli.terminal.out(fmt::format("{} {}{}", signer, programs, entry.note.empty() ? "" : "  # " + entry.note));
    }
    cli.terminal.out_json(store->json());
  });
}

}  // namespace assay
