#include "assay/lm/local_lane.h"

#include <sys/stat.h>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/sha256.h"
#include "assay/lm/local_constraint.h"
#include "assay/lm/local_model.h"

namespace assay {
namespace {

std::unexpected<Error> unsupported(std::string what, std::string path) {
  return fail(ErrorCode::refused, "unsupported: " + std::move(what), "the local lane takes text messages and temperature, top_p, max_tokens, stop", std::move(path));
}

Result<std::vector<ChatTurn>> turns_of(const LmRequest& request) {
  if (request.tools.is_object() && !request.tools.as_object().empty()) return unsupported("tools", "tools");
  std::vector<ChatTurn> turns;
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    const Message& message = request.messages[i];
    if (!message.content.is_string()) return unsupported("content parts", fmt::format("messages[{}].content", i));
    turns.push_back({message.role, message.content.as_string()});
  }
  return turns;
}

Result<Sampling> sampling_of(const LmRequest& request) {
  Sampling sampling;
  for (const auto& [key, value] : request.config.as_object()) {
    const std::string path = "config." + key;
    if (key == "temperature" && value.is_number() && value.as_double() >= 0) sampling.temperature = value.as_double();
    else if (key == "top_p" && value.is_number() && value.as_double() > 0 && value.as_double() <= 1) sampling.top_p = value.as_double();
    else if (key == "max_tokens" && value.is_int() && value.as_int() > 0 && value.as_int() <= 1000000) sampling.tokens_max = static_cast<int>(value.as_int());
    else if (key == "stop" && value.is_list()) {
      for (const Json& text : value.as_list()) {
        if (!text.is_string() || text.as_string().empty()) return fail(ErrorCode::malformed, "a stop text is a text that is not empty", "", path);
        sampling.stop.push_back(text.as_string());
      }
    } else if (key != "n" && key != "seed_policy" && key != "constrain") {
      return unsupported(fmt::format("{}={}", key, canonical(value).value_or("?")), path);
    }
  }
  sampling.stream = {request.seed.value_or(0), "lm", request.rollout, "sample"};
  return sampling;
}

}  // namespace

Result<std::string> remembered_sha256(const std::string& path, const std::string& folder) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return fail(ErrorCode::io, "there is no such model file", "scripts/fetch-model --default", path);
  const std::string key = fmt::format("{}\n{}\n{}.{:09}", path, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  const std::string memo = folder.empty() ? "" : folder + "/" + sha256_hex(key);
  if (!memo.empty()) {
    const auto known = read_file(memo, 65);
    if (known && is_hex(std::string_view(*known).substr(0, 64), 64)) return known->substr(0, 64);
  }
  ASSAY_TRY(std::string digest, sha256_file(path));
  if (!memo.empty()) {
    ASSAY_CHECK(make_folders(folder, 0700));
    ASSAY_CHECK(write_file(memo, digest + "\n", 0600));
  }
  return digest;
}

LocalLane::LocalLane(std::unique_ptr<LocalModel> model, Lane lane) : model_(std::move(model)), lane_(std::move(lane)) {}
LocalLane::~LocalLane() = default;

Result<std::shared_ptr<LocalLane>> LocalLane::open(const LocalLaneOptions& options, Clock& clock) {
  ASSAY_TRY(std::string digest, remembered_sha256(options.path, options.hash_folder));
  LocalModelOptions how;
  how.path = options.path;
  how.slots = options.slots;
  how.threads = options.threads;
  how.context_tokens = options.context_tokens;
  ASSAY_TRY(auto model, LocalModel::load(how, clock));
  Lane lane;
  lane.kind = "local";
  lane.model = options.model;
  lane.model_sha256 = std::move(digest);
  lane.chat_template_sha256 = sha256_hex(model->chat_template());
  lane.engine = model->engine();
  return std::shared_ptr<LocalLane>(new LocalLane(std::move(model), std::move(lane)));
}

int LocalLane::slots() const { return model_->slots(); }

std::vector<std::string> LocalLane::capabilities() const { return {"json_schema", fmt::format("context:{}", model_->context_tokens())}; }

Result<std::int64_t> LocalLane::prompt_tokens_max(const LmRequest& request) const {
  ASSAY_TRY(const auto turns, turns_of(request));
  ASSAY_TRY(const LocalPrompt prompt, model_->prompt(turns));
  return static_cast<std::int64_t>(prompt.tokens.size());
}

Result<LmResponse> LocalLane::complete(const LmRequest& request, const Wait& wait) {
  ASSAY_TRY(const auto turns, turns_of(request));
  ASSAY_TRY(const Sampling sampling, sampling_of(request));
  ASSAY_TRY(const LocalPrompt prompt, model_->prompt(turns));
  std::vector<AnswerSegment> plan;
  if (!request.schema.is_null()) {
    auto parts = answer_parts(request.schema);
    if (!parts) return std::unexpected(std::move(parts.error()).in("schema"));
    ASSAY_TRY(plan, answer_plan(*parts, [this](std::string_view text) { return model_->tokenise(text); }));
  }
  ASSAY_TRY(LocalAnswer answer, model_->answer(prompt, plan, sampling, wait));
  LmResponse response;
  response.content = std::move(answer.text);
  response.finish_reason = std::move(answer.finish_reason);
  response.usage.prompt_tokens = answer.prompt_tokens;
  response.usage.completion_tokens = answer.completion_tokens;
  return response;
}

}  // namespace assay
