#include "assay/cli/cli.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/sha256.h"
#include "assay/cli/usage_error.h"

namespace assay {
namespace {

// Stand for escapes until the text around them is clean; in hostile text they can only make it bold or dim.
constexpr char mark_bold = 1, mark_dim = 2, mark_plain = 3;

// What a parser says about arguments repeats them. A secret that was given as one is not repeated: errors end up in logs.
std::string without_secrets(std::string text, int argc, const char* const* argv) {
  const bool about_keys = argc > 1 && std::string_view(argv[1]) == "key";
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::size_t at =
        std::min({word.find("nsec1"), word.find("ncryptsec1"), about_keys && is_hex(word, 64) ? std::size_t{0} : std::string_view::npos});
    if (at == std::string_view::npos) continue;
    for (std::size_t found = text.find(word); found != std::string::npos; found = text.find(word)) {  // ends: one fewer each time
      text.replace(found, word.size(), std::string(word.substr(0, at)) + "(a secret key: use another from now on)");
    }
  }
  return text;
}

// A secret key is never an argument: others on the machine see it, and shells keep it. An input of a program (NAME=TEXT) is its user's own,
// and what follows `--` is a job's.
std::optional<Error> secret_in(int argc, const char* const* argv) {
  constexpr std::string_view bech32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
  constexpr std::size_t shortest = 50;  // an nsec has 58 after its prefix, an ncryptsec 157
  for (int i = 1; i < argc && std::string_view(argv[i]) != "--"; ++i) {
    const std::string_view word = argv[i];
    for (const std::string_view prefix : {"nsec1", "ncryptsec1"}) {
      const std::size_t at = word.find(prefix);
      if (at == std::string_view::npos) continue;
      const std::size_t end = std::min(word.find_first_not_of(bech32, at + prefix.size()), word.size());
      const bool input = !word.starts_with("-") && word.substr(0, at).find('=') != std::string_view::npos;
      if (input || end - at - prefix.size() < shortest) continue;
      return Error{ErrorCode::usage, fmt::format("argument {} is a secret key: others can read it there", i), "",
                   "use another key from now on; assay key import reads one from a file or the terminal"};
    }
  }
  return std::nullopt;
}

// An empty value is what a script gives when a variable is not set: never a way to leave a check out. Positional words are left alone: a
// job's may be empty.
void refuse_empty_values(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_positional() || option->get_items_expected_max() == 0) continue;
    option->check([](const std::string& value) {
      return value.empty() ? std::string("the value is empty: give one, or leave the option out") : std::string();
    });
  }
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) refuse_empty_values(*command);
}

}  // namespace

std::string assay_build() {
#if defined(__clang__)
  return fmt::format("clang-{}", __clang_major__);
#else
  return fmt::format("g++-{}.{}", __GNUC__, __GNUC_MINOR__);
#endif
}

namespace {

// U+200E, U+200F, U+2028 … U+202E, U+2066 … U+2069.
bool is_direction_mark(std::string_view at) {
  if (at.size() < 3 || at[0] != '\xE2') return false;
  const auto last = static_cast<unsigned char>(at[2]);
  if (at[1] == '\x80') return last == 0x8E || last == 0x8F || (last >= 0xA8 && last <= 0xAE);
  return at[1] == '\x81' && last >= 0xA6 && last <= 0xA9;
}

std::string cleaned(std::string_view bytes, bool keep_marks) {
  std::string out = to_utf8(bytes);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    const bool mark = keep_marks && (c == mark_bold || c == mark_dim || c == mark_plain);
    if ((c < 0x20 && c != '\n' && c != '\t' && !mark) || c == 0x7f) out[i] = '?';
    // C1 controls (U+0080 … U+009F) move a terminal's cursor too, and marks of direction make a line read otherwise than it is.
    if (c == 0xC2 && i + 1 < out.size() && static_cast<unsigned char>(out[i + 1]) < 0xA0) out.replace(i, 2, "?");
    if (is_direction_mark(std::string_view(out).substr(i, 3))) out.replace(i, 3, "?");
  }
  return out;
}

// A text that goes on in another line stands further in: no quoted text begins a line of its own.
std::string set_in(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '\n' ? "\n    " : std::string(1, c);
  return out;
}

}  // namespace

std::string printable(std::string_view bytes) { return cleaned(bytes, false); }

Terminal::Terminal() {
  const bool plain = std::getenv("NO_COLOR") != nullptr;
  out_tty_ = isatty(STDOUT_FILENO) == 1 && !plain;
  err_tty_ = isatty(STDERR_FILENO) == 1;
  interactive_ = isatty(STDIN_FILENO) == 1 && err_tty_;
}

void Terminal::clear_bar() {
  if (bar_) std::fputs("\r\033[K", stderr);
  bar_ = false;
}

void Terminal::write_out(std::string_view bytes) {
  const bool whole = std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size();
  if (std::fflush(stdout) != 0 || !whole) output_lost_ = true;
}

void Terminal::raw(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  clear_bar();
  write_out(bytes);
}

void Terminal::block(std::string_view text) {
  if (!json) raw(printable(text) + "\n");
}

void Terminal::note_block(std::string_view text) {
  if (json) return;
  const std::lock_guard lock(mutex_);
  clear_bar();
  std::fputs((printable(text) + "\n").c_str(), stderr);
}

void Terminal::out(std::string_view text) {
  if (json) return;
  const std::lock_guard lock(mutex_);
  clear_bar();
  // Results may quote hostile text. Only our own marks for bold and dim become escapes, after all others are gone.
  std::string line;
  for (const char c : set_in(cleaned(text, out_tty_))) {
    if (c == mark_bold) line += "\033[1m";
    else if (c == mark_dim) line += "\033[2m";
    else if (c == mark_plain) line += "\033[0m";
    else line += c;
  }
  write_out(line + "\n");
}

namespace {

// Bytes that are no text (a path may have such) as marks of what is missing, counts that are no JSON integers as the nearest that is one.
Json writable(const Json& value) {
  if (value.is_string()) return Json(to_utf8(value.as_string()));
  if (value.is_int()) return Json(std::clamp(value.as_int(), -json_integer_max, json_integer_max));
  if (value.is_list()) {
    JsonList out;
    for (const Json& item : value.as_list()) out.push_back(writable(item));
    return Json(std::move(out));
  }
  if (!value.is_object()) return value;
  JsonObject out;
  for (const auto& [key, item] : value.as_object()) out.set(to_utf8(key), writable(item));
  return Json(std::move(out));
}

}  // namespace

void Terminal::out_json(const Json& value) {
  if (!json) return;
  auto text = canonical(value);
  if (!text) text = canonical(writable(value));
  if (!text) output_lost_ = true;
  raw((text ? *text : std::string("{\"error\":{\"code\":\"internal\"}}")) + "\n");
}

void Terminal::note(std::string_view text) {
  if (json) return;
  const std::lock_guard lock(mutex_);
  clear_bar();
  std::fputs((set_in(printable(text)) + "\n").c_str(), stderr);  // it may quote a provider
}

bool Terminal::ask(std::string_view question) {
  if (!interactive_ || json) return false;
  const std::lock_guard lock(mutex_);
  clear_bar();
  std::fputs(set_in(printable(fmt::format("{} [y/N] ", question))).c_str(), stderr);
  std::string answer;
  for (int c = std::fgetc(stdin); c != EOF && c != '\n'; c = std::fgetc(stdin)) {  // ends: at a line's end
    if (answer.size() < 8) answer += static_cast<char>(c);
  }
  return answer == "y" || answer == "Y" || answer == "yes";
}

void Terminal::progress(std::string_view label, std::size_t done, std::size_t total) {
  if (json || total == 0) return;
  const std::lock_guard lock(mutex_);
  const std::size_t tenth = done * 10 / total;
  if (err_tty_) {
    constexpr std::size_t width = 30;
    const std::size_t full = done * width / total;
    winsize size{};
    const std::size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    std::string line = fmt::format("{:<24} [{}{}] {}/{}", label, std::string(full, '='), std::string(width - full, ' '), done, total);
    if (line.size() >= columns) line = fmt::format("{}/{}", done, total);  // a line that wraps cannot be taken back
    line = "\r\033[K" + line;
    std::fwrite(line.data(), 1, line.size(), stderr);
    bar_ = true;
    if (done == total) clear_bar();
  } else if (label != last_label_ || tenth != last_tenth_) {
    last_label_ = label;
    last_tenth_ = tenth;
    if (tenth == 5 || tenth == 10) fmt::print(stderr, "  {} {}/{}\n", label, done, total);
  }
}

std::string Terminal::bold(std::string_view text) const {
  return out_tty_ ? fmt::format("{}{}{}", mark_bold, printable(text), mark_plain) : std::string(text);
}
std::string Terminal::dim(std::string_view text) const {
  return out_tty_ ? fmt::format("{}{}{}", mark_dim, printable(text), mark_plain) : std::string(text);
}

void Terminal::interrupted() noexcept {
  // On the thread that waits for signals, while the others work: it must wait for nothing, a full pipe least of all.
  pollfd ends[] = {{STDOUT_FILENO, POLLOUT, 0}, {STDERR_FILENO, POLLOUT, 0}};
  const bool free = ::poll(ends, 2, 0) == 2 && mutex_.try_lock();
  if (!free) return;
  constexpr std::string_view said = "\nerror: interrupted (cancelled)\n  try  nothing was changed: run it again\n";
  constexpr std::string_view object =
      R"({"error":{"code":"cancelled","message":"interrupted","path":"","remedy":"nothing was changed: run it again"}})"
      "\n";
  if (json && ::write(STDOUT_FILENO, object.data(), object.size()) < 0) return;
  if (::write(STDERR_FILENO, said.data(), said.size()) < 0) return;
}

void Terminal::error(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    clear_bar();
    // Messages may quote hostile text: control characters would move the reader's cursor.
    // Nor may they begin lines of their own, such as another "try".
    Error shown = error;
    for (std::string* part : {&shown.message, &shown.path, &shown.remedy}) {
      for (std::size_t at = part->find('\n'); at != std::string::npos; at = part->find('\n', at)) part->replace(at, 1, "\\n");
    }
    std::fputs(printable("error: " + shown.text() + "\n").c_str(), stderr);
  }
  out_json(JsonObject{{"error", JsonObject{{"code", name(error.code)},
                                           {"message", to_utf8(error.message)},
                                           {"path", to_utf8(error.path)},
                                           {"remedy", to_utf8(error.remedy)}}}});
}

void Cli::fail_with(const Error& error) {
  terminal.error(error);
  exit_status = exit_code(error.code);
}

EndsAtOnce::EndsAtOnce(Cli& cli)
    : at_once_(cli.stop, [&cli] {
        cli.terminal.interrupted();
        ::_exit(exit_code(ErrorCode::cancelled));
      }) {}

int run_cli(int argc, const char* const* argv, Clock& clock, Entropy& entropy, std::stop_token stop) {
  Cli cli{.terminal = {}, .clock = clock, .entropy = entropy, .stop = std::move(stop)};
  CLI::App app("Compile prompts like code: write an LM program, compile it on examples, run and replay one signed file.", "assay");
  app.set_version_flag("--version", fmt::format("assay {} ({})", assay_version, assay_build()));
  app.add_flag("--json", cli.terminal.json, "One JSON object per result on stdout (docs/reference/cli.md)");
  app.add_option("--passphrase-file", cli.passphrase_file,
                 "File with the passphrase of an encrypted key (default: $ASSAY_PASSPHRASE_FILE, else the terminal asks)");
  app.fallthrough();
  app.require_subcommand(1);
  app.footer(
      "Examples:\n  assay init my-program\n  assay compile PROGRAM.toml --json\n  assay verify triage.module.json\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check does not hold, 4 a replay differs, 5 budget, 6 refused, 7 unreachable, 130 "
      "interrupted");
  for (const auto add : {add_init,  add_compile, add_run,    add_eval,   add_verify, add_replay,    add_show,  add_diff,
                         add_key,   add_trust,   add_trace,  add_doctor, add_hud,    add_relay,     add_pylon, add_sandbox,
                         add_store, add_budget,  add_attest, add_prices, add_models, add_completion}) {
    add(app, cli);
  }
  refuse_empty_values(app);
  if (const auto secret = secret_in(argc, argv)) {
    for (int i = 1; i < argc; ++i) cli.terminal.json = cli.terminal.json || std::string_view(argv[i]) == "--json";
    cli.fail_with(*secret);
    return cli.exit_status;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& parse_error) {  // CLI11 speaks in exceptions; they end here
    if (parse_error.get_exit_code() == 0) {  // --help, --version
      app.exit(parse_error);
      std::cout.flush();
      if (std::cout.good() && std::fflush(stdout) == 0) return 0;
      cli.fail_with({ErrorCode::io, "the output could not be written", "standard output", "check free space, or who reads the pipe"});
      return cli.exit_status;
    }
    for (int i = 1; i < argc; ++i) cli.terminal.json = cli.terminal.json || std::string_view(argv[i]) == "--json";
    Error error = usage_error(app, parse_error);
    error.message = without_secrets(std::move(error.message), argc, argv);
    error.remedy = without_secrets(std::move(error.remedy), argc, argv);
    cli.fail_with(error);
  } catch (const std::exception& thrown) {
    cli.fail_with(
        {ErrorCode::internal, fmt::format("unexpected exception: {}", thrown.what()), "", "please report it with the command line"});
  }
  if (cli.terminal.output_lost() && cli.exit_status == 0) {
    cli.fail_with({ErrorCode::io, "the output could not be written", "standard output", "check free space, or who reads the pipe"});
  }
  return cli.exit_status;
}

}  // namespace assay
