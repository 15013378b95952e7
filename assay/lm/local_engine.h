#pragma once
/// @file
/// Private to `assay/lm`: libllama's handles with owners, the process-wide start of ggml, and the engine's identity.
/// Source: llama.h of the pinned package (docs/dependencies.md).

#include <atomic>
#include <memory>
#include <string>

#include <llama.h>

#include "assay/base/result.h"

namespace assay::local {

/// libllama's functions that are used here, without their prefix. The library is opened with the first model, not with the program:
/// whoever verifies or replays does not wait for it, nor need it.
struct Llama {
#define ASSAY_LLAMA_FUNCTIONS(each)                                                                                                  \
  each(backend_init) each(batch_get_one) each(chat_apply_template) each(context_default_params) each(decode) each(free)              \
      each(get_logits_ith) each(get_memory) each(init_from_model) each(log_set) each(memory_clear) each(memory_seq_rm)               \
          each(model_chat_template) each(model_default_params) each(model_free) each(model_get_vocab) each(model_load_from_file)     \
              each(model_n_ctx_train) each(set_abort_callback) each(set_n_threads) each(token_to_piece) each(tokenize) each(version) \
                  each(vocab_bos) each(vocab_get_add_bos) each(vocab_get_attr) each(vocab_get_text) each(vocab_is_eog)               \
                      each(vocab_n_tokens)
#define ASSAY_LLAMA_MEMBER(name) decltype(&::llama_##name) name = nullptr;
  ASSAY_LLAMA_FUNCTIONS(ASSAY_LLAMA_MEMBER)
#undef ASSAY_LLAMA_MEMBER
};

/// Valid once `start_engine` has succeeded; handles exist only after that.
const Llama& llama();

struct FreeModel {
  void operator()(llama_model* model) const { llama().model_free(model); }
};
struct FreeContext {
  void operator()(llama_context* context) const { llama().free(context); }
};
using ModelHandle = std::unique_ptr<llama_model, FreeModel>;
using ContextHandle = std::unique_ptr<llama_context, FreeContext>;

/// Opens libllama in `folder` and the best CPU variant there, once a process; later calls must name the same folder. Returns the identity
/// of the code that computes: version, variant, and the first 16 digits of a hash over the loaded libraries. Errors: `unavailable` (no
/// library there, or no variant runs on this CPU), `usage` (another folder was loaded before).
Result<std::string> start_engine(const std::string& folder);

/// The last error that libllama logged since the previous call; empty if none. Its log goes nowhere else.
std::string take_engine_error();

/// Processors this process may use, at least 1.
int usable_processors();

/// Of those, how many nothing on the machine is running on at this moment, the caller's own counted as free; at least 1.
int free_processors();

/// How many threads the next batch of an answer may use: all that are free while the answer is alone, else one. The number of threads
/// changes no bit of a logit (`ThreadsChangeNoBit` in local_model_test), only the time. Thread safety: all calls.
class Crew {
 public:
  explicit Crew(int most) : most_(most) {}
  void come() { ++busy_; }
  void go() { --busy_; }
  int threads() const;

 private:
  int most_;
  std::atomic<int> busy_ = 0;
};

}  // namespace assay::local
