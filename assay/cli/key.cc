// assay key: make, list, encrypt, import and export signing keys. Secrets are never printed, and never taken from an argument.
// Exit: 0 done · 1 a file could not be read or written · 2 wrong usage · 3 a key file contradicts itself · 6 a wrong passphrase, or a file
// that others may read · 130 interrupted at the question for a passphrase.
#include <unistd.h>

#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/base/sha256.h"
#include "assay/cli/passphrase.h"
#include "assay/contract/encrypted_key.h"
#include "assay/nostr/nip19.h"

namespace assay {
namespace {

struct KeyOptions {
  std::string name = "default", file, out;
  bool encrypt = false, encrypted = false;
};

void show_key(Cli& cli, const std::string& key_name, const std::string& public_hex, bool encrypted) {
  const auto npub = encode_npub(public_hex);
  cli.terminal.out(fmt::format("{:<12} {}  {}{}", key_name, public_hex, npub ? *npub : "", encrypted ? "  encrypted" : ""));
  cli.terminal.out_json(
      JsonObject{{"name", key_name}, {"public_key", public_hex}, {"npub", npub ? Json(*npub) : Json()}, {"encrypted", encrypted}});
}

Result<void> check_new_name(const std::string& name) {
  if (name != "none") return {};
  return fail(ErrorCode::usage, "'none' is no name for a key: --key none means that nothing is signed", "take another name");
}

// Asks for a new passphrase and gives the key under it.
Result<std::string> sealed(const SecretKey& key, const std::string& name, Cli& cli) {
  ASSAY_TRY(const SecretText passphrase, ask_passphrase(fmt::format("key '{}'", name), PassphraseUse::set, cli));
  return encrypt_key(key, passphrase.view(), cli.entropy);
}

Result<void> make(const KeyOptions& options, Cli& cli) {
  ASSAY_CHECK(check_new_name(options.name));
  const std::string folder = default_key_folder();
  if (!options.encrypt) {
    ASSAY_TRY(const SecretKey key, create_key(folder, options.name, cli.entropy));
    show_key(cli, options.name, key.public_hex(), false);
    return {};
  }
  ASSAY_TRY(const SecretKey key, SecretKey::generate(cli.entropy));
  ASSAY_TRY(const std::string text, sealed(key, options.name, cli));
  ASSAY_CHECK(import_encrypted_key(folder, options.name, key, text));
  show_key(cli, options.name, key.public_hex(), true);
  return {};
}

Result<void> list(Cli& cli) {
  ASSAY_TRY(const auto keys, list_keys(default_key_folder()));
  if (keys.empty()) cli.terminal.note("no keys yet: assay key new");
  for (const KeyInfo& key : keys) {
    if (key.problem.empty()) show_key(cli, key.name, key.public_hex, key.encrypted);
    else cli.terminal.note(fmt::format("{:<12} unusable: {}", key.name, key.problem));
  }
  return {};
}

Result<void> encrypt(const KeyOptions& options, Cli& cli) {
  const std::string folder = default_key_folder();
  ASSAY_TRY(const std::string there, encrypted_text(folder, options.name));
  if (!there.empty())
    return fail(ErrorCode::usage, fmt::format("the key '{}' is under a passphrase already", options.name),
                "to change it: assay key decrypt, then assay key encrypt");
  ASSAY_TRY(const SecretKey key, load_key(folder, options.name));
  ASSAY_TRY(const std::string text, sealed(key, options.name, cli));
  ASSAY_CHECK(replace_key(folder, options.name, key, text));
  show_key(cli, options.name, key.public_hex(), true);
  return {};
}

Result<void> decrypt(const KeyOptions& options, Cli& cli) {
  const std::string folder = default_key_folder();
  ASSAY_TRY(const std::string there, encrypted_text(folder, options.name));
  if (there.empty()) return fail(ErrorCode::usage, fmt::format("the key '{}' is under no passphrase", options.name));
  ASSAY_TRY(const SecretKey key, unlock_key(options.name, false, cli));
  ASSAY_CHECK(replace_key(folder, options.name, key, ""));
  show_key(cli, options.name, key.public_hex(), false);
  return {};
}

// One line from the file, from standard input, or from a person.
Result<SecretText> secret_line(const KeyOptions& options, Cli& cli) {
  const bool person = options.file.empty() && ::isatty(STDIN_FILENO) == 1;
  if (person) return ask_hidden("Secret key (nsec1…, ncryptsec1… or 64 hex digits): ", cli);
  const std::string path = options.file.empty() || options.file == "-" ? "/dev/stdin" : options.file;
  if (path.find("nsec1") != std::string::npos || path.find("ncryptsec1") != std::string::npos || is_hex(path, 64))
    return fail(ErrorCode::usage, "--file names a file; a secret key on a command line is read by others: use another from now on", "",
                "--file");
  ASSAY_TRY(std::string bytes, read_file(path, SecretText::bytes_max));
  SecretText out(std::move(bytes));
  out.chomp();
  return out;
}

Result<SecretKey> read_secret(const SecretText& line) {
  auto key = line.view().starts_with("nsec1") ? read_secret_key(line.view()) : SecretKey::parse(line.view());
  if (key) return key;
  return fail(ErrorCode::malformed, "this is no secret key", "one line: nsec1…, ncryptsec1… or 64 lowercase hex digits");
}

Result<void> take_over(const KeyOptions& options, Cli& cli) {
  ASSAY_CHECK(check_new_name(options.name));
  const std::string folder = default_key_folder();
  ASSAY_TRY(const SecretText line, secret_line(options, cli));
  if (line.view().starts_with("ncryptsec1")) {  // stays as it is: the passphrase is asked for because the public key is inside
    ASSAY_TRY(const SecretText passphrase, ask_passphrase("the key to import", PassphraseUse::open_key, cli));
    ASSAY_TRY(const SecretKey key, decrypt_key(line.view(), passphrase.view()));
    ASSAY_CHECK(import_encrypted_key(folder, options.name, key, line.view()));
    show_key(cli, options.name, key.public_hex(), true);
    return {};
  }
  ASSAY_TRY(const SecretKey key, read_secret(line));
  if (options.encrypt) {
    ASSAY_TRY(const std::string text, sealed(key, options.name, cli));
    ASSAY_CHECK(import_encrypted_key(folder, options.name, key, text));
  } else {
    ASSAY_CHECK(import_key(folder, options.name, key));
  }
  show_key(cli, options.name, key.public_hex(), options.encrypt);
  return {};
}

Result<void> export_key(const KeyOptions& options, Cli& cli) {
  if (!options.encrypted)
    return fail(ErrorCode::usage, "a secret key leaves this folder under a passphrase only", "assay key export --encrypted");
  const std::string folder = default_key_folder();
  ASSAY_TRY(std::string text, encrypted_text(folder, options.name));
  if (text.empty()) {
    ASSAY_TRY(const SecretKey key, load_key(folder, options.name));
    ASSAY_TRY(text, sealed(key, options.name, cli));
  }
  if (!options.out.empty()) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(options.out, ignored))
      return fail(ErrorCode::usage, "a file stands there, and an export replaces none", "name another one, or remove it", options.out);
    ASSAY_CHECK(write_file(options.out, text + "\n", 0600));
    cli.terminal.out("wrote " + options.out);
    cli.terminal.out_json(JsonObject{{"name", options.name}, {"file", options.out}});
    return {};
  }
  cli.terminal.out(text);
  cli.terminal.out_json(JsonObject{{"name", options.name}, {"ncryptsec", text}});
  return {};
}

using KeyCommand = Result<void> (*)(const KeyOptions&, Cli&);

CLI::App* add_named(CLI::App& command, Cli& cli, const std::shared_ptr<KeyOptions>& options, const char* name, const char* what,
                    KeyCommand run) {
  CLI::App* sub = command.add_subcommand(name, what);
  sub->add_option("name", options->name, "its name")->capture_default_str();
  sub->callback([options, run, &cli] {
    if (const auto done = run(*options, cli); !done) cli.fail_with(done.error());
  });
  return sub;
}

}  // namespace

void add_key(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("key", "Make, list, encrypt, import and export signing keys");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  assay key new\n  assay key new release --encrypt\n  assay key ls --json\n  assay key encrypt release\n  assay key "
      "import "
      "old --file old.nsec --encrypt\n  assay key export release --encrypted -o release.ncryptsec\nA secret is never an argument: others "
      "on "
      "the machine can read a command line, and shells keep it.\nPassphrases come from --passphrase-file, from the file that "
      "ASSAY_PASSPHRASE_FILE names, or from the terminal.");
  const auto options = std::make_shared<KeyOptions>();
  add_named(*command, cli, options, "new", "Make a key; an existing one is never overwritten", make)
      ->add_flag("--encrypt", options->encrypt, "Keep it under a passphrase (NIP-49)");
  command->add_subcommand("ls", "List keys with their public part")->callback([&cli] {
    if (const auto done = list(cli); !done) cli.fail_with(done.error());
  });
  add_named(*command, cli, options, "encrypt", "Put a key under a passphrase", encrypt);
  add_named(*command, cli, options, "decrypt", "Take a key out of its passphrase", decrypt);
  CLI::App* importing = add_named(*command, cli, options, "import",
                                  "Take over a key: nsec1…, ncryptsec1… or 64 hex digits, from a file or the terminal", take_over);
  importing->add_option("--file", options->file, "One line with the key (default: standard input; a terminal asks without echo)");
  importing->add_flag("--encrypt", options->encrypt, "Keep a plain key under a passphrase");
  CLI::App* exporting = add_named(*command, cli, options, "export", "The key as ncryptsec1…, for another Nostr program", export_key);
  exporting->add_flag("--encrypted", options->encrypted, "Under its passphrase, or a new one if it has none; there is no other way");
  exporting->add_option("-o,--out", options->out, "File, readable by you only (default: standard output)");
}

}  // namespace assay
