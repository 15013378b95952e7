#include "assay/sandbox/canary_test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

namespace assay {
namespace {

constexpr std::string_view secret = "canary: no job may see or change this\n";
constexpr int leaked_fd = 20;

int open_descriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

void replace(std::string& text, std::string_view what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) text.replace(at, what.size(), by);
}

template <class Visit>
void each_process_with(const std::string& marker, const Visit& visit) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || pid == getpid()) continue;
    const auto line = read_file(entry.path().string() + "/cmdline", 1 << 20);
    if (line && line->find(marker) != std::string::npos) visit(pid);
  }
}

}  // namespace

Canary::Canary() {
  char name[] = "/var/tmp/assay-canary-XXXXXX";
  folder_ = mkdtemp(name);
  file_ = folder_ + "/file";
  key_ = folder_ + "/key";
  write_file(file_, secret).value();
  write_file(key_, secret, 0600).value();

  tcp_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(tcp_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(tcp_.get(), 8) != 0) std::abort();
  getsockname(tcp_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);

  socket_name_ = fmt::format("assay-canary-{}", getpid());
  abstract_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un hidden{};
  hidden.sun_family = AF_UNIX;
  std::memcpy(hidden.sun_path + 1, socket_name_.data(), socket_name_.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + socket_name_.size());
  if (bind(abstract_.get(), reinterpret_cast<sockaddr*>(&hidden), length) != 0 || listen(abstract_.get(), 8) != 0) std::abort();

  const Fd file(open(file_.c_str(), O_RDWR));
  dup2(file.get(), leaked_fd);  // on purpose without close-on-exec
  stdin_before_ = fcntl(0, F_DUPFD_CLOEXEC, 30);
  dup2(file.get(), 0);
  setenv("ASSAY_CANARY_TOKEN", "secret", 1);
  open_before_ = open_descriptors() - 1;  // without `file`
}

Canary::~Canary() {
  dup2(stdin_before_, 0);
  close(stdin_before_);
  close(leaked_fd);
  unsetenv("ASSAY_CANARY_TOKEN");
  std::filesystem::remove_all(folder_);
}

std::string Canary::fill(std::string script) const {
  replace(script, "{FILE}", file_);
  replace(script, "{KEY}", key_);
  replace(script, "{PORT}", std::to_string(port_));
  replace(script, "{SOCKET}", socket_name_);
  replace(script, "{PID}", std::to_string(getpid()));
  return script;
}

std::string Canary::harm() const {
  if (read_file(file_).value_or("") != secret || read_file(key_).value_or("") != secret) return "a file was changed";
  if (waitpid(-1, nullptr, WNOHANG | __WALL) != -1 || errno != ECHILD) return "a process was left";
  if (const int now = open_descriptors(); now != open_before_) return fmt::format("{} descriptors were left", now - open_before_);
  if (take_connections()) return "a listener was reached";
  if (lseek(leaked_fd, 0, SEEK_CUR) != 0) return "the descriptor was read";
  return {};
}

bool Canary::take_connections() const {
  const Fd one(accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const Fd two(accept4(abstract_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return one.open() || two.open();
}

std::string python_command(const std::string& script) {
  std::string quoted = script;
  replace(quoted, "'", "'\\''");
  return "exec /usr/bin/python3 -c '" + quoted + "'";
}

Outside run_outside(const std::string& script) {
  Outside out;
  FILE* child = popen(python_command(script).c_str(), "r");
  if (child == nullptr) return out;
  char chunk[65536];
  for (std::size_t got = 0; (got = fread(chunk, 1, sizeof chunk, child)) > 0;) out.out.append(chunk, got);
  const int status = pclose(child);
  out.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  lseek(leaked_fd, 0, SEEK_SET);  // the control may have read it
  return out;
}

int processes_with(const std::string& marker) {
  int count = 0;
  each_process_with(marker, [&count](int) { ++count; });
  return count;
}

void kill_processes_with(const std::string& marker) {
  each_process_with(marker, [](int pid) { kill(pid, SIGKILL); });
}

}  // namespace assay
