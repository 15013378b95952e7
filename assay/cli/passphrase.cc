#include "assay/cli/passphrase.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/contract/encrypted_key.h"

namespace assay {
namespace {

constexpr std::chrono::minutes typing_time{10};

// The terminal without echo, put back however its reading ends.
class Hidden {
 public:
  explicit Hidden(int fd) : fd_(fd), changed_(::tcgetattr(fd, &before_) == 0) {
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    quiet.c_lflag |= static_cast<tcflag_t>(ICANON | ECHONL);
    changed_ = changed_ && ::tcsetattr(fd, TCSAFLUSH, &quiet) == 0;
  }
  ~Hidden() {
    if (changed_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
  }
  Hidden(const Hidden&) = delete;
  Hidden& operator=(const Hidden&) = delete;
  bool works() const { return changed_; }

 private:
  int fd_;
  termios before_{};
  bool changed_;
};

std::unexpected<Error> no_terminal() {
  return fail(ErrorCode::usage, "a passphrase is needed, and there is no terminal to ask for it",
              "--passphrase-file FILE, or ASSAY_PASSPHRASE_FILE; /dev/fd/N names an open file descriptor");
}

// A line, byte by byte, so that no buffer of ours keeps it. The terminal gives whole lines.
Result<SecretText> read_hidden_line(int fd, const Wait& wait, Clock& clock) {
  SecretText out;
  while (true) {  // ends: at the line's end, at the terminal's, with the person's stop, or with the deadline
    ASSAY_CHECK(wait.check(clock, "the question for a secret"));
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, 100) <= 0) continue;
    char byte = 0;
    const ssize_t count = ::read(fd, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail(ErrorCode::cancelled, "the terminal was closed before the secret was typed");
    if (byte == '\n') return out;
    if (!out.push(byte)) return fail(ErrorCode::usage, "that is longer than any secret");
  }
}

Result<SecretText> passphrase_of_file(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 0077) != 0) {
    return fail(ErrorCode::refused, fmt::format("others may read the passphrase (mode {:04o})", info.st_mode & 07777),
                fmt::format("chmod 600 {}", path), path);
  }
  auto bytes = read_file(path, SecretText::bytes_max);
  if (!bytes && ::access(path.c_str(), F_OK) != 0) {  // the passphrase itself, perhaps: not repeated
    return fail(ErrorCode::io, "there is no such file", "give the name of a file that holds the passphrase, never the passphrase",
                "the passphrase file");
  }
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  SecretText out(std::move(*bytes));
  out.chomp();
  if (auto good = check_passphrase(out.view()); !good) return std::unexpected(std::move(good.error()).in(path));
  return out;
}

void write_no_core() {
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  (void)::setrlimit(RLIMIT_CORE, &none);
}

}  // namespace

Result<SecretText> ask_hidden(std::string_view prompt, Cli& cli) {
  // The terminal itself, so that standard input may bring something else; but only where a person sees what is asked.
  const Fd terminal(::isatty(STDERR_FILENO) == 1 ? ::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC) : -1);
  if (!terminal.open()) return no_terminal();
  const Hidden hidden(terminal.get());
  if (!hidden.works()) return no_terminal();
  const std::string text = printable(prompt);
  if (::write(terminal.get(), text.data(), text.size()) < 0) return no_terminal();
  return read_hidden_line(terminal.get(), cli.wait(typing_time), cli.clock);
}

Result<SecretText> ask_passphrase(std::string_view what, PassphraseUse use, Cli& cli) {
  write_no_core();
  const char* from_environment = std::getenv("ASSAY_PASSPHRASE_FILE");
  if (!cli.passphrase_file.empty()) return passphrase_of_file(cli.passphrase_file);
  if (from_environment != nullptr && *from_environment != '\0') return passphrase_of_file(from_environment);
  const std::string_view kind = use == PassphraseUse::set ? "New passphrase" : "Passphrase";
  ASSAY_TRY(SecretText typed, ask_hidden(fmt::format("{} of {}: ", kind, what), cli));
  ASSAY_CHECK(check_passphrase(typed.view()));
  if (use == PassphraseUse::open_key) return typed;
  ASSAY_TRY(const SecretText again, ask_hidden("The same again: ", cli));
  if (again.view() != typed.view()) return fail(ErrorCode::usage, "the two passphrases differ", "try again; nothing was changed");
  return typed;
}

Result<SecretKey> unlock_key(const std::string& name, bool make_if_missing, Cli& cli) {
  if (const auto known = cli.unlocked.find(name); known != cli.unlocked.end()) return known->second;
  bool asked = false;
  const AskPassphrase ask = [&](std::string_view of) {
    asked = true;
    return ask_passphrase(fmt::format("key '{}'", of), PassphraseUse::open_key, cli);
  };
  const std::string folder = default_key_folder();
  auto key = make_if_missing ? load_or_create_key(folder, name, cli.entropy, ask) : load_key(folder, name, ask);
  if (key && asked) cli.unlocked.emplace(name, *key);
  return key;
}

}  // namespace assay
