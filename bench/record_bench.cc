// Records: what a line costs to append, how fast a record is verified, how many recorded calls a second are replayed.
#include <benchmark/benchmark.h>

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "assay/base/files.h"
#include "assay/lm/scripted_lane.h"
#include "assay/program/module.h"
#include "assay/program/run.h"

namespace {

using namespace assay;

std::string file_of(const char* name) { return std::filesystem::temp_directory_path() / name; }

void record_append(benchmark::State& state) {
  const std::string path = file_of("assay-append-bench.run.jsonl");
  std::remove(path.c_str());
  const auto recorder = RunRecorder::create({.path = path, .keep_entries = false}, RunStart{}, system_clock(), system_entropy()).value();
  const Json line =
      JsonObject{{"name", "step"}, {"data", JsonObject{{"text", "a line of some length, as an event has it"}, {"count", 42}}}};
  for (auto _ : state) {
    if (!recorder->append("event", "classify", line)) return state.SkipWithError("append failed");
  }
  std::remove(path.c_str());
}
BENCHMARK(record_append)->Unit(benchmark::kMicrosecond);

// Lines that must be on the disk before the next effect, from one thread and from sixteen that share each fsync. `syncs_per_append` says
// how far the sharing goes; the time is that of one append as its thread sees it.
void record_append_power(benchmark::State& state) {
  static std::unique_ptr<RunRecorder> recorder;
  static std::atomic<std::int64_t> syncs;
  const std::string path = file_of("assay-append-power-bench.run.jsonl");
  if (state.thread_index() == 0) {
    std::remove(path.c_str());
    syncs = 0;
    RecorderOptions options{.path = path, .durability = Durability::power, .keep_entries = false};
    options.sync = [](int fd) { return ++syncs, ::fdatasync(fd) == 0 ? 0 : errno; };
    recorder = RunRecorder::create(std::move(options), RunStart{}, system_clock(), system_entropy()).value();
  }
  const Json line = JsonObject{{"payment_hash", std::string(64, 'a')}, {"amount_msats", 42}, {"state", "settled"}};
  for (auto _ : state) {  // the other threads begin here, when the recorder is made
    if (!recorder->append("payment", "classify", line)) state.SkipWithError("append failed");
  }
  state.counters["appends_per_s"] = benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  if (state.thread_index() == 0) {
    const auto appends = static_cast<double>(state.iterations()) * state.threads();
    state.counters["syncs_per_append"] = static_cast<double>(syncs) / appends;
    recorder.reset();
    std::remove(path.c_str());
  }
}
BENCHMARK(record_append_power)->Threads(1)->Threads(16)->UseRealTime()->Unit(benchmark::kMicrosecond);

constexpr std::int64_t calls = 100;  // the most attempts of a Refine

// Refine with two attempts of two predictors is one run with many calls; here one predictor asked again and again.
struct Recorded {
  Program program;
  std::string text;
  RunRecord record;
};

const Recorded& recorded() {
  static const Recorded made = [] {
    const Signature signature = Signature::parse("text -> section: Literal['games','mail','sound']", "Triage", "Choose a section.").value();
    RewardFunction never = [](const Json&, const Prediction&) { return 0.0; };
    Rewards rewards = Rewards::built_in();
    const Reward reward{{"never", "1", std::string(64, '0')}, never};
    rewards.add(reward);
    const auto module = Refine(Predict("classify", signature)).with_retries(calls).with_threshold(1).with_reward(reward);
    Program program = program_of("triage", "1", module, rewards).value();
    const std::string path = file_of("assay-replay-bench.run.jsonl");
    std::remove(path.c_str());
    RunWorld world;
    world.effects.clock = &system_clock();
    world.effects.entropy = &system_entropy();
    world.settings.lm = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("Section: mail", 40, 3); });
    world.record_path = path;
    (void)run_program(program, JsonObject{{"text", "reads mail from a server, in a terminal"}}, world).value();
    std::string text = read_file(path).value();
    std::remove(path.c_str());
    RunRecord record = read_record(text).value();
    return Recorded{std::move(program), std::move(text), std::move(record)};
  }();
  return made;
}

void record_verify(benchmark::State& state) {
  const std::string& text = recorded().text;
  for (auto _ : state) {
    if (verify_record(text).state != RecordState::complete) return state.SkipWithError("the record is not good");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
  state.counters["MB_per_s"] = benchmark::Counter(static_cast<double>(text.size()) / 1e6, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(record_verify)->Unit(benchmark::kMillisecond);

// A signed record of 50 MB, as a long evaluation leaves it: nodes, requests with demos, answers; a head after every 256 lines.
std::string long_record(std::size_t bytes_min) {
  const std::string path = file_of("assay-verify-bench.run.jsonl");
  std::remove(path.c_str());
  const SecretKey key = SecretKey::generate(system_entropy()).value();
  const auto lane = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("Section: mail\nSure: true", 40, 8); });
  RunStart start;
  start.lanes = {lane->lane().to_json()};
  auto recorder =
      RunRecorder::create({.path = path, .keep_entries = false, .key = &key}, std::move(start), system_clock(), system_entropy()).value();
  const Signature signature = Signature::parse("title, text -> section: Literal['games','mail','sound'], sure: bool", "Triage",
                                               "Choose the section of the archive that fits.")
                                  .value();
  Predict predict("classify", signature);
  JsonList demos;
  for (int i = 0; i < 6; ++i) {
    demos.push_back(
        JsonObject{{"inputs", JsonObject{{"title", "go board"}, {"text", "plays go, \"weiqi\" or baduk against you\nor a friend"}}},
                   {"outputs", JsonObject{{"section", "games"}, {"sure", true}}}});
  }
  predict.with_demos(demos);
  const Effects effects{.clock = &system_clock(), .entropy = &system_entropy(), .recorder = recorder.get()};
  Settings settings;
  settings.lm = lane;
  const Context context(effects, settings);
  const Json inputs = JsonObject{{"title", "imap client"}, {"text", "reads mail from a server, in a terminal, café included"}};
  while (std::filesystem::file_size(path) < bytes_min) {
    for (int i = 0; i < 100; ++i) (void)predict.forward(context, inputs).value();
  }
  (void)recorder->finish(std::nullopt).value();
  std::string text = read_file(path).value();
  std::remove(path.c_str());
  return text;
}

void record_verify_50MB(benchmark::State& state) {
  static const std::string text = long_record(50'000'000);
  for (auto _ : state) {
    if (verify_record(text, {.complete = true}).state != RecordState::complete) return state.SkipWithError("the record is not good");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK(record_verify_50MB)->Unit(benchmark::kMillisecond)->UseRealTime();

void record_replay_100_calls(benchmark::State& state) {
  const Recorded& run = recorded();
  for (auto _ : state) {
    const auto report = replay_run(run.program, run.record);
    if (!report || !report->identical || report->calls != calls) return state.SkipWithError("the replay is not identical");
  }
}
BENCHMARK(record_replay_100_calls)->Unit(benchmark::kMillisecond);

}  // namespace
