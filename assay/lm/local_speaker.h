#pragma once
/// @file
/// Private to `assay/lm`: makes one answer by a plan, segment by segment, from a slot that holds the prompt.

#include <string>
#include <vector>

#include "assay/lm/local_chat.h"
#include "assay/lm/local_sampler.h"
#include "assay/lm/local_slot.h"

namespace assay::local {

/// Tokens that every answer of the plan begins with: they can be computed together with the prompt.
Tokens opening(const std::vector<AnswerSegment>& plan);

class Speaker {
 public:
  /// `said` tokens at the start of the plan are in the slot already; `last` is the last token in the slot.
  Speaker(Slot& slot, const Vocabulary& words, const Sampling& sampling, std::size_t said, std::int32_t last, LocalAnswer& answer)
      : slot_(slot),
        words_(words),
        sampling_(sampling),
        sampler_(sampling.temperature, sampling.top_p, sampling.stream),
        said_(said),
        history_{last},
        answer_(answer) {
    if (sampling.logprobs.yes) answer_.logprobs.emplace();
  }

  Result<void> speak(const std::vector<AnswerSegment>& plan);

 private:
  bool full();
  Result<void> say(std::int32_t token);
  void note(std::int32_t token);
  Result<void> force(std::string_view text);
  Result<void> listen();
  Result<void> choose(const AnswerSegment& segment);
  Result<void> talk(const AnswerSegment& segment, bool last);
  Result<void> fill_in(const AnswerSegment& segment);
  Result<void> take_back(std::size_t begin, const std::string& text, const std::vector<std::size_t>& ends, std::size_t at);
  bool cut_at_stop(std::string& text);
  std::int32_t pick_branch(const TokenTrie::Node& node);
  std::int32_t pick_word(const std::string& prefix);
  std::int32_t pick_in(JsonCursor& cursor, const std::string& until);

  Slot& slot_;
  const Vocabulary& words_;
  const Sampling& sampling_;
  Sampler sampler_;
  std::size_t said_;   // tokens still to come that the slot holds already
  Tokens history_;     // the prompt's last token, then all that was said
  LocalAnswer& answer_;
  Tokens pending_;     // said, not yet in the slot
  bool over_ = false;
};

}  // namespace assay::local
