// What the framework itself costs: a Predict over a lane that answers at once, and 256 calls of 20 ms with 16 in flight.
// Goals: bench/goals.json; the budget of a call is microseconds.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "assay/lm/scripted_lane.h"
#include "assay/optimize/evaluate.h"
#include "assay/program/module.h"
#include "assay/trace/record.h"

namespace {

using namespace assay;

struct Quiet final : DspyCallback {
  std::int64_t events = 0;
  void on_module_start(const CallId&, std::string_view, const Example&) override { ++events; }
  void on_module_end(const CallId&, const Result<Prediction>&) override { ++events; }
  void on_lm_start(const CallId&, std::string_view, std::span<const Message>) override { ++events; }
  void on_lm_end(const CallId&, const Result<Message>&, const LmUsage&) override { ++events; }
};

Predict two_fields() {
  const Signature signature = Signature::parse("title, text -> section: Literal['games','mail','sound'], sure: bool", "Triage",
                                               "Choose the section of the archive that fits.")
                                  .value();
  return Predict("classify", signature);
}

const Json& inputs() {
  static const Json value = JsonObject{{"title", "imap client"}, {"text", "reads mail from a server, in a terminal"}};
  return value;
}

std::shared_ptr<LM> instant() {
  return std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("Section: mail\nSure: true", 40, 8); });
}

void predict_bare(benchmark::State& state) {
  const Predict predict = two_fields();
  Effects effects{.clock = &system_clock(), .entropy = &system_entropy()};
  Settings settings;
  settings.lm = instant();
  for (auto _ : state) {
    const Context context(effects, settings);  // a run of its own, as each request of a server is
    const auto answer = predict.forward(context, inputs());
    if (!answer) return state.SkipWithError(answer.error().text().c_str());
    benchmark::DoNotOptimize(answer);
  }
}
BENCHMARK(predict_bare)->Unit(benchmark::kMicrosecond);

// Memory of this process that is in use, in KiB.
std::int64_t resident_kib() {
  std::ifstream file("/proc/self/statm");
  std::int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

// A million calls of one context must not cost more than the first, nor hold more: nothing may grow.
void predict_bare_long_run(benchmark::State& state) {
  const Predict predict = two_fields();
  Effects effects{.clock = &system_clock(), .entropy = &system_entropy()};
  Settings settings;
  settings.lm = instant();
  const Context context(effects, settings);
  for (int i = 0; i < 1000; ++i) benchmark::DoNotOptimize(predict.forward(context, inputs()));
  const std::int64_t before = resident_kib();
  for (auto _ : state) benchmark::DoNotOptimize(predict.forward(context, inputs()));
  const std::int64_t grown = resident_kib() - before;
  state.counters["grown_KiB"] = static_cast<double>(grown);
  if (grown > 1024) state.SkipWithError("the calls left memory behind");
}
BENCHMARK(predict_bare_long_run)->Unit(benchmark::kMicrosecond);

void predict_recorded(benchmark::State& state) {
  const Predict predict = two_fields();
  const std::string path = std::filesystem::temp_directory_path() / "assay-predict-bench.run.jsonl";
  std::remove(path.c_str());
  RunStart start;
  const auto lane = instant();
  start.lanes = {lane->lane().to_json()};
  const auto recorder =
      RunRecorder::create({.path = path, .keep_entries = false}, std::move(start), system_clock(), system_entropy()).value();
  Budget budget({.calls = 1'000'000'000, .tokens = {}, .msats = {}, .seconds = {}});
  const PriceBook prices = PriceBook::built_in();
  Effects effects{.clock = &system_clock(), .entropy = &system_entropy(), .recorder = recorder.get(), .budget = &budget, .prices = &prices};
  Settings settings;
  settings.lm = lane;
  settings.set_callback(std::make_shared<Quiet>());
  for (auto _ : state) {
    const Context context(effects, settings);
    const auto answer = predict.forward(context, inputs());
    if (!answer) return state.SkipWithError(answer.error().text().c_str());
  }
  std::remove(path.c_str());
}
BENCHMARK(predict_recorded)->Unit(benchmark::kMicrosecond);

// 256 calls of 20 ms, 16 at once: 320 ms is what arithmetic allows.
void evaluate_256_calls_16_in_flight(benchmark::State& state) {
  const Program program = program_of("triage", "1", two_fields(), Rewards::built_in()).value();
  const auto lane = std::make_shared<ScriptedLM>([](const LmRequest&) { return ScriptedLM::answer("Section: mail\nSure: true", 40, 8); },
                                                 ScriptedLM::Options{.clock = &system_clock(), .delay = std::chrono::milliseconds(20)});
  std::vector<Row> rows;
  for (int i = 0; i < 256; ++i) {
    rows.push_back(
        make_row(program.signature(), JsonObject{{"title", "package " + std::to_string(i)}, {"text", "x"}}, JsonObject{{"section", "mail"}})
            .value());
  }
  order_rows(rows);
  const Metric metric = Metrics::built_in().find("accuracy").value();
  Effects effects{.clock = &system_clock(), .entropy = &system_entropy()};
  Settings settings;
  settings.lm = lane;
  for (auto _ : state) {
    const Context context(effects, settings);
    const auto done = evaluate(context, program, rows, metric, {.threads = 16});
    if (!done || done->failures() > 0) return state.SkipWithError("a call failed");
  }
}
BENCHMARK(evaluate_256_calls_16_in_flight)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
