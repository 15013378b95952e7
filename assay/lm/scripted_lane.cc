#include "assay/lm/scripted_lane.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include <fmt/format.h>

namespace assay {
namespace {

ScriptedLM::Script by_last_message(std::map<std::string, std::string> answers) {
  return [answers = std::move(answers)](const LmRequest& request) -> Result<LmResponse> {
    const Json content = request.messages.empty() ? Json() : request.messages.back().content;
    const std::string text = content.is_string() ? content.as_string() : canonical(content).value_or("");
    for (const auto& [part, answer] : answers) {
      if (text.find(part) != std::string::npos) return ScriptedLM::answer(answer);
    }
    return fail(ErrorCode::unavailable, "the script has no answer to this message");
  };
}

}  // namespace

ScriptedLM::ScriptedLM(Script script, Options options) : script_(std::move(script)), options_(std::move(options)) {
  lane_.kind = "scripted";
  lane_.model = options_.model;
  lane_.engine = "script";
}

ScriptedLM::ScriptedLM(std::map<std::string, std::string> answers, Options options)
    : ScriptedLM(by_last_message(std::move(answers)), std::move(options)) {}

Result<LmResponse> ScriptedLM::answer(std::string_view content, std::int64_t prompt_tokens, std::int64_t completion_tokens) {
  LmResponse response{std::string(content), "stop", {}};
  response.usage.prompt_tokens = prompt_tokens;
  response.usage.completion_tokens = completion_tokens >= 0 ? completion_tokens : static_cast<std::int64_t>((content.size() + 3) / 4);
  return response;
}

Result<void> ScriptedLM::wait_for_turn(const Wait& wait) const {
  if (options_.hangs && (options_.clock == nullptr || wait.deadline.at_ns == Deadline::never().at_ns)) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    never.wait(lock, wait.stop, [] { return false; });  // ends with the stop that the test asks for
    return fail(ErrorCode::cancelled, "the scripted lane was stopped while it hung");
  }
  if (options_.clock == nullptr) return {};
  Clock& clock = *options_.clock;
  const std::int64_t ready_ns = options_.hangs ? wait.deadline.at_ns : clock.steady_ns() + options_.delay.count();
  clock.sleep_until(std::min(ready_ns, wait.deadline.at_ns), wait.stop);
  return wait.check(clock, "the scripted lane");
}

Result<LmResponse> ScriptedLM::complete(const LmRequest& request, const Wait& wait) {
  ++calls_;
  if (options_.context_tokens_max > 0) {
    ASSAY_TRY(const std::int64_t tokens, prompt_tokens_max(request));
    if (tokens > options_.context_tokens_max) {
      return fail(ErrorCode::limit_exceeded,
                  fmt::format("the prompt may need {} tokens, the context holds {}", tokens, options_.context_tokens_max),
                  "shorten the prompt");
    }
  }
  if (wait.stop.stop_requested()) return fail(ErrorCode::cancelled, "the scripted lane was stopped");
  ASSAY_CHECK(wait_for_turn(wait));
  return script_(request);
}

}  // namespace assay
