// What a hostile job tries, one row each: the exact verdict inside the box, an untouched host, and the same script run as a
// plain process, where it must work. A row whose control does not work proves nothing. A new report becomes a row first.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "assay/sandbox/canary_test.h"

namespace assay {
namespace {

// A system error ends a script with its errno as exit code, success with "DID" and 0.
constexpr const char* prelude = R"(
import ctypes, errno, fcntl, mmap, os, signal, socket, stat, sys, tempfile, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments])
    if result < 0: sys.exit(ctypes.get_errno())
    return result
def hook(kind, error, trace):
    os._exit(error.errno if isinstance(error, OSError) and error.errno else 200)
sys.excepthook = hook
def did():
    print('DID'); sys.stdout.flush(); os._exit(0)
)";

struct Attack {
  const char* name;
  const char* script;
  int exit_code;                                           // inside
  SandboxVerdict verdict = SandboxVerdict::exit_nonzero;   // inside
  int outside = 0;                                         // exit code of the control; 0: prints DID
  const char* network = "none";
};

std::ostream& operator<<(std::ostream& out, const Attack& attack) { return out << attack.name; }

class SandboxAttack : public testing::TestWithParam<Attack> {};

TEST_P(SandboxAttack, IsContainedAndWorksOutside) {
  const Attack& attack = GetParam();
  const Canary canary;
  const std::string script = canary.fill(std::string(prelude) + attack.script);

  SandboxRunRequest request;
  request.commands = {{.cmd = python_command(script)}};
  request.network_policy = attack.network;
  request.resources.memory_mb = 128;
  request.resources.disk_mb = 16;
  request.resources.timeout_secs = 20;
  SandboxLimits limits;
  limits.output_bytes_max = 1 << 20;
  const auto response = run_sandboxed(request, SandboxProfile::Small, limits, Wait{}, system_clock());
  ASSERT_TRUE(response) << response.error().text();
  ASSERT_EQ(response->runs.size(), 1U);
  const SandboxCommandRun& run = response->runs[0];
  EXPECT_EQ(name(run.verdict), name(attack.verdict)) << response->error.value_or("") << run.err.stored;
  EXPECT_EQ(run.exit_code, attack.exit_code) << run.out.stored << run.err.stored;
  EXPECT_EQ(run.out.stored.find("DID"), std::string::npos);
  EXPECT_EQ(canary.harm(), "");

  if (geteuid() != 0) GTEST_SKIP() << "the control needs root";
  const Outside control = run_outside(script);
  EXPECT_EQ(control.exit_code, attack.outside) << control.out;
  EXPECT_EQ(control.out.find("DID") != std::string::npos, attack.outside == 0);
  canary.take_connections();
}

constexpr Attack table[] = {
    {"ReadsAHostFile", "open('{FILE}').read(); did()", ENOENT},
    {"ReadsTheSigningKey", "open('{KEY}').read(); did()", ENOENT},
    {"ReadsPasswordHashes", "open('/etc/shadow').read(); did()", ENOENT},
    {"ListsHomes", "os.listdir('/root'); did()", ENOENT},
    {"WritesToUsr", "os.open('/usr/lib/os-release', os.O_WRONLY); did()", EACCES},
    {"ConnectsToTheHost", "socket.create_connection(('127.0.0.1', {PORT}), 2); did()", EAFNOSUPPORT},
    {"ConnectsToTheHostByItsOwnLoopback", "socket.create_connection(('127.0.0.1', {PORT}), 2); did()", ECONNREFUSED,
     SandboxVerdict::exit_nonzero, 0, "localhost"},
    {"ConnectsToAnAbstractSocket", "socket.socket(socket.AF_UNIX).connect('\\0{SOCKET}'); did()", ECONNREFUSED},
    {"OpensNetlink", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); did()", EAFNOSUPPORT},
    {"OpensAPacketSocket", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0); did()", EAFNOSUPPORT},
    {"ForksWithoutEnd", R"(
children = []
def stop():
    for child in children: os.kill(child, 9); os.waitpid(child, 0)
try:
    for _ in range(300):
        child = os.fork()
        if child == 0: time.sleep(60); os._exit(0)
        children.append(child)
except BlockingIOError as full:
    os._exit(full.errno)
stop(); did())",
     EAGAIN},
    {"TakesAllMemory", "kept = []\nfor _ in range(50): kept.append(bytearray(os.urandom(1 << 16) * 128)); time.sleep(0.03)\ndid()", 137,
     SandboxVerdict::oom},
    {"FillsTheDisk", "kept = [tempfile.TemporaryFile() for _ in range(3)]\nfor f in kept: f.write(bytes(8 << 20)); f.flush()\ndid()",
     ENOSPC},
    {"WritesOneHugeFile", "f = tempfile.TemporaryFile(); f.truncate(1 << 30); did()", EFBIG},
    {"FloodsStdout", "for _ in range(128): sys.stdout.write('x' * 65536)\nsys.stdout.flush(); did()", 137, SandboxVerdict::output_limit},
    {"TypesIntoTheTerminal", R"(
terminal = 0
if os.path.exists('/dev/ptmx'):
    master, terminal = os.openpty(); os.setsid(); fcntl.ioctl(terminal, 0x540E, 0)
call(16, terminal, 0x5412, b'x'); did())",
     EPERM},
    {"TypesIntoTheTerminalBy64Bits", R"(
terminal = 0
if os.path.exists('/dev/ptmx'):
    master, terminal = os.openpty(); os.setsid(); fcntl.ioctl(terminal, 0x540E, 0)
call(16, terminal, 0x100005412, b'x'); did())",
     EPERM},
    {"CallsTheKernelAsI386", R"(
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex('53b814000000cd805bc3'))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
if ctypes.CFUNCTYPE(ctypes.c_int)(address)() > 0: did())",
     159, SandboxVerdict::violation},
    {"CallsTheKernelAsX32", "call(0x40000000 | 39); did()", 159, SandboxVerdict::violation, ENOSYS},
    {"OpensASysctl", "os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY); did()", ENOENT},
    {"OpensTheKernelLog", "os.open('/dev/kmsg', os.O_WRONLY); did()", ENOENT},
    {"UnsharesNamespaces", "call(272, 0x20000); did()", EPERM},
    {"ClonesAUserNamespace", R"(
child = call(56, 0x10000000 | 17, 0, 0, 0, 0)
if child == 0: os._exit(0)
os.waitpid(child, 0); did())",
     EPERM},
    {"ClonesByClone3", R"(
import struct
arguments = struct.pack('8Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0)
child = call(435, arguments, 64)
if child == 0: os._exit(0)
os.waitpid(child, 0); did())",
     ENOSYS},
    {"Mounts", R"(
libc.unshare(0x20000); libc.mount(None, b'/', None, 0x44000, None)
call(165, b'none', b'/tmp', b'tmpfs', 0, 0); did())",
     EPERM},
    {"ChangesTheRoot", "call(161, b'/'); did()", EPERM},
    {"Traces", "call(101, 0, 0, 0, 0); did()", EPERM},
    {"ReadsAnInheritedDescriptor", "os.read(20, 8); did()", EBADF},
    {"ReadsTheLaunchersStdin", "if sys.stdin.read(): did()\nos._exit(61)", 61},
    {"ReadsTheLaunchersEnvironment", "if 'ASSAY_CANARY_TOKEN' in os.environ: did()\nos._exit(62)", 62},
    {"SignalsTheLauncher", "os.kill({PID}, 0); did()", ESRCH},
    {"ListsTheDescriptorsOfInit", "os.listdir('/proc/%d/fd' % (1 if os.getuid() == 1000 else {PID})); did()", ENOENT},
    {"KeepsAKey", "call(248, b'user', b'assay-canary', b'v', 1, -2); did()", ENOSYS},
    {"MakesADevice", R"(
path = tempfile.mkdtemp() + '/null'
os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
os.unlink(path); os.rmdir(os.path.dirname(path)); did())",
     EPERM},
    {"UsesUserfaultfd", "call(323, 0x1); did()", EPERM},
    {"WidensItsCpus", "os.sched_setaffinity(0, os.sched_getaffinity({PID}) if os.getuid() == 0 else range(8)); did()", EPERM},
    {"RenamesTheHost", "name = os.uname().nodename.encode(); call(170, name, len(name)); did()", EPERM},
};

INSTANTIATE_TEST_SUITE_P(Table, SandboxAttack, testing::ValuesIn(table), [](const auto& info) { return std::string(info.param.name); });

// The same two attacks inside the box, with only the filter taken away: it is the filter that stops them.
TEST(SandboxFilter, IsWhatStopsI386AndNewUserNamespaces) {
  for (const Attack& attack : table) {
    if (std::string_view(attack.name) != "CallsTheKernelAsI386" && std::string_view(attack.name) != "ClonesAUserNamespace") continue;
    const Canary canary;
    SandboxRunRequest request;
    request.commands = {{.cmd = python_command(canary.fill(std::string(prelude) + attack.script))}};
    const auto response = run_with_defences(request, SandboxProfile::Small, {}, Defences{.seccomp = false}, Wait{}, system_clock());
    ASSERT_TRUE(response) << response.error().text();
    EXPECT_EQ(response->runs[0].exit_code, 0) << attack.name << response->runs[0].err.stored;
    EXPECT_EQ(response->runs[0].out.stored, "DID\n") << attack.name;
  }
}

TEST(SandboxRoot, IsReadOnlyButForTheJobsOwnFolders) {
  SandboxRunRequest request;
  request.commands = {{.cmd = "grep -E '^[0-9]+ [0-9]+ [^ ]+ [^ ]+ [^ ]+ rw' /proc/self/mountinfo | cut -d' ' -f5 | sort"}};
  const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock());
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->runs[0].out.stored,
            "/dev/full\n/dev/null\n/dev/random\n/dev/shm\n/dev/urandom\n/dev/zero\n/job\n/proc\n/tmp\n/workspace\n");
}

TEST(SandboxSurvivors, AreDeadWhenTheCommandHasEnded) {
  const std::string marker = fmt::format("{}.25", 100000 + getpid());
  SandboxRunRequest request;
  request.commands = {
      {.cmd = fmt::format("(setsid sleep {0} &) ; (trap '' TERM HUP INT; exec >/dev/null 2>&1; sleep {0} & ) & exit 0", marker)}};
  const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock());
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->status, SandboxStatus::success);
  EXPECT_LT(response->runs[0].duration_ms, 5000);
  EXPECT_EQ(processes_with(marker), 0);
  // Control: outside, the same sleep goes on after its shell.
  ASSERT_EQ(std::system(fmt::format("(setsid sleep {} >/dev/null 2>&1 &) ; exit 0", marker).c_str()), 0);
  int outside = 0;
  for (int tries = 0; tries < 500 && outside == 0; ++tries) {  // the shell ends before its child has become the sleep
    outside = processes_with(marker);
    if (outside == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_GE(outside, 1);
  kill_processes_with(marker);
}

TEST(SandboxSurvivors, AreNotSeenByTheNextCommand) {
  SandboxRunRequest request;
  request.commands = {{.cmd = "sleep 1000 & echo $! > /job/pid"}, {.cmd = "kill -0 $(cat /job/pid)"}};
  const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock());
  ASSERT_TRUE(response) << response.error().text();
  ASSERT_EQ(response->runs.size(), 2U);
  EXPECT_EQ(response->runs[0].verdict, SandboxVerdict::ok);
  EXPECT_EQ(response->runs[1].exit_code, 1);
}

TEST(SandboxJobs, LeaveNothingForTheNext) {
  SandboxRunRequest request;
  request.commands = {{.cmd = "ls -A /tmp /dev/shm /job | grep -v : ; touch /tmp/left /dev/shm/left /job/left"}};
  for (int i = 0; i < 2; ++i) {
    const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock());
    ASSERT_TRUE(response) << response.error().text();
    EXPECT_EQ(response->runs[0].out.stored.find("left"), std::string::npos);
    ASSERT_EQ(response->artifacts.size(), 1U);
  }
}

TEST(SandboxArtifacts, AreNeverFollowedOutOfTheFolder) {
  SandboxRunRequest request;
  request.commands = {{.cmd = "ln -s /etc/passwd a-link; ln -s / b-root; mkfifo c-fifo; truncate -s 200M d-sparse; echo good > e-file; "
                              "touch \"$(printf 'f\\nnew')\"; "
                              "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"g-socket\")'; mkdir -p h/i; echo deep > "
                              "h/i/j; touch k; chmod 000 k"}};
  request.resources.memory_mb = 512;
  SandboxLimits limits;
  limits.artifact_bytes_max = 1 << 20;
  limits.artifact_depth_max = 2;
  const auto response = run_sandboxed(request, SandboxProfile::Small, limits, Wait{}, system_clock());
  ASSERT_TRUE(response) << response.error().text();
  std::string artifacts, skipped;
  for (const auto& item : response->artifacts) artifacts += fmt::format("{}:{} ", item.path, item.size_bytes);
  for (const auto& item : response->skipped) skipped += fmt::format("{}:{} ", item.path, item.reason);
  EXPECT_EQ(artifacts, geteuid() == 0 ? "e-file:5 f%0Anew:0 h/i/j:5 k:0 " : "e-file:5 f%0Anew:0 h/i/j:5 ");
  EXPECT_TRUE(skipped.starts_with("a-link:symlink b-root:symlink c-fifo:fifo d-sparse:size g-socket:socket ")) << skipped;
}

}  // namespace
}  // namespace assay
