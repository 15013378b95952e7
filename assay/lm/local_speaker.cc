#include "assay/lm/local_speaker.h"

#include <algorithm>
#include <iterator>

namespace assay::local {

Tokens opening(const std::vector<AnswerSegment>& plan) {
  Tokens tokens;
  if (plan.empty() || !plan.front().choice) return tokens;
  std::size_t at = 0;
  while (true) {  // ends: one level down the trie each round
    const TokenTrie::Node& node = plan.front().trie.node(at);
    if (node.next.size() != 1 || node.text >= 0) return tokens;
    tokens.push_back(node.next.front().first);
    at = node.next.front().second;
  }
}

Result<void> Speaker::speak(const std::vector<AnswerSegment>& plan) {
  answer_.finish_reason = "stop";
  for (std::size_t i = 0; i < plan.size() && !over_; ++i) {
    if (plan[i].choice) {
      ASSAY_CHECK(choose(plan[i]));
    } else if (plan[i].shape != nullptr) {
      ASSAY_CHECK(fill_in(plan[i]));
    } else {
      ASSAY_CHECK(talk(plan[i], i + 1 == plan.size()));
    }
  }
  return {};
}

bool Speaker::full() {
  if (answer_.completion_tokens < sampling_.tokens_max) return false;
  answer_.finish_reason = "length";
  return over_ = true;
}

/// Notes what the model thought of the token that is said now. Its logits must be there.
void Speaker::note(std::int32_t token) {
  const Distribution all(slot_.logits());
  const auto entry = [&](std::int32_t id) { return TokenLogprob{words_.piece(id), all.logprob(id)}; };
  SaidToken said{entry(token), {}};
  for (const std::int32_t id : all.likeliest(static_cast<std::size_t>(sampling_.logprobs.top))) said.top.push_back(entry(id));
  answer_.logprobs->push_back(std::move(said));
}

Result<void> Speaker::say(std::int32_t token) {
  if (answer_.logprobs) {
    ASSAY_CHECK(listen());
    note(token);
  }
  ++answer_.completion_tokens;
  history_.push_back(token);
  if (said_ > 0) {
    --said_;
  } else {
    pending_.push_back(token);
  }
  return {};
}

/// Says a text without asking the model.
Result<void> Speaker::force(std::string_view text) {
  for (const std::int32_t token : words_.tokenise(text, false)) ASSAY_CHECK(say(token));
  answer_.text += text;
  return {};
}

/// Decodes what was said since, so that the next token's logits are there.
Result<void> Speaker::listen() {
  ASSAY_CHECK(slot_.feed(pending_));
  pending_.clear();
  return {};
}

/// Walks the trie; a token that is the only way on costs no decode of its own.
Result<void> Speaker::choose(const AnswerSegment& segment) {
  std::size_t at = 0;
  std::string said;
  while (true) {  // ends: each round goes one level down the trie, or returns
    const TokenTrie::Node& node = segment.trie.node(at);
    if (node.next.empty()) break;
    if (full()) {
      answer_.text += said;
      return {};
    }
    std::size_t branch = 0;
    if (node.next.size() > 1 || node.text >= 0) {
      ASSAY_CHECK(listen());
      const std::int32_t token = pick_branch(node);
      if (node.text >= 0 && words_.ends(token)) break;
      while (node.next[branch].first != token) ++branch;
    }
    ASSAY_CHECK(say(node.next[branch].first));
    said += words_.piece(node.next[branch].first);
    at = node.next[branch].second;
  }
  answer_.text += segment.texts[static_cast<std::size_t>(segment.trie.node(at).text)];
  return {};
}

std::int32_t Speaker::pick_branch(const TokenTrie::Node& node) {
  Tokens candidates;
  for (const auto& [token, child] : node.next) candidates.push_back(token);
  if (node.text >= 0) candidates.insert(candidates.end(), words_.ending().begin(), words_.ending().end());
  return sampler_.pick(slot_.logits(), candidates);
}

namespace {

/// Where free text ends: before the first place at which a reader would find the next field, with the white space that belongs to `until`.
std::size_t end_of_text(std::string_view text, const AnswerSegment& segment) {
  const std::string_view mark = marker_of(segment.until);
  std::size_t at = mark.empty() ? std::string::npos : text.find(mark);
  const std::string_view before = std::string_view(segment.until).substr(0, segment.until.find(mark));
  if (at != std::string::npos && !before.empty() && text.substr(0, at).ends_with(before)) at -= before.size();
  return at;
}

}  // namespace

/// Free text up to `until`, a stop text, or the model's end.
Result<void> Speaker::talk(const AnswerSegment& segment, bool last) {
  ASSAY_CHECK(listen());
  const std::size_t begin = slot_.size();
  std::string text;
  std::vector<std::size_t> ends;  // bytes of text after each token
  std::string prefix = segment.prefix;
  while (!full()) {
    const std::int32_t token = pick_word(prefix);
    if (words_.ends(token)) break;
    ASSAY_CHECK(say(token));
    text += words_.piece(token);
    ends.push_back(text.size());
    prefix.erase(0, std::min(prefix.size(), words_.piece(token).size()));
    if (cut_at_stop(text)) break;
    if (const std::size_t at = end_of_text(text, segment); at != std::string::npos) {
      if (!last) ASSAY_CHECK(take_back(begin, text, ends, at));
      text.resize(at);
      prefix.clear();
      break;
    }
    ASSAY_CHECK(listen());
  }
  answer_.text += text;
  return over_ || prefix.empty() ? Result<void>{} : force(prefix);
}

/// A JSON value of the segment's shape. Where it may be over, the model says so by its end or by the text that comes next.
Result<void> Speaker::fill_in(const AnswerSegment& segment) {
  JsonCursor cursor(segment.shape, segment.prefix, std::string(marker_of(segment.until)));
  while (!cursor.must_end() && !full()) {
    ASSAY_CHECK(listen());
    const std::int32_t token = pick_in(cursor, segment.until);
    if (token < 0) {
      over_ = true;  // nothing can stand here: the reader says what is wrong with what there is
      break;
    }
    if (words_.ends(token) || !cursor.admits(words_.piece(token))) break;
    ASSAY_CHECK(say(token));
    cursor.take(words_.piece(token));
    answer_.text += words_.piece(token);
  }
  return {};
}

/// The next token of a JSON value, or one that shows that it is over; -1 if no token can stand here.
std::int32_t Speaker::pick_in(JsonCursor& cursor, const std::string& until) {
  const bool may_end = cursor.may_end();
  const auto fits = [&](std::int32_t token) {
    const std::string& piece = words_.piece(token);
    if (words_.ends(token)) return may_end;
    if (piece.empty()) return false;
    return cursor.admits(piece) || (may_end && !until.empty() && (piece.starts_with(until) || until.starts_with(piece)));
  };
  if (sampling_.temperature <= 0) {  // the likeliest of all, if it fits, is the likeliest of those that fit
    const std::int32_t likeliest = sampler_.pick(slot_.logits(), words_.speakable());
    if (fits(likeliest)) return likeliest;
  }
  Tokens candidates;
  std::copy_if(words_.speakable().begin(), words_.speakable().end(), std::back_inserter(candidates), fits);
  return candidates.empty() ? -1 : sampler_.pick(slot_.logits(), candidates);
}

std::int32_t Speaker::pick_word(const std::string& prefix) {
  if (prefix.empty()) return sampler_.pick(slot_.logits(), words_.speakable());
  Tokens candidates(words_.ending());
  for (const std::int32_t token : words_.speakable()) {
    const std::string& piece = words_.piece(token);
    if (!piece.empty() && (piece.starts_with(prefix) || prefix.starts_with(piece))) candidates.push_back(token);
  }
  return sampler_.pick(slot_.logits(), candidates);
}

bool Speaker::cut_at_stop(std::string& text) {
  std::size_t first = std::string::npos;
  for (const auto& stop : sampling_.stop) {
    if (!stop.empty()) first = std::min(first, text.find(stop));
  }
  if (first == std::string::npos) return false;
  text.resize(first);
  return over_ = true;
}

/// The text ends at byte `at`, maybe inside a token: what follows must see exactly the text that is kept.
Result<void> Speaker::take_back(std::size_t begin, const std::string& text, const std::vector<std::size_t>& ends, std::size_t at) {
  std::size_t whole = 0;
  while (whole < ends.size() && ends[whole] <= at) ++whole;
  const std::size_t from = whole == 0 ? 0 : ends[whole - 1];
  const std::size_t dropped = ends.size() - whole;
  answer_.completion_tokens -= static_cast<std::int64_t>(dropped);
  history_.resize(history_.size() - dropped);
  pending_.clear();  // the last token is not in the slot yet, and never kept whole: `until` ends in it
  std::size_t kept = begin + whole;
  if (answer_.logprobs) {  // the logits after the last token that is kept are gone: it is computed again
    answer_.logprobs->resize(answer_.logprobs->size() - dropped);
    pending_.push_back(history_.back());
    --kept;
  }
  if (!slot_.keep(kept))
    return fail(ErrorCode::internal, "this model cannot take back text between two fields", "use a model without recurrent layers");
  for (const std::int32_t token : words_.tokenise(std::string_view(text).substr(from, at - from), false)) ASSAY_CHECK(say(token));
  return {};
}

}  // namespace assay::local
