#pragma once
/// @file
/// What every command is given: terminal, clock, entropy, cancellation. One file a command, thin over the library.
///
///     void add_verify(CLI::App& app, Cli& cli);      // adds the subcommand; its callback sets cli.exit_status
///
/// Thread safety: the terminal may be written from any thread.

#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>

#include "assay/base/clock.h"
#include "assay/base/json.h"
#include "assay/base/keys.h"
#include "assay/base/random.h"
#include "assay/base/secret_text.h"
#include "assay_version.h"

namespace CLI {
class App;
}

namespace assay {

/// What this binary was built from: compiler and, when known, commit.
std::string assay_build();

/// Hostile text for a terminal: only printable characters, line ends and tabs are left; invalid UTF-8 becomes U+FFFD.
std::string printable(std::string_view bytes);

/// Output: results on stdout, all else on stderr; colours and progress bars only on a terminal.
class Terminal {
 public:
  Terminal();
  bool json = false;

  void out(std::string_view text);        ///< a result line for people; nothing with --json. What follows a line end is set in
  void block(std::string_view text);      ///< lines as they are, such as a job's output
  void note_block(std::string_view text); ///< the same on stderr
  void out_json(const Json& value);       ///< one line, with --json only
  void note(std::string_view text);       ///< stderr, people only
  void progress(std::string_view label, std::size_t done, std::size_t total);  ///< a bar on a terminal, else a line each tenth
  void interrupted() noexcept;            ///< says so if nothing keeps it from it: whoever reads the output may have stopped reading
  void error(const Error& error);         ///< "error: …" on stderr; with --json also {"error":{…}} on stdout
  std::string bold(std::string_view text) const;
  std::string dim(std::string_view text) const;
  bool interactive() const { return interactive_; }
  bool ask(std::string_view question);               ///< a yes typed by a person; no without asking where nobody is there
  bool output_lost() const { return output_lost_; }  ///< something could not be written to stdout
  void raw(std::string_view bytes);                  ///< bytes of an export, as they are

 private:
  void clear_bar();
  void write_out(std::string_view bytes);
  std::mutex mutex_;
  bool out_tty_ = false, err_tty_ = false, interactive_ = false, bar_ = false, output_lost_ = false;
  std::string last_label_;
  std::size_t last_tenth_ = 0;
};

struct Cli {
  Terminal terminal;
  Clock& clock;
  Entropy& entropy;
  std::stop_token stop;
  int exit_status = 0;
  std::string passphrase_file;                ///< --passphrase-file, of every command that uses a key
  std::map<std::string, SecretKey> unlocked;  ///< keys under a passphrase that were opened, by name: nobody is asked twice

  /// Shows the error and sets the exit status of its code.
  void fail_with(const Error& error);
  Wait wait(std::chrono::nanoseconds longest) const { return {Deadline::after(clock, longest), stop}; }
};

/// For a command that only reads, or writes one file at its end: a signal ends it at once, exit 130, while this lives. What works in
/// between on things that must be brought to an end looks at `Cli::stop` instead.
class EndsAtOnce {
 public:
  explicit EndsAtOnce(Cli& cli);

 private:
  std::stop_callback<std::function<void()>> at_once_;
};

void add_init(CLI::App& app, Cli& cli);
void add_compile(CLI::App& app, Cli& cli);
void add_run(CLI::App& app, Cli& cli);
void add_eval(CLI::App& app, Cli& cli);
void add_verify(CLI::App& app, Cli& cli);
void add_replay(CLI::App& app, Cli& cli);
void add_show(CLI::App& app, Cli& cli);
void add_diff(CLI::App& app, Cli& cli);
void add_key(CLI::App& app, Cli& cli);
void add_trust(CLI::App& app, Cli& cli);
void add_trace(CLI::App& app, Cli& cli);
void add_doctor(CLI::App& app, Cli& cli);
void add_hud(CLI::App& app, Cli& cli);
void add_relay(CLI::App& app, Cli& cli);
void add_pylon(CLI::App& app, Cli& cli);
void add_sandbox(CLI::App& app, Cli& cli);
void add_store(CLI::App& app, Cli& cli);
void add_budget(CLI::App& app, Cli& cli);
void add_attest(CLI::App& app, Cli& cli);
void add_prices(CLI::App& app, Cli& cli);
void add_models(CLI::App& app, Cli& cli);
void add_completion(CLI::App& app, Cli& cli);

/// The whole program: parses, runs, returns the exit code. main() passes the process's own clock and entropy.
int run_cli(int argc, const char* const* argv, Clock& clock, Entropy& entropy, std::stop_token stop);

}  // namespace assay
