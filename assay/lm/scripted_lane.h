#pragma once
/// @file
/// ScriptedLM: a lane for tests alone, answering from a function. Never a default; its kind is "scripted".
///
///     ScriptedLM lm([](const LmRequest&) { return ScriptedAnswer{"Section: mail"}; });
///
/// Thread safety: as its function.

#include <atomic>
#include <functional>
#include <string>

#include "assay/lm/lm.h"

namespace assay {

struct ScriptedAnswer {
  std::string content;
  std::string finish_reason = "stop";
  std::optional<Error> error;               ///< instead of an answer
  std::chrono::nanoseconds delay{0};        ///< slept on the clock given to the lane
  bool hang = false;                        ///< until the wait ends
};

class ScriptedLM final : public LM {
 public:
  using Script = std::function<ScriptedAnswer(const LmRequest&)>;
  ScriptedLM(Script script, Clock& clock, std::string model = "scripted");
  const Lane& lane() const override { return lane_; }
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override;
  std::vector<PrivacyMode> privacy_modes() const override { return all_privacy_modes(); }
  std::int64_t calls() const { return calls_; }

 private:
  Script script_;
  Clock& clock_;
  Lane lane_;
  std::atomic<std::int64_t> calls_{0};
};

}  // namespace assay
