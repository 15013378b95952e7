// The assay binary: the only place that takes the machine's clock and entropy, and Ctrl-C.
#include <pthread.h>
#include <unistd.h>
#include <csignal>

#include <stop_token>
#include <thread>

#include "assay/cli/cli.h"

int main(int argc, char** argv) {
  // SIGINT and SIGTERM are waited for by a thread of their own, which asks the work to stop; a second one ends the process.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR2);  // ours: the work is done
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::stop_source stop;
  std::jthread waiter([&signals, &stop] {
    int count = 0, signal = 0;
    while (sigwait(&signals, &signal) == 0 && signal != SIGUSR2) {  // ends: by our own signal, or with the process
      stop.request_stop();
      if (++count == 2) _exit(130);
    }
  });
  const int status = assay::run_cli(argc, argv, assay::system_clock(), assay::system_entropy(), stop.get_token());
  pthread_kill(waiter.native_handle(), SIGUSR2);
  return status;
}
