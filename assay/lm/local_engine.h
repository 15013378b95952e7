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

struct FreeModel {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
struct FreeContext {
  void operator()(llama_context* context) const { llama_free(context); }
};
using ModelHandle = std::unique_ptr<llama_model, FreeModel>;
using ContextHandle = std::unique_ptr<llama_context, FreeContext>;

/// Loads the best CPU variant in `folder`, once a process; later calls must name the same folder. Returns the identity of the
/// code that computes: version, variant, and the first 16 digits of a hash over the loaded libraries.
/// Errors: `unavailable` (no variant runs on this CPU), `usage` (another folder was loaded before).
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
