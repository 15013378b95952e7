#pragma once
/// @file
/// A language model inside the process: libllama with one GGUF file, its own chat template, our own sampler, and answers
/// that keep to a plan. No server, no network; nothing of libllama shows in this header.
///
///     ASSAY_TRY(auto model, LocalModel::load({.path = "smollm2.gguf"}, system_clock()));
///     ASSAY_TRY(const auto prompt, model->prompt({{"user", "Say hi."}}));
///     ASSAY_TRY(const auto answer, model->answer(prompt, {}, {.tokens_max = 16}, wait));    // answer.text
///
/// **Same input, same output.** On one machine and with one engine, an answer depends only on prompt, plan and sampling, never
/// on what was asked before or meanwhile. A prompt is cut into batches by a rule that looks at this prompt alone, and the
/// attention cache of earlier calls is reused for leading batches that are equal as a whole (a matrix product may round
/// differently for a batch of another shape, so nothing smaller is reused). Usage counts the whole prompt, reused or not.
///
/// **Parallel.** The weights are shared by `slots` caches, so that many answers are made at once, each on its own core. Cores
/// work best that way: threads that share one answer wait for each other hundreds of times a token. An answer that is alone, in the
/// model and on the machine, uses all cores; that changes its time and not a bit of it.
///
/// Thread safety: all calls are safe from any thread; with more callers than slots, some wait.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/clock.h"
#include "assay/base/random.h"
#include "assay/base/result.h"
#include "assay/lm/local_constraint.h"
#include "assay/lm/logprobs.h"

namespace assay {

struct LocalModelOptions {
  std::string path;             ///< the GGUF file
  std::string library_folder;   ///< with the CPU variants of ggml; empty: the one Assay was built with
  int slots = 0;                ///< answers made at once; 0: one for each processor the process may use
  int threads = 0;              ///< most threads of an answer that is alone; 0: one for each processor. Changes no result
  int context_tokens = 4096;    ///< prompt and answer together, for each slot; at most what the model was trained for
  int block_tokens = 64;        ///< most tokens of one batch, 8 … 512; part of the engine's identity
};

struct ChatTurn {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// A conversation, rendered and tokenised.
struct LocalPrompt {
  std::vector<std::int32_t> tokens;
  std::size_t shared = 0;  ///< tokens before the last turn, which other prompts may begin with too: a batch ends there
};

struct Sampling {
  double temperature = 0;            ///< 0: the most likely token, the lowest id among equals
  double top_p = 1;                  ///< (0, 1]: the smallest set of tokens whose probabilities reach it
  int tokens_max = 512;
  std::vector<std::string> stop;     ///< free text ends before the first of these
  RandomStream stream;               ///< one draw of random/1 for each sampled token
  LogprobsWanted logprobs;           ///< each token is then computed on its own, forced ones too
};

struct LocalAnswer {
  std::string text;                  ///< bytes; may be invalid UTF-8 if a character was cut by tokens_max
  std::string finish_reason;         ///< "stop" or "length"
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t reused_tokens = 0;    ///< of the prompt, found in the attention cache; for figures only
  std::optional<std::vector<SaidToken>> logprobs;  ///< one entry for each completion token, if they were asked for
};

class LocalModel {
 public:
  using Tokens = std::vector<std::int32_t>;

  /// Errors: `io` (no such file), `malformed` (not a GGUF model, no chat template, or one that cannot be applied),
  /// `unavailable` (no library for this CPU), `usage` (options). `clock` must outlive the model.
  static Result<std::unique_ptr<LocalModel>> load(const LocalModelOptions& options, Clock& clock);
  ~LocalModel();
  LocalModel(const LocalModel&) = delete;
  LocalModel& operator=(const LocalModel&) = delete;

  /// Renders turns with the model's chat template, ready for the assistant's answer, and tokenises them. Spellings of control
  /// tokens inside a content are plain text there, never control tokens. Errors: `malformed` (a role that is unknown to the
  /// template), `limit_exceeded` (more than the context holds).
  Result<LocalPrompt> prompt(const std::vector<ChatTurn>& turns) const;

  /// Tokens of plain text; control tokens are not recognised.
  Tokens tokenise(std::string_view text) const;

  /// Answers a prompt. An empty plan is free text. Errors: `limit_exceeded` (prompt and longest answer do not fit: before
  /// anything is computed), `cancelled`, `timed_out` (within one token), `internal`.
  Result<LocalAnswer> answer(const LocalPrompt& prompt, const std::vector<AnswerSegment>& plan, const Sampling& sampling, const Wait& wait);

  /// Drops the attention caches that are not in use. Answers do not change, only their time.
  void forget();

  const std::string& chat_template() const;
  int context_tokens() const;   ///< what was really made
  int slots() const;
  /// Build, CPU variant and block size: all that may change the last bit of a logit besides the model.
  const std::string& engine() const;

 private:
  struct State;
  explicit LocalModel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace assay
