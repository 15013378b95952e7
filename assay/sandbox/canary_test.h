#pragma once
/// @file
/// For tests: things on the host that no job may touch, and ways to run a script inside and outside the box.

#include <cstdint>
#include <string>

#include "assay/base/files.h"
#include "assay/sandbox/runner.h"

namespace assay {

/// Files, listeners, a descriptor, a variable and a standard input full of secrets; gone when the object goes.
class Canary {
 public:
  Canary();
  ~Canary();
  Canary(const Canary&) = delete;
  Canary& operator=(const Canary&) = delete;

  /// Replaces {FILE}, {KEY}, {PORT}, {SOCKET} and {PID} by what they are here.
  std::string fill(std::string script) const;
  /// Files as they were, no process left, no descriptor more, nobody at the listeners. Says what is not so, or "".
  std::string harm() const;
  /// Takes connections that a control made, so that `harm` starts clean. True if there was one.
  bool take_connections() const;

 private:
  std::string folder_;
  std::string file_;
  std::string key_;
  std::string socket_name_;
  Fd tcp_;
  Fd abstract_;
  int port_ = 0;
  int open_before_ = 0;
  int stdin_before_ = -1;
};

struct Outside {
  int exit_code = -1;
  std::string out;
};

/// /usr/bin/python3 -c SCRIPT as a plain child of this process: the negative control.
Outside run_outside(const std::string& script);
/// The same inside the box, as the job's only command.
std::string python_command(const std::string& script);
/// Processes of the machine whose command line holds `marker`.
int processes_with(const std::string& marker);
void kill_processes_with(const std::string& marker);

}  // namespace assay
