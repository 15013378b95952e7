// How long naming a compiled module takes: reading, canonicalising and hashing an artifact of 1 MiB, as `assay verify` does.
// Peer: Python's json and hashlib on the same bytes (bench/json_peer.py). Goals: bench/goals.json.
#include <benchmark/benchmark.h>

#include <string>

#include "assay/base/json.h"
#include "assay/base/sha256.h"

namespace {

// An artifact-shaped value with demos until its canonical text is about `bytes_min` long. No randomness: the same everywhere.
assay::Json sample_artifact(std::size_t bytes_min) {
  assay::JsonList demos;
  std::size_t bytes = 0;
  for (int i = 0; bytes < bytes_min; ++i) {
    const std::string text = "package number " + std::to_string(i) + ": tools for \"quoted\" text, naïve café, tab\tand newline\n";
    assay::Json inputs = assay::JsonObject{{"description", text}, {"size", i * 4096}, {"weight", i / 7.0}};
    assay::Json outputs = assay::JsonObject{{"section", "utils"}, {"sure", i % 2 == 0}};
    assay::Json demo = assay::JsonObject{{"inputs", std::move(inputs)}, {"outputs", std::move(outputs)}};
    bytes += assay::canonical(demo).value().size() + 1;
    demos.push_back(std::move(demo));
  }
  return assay::JsonObject{{"format", "assay.module/1"},
                           {"predictors", assay::JsonObject{{"classify", assay::JsonObject{{"demos", demos}}}}}};
}

const std::size_t mebibyte = std::size_t{1} << 20;

void count(benchmark::State& state, std::size_t bytes) { state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * bytes)); }

void json_read_1MiB(benchmark::State& state) {
  const std::string text = assay::canonical(sample_artifact(mebibyte)).value();
  for (auto _ : state) benchmark::DoNotOptimize(assay::read_json(text));
  count(state, text.size());
}
BENCHMARK(json_read_1MiB)->Unit(benchmark::kMillisecond);

void json_hash_1MiB(benchmark::State& state) {
  const assay::Json artifact = sample_artifact(mebibyte);
  const std::size_t bytes = assay::canonical(artifact).value().size();
  for (auto _ : state) benchmark::DoNotOptimize(assay::hash(artifact));
  count(state, bytes);
}
BENCHMARK(json_hash_1MiB)->Unit(benchmark::kMillisecond);

void json_name_a_module_1MiB(benchmark::State& state) {
  const std::string text = assay::canonical(sample_artifact(mebibyte)).value();
  for (auto _ : state) benchmark::DoNotOptimize(assay::hash(assay::read_json(text).value()));
  count(state, text.size());
}
BENCHMARK(json_name_a_module_1MiB)->Unit(benchmark::kMillisecond);

}  // namespace
