#pragma once
/// @file
/// Private to `assay/lm`: one attention cache, filled batch by batch so that what it holds depends on the prompt alone.
/// Thread safety: a Slot is used by one answer at a time (LocalModel sees to it).

#include <cstdint>
#include <span>
#include <vector>

#include "assay/base/clock.h"
#include "assay/lm/local_engine.h"
#include "assay/lm/local_model.h"

namespace assay::local {

using Tokens = std::vector<std::int32_t>;

/// A prompt as the batches it is computed in: at most `block` tokens each, and a cut before the last turn.
std::vector<Tokens> batches_of(const LocalPrompt& prompt, std::size_t block);

class Slot {
 public:
  /// Null `crew`: always one thread.
  Slot(ContextHandle context, Clock& clock, std::size_t block, std::size_t vocabulary_size, const Crew* crew = nullptr);
  Slot(const Slot&) = delete;

  /// From here on, decoding stops when `wait` says so. Null: nobody waits.
  void serve(const Wait* wait) { wait_ = wait; }
  Result<void> check() const { return wait_ == nullptr ? Result<void>{} : wait_->check(clock_, "the local model"); }

  /// How many leading batches are in the cache already. The last one never counts: its logits are needed.
  std::size_t known(const std::vector<Tokens>& batches) const;
  /// Brings a prompt into the cache; returns how many tokens were there already. Errors: `cancelled`, `timed_out`, `internal`.
  Result<std::size_t> prefill(const std::vector<Tokens>& batches);
  /// Adds tokens of the answer. Errors as `prefill`.
  Result<void> feed(std::span<const std::int32_t> tokens);
  /// Logits after the last token that was added.
  std::span<const float> logits() const;
  /// Tokens in the cache.
  std::size_t size() const { return size_; }
  /// Takes back what came after the first `count` tokens; false if this model's memory cannot (the cache is empty then).
  bool keep(std::size_t count);
  void forget();

 private:
  static bool should_stop(void* self);
  Result<void> decode(std::span<const std::int32_t> tokens, bool logits);

  ContextHandle context_;
  Clock& clock_;
  std::size_t block_;
  std::size_t vocabulary_size_;
  const Crew* crew_;
  int threads_ = 1;
  const Wait* wait_ = nullptr;
  std::vector<Tokens> batches_;  // prompt batches at the start of the cache
  std::size_t size_ = 0;
};

}  // namespace assay::local
