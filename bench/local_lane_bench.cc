// The local lane on the real model: examples that share a long beginning, and free generation. Both the lane and its peer read
// bench/local_cases.json, so that they answer the same questions. Times are per example and per token: manual time.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "assay/base/files.h"
#include "assay/lm/local_lane.h"

namespace {

using namespace assay;

bool smoke() { return std::getenv("ASSAY_BENCH_SMOKE") != nullptr; }

const Json& cases() {
  static const Json value = read_json(read_file(ASSAY_SOURCE_DIR "/bench/local_cases.json", std::size_t{1} << 20).value()).value();
  return value;
}

Result<std::unique_ptr<LocalModel>> load(int slots) {
  ASSAY_TRY(const std::string path, find_model("smollm2-135m-instruct"));
  return LocalModel::load({.path = path, .slots = slots, .context_tokens = 2048}, system_clock());
}

struct Question {
  LocalPrompt prompt;
  std::vector<AnswerSegment> plan;  // empty: free text
};

// The shared beginning (instructions and demos), then the example's own description; one of the sections as the answer.
Result<std::vector<Question>> shared_questions(const LocalModel& model) {
  JsonList sections;
  for (const Json& section : cases().at("sections").as_list()) sections.push_back(Json("Section: " + section.as_string()));
  ASSAY_TRY(const auto parts, answer_parts(JsonObject{{"enum", std::move(sections)}}));
  ASSAY_TRY(const auto plan, answer_plan(parts, [&](std::string_view text) { return model.tokenise(text); }));
  std::vector<ChatTurn> turns{{"system", cases().at("system").as_string()}};
  for (const Json& demo : cases().at("demos").as_list()) {
    turns.push_back({"user", "Description: " + demo.as_list()[0].as_string()});
    turns.push_back({"assistant", "Section: " + demo.as_list()[1].as_string()});
  }
  std::vector<Question> out;
  for (const Json& own : cases().at("own").as_list()) {
    turns.push_back({"user", "Description: " + own.as_string()});
    ASSAY_TRY(LocalPrompt prompt, model.prompt(turns));
    turns.pop_back();
    out.push_back({std::move(prompt), plan});
  }
  return out;
}

Result<std::vector<Question>> free_questions(const LocalModel& model) {
  std::vector<Question> out;
  for (const Json& asked : cases().at("stories").as_list()) {
    ASSAY_TRY(LocalPrompt prompt, model.prompt({{"user", asked.as_string()}}));
    out.push_back({std::move(prompt), {}});
  }
  return out;
}

// The same prompts, the story as a member of a record: nearly every token of the vocabulary may stand inside a string.
Result<std::vector<Question>> json_questions(const LocalModel& model) {
  ASSAY_TRY(const auto parts, answer_parts(cases().at("story_schema")));
  ASSAY_TRY(const auto plan, answer_plan(parts, [&](std::string_view text) { return model.tokenise(text); }));
  ASSAY_TRY(auto out, free_questions(model));
  for (Question& question : out) question.plan = plan;
  return out;
}

struct Tally {
  double seconds = 0;
  std::int64_t answers = 0, tokens = 0, reused = 0, prompt = 0;
};

// As many callers as slots, each with the next question, until all are answered.
Result<Tally> ask_all(LocalModel& model, const std::vector<Question>& questions, std::size_t count, const Sampling& sampling, bool reuse) {
  std::atomic<std::size_t> next = 0;
  std::mutex lock;
  Tally tally;
  Result<void> failed;
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < model.slots(); ++i) {
      callers.emplace_back([&] {
        for (std::size_t at = next++; at < count; at = next++) {  // ends: next grows
          if (!reuse) model.forget();
          const auto answer = model.answer(questions[at].prompt, questions[at].plan, sampling, {});
          const std::scoped_lock guard(lock);
          if (!answer) {
            failed = std::unexpected(answer.error());
            return;
          }
          ++tally.answers;
          tally.tokens += answer->completion_tokens;
          tally.reused += answer->reused_tokens;
          tally.prompt += answer->prompt_tokens;
        }
      });
    }
  }
  tally.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!failed) return std::unexpected(failed.error());
  return tally;
}

using Questions = Result<std::vector<Question>> (*)(const LocalModel&);

void measure(benchmark::State& state, int slots, Questions make, std::size_t count, const Sampling& sampling, bool reuse, bool per_token) {
  auto model = load(slots);
  if (!model) return state.SkipWithError(model.error().text().c_str());
  const auto questions = make(**model);
  if (!questions) return state.SkipWithError(questions.error().text().c_str());
  count = std::min(count, questions->size());
  for (auto _ : state) {
    (*model)->forget();
    const auto tally = ask_all(**model, *questions, smoke() ? 2 : count, sampling, reuse);
    if (!tally) return state.SkipWithError(tally.error().text().c_str());
    state.SetIterationTime(tally->seconds / static_cast<double>(per_token ? tally->tokens : tally->answers));
    state.counters["prompt_tokens"] = static_cast<double>(tally->prompt);
    state.counters["reused_tokens"] = static_cast<double>(tally->reused);
    state.counters["completion_tokens"] = static_cast<double>(tally->tokens);
  }
}

// 64 examples on one beginning of about 600 tokens, from empty caches: time of one example.
void local_shared_prefix(benchmark::State& state) { measure(state, 0, shared_questions, 64, {.tokens_max = 16}, true, false); }
BENCHMARK(local_shared_prefix)->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(1);

// The same, one after another, nothing reused. Eight are enough: each costs the same.
void local_no_reuse(benchmark::State& state) { measure(state, 1, shared_questions, 8, {.tokens_max = 16}, false, false); }
BENCHMARK(local_no_reuse)->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(1);

// 16 prompts, up to 64 free tokens each, the likeliest always: time of one generated token over all answers together.
void local_generate(benchmark::State& state) { measure(state, 0, free_questions, 16, {.tokens_max = 64}, true, true); }
BENCHMARK(local_generate)->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(1);

// 16 prompts, up to 64 tokens of a JSON record with one string each: time of one token.
void local_json(benchmark::State& state) { measure(state, 0, json_questions, 16, {.tokens_max = 64}, true, true); }
BENCHMARK(local_json)->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(1);

// The same, drawn at temperature 1: then all tokens of the vocabulary are looked at, each time.
void local_json_drawn(benchmark::State& state) { measure(state, 0, json_questions, 16, {.temperature = 1, .tokens_max = 64}, true, true); }
BENCHMARK(local_json_drawn)->Unit(benchmark::kMillisecond)->UseManualTime()->Iterations(1);

}  // namespace
