#include "assay/sandbox/sandbox.h"

#include <fcntl.h>
#include <gnu/libc-version.h>
#include <poll.h>
#include <signal.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "assay/sandbox/artifacts.h"
#include "assay/sandbox/box.h"
#include "assay/sandbox/runner.h"
#include "assay/sandbox/stream.h"

namespace assay {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

struct Pipe {
  Fd read;
  Fd write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return fail(ErrorCode::io, fmt::format("no pipe for the job's output: {}", std::strerror(errno)), "close files or raise ulimit -n");
  Pipe out{Fd(ends[0]), Fd(ends[1])};
  if (fcntl(out.read.get(), F_SETFL, O_NONBLOCK) != 0) return fail(ErrorCode::io, "a pipe cannot be made non-blocking");
  return out;
}

// Runs the commands of one job in one box, and decides how each ended.
class Job {
 public:
  Job(Box& box, const RunShape& shape, const SandboxLimits& limits, const Wait& wait, Clock& clock)
      : box_(box), shape_(shape), limits_(limits), wait_(wait), clock_(clock), started_ns_(clock.steady_ns()) {
    deadline_ = Deadline{started_ns_ + shape.wall_seconds * second_ns}.sooner(wait.deadline);
  }

  /// False if the job has ended with this command.
  Result<bool> run(std::uint32_t index, SandboxCommandRun& run) {
    ASSAY_TRY(Pipe out, make_pipe());
    ASSAY_TRY(Pipe err, make_pipe());
    ASSAY_CHECK(box_.order(index, out.write.get(), err.write.get()));
    out.write.close();
    err.write.close();
    StreamCapture out_stream(std::move(out.read), limits_.stored_bytes_max);
    StreamCapture err_stream(std::move(err.read), limits_.stored_bytes_max);
    const std::int64_t began = clock_.steady_ns();
    follow(out_stream, err_stream, run);
    run.duration_ms = (clock_.steady_ns() - began) / 1'000'000;
    drain(out_stream, err_stream);
    output_before_ += out_stream.bytes() + err_stream.bytes();
    if (!ended_ && output_before_ > limits_.output_bytes_max) end(run, SandboxVerdict::output_limit, over_output());  // its last bytes
    run.out = std::move(out_stream).finish();
    run.err = std::move(err_stream).finish();
    return !ended_;
  }

  std::int64_t wall_ms() const { return (clock_.steady_ns() - started_ns_) / 1'000'000; }
  const std::string& why() const { return why_; }

 private:
  // Watches until the command has ended or has to be ended.
  void follow(StreamCapture& out, StreamCapture& err, SandboxCommandRun& run) {
    std::int64_t next_sample = 0;
    while (true) {  // ends: a report, the end of init, or a limit; the deadline is one
      pollfd set[4] = {{box_.control(), POLLIN, 0}, {box_.pidfd(), POLLIN, 0}, {out.fd(), POLLIN, 0}, {err.fd(), POLLIN, 0}};
      poll(set, 4, limits_.sample_ms);
      out.read_some();
      err.read_some();
      if (output_before_ + out.bytes() + err.bytes() > limits_.output_bytes_max) {
        return end(run, SandboxVerdict::output_limit, over_output());
      }
      auto report = box_.report();
      if (!report) return init_gone(run);
      if (*report && take(**report, run)) return;
      const std::int64_t now = clock_.steady_ns();
      if (wait_.stop.stop_requested()) return end(run, SandboxVerdict::cancelled, "the caller cancelled the job");
      if (now >= deadline_.at_ns) return end(run, SandboxVerdict::timeout_wall, over_time());
      if (now < next_sample) continue;
      next_sample = now + std::int64_t{limits_.sample_ms} * 1'000'000;
      if (over_usage(run)) return;
    }
  }

  std::string over_output() const { return fmt::format("more than {} bytes of output", limits_.output_bytes_max); }
  std::string over_time() const {
    if (deadline_.at_ns == wait_.deadline.at_ns) return "the caller's deadline passed";
    return fmt::format("the job's {} s are over", shape_.wall_seconds);
  }

  bool over_usage(SandboxCommandRun& run) {
    const CgroupUsage usage = box_.usage();
    if (usage.oom_kills > 0 || (!box_.has_cgroup() && usage.memory_peak_bytes > shape_.memory_bytes)) {
      end(run, SandboxVerdict::oom, fmt::format("more than {} MiB of memory", shape_.memory_bytes >> 20));
      return true;
    }
    if (usage.cpu_us > shape_.cpu_seconds * 1'000'000) {
      end(run, SandboxVerdict::timeout_cpu, fmt::format("more than {} s of CPU time", shape_.cpu_seconds));
      return true;
    }
    return false;
  }

  // True if the command is over. A start that failed is reported first, its process's end after it.
  bool take(const InitReport& report, SandboxCommandRun& run) {
    if (report.kind == InitReport::failed) {
      const bool asked = report.stage == InitStage::workdir || (report.stage == InitStage::exec && report.error == E2BIG);
      run.verdict = asked ? SandboxVerdict::bad_request : SandboxVerdict::internal;
      why_ = fmt::format("{} failed: {}", stage_name(report.stage), std::strerror(report.error));
      if (!asked) ended_ = true;
      return false;
    }
    if (report.kind != InitReport::done) return false;
    run.cpu_user_us = report.user_us;
    run.cpu_system_us = report.system_us;
    run.max_rss_kb = report.max_rss_kb;
    if (WIFSIGNALED(report.status)) {
      run.signal = WTERMSIG(report.status);
      run.exit_code = 128 + *run.signal;
    } else {
      run.exit_code = WEXITSTATUS(report.status);
    }
    if (run.verdict == SandboxVerdict::ok) judge(run);
    return true;
  }

  void judge(SandboxCommandRun& run) {
    const std::int64_t cpu_us = run.cpu_user_us + run.cpu_system_us;
    if (box_.usage().oom_kills > 0) {
      run.verdict = SandboxVerdict::oom;
      why_ = fmt::format("more than {} MiB of memory", shape_.memory_bytes >> 20);
      if (run.exit_code == 0) run.exit_code = 137;  // it went on without the process that was killed: not a success
      ended_ = true;
    } else if (!run.signal) {
      run.verdict = run.exit_code == 0 ? SandboxVerdict::ok : SandboxVerdict::exit_nonzero;
      if (run.exit_code != 0) why_ = fmt::format("exit code {}", run.exit_code);
    } else if (*run.signal == SIGXCPU || (*run.signal == SIGKILL && cpu_us >= shape_.cpu_seconds * 1'000'000)) {
      run.verdict = SandboxVerdict::timeout_cpu;
      why_ = fmt::format("more than {} s of CPU time", shape_.cpu_seconds);
      ended_ = true;
    } else {
      run.verdict = *run.signal == SIGSYS ? SandboxVerdict::violation : SandboxVerdict::signaled;
      why_ = fmt::format("signal {}", *run.signal);
    }
  }

  // The control group's killer takes init along; anything else that ends it is a bug of ours.
  void init_gone(SandboxCommandRun& run) {
    const bool oom = box_.usage().oom_kills > 0;
    end(run, oom ? SandboxVerdict::oom : SandboxVerdict::internal,
        oom ? fmt::format("more than {} MiB of memory", shape_.memory_bytes >> 20) : "init ended without a report");
  }

  void end(SandboxCommandRun& run, SandboxVerdict verdict, std::string why) {
    box_.usage();
    run.verdict = verdict;
    run.signal = SIGKILL;
    run.exit_code = 128 + SIGKILL;
    why_ = std::move(why);
    ended_ = true;
    if (!box_.kill()) {
      run.verdict = SandboxVerdict::internal;
      why_ += "; its processes could not be ended within 5 s";
    }
  }

  // Every writer is dead, so both streams end; one second covers what the pipes still hold.
  void drain(StreamCapture& out, StreamCapture& err) {
    const Deadline deadline = Deadline::after(clock_, std::chrono::seconds(1));
    while ((out.open() || err.open()) && !deadline.passed(clock_)) {
      pollfd set[2] = {{out.fd(), POLLIN, 0}, {err.fd(), POLLIN, 0}};
      poll(set, 2, limits_.sample_ms);
      out.read_some();
      err.read_some();
    }
  }

  Box& box_;
  const RunShape& shape_;
  const SandboxLimits& limits_;
  const Wait& wait_;
  Clock& clock_;
  std::int64_t started_ns_;
  Deadline deadline_;
  std::int64_t output_before_ = 0;
  bool ended_ = false;
  std::string why_;
};

SandboxStatus status_of(const std::vector<SandboxCommandRun>& runs) {
  SandboxStatus status = SandboxStatus::success;
  for (const SandboxCommandRun& run : runs) {
    switch (run.verdict) {
      case SandboxVerdict::ok: break;
      case SandboxVerdict::internal: return SandboxStatus::error;
      case SandboxVerdict::cancelled: return SandboxStatus::cancelled;
      case SandboxVerdict::timeout_wall:
      case SandboxVerdict::timeout_cpu: return SandboxStatus::timeout;
      default: status = SandboxStatus::failed;
    }
  }
  return status;
}

// The first command that did not end well, in words.
void explain(std::uint32_t index, std::size_t count, const SandboxCommandRun& run, const std::string& why, SandboxRunResponse& out) {
  if (run.verdict == SandboxVerdict::ok || out.error) return;
  out.error = fmt::format("command {} of {}: {}: {}", index + 1, count, name(run.verdict), why);
}

std::string os_release() {
  for (const char* path : {"/etc/os-release", "/usr/lib/os-release"}) {
    if (auto text = read_file(path, 64 * 1024)) return to_utf8(*text);
  }
  return {};
}

std::string pretty_name(const std::string& release) {
  constexpr std::string_view key = "PRETTY_NAME=\"";
  const std::size_t at = release.find(key);
  if (at == std::string::npos) return "Linux";
  return release.substr(at + key.size(), release.find('"', at + key.size()) - at - key.size());
}

void add_notes(Box& box, const RunShape& shape, SandboxRunResponse& out) {
  const CgroupUsage usage = box.usage();
  if (usage.fork_refusals > 0)
    out.notes.push_back(fmt::format("the process limit ({}) was reached {} times", shape.processes, usage.fork_refusals));
  if (box.folder_full()) out.notes.push_back(fmt::format("files: the {} MiB for /job and /tmp are full", shape.disk_bytes >> 20));
}

Result<void> add_provenance(SandboxRunResponse& out, std::int64_t executed_at) {
  JsonObject provenance{{"model_id", "assay-sandbox/native"},
                        {"sampling", JsonObject{{"temperature", 0}}},
                        {"input_sha256", out.job_hash},
                        {"executed_at", executed_at},
                        {"duration_ms", out.usage.wall_ms}};
  out.provenance = Json(JsonObject());
  Json whole = to_json(out);
  whole.set("provenance", Json(JsonObject()));
  ASSAY_TRY(const std::string output, hash(whole));
  provenance.set("output_sha256", output);
  out.provenance = std::move(provenance);
  return {};
}

}  // namespace

std::string native_image_digest() {
  utsname system{};
  uname(&system);
  const Json root = JsonObject{{"format", "assay.native_root/1"},
                               {"os_release", os_release()},
                               {"arch", std::string(system.machine)},
                               {"libc", std::string(gnu_get_libc_version())}};
  return hash(root).value_or(std::string(64, '0'));
}

Result<SandboxRunResponse> run_with_defences(const SandboxRunRequest& request, const SandboxProfile& profile, const SandboxLimits& limits,
                                             const Defences& defences, const Wait& wait, Clock& clock) {
  ASSAY_TRY(const RunShape shape, shape_of(request, profile, limits));
  SandboxRunResponse out;
  ASSAY_TRY(out.job_hash, job_hash(request));
  const std::int64_t executed_at = clock.unix_ns() / second_ns;
  ASSAY_TRY(Box box, Box::start(shape, defences, wait, clock));
  Job job(box, shape, limits, wait, clock);
  for (std::uint32_t i = 0; i < shape.commands.size(); ++i) {
    SandboxCommandRun& run = out.runs.emplace_back();
    run.cmd = shape.commands[i];
    ASSAY_TRY(const bool goes_on, job.run(i, run));
    explain(i, shape.commands.size(), run, job.why(), out);
    if (!goes_on || (run.verdict != SandboxVerdict::ok && !request.commands[i].continue_on_fail)) break;
  }
  out.usage.wall_ms = job.wall_ms();
  add_notes(box, shape, out);
  if (!box.kill())
    return fail(ErrorCode::internal, "the job's processes could not be ended within 5 s",
                "restart this machine: a process is stuck in the kernel");
  ASSAY_TRY(CollectedArtifacts left, collect_artifacts(box.folder(), limits));

  const CgroupUsage usage = box.usage();
  out.usage.memory_peak_bytes = usage.memory_peak_bytes;
  out.usage.cpu_us = usage.cpu_us;
  out.usage.processes_peak = usage.processes;
  out.artifacts = std::move(left.artifacts);
  out.skipped = std::move(left.skipped);
  if (left.unnamed > 0)
    out.notes.push_back(fmt::format("{} more files were left and are not named: {} are, and as many of those left out", left.unnamed,
                                    limits.artifacts_max));
  out.status = status_of(out.runs);
  out.isolation = box.isolation();
  out.profile = profile.name;
  out.image_digest = native_image_digest();
  out.hostname = "assay";
  utsname system{};
  uname(&system);
  out.system_info = fmt::format("{}, {} {}, {}", pretty_name(os_release()), system.sysname, system.release, system.machine);
  out.disk_mb = shape.disk_bytes >> 20;
  ASSAY_CHECK(add_provenance(out, executed_at));
  return out;
}

Result<SandboxRunResponse> run_sandboxed(const SandboxRunRequest& request, const SandboxProfile& profile, const SandboxLimits& limits,
                                         const Wait& wait, Clock& clock) {
  return run_with_defences(request, profile, limits, Defences{}, wait, clock);
}

}  // namespace assay
