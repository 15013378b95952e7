// assay key: make, list and show signing keys. Secrets are never printed.
// Exit: 0 done · 1 a file could not be read or written · 2 wrong usage.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/cli/cli.h"
#include "assay/contract/key_file.h"
#include "assay/nostr/nip19.h"

namespace assay {
namespace {

void show_key(Cli& cli, const std::string& key_name, const std::string& public_hex) {
  const auto npub = encode_npub(public_hex);
  cli.terminal.out(fmt::format("{:<12} {}  {}", key_name, public_hex, npub ? *npub : ""));
  cli.terminal.out_json(JsonObject{{"name", key_name}, {"public_key", public_hex}, {"npub", npub ? Json(*npub) : Json()}});
}

}  // namespace

void add_key(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("key", "Make and list signing keys");
  command->require_subcommand(1);
  command->footer("Examples:\n  assay key new\n  assay key new release\n  assay key ls --json");
  const auto key_name = std::make_shared<std::string>("default");
  CLI::App* make = command->add_subcommand("new", "Make a key; an existing one is never overwritten");
  make->add_option("name", *key_name, "its name")->capture_default_str();
  make->callback([key_name, &cli] {
    if (*key_name == "none")
      return cli.fail_with(
          {ErrorCode::usage, "'none' is no name for a key: --key none means that nothing is signed", "", "take another name"});
    const auto key = create_key(default_key_folder(), *key_name, cli.entropy);
    if (!key) return cli.fail_with(key.error());
    show_key(cli, *key_name, key->public_hex());
  });
  CLI::App* list = command->add_subcommand("ls", "List keys with their public part");
  list->callback([&cli] {
    const auto keys = list_keys(default_key_folder());
    if (!keys) return cli.fail_with(keys.error());
    if (keys->empty()) cli.terminal.note("no keys yet: assay key new");
    for (const KeyInfo& key : *keys) {
      if (key.problem.empty()) show_key(cli, key.name, key.public_hex);
      else cli.terminal.note(fmt::format("{:<12} unusable: {}", key.name, key.problem));
    }
  });
}

}  // namespace assay
