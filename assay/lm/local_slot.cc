#include "assay/lm/local_slot.h"

#include <algorithm>

#include <fmt/format.h>

namespace assay::local {

std::vector<Tokens> batches_of(const LocalPrompt& prompt, std::size_t block) {
  std::vector<Tokens> batches;
  const auto cut = [&](std::size_t begin, std::size_t end) {
    for (; begin < end; begin += block) {
      const auto first = prompt.tokens.begin() + static_cast<std::ptrdiff_t>(begin);
      batches.emplace_back(first, first + static_cast<std::ptrdiff_t>(std::min(block, end - begin)));
    }
  };
  const std::size_t shared = std::min(prompt.shared, prompt.tokens.size());
  cut(0, shared);
  cut(shared, prompt.tokens.size());
  return batches;
}

Slot::Slot(ContextHandle context, Clock& clock, std::size_t block, std::size_t vocabulary_size, const Crew* crew)
    : context_(std::move(context)), clock_(clock), block_(block), vocabulary_size_(vocabulary_size), crew_(crew) {
  llama().set_n_threads(context_.get(), threads_, threads_);
  llama().set_abort_callback(context_.get(), &Slot::should_stop, this);
}

bool Slot::should_stop(void* self) {
  const auto* slot = static_cast<const Slot*>(self);
  return slot->wait_ != nullptr && (slot->wait_->stop.stop_requested() || slot->wait_->deadline.passed(slot->clock_));
}

void Slot::forget() {
  llama().memory_clear(llama().get_memory(context_.get()), true);
  batches_.clear();
  size_ = 0;
}

bool Slot::keep(std::size_t count) {
  if (count >= size_) return true;
  if (!llama().memory_seq_rm(llama().get_memory(context_.get()), 0, static_cast<llama_pos>(count), -1)) {
    forget();
    return false;
  }
  size_ = count;
  std::size_t total = 0;
  std::size_t whole = 0;
  while (whole < batches_.size() && total + batches_[whole].size() <= count) total += batches_[whole++].size();
  batches_.resize(whole);
  return true;
}

std::size_t Slot::known(const std::vector<Tokens>& batches) const {
  std::size_t same = 0;
  while (same < batches_.size() && same + 1 < batches.size() && batches_[same] == batches[same]) ++same;
  return same;
}

Result<std::size_t> Slot::prefill(const std::vector<Tokens>& batches) {
  std::size_t same = known(batches);
  std::size_t reused = 0;
  for (std::size_t i = 0; i < same; ++i) reused += batches[i].size();
  if (!keep(reused)) same = reused = 0;
  for (std::size_t i = same; i < batches.size(); ++i) {
    ASSAY_CHECK(check());
    ASSAY_CHECK(decode(batches[i], i + 1 == batches.size()));
    batches_.push_back(batches[i]);
  }
  return reused;
}

Result<void> Slot::feed(std::span<const std::int32_t> tokens) {
  ASSAY_CHECK(check());
  for (std::size_t at = 0; at < tokens.size(); at += block_) {
    const std::size_t count = std::min(block_, tokens.size() - at);
    ASSAY_CHECK(decode(tokens.subspan(at, count), at + count == tokens.size()));
  }
  return {};
}

std::span<const float> Slot::logits() const { return {llama().get_logits_ith(context_.get(), -1), vocabulary_size_}; }

/// One batch; with `logits`, those of its last token can be read after.
Result<void> Slot::decode(std::span<const std::int32_t> tokens, bool logits) {
  Tokens copy(tokens.begin(), tokens.end());
  std::vector<llama_pos> positions(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) positions[i] = static_cast<llama_pos>(size_ + i);
  std::vector<std::int32_t> sequences(tokens.size(), 1);
  llama_seq_id zero = 0;
  std::vector<llama_seq_id*> ids(tokens.size(), &zero);
  std::vector<std::int8_t> wanted(tokens.size(), 0);
  wanted.back() = logits ? 1 : 0;
  const llama_batch batch{.n_tokens = static_cast<std::int32_t>(copy.size()),
                          .token = copy.data(),
                          .embd = nullptr,
                          .pos = positions.data(),
                          .n_seq_id = sequences.data(),
                          .seq_id = ids.data(),
                          .logits = wanted.data()};
  if (const int threads = crew_ == nullptr ? 1 : crew_->threads(); threads != threads_) {
    threads_ = threads;
    llama().set_n_threads(context_.get(), threads, threads);
  }
  const int code = llama().decode(context_.get(), batch);
  if (code == 0) {
    size_ += tokens.size();
    return {};
  }
  forget();  // what a stopped batch left behind is not whole
  ASSAY_CHECK(check());
  return fail(ErrorCode::internal, fmt::format("libllama could not decode a batch (code {}): {}", code, take_engine_error()));
}

}  // namespace assay::local
