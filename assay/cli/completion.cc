// assay completion: a script that completes commands and options in a shell. assay models: which models the set-up knows.
// Exit: 0 done · 2 wrong usage.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/cli/lanes.h"

namespace assay {
namespace {

// "store gc" → its options and subcommands, as the parser has them.
void gather(const CLI::App& app, const std::string& path, std::vector<std::pair<std::string, std::vector<std::string>>>& out) {
  std::vector<std::string> words;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) words.push_back(command->get_name());
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  if (!path.empty()) words.emplace_back("--json");
  out.emplace_back(path, std::move(words));
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    gather(*command, path.empty() ? command->get_name() : path + " " + command->get_name(), out);
}

std::string cases(const CLI::App& app) {
  std::vector<std::pair<std::string, std::vector<std::string>>> all;
  gather(app, "", all);
  std::string out;
  for (const auto& [path, words] : all) out += fmt::format("    '{}') words='{}' ;;\n", path, fmt::join(words, " "));
  return out;
}

std::string bash_script(const CLI::App& app) {
  constexpr std::string_view head = R"(# assay completion for bash: source <(assay completion bash)
_assay_words() {
  local words=''
  case $1 in
)";
  constexpr std::string_view tail = R"(  esac
  printf '%s' "$words"
}
_assay() {
  local word path='' words now=${COMP_WORDS[COMP_CWORD]} i
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${path:+$path }${COMP_WORDS[i]}
    [[ -z $(_assay_words "$word") ]] || path=$word
  done
  words=$(_assay_words "$path")
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$now")
  [[ $now == -* || -z $path ]] || mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$now")
}
complete -o filenames -F _assay assay
)";
  return std::string(head) + cases(app) + std::string(tail);
}

// zsh can use bash's completions.
std::string zsh_script(const CLI::App& app) {
  return "# assay completion for zsh: source <(assay completion zsh)\nautoload -U +X bashcompinit && bashcompinit\n" + bash_script(app);
}

std::string fish_script(const CLI::App& app) {
  std::vector<std::pair<std::string, std::vector<std::string>>> all;
  gather(app, "", all);
  std::string out = "# assay completion for fish: assay completion fish | source\n";
  for (const auto& [path, words] : all) {
    const std::string condition =
        path.empty() ? "__fish_use_subcommand" : fmt::format("__fish_seen_subcommand_from {}", path.substr(path.rfind(' ') + 1));
    for (const std::string& word : words) {
      if (word.starts_with("--")) out += fmt::format("complete -c assay -n '{}' -l {}\n", condition, word.substr(2));
      else out += fmt::format("complete -c assay -n '{}' -a {}\n", condition, word);
    }
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& app, Cli& cli) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "Print a script that completes assay's commands in a shell");
  command->add_option("shell", *shell, "bash, zsh or fish")->required();
  command->footer(
      "Examples:\n  assay completion bash > ~/.local/share/bash-completion/completions/assay\n  source <(assay completion zsh)");
  command->callback([shell, &app, &cli] {
    if (*shell == "bash") return cli.terminal.raw(bash_script(app));
    if (*shell == "zsh") return cli.terminal.raw(zsh_script(app));
    if (*shell == "fish") return cli.terminal.raw(fish_script(app));
    cli.fail_with({ErrorCode::usage, fmt::format("no completion for '{}'", *shell), "shell", "bash, zsh or fish"});
  });
}

void add_models(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("models", "Models that the set-up knows, and where they are");
  command->require_subcommand(1);
  command->footer("Examples:\n  assay models ls\n  assay models ls --json");
  command->add_subcommand("ls", "Name, licence, digest, place")->callback([&cli] {
    const auto models = known_models();
    if (!models) return cli.fail_with(models.error());
    for (const KnownModel& model : *models) {
      cli.terminal.out(fmt::format("{:<32} {:<12} {}{}", model.name, model.licence,
                                   model.present ? model.path : "not here: scripts/fetch-model " + model.name,
                                   model.is_default ? "  (default)" : ""));
      cli.terminal.out_json(JsonObject{{"name", model.name},
                                       {"licence", model.licence},
                                       {"sha256", model.sha256},
                                       {"path", model.present ? Json(model.path) : Json()},
                                       {"default", model.is_default}});
    }
  });
}

}  // namespace assay
