#pragma once
/// @file
/// For tests only: a lane whose answers are written in the test. It can be slow, fail, or hang until it is cancelled.
///
///     ScriptedLM lm([](const LmRequest&) { return ScriptedLM::answer("Section: mail"); });
///     ScriptedLM by_text({{"imap client", "Section: mail"}, {"go board", "Section: games"}});   // by the last message
///
/// Thread safety: `complete` may be called from many threads; the script must allow that too.

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "assay/lm/lm.h"

namespace assay {

class ScriptedLM final : public LM {
 public:
  using Script = std::function<Result<LmResponse>(const LmRequest&)>;

  struct Options {
    std::string model = "scripted";
    Clock* clock = nullptr;               ///< needed by `delay` and by deadlines; null: answers at once
    std::chrono::nanoseconds delay{0};    ///< before each answer, on `clock`
    bool hangs = false;                   ///< never answers: waits for stop or deadline
    std::int64_t context_tokens_max = 0;  ///< above 0: larger prompts are refused with `limit_exceeded`
  };

  explicit ScriptedLM(Script script) : ScriptedLM(std::move(script), Options()) {}
  ScriptedLM(Script script, Options options);
  /// Answers with the value of the first key (in key order) that the last message's text contains; else `unavailable`.
  explicit ScriptedLM(std::map<std::string, std::string> answers) : ScriptedLM(std::move(answers), Options()) {}
  ScriptedLM(std::map<std::string, std::string> answers, Options options);

  const Lane& lane() const override { return lane_; }
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override;
  std::vector<std::string> capabilities() const override { return {"json_schema"}; }
  bool repeats() const override { return true; }
  std::int64_t calls() const { return calls_; }  ///< how often it was asked

  /// An answer with finish_reason "stop"; tokens: those given, else one for each four bytes of content.
  static Result<LmResponse> answer(std::string_view content, std::int64_t prompt_tokens = 10, std::int64_t completion_tokens = -1);

 private:
  Result<void> wait_for_turn(const Wait& wait) const;

  Script script_;
  Options options_;
  Lane lane_;
  std::atomic<std::int64_t> calls_{0};
};

}  // namespace assay
