#include "assay/cli/usage_error.h"

#include <fmt/format.h>

#include "assay/base/nearest.h"

namespace assay {
namespace {

// The command that the parse came to, and its words.
struct Reached {
  const CLI::App* command;
  std::string words;
};

Reached reached(const CLI::App& app) {
  Reached out{&app, app.get_name()};
  while (!out.command->get_subcommands().empty()) {  // ends: commands are a tree
    out.command = out.command->get_subcommands().back();
    out.words += " " + out.command->get_name();
  }
  return out;
}

std::string nearest_of(std::string_view word, const std::vector<std::string>& known) { return nearest(word, {known.begin(), known.end()}); }

std::vector<std::string> command_names(const CLI::App& command) {
  std::vector<std::string> out;
  for (const CLI::App* each : command.get_subcommands([](const CLI::App*) { return true; })) out.push_back(each->get_name());
  return out;
}

// Long options of a command and of those above it, which it takes too.
std::vector<std::string> option_names(const CLI::App* command) {
  std::vector<std::string> out;
  for (; command != nullptr; command = command->get_parent()) {  // ends: at the root
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) out.push_back("--" + name);
    }
  }
  return out;
}

std::string did_you_mean(const std::string& near, const std::string& rest) {
  return near.empty() ? rest : fmt::format("did you mean '{}'? {}", near, rest);
}

Error unknown_command(const Reached& at, const std::string& word) {
  const std::string near = nearest_of(word, command_names(*at.command));
  return {ErrorCode::usage, fmt::format("unknown command '{}'", at.words == "assay" ? word : at.words + " " + word), "",
          did_you_mean(near.empty() ? "" : at.words + " " + near, at.words + " --help lists the commands")};
}

Error unexpected_words(const Reached& at, const std::vector<std::string>& words) {
  const std::string option = words.front().substr(0, words.front().find('='));
  if (option.starts_with('-'))
    return {ErrorCode::usage, fmt::format("unknown option '{}'", option), "",
            did_you_mean(nearest_of(option, option_names(at.command)), at.words + " --help lists the options")};
  return {ErrorCode::usage, fmt::format("unexpected word '{}'", words.front()), "", at.words + " --help shows what it takes"};
}

// CLI11 says "Could not convert: NAME = VALUE".
std::string without_shouting(std::string message) {
  constexpr std::string_view convert = "Could not convert: ";
  const std::size_t equals = message.find(" = ");
  if (!message.starts_with(convert) || equals == std::string::npos) return message;
  return fmt::format("'{}' is no value for {}", message.substr(equals + 3), message.substr(convert.size(), equals - convert.size()));
}

}  // namespace

Error usage_error(const CLI::App& app, const CLI::ParseError& thrown) {
  const Reached at = reached(app);
  const std::vector<std::string> words = app.remaining(true);
  const bool wants_command = at.command->get_require_subcommand_min() > 0;
  if (wants_command && !words.empty() && !words.front().starts_with('-')) return unknown_command(at, words.front());
  if (!words.empty() && (wants_command || dynamic_cast<const CLI::ExtrasError*>(&thrown) != nullptr)) return unexpected_words(at, words);
  if (wants_command) return {ErrorCode::usage, at.words + " needs a command", "", at.words + " --help lists them"};
  return {ErrorCode::usage, without_shouting(thrown.what()), "", at.words + " --help shows what it takes"};
}

}  // namespace assay
