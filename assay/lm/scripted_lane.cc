#include "assay/lm/scripted_lane.h"

namespace assay {

ScriptedLM::ScriptedLM(Script script, Clock& clock, std::string model) : script_(std::move(script)), clock_(clock) {
  lane_.kind = "scripted";
  lane_.model = std::move(model);
  lane_.engine = "scripted/1";
}

Result<LmResponse> ScriptedLM::complete(const LmRequest& request, const Wait& wait) {
  ++calls_;
  const ScriptedAnswer answer = script_(request);
  if (answer.hang || answer.delay.count() > 0) {
    const std::int64_t until = answer.hang ? INT64_MAX : clock_.steady_ns() + answer.delay.count();
    clock_.sleep_until(std::min(until, wait.deadline.at_ns), wait.stop);
    ASSAY_CHECK(wait.check(clock_, "the scripted lane"));
  }
  if (answer.error) return std::unexpected(*answer.error);
  LmResponse response;
  response.content = answer.content;
  response.finish_reason = answer.finish_reason;
  ASSAY_TRY(response.usage.prompt_tokens, prompt_tokens_max(request));
  response.usage.completion_tokens = static_cast<std::int64_t>(answer.content.size() + 3) / 4;
  return response;
}

}  // namespace assay
