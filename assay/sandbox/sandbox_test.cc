#include "assay/sandbox/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/sandbox/probe.h"
#include "assay/sandbox/runner.h"

namespace assay {
namespace {

constexpr std::int64_t ms = 1'000'000;

Result<SandboxRunResponse> run(std::vector<SandboxCommand> commands, const SandboxLimits& limits = {}, const Defences& defences = {}) {
  SandboxRunRequest request;
  request.commands = std::move(commands);
  return run_with_defences(request, SandboxProfile::Small, limits, defences, Wait{}, system_clock());
}

TEST(Sandbox, RunsOrdinaryProgramsAndHashesTheirOutput) {
  const auto response = run(
      {{.cmd = "echo out; echo err >&2; pwd; id -un; hostname"}, {.cmd = "python3 -c 'print(6 * 7)' > answer.txt; cat /job/answer.txt"}});
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->status, SandboxStatus::success);
  EXPECT_FALSE(response->error.has_value());
  EXPECT_EQ(response->runs[0].out.stored, "out\n/workspace\njob\nassay\n");
  EXPECT_EQ(response->runs[0].out.sha256, sha256_hex("out\n/workspace\njob\nassay\n"));
  EXPECT_EQ(response->runs[0].err.stored, "err\n");
  EXPECT_EQ(response->runs[1].out.stored, "42\n");
  ASSERT_EQ(response->artifacts.size(), 1U);
  EXPECT_EQ(response->artifacts[0].path, "answer.txt");
  EXPECT_EQ(response->artifacts[0].sha256, sha256_hex("42\n"));
  EXPECT_TRUE(response->isolation.level == "full" || response->isolation.level == "strong");
  EXPECT_GT(response->usage.memory_peak_bytes, 0);
}

TEST(Sandbox, RunsACompilerAndThreads) {
  if (access("/usr/bin/gcc", X_OK) != 0) GTEST_SKIP() << "no gcc here";
  const auto response = run(
      {{.cmd = "printf '#include <pthread.h>\\n#include <stdio.h>\\nstatic void* f(void* p) { return p; }\\nint main(void) { pthread_t t; "
               "if (pthread_create(&t, 0, f, 0)) return 1; pthread_join(t, 0); puts(\"threads\"); return 0; }\\n' > a.c"},
       {.cmd = "gcc -pthread a.c -o a && ./a"}});
  ASSERT_TRUE(response) << response.error().text();
  ASSERT_EQ(response->runs.size(), 2U);
  EXPECT_EQ(response->runs[1].out.stored, "threads\n") << response->runs[1].err.stored;
}

TEST(Sandbox, GivesExactlyTheAllowedEnvironment) {
  SandboxRunRequest request;
  request.env = {{"ANSWER", "42"}, {"TZ", "Europe/Rome"}};
  request.commands = {{.cmd = "env | sort"}};
  setenv("SECRET_TOKEN", "x", 1);
  const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock());
  unsetenv("SECRET_TOKEN");
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->runs[0].out.stored,
            "ANSWER=42\nCI=1\nHOME=/job\nLANG=C.UTF-8\nLC_ALL=C.UTF-8\nLOGNAME=job\nPATH=/usr/local/bin:/usr/bin:/bin\nPWD=/workspace\n"
            "PYTHONDONTWRITEBYTECODE=1\nPYTHONHASHSEED=0\nSOURCE_DATE_EPOCH=315532800\nTERM=dumb\nTMPDIR=/tmp\nTZ=Europe/Rome\nUSER=job\n");
}

TEST(Sandbox, GivesALoopbackOfItsOwnWhenAsked) {
  SandboxRunRequest request;
  request.network_policy = "localhost";
  request.commands = {
      {.cmd = "python3 -c \"import socket; s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); "
              "c.sendall(b'over'); print(s.accept()[0].recv(4))\""}};
  const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock());
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->runs[0].out.stored, "b'over'\n") << response->runs[0].err.stored;
}

struct Ending {
  const char* command;
  SandboxVerdict verdict;
  int exit_code;
  int signal;  // 0: none
};

TEST(Sandbox, TellsExitCodesFromSignals) {
  for (const Ending& ending :
       {Ending{"exit 0", SandboxVerdict::ok, 0, 0}, Ending{"exit 1", SandboxVerdict::exit_nonzero, 1, 0},
        Ending{"exit 137", SandboxVerdict::exit_nonzero, 137, 0}, Ending{"exit 255", SandboxVerdict::exit_nonzero, 255, 0},
        Ending{"no-such-program", SandboxVerdict::exit_nonzero, 127, 0}, Ending{"kill -SEGV $$", SandboxVerdict::signaled, 139, 11},
        Ending{"kill -KILL $$", SandboxVerdict::signaled, 137, 9}, Ending{"kill -9 1; kill -9 -1", SandboxVerdict::exit_nonzero, 1, 0}}) {
    const auto response = run({{.cmd = ending.command}});
    ASSERT_TRUE(response) << response.error().text();
    const SandboxCommandRun& one = response->runs[0];
    if (std::string_view(ending.command) != "kill -9 1; kill -9 -1") {
      EXPECT_EQ(name(one.verdict), name(ending.verdict)) << ending.command;
      EXPECT_EQ(one.exit_code, ending.exit_code) << ending.command;
      EXPECT_EQ(one.signal.value_or(0), ending.signal) << ending.command;
    } else {
      EXPECT_NE(one.verdict, SandboxVerdict::internal);  // init lives on, whatever the shell made of it
    }
  }
}

TEST(Sandbox, StopsAtAFailureUnlessToldToGoOn) {
  const auto stopped = run({{.cmd = "false"}, {.cmd = "echo never"}});
  ASSERT_TRUE(stopped);
  EXPECT_EQ(stopped->runs.size(), 1U);
  EXPECT_EQ(stopped->status, SandboxStatus::failed);
  EXPECT_EQ(stopped->error.value_or(""), "command 1 of 2: exit_nonzero: exit code 1");
  const auto went_on = run({{.cmd = "false", .continue_on_fail = true}, {.cmd = "echo yes"}});
  ASSERT_TRUE(went_on);
  ASSERT_EQ(went_on->runs.size(), 2U);
  EXPECT_EQ(went_on->runs[1].out.stored, "yes\n");
  EXPECT_EQ(went_on->status, SandboxStatus::failed);
}

TEST(Sandbox, SaysThatAWorkdirIsMissing) {
  const auto response = run({{.cmd = "pwd", .workdir = "nowhere"}});
  ASSERT_TRUE(response);
  EXPECT_EQ(response->runs[0].verdict, SandboxVerdict::bad_request);
  EXPECT_EQ(response->error.value_or(""), "command 1 of 1: bad_request: changing to the workdir failed: No such file or directory");
  EXPECT_EQ(response->status, SandboxStatus::failed);
}

TEST(SandboxLimit, OutputAtMaxPassesAndOneMoreIsKilled) {
  SandboxLimits limits;
  limits.output_bytes_max = 100000;
  limits.stored_bytes_max = 10;
  const auto at_max = run({{.cmd = "head -c 100000 /dev/zero"}}, limits);
  ASSERT_TRUE(at_max);
  EXPECT_EQ(at_max->runs[0].verdict, SandboxVerdict::ok);
  EXPECT_EQ(at_max->runs[0].out.bytes, 100000);
  EXPECT_EQ(at_max->runs[0].out.stored.size(), 10U);
  EXPECT_TRUE(at_max->runs[0].out.truncated);
  EXPECT_EQ(at_max->runs[0].out.sha256, sha256_hex(std::string(100000, '\0')));
  const auto above = run({{.cmd = "head -c 100001 /dev/zero"}}, limits);
  ASSERT_TRUE(above);
  EXPECT_EQ(above->runs[0].verdict, SandboxVerdict::output_limit);
  EXPECT_EQ(above->status, SandboxStatus::failed);
}

TEST(SandboxLimit, ProcessesAtMaxPassAndOneMoreIsRefused) {
  SandboxLimits limits;
  limits.processes_max = 20;
  const std::string script =
      "python3 -c 'import os,time\nn = 1\ntry:\n while n < 40:\n  if os.fork() == 0: time.sleep(9); os._exit(0)\n  n += 1\nexcept OSError "
      "as e: print(n, e.errno)'";
  const auto response = run({{.cmd = "exec " + script}}, limits);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->runs[0].out.stored, "20 11\n") << response->runs[0].err.stored;
  EXPECT_LT(response->runs[0].duration_ms, 8000);
}

TEST(SandboxLimit, WallTimeEndsAJobThatIgnoresSigterm) {
  SandboxRunRequest request;
  request.commands = {{.cmd = "trap '' TERM INT HUP; while true; do :; done"}};
  request.resources.timeout_secs = 1;
  SandboxLimits limits;
  limits.cpu_seconds = 60;
  const auto response = run_sandboxed(request, SandboxProfile::Small, limits, Wait{}, system_clock());
  ASSERT_TRUE(response);
  EXPECT_EQ(response->runs[0].verdict, SandboxVerdict::timeout_wall);
  EXPECT_EQ(response->status, SandboxStatus::timeout);
  EXPECT_GE(response->usage.wall_ms, 990);
  EXPECT_LT(response->usage.wall_ms, 3000);
  // Control: outside, SIGTERM leaves such a loop running.
  const pid_t child = fork();
  if (child == 0) execl("/bin/sh", "sh", "-c", "trap '' TERM INT HUP; while true; do :; done", nullptr);
  system_clock().sleep_until(system_clock().steady_ns() + 300 * ms, {});
  kill(child, SIGTERM);
  system_clock().sleep_until(system_clock().steady_ns() + 200 * ms, {});
  EXPECT_EQ(waitpid(child, nullptr, WNOHANG), 0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST(SandboxLimit, CpuTimeCountsAllProcessesTogether) {
  SandboxLimits limits;
  limits.cpu_seconds = 1;
  const auto one = run({{.cmd = "while true; do :; done"}}, limits);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->runs[0].verdict, SandboxVerdict::timeout_cpu);
  // Each loop alone stays under its own RLIMIT_CPU for as long as their sum is over the limit.
  const auto many = run({{.cmd = "for i in 1 2 3 4; do sh -c 'while true; do :; done' & done; wait"}}, limits);
  ASSERT_TRUE(many);
  EXPECT_EQ(many->runs[0].verdict, SandboxVerdict::timeout_cpu);
  EXPECT_EQ(many->status, SandboxStatus::timeout);
}

TEST(SandboxLimit, WithoutControlGroupsMemoryAndProcessesAreStillBounded) {
  SandboxLimits limits;
  limits.processes_max = 20;
  Defences sampled;
  sampled.cgroup = false;
  SandboxRunRequest request;
  request.resources.memory_mb = 96;
  // Four processes of 48 MiB each: none alone is over the limit, only the sum is.
  request.commands = {{.cmd = "for i in 1 2 3 4; do python3 -c 'import os,time; b = os.urandom(48 << 20); time.sleep(9)' & done; wait"}};
  const auto memory = run_with_defences(request, SandboxProfile::Small, limits, sampled, Wait{}, system_clock());
  ASSERT_TRUE(memory) << memory.error().text();
  EXPECT_EQ(name(memory->runs[0].verdict), name(SandboxVerdict::oom)) << memory->runs[0].err.stored;
  EXPECT_EQ(memory->isolation.level, "strong");
  ASSERT_GE(memory->isolation.missing.size(), 3U);
  EXPECT_TRUE(memory->isolation.missing[0].starts_with("memory: sampled")) << memory->isolation.missing[0];
  const auto processes = run({{.cmd = "for i in $(seq 40); do sleep 5 & done; echo all"}}, limits, sampled);
  ASSERT_TRUE(processes);
  EXPECT_NE(processes->runs[0].exit_code, 0);
  EXPECT_EQ(processes->runs[0].out.stored, "");
}

TEST(Sandbox, IsCancelledSoon) {
  std::stop_source source;
  SandboxRunRequest request;
  request.commands = {{.cmd = "echo begun; sleep 100"}};
  Clock& clock = system_clock();
  std::int64_t asked = 0;
  std::jthread canceller([&] {
    clock.sleep_until(clock.steady_ns() + 400 * ms, {});
    asked = clock.steady_ns();
    source.request_stop();
  });
  const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{Deadline::never(), source.get_token()}, clock);
  canceller.join();
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->status, SandboxStatus::cancelled);
  EXPECT_EQ(response->runs[0].out.stored, "begun\n");
  EXPECT_LT(clock.steady_ns() - asked, 1000 * ms);
}

TEST(Sandbox, EndsAtTheCallersDeadline) {
  SandboxRunRequest request;
  request.commands = {{.cmd = "sleep 100"}};
  Clock& clock = system_clock();
  const auto response =
      run_sandboxed(request, SandboxProfile::Small, {}, Wait{Deadline::after(clock, std::chrono::milliseconds(1500)), {}}, clock);
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->status, SandboxStatus::timeout);
  EXPECT_EQ(response->error.value_or(""), "command 1 of 1: timeout_wall: the caller's deadline passed");
}

TEST(Sandbox, RunsManyAtOnceFromManyThreads) {
  std::vector<std::string> outputs(6);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([i, &outputs] {
        const auto response = run({{.cmd = fmt::format("sleep 0.1; echo {}", i)}});
        outputs[static_cast<std::size_t>(i)] = response ? response->runs[0].out.stored : response.error().text();
      });
    }
  }
  for (int i = 0; i < 6; ++i) EXPECT_EQ(outputs[static_cast<std::size_t>(i)], fmt::format("{}\n", i));
}

// In a child, because ids cannot be taken back.
int as_normal_user(int (*body)()) {
  const pid_t child = fork();
  if (child == 0) {
    const bool dropped =
        geteuid() != 0 || (setgroups(0, nullptr) == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // as it is in a process that this user started
    _exit(dropped ? body() : 99);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

TEST(Sandbox, WorksForANormalUser) {
  EXPECT_EQ(as_normal_user([] {
              const SandboxCapabilities can = probe_sandbox(Wait{}, system_clock());
              if (!can.available) {
                fmt::print(stderr, "{}\n{}\n", can.problem, can.remedy);
                return 1;
              }
              const auto response = run({{.cmd = "id -u; cat /proc/self/status | grep CapBnd; python3 -c 'print(1)'"}});
              return response && response->runs[0].out.stored == "1000\nCapBnd:\t0000000000000000\n1\n" ? 0 : 2;
            }),
            0);
}

TEST(Sandbox, RefusesWithARemedyWhereNamespacesCannotBeMade) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root for a chroot";
  // The kernel gives no user namespace to a process in a chroot.
  const pid_t child = fork();
  if (child == 0) {
    if (chroot("/usr") != 0) _exit(97);
    SandboxRunRequest request;
    request.image_digest = "";
    request.commands = {{.cmd = "true"}};
    const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock());
    _exit(!response && response.error().code == ErrorCode::unavailable && !response.error().remedy.empty() ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(SandboxProbe, AgreesWithARun) {
  const SandboxCapabilities can = probe_sandbox(Wait{}, system_clock());
  EXPECT_TRUE(can.available) << can.problem;
  const auto response = run({{.cmd = "true"}});
  ASSERT_TRUE(response);
  EXPECT_EQ(can.level, response->isolation.level);
  EXPECT_EQ(can.missing, response->isolation.missing);
  EXPECT_TRUE(canonical(to_json(can)).has_value());
}

}  // namespace
}  // namespace assay
