// How long naming a compiled module takes: reading, canonicalising and hashing an artifact of 1 MiB, as `assay verify` does.
// Peer: Python's json and hashlib on the same bytes (bench/json_peer.py). Goals: bench/goals.json.
#include <benchmark/benchmark.h>

#include <string>

#include "assay/base/files.h"
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

void hash_whole(benchmark::State& state, const assay::Json& artifact) {
  const std::size_t bytes = assay::canonical(artifact).value().size();
  for (auto _ : state) benchmark::DoNotOptimize(assay::hash(artifact));
  count(state, bytes);
}

void json_hash_1MiB(benchmark::State& state) { hash_whole(state, sample_artifact(mebibyte)); }
BENCHMARK(json_hash_1MiB)->Unit(benchmark::kMillisecond);

// The same where most bytes are text: a module that answers questions from passages.
assay::Json sample_of_texts(std::size_t bytes_min) {
  assay::JsonList demos;
  std::size_t bytes = 0;
  for (int i = 0; bytes < bytes_min; ++i) {
    std::string passage;
    for (int sentence = 0; sentence < 8; ++sentence)
      passage += "Sentence " + std::to_string(i * 8 + sentence) +
                 " of the passage, set in a café, says \"so\" and ends the line here, as a text of its kind does.\n";
    assay::Json inputs =
        assay::JsonObject{{"context", std::move(passage)}, {"question", "What does passage " + std::to_string(i) + " say?"}};
    assay::Json demo =
        assay::JsonObject{{"inputs", std::move(inputs)}, {"outputs", assay::JsonObject{{"answer", "so"}, {"confidence", i / 7.0}}}};
    bytes += assay::canonical(demo).value().size() + 1;
    demos.push_back(std::move(demo));
  }
  return assay::JsonObject{{"format", "assay.module/1"},
                           {"predictors", assay::JsonObject{{"answer", assay::JsonObject{{"demos", demos}}}}}};
}

void json_hash_texts_1MiB(benchmark::State& state) { hash_whole(state, sample_of_texts(mebibyte)); }
BENCHMARK(json_hash_texts_1MiB)->Unit(benchmark::kMillisecond);

void json_name_a_module_1MiB(benchmark::State& state) {
  const std::string text = assay::canonical(sample_artifact(mebibyte)).value();
  for (auto _ : state) benchmark::DoNotOptimize(assay::hash(assay::read_json(text).value()));
  count(state, text.size());
}
BENCHMARK(json_name_a_module_1MiB)->Unit(benchmark::kMillisecond);

// From text to canonical text and its hash, as the npm package canonicalize and Node do it with the file that this leaves (their hash is
// the same: assay/base/json_node_test.cc).
void json_canonicalize_1MiB(benchmark::State& state) {
  const std::string text = assay::canonical(sample_artifact(mebibyte)).value();
  const std::string folder = std::string(ASSAY_SOURCE_DIR) + "/bench/out";
  if (!assay::make_folders(folder) || !assay::write_file(folder + "/artifact-1MiB.json", text)) return state.SkipWithError("no bench/out");
  for (auto _ : state) {
    const std::string again = assay::canonical(assay::read_json(text).value()).value();
    benchmark::DoNotOptimize(assay::sha256_hex(again));
  }
  count(state, text.size());
}
BENCHMARK(json_canonicalize_1MiB)->Unit(benchmark::kMillisecond);

}  // namespace
