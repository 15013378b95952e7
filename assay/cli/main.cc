// The assay binary: the only place that takes the machine's clock and entropy, and Ctrl-C.
#include <pthread.h>
#include <unistd.h>
#include <csignal>

#include <stop_token>
#include <thread>

#include "assay/cli/cli.h"

int main(int argc, char** argv) {
  // SIGINT, SIGTERM and SIGHUP are waited for by a thread of their own, which asks the work to stop; a second one ends the process.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  if (struct sigaction was{}; sigaction(SIGHUP, nullptr, &was) == 0 && was.sa_handler != SIG_IGN)
    sigaddset(&signals, SIGHUP);  // the terminal went; nohup has said that it may
  sigaddset(&signals, SIGUSR2);  // ours: the work is done
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow any more is an error like a full disk, and no death
  std::stop_source stop;
  std::jthread waiter([&signals, &stop] {
    int signal = 0;
    std::int64_t first_ns = 0;
    while (sigwait(&signals, &signal) == 0 && signal != SIGUSR2) {  // ends: by our own signal, or with the process
      const std::int64_t now_ns = assay::system_clock().steady_ns();
      // One Ctrl-C may come twice at once, to the process and to its group: only a later one is a person's second.
      if (first_ns != 0 && now_ns - first_ns > 500000000) _exit(130);
      if (first_ns == 0) first_ns = now_ns;
      stop.request_stop();
    }
  });
  const int status = assay::run_cli(argc, argv, assay::system_clock(), assay::system_entropy(), stop.get_token());
  pthread_kill(waiter.native_handle(), SIGUSR2);
  return status;
}
