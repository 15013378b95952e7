#include "assay/lm/local_lane.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/sha256.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

Result<std::vector<ChatTurn>> chat_turns(const LmRequest& request) {
  std::vector<ChatTurn> turns;
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    const Message& message = request.messages[i];
    if (!message.content.is_string()) {
      return fail(ErrorCode::refused, "a local model reads text only", "use a lane with the capability the content needs (vision)",
                  fmt::format("messages[{}].content", i));
    }
    turns.push_back({message.role, message.content.as_string()});
  }
  if (turns.empty()) return fail(ErrorCode::malformed, "a request needs at least one message", {}, "messages");
  return turns;
}

/// Every key of a config is kept to or refused by name.
Result<void> check_keys(const Json& config) {
  constexpr std::array<std::string_view, 9> known{"constrain", "logprobs",    "max_tokens",   "n",    "seed_policy",
                                                  "stop",      "temperature", "top_logprobs", "top_p"};
  if (config.is_null()) return {};
  if (!config.is_object()) return fail(ErrorCode::malformed, "config must be an object", {}, "config");
  for (const auto& [key, value] : config.as_object()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return fail(ErrorCode::refused, fmt::format("a local model cannot keep to config key '{}'", key), "leave it out, or use another lane",
                  "config." + key);
    }
  }
  return {};
}

Result<double> number_in(const Json& config, std::string_view key, double otherwise, double low, double high) {
  const Json& value = config.at(key);
  if (value.is_null()) return otherwise;
  if (!value.is_number() || !(value.as_double() >= low && value.as_double() <= high)) {
    return fail(ErrorCode::malformed, fmt::format("{} must be a number from {} to {}", key, low, high), {}, fmt::format("config.{}", key));
  }
  return value.as_double();
}

Result<Sampling> read_sampling(const LmRequest& request) {
  ASSAY_CHECK(check_keys(request.config));
  Sampling sampling;
  ASSAY_TRY(sampling.temperature, number_in(request.config, "temperature", 0, 0, 100));
  ASSAY_TRY(sampling.top_p, number_in(request.config, "top_p", 1, 1e-9, 1));
  ASSAY_TRY(const double most, number_in(request.config, "max_tokens", sampling.tokens_max, 1, 1 << 20));
  if (most != std::floor(most)) return fail(ErrorCode::malformed, "max_tokens must be a whole number", {}, "config.max_tokens");
  sampling.tokens_max = static_cast<int>(most);
  const Json& stop = request.config.at("stop");
  if (!stop.is_null() && !stop.is_list()) return fail(ErrorCode::malformed, "stop must be a list of texts", {}, "config.stop");
  if (stop.is_list()) {
    for (const Json& text : stop.as_list()) {
      if (!text.is_string() || text.as_string().empty())
        return fail(ErrorCode::malformed, "stop must be a list of texts that are not empty", {}, "config.stop");
      sampling.stop.push_back(text.as_string());
    }
  }
  ASSAY_TRY(sampling.logprobs, logprobs_wanted(request.config));
  sampling.stream = {.seed = request.seed.value_or(0), .phase = "lm", .iteration = request.rollout, .purpose = "sample"};
  return sampling;
}

struct Stamp {
  std::int64_t size = 0;
  std::string changed;  // ns since 1970 as text: it does not fit a JSON integer
};

Result<Stamp> stamp_of(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return fail(ErrorCode::io, "cannot read the model file", "run scripts/fetch-model", path);
  return Stamp{info.st_size, fmt::format("{}{:09}", info.st_mtim.tv_sec, info.st_mtim.tv_nsec)};
}

}  // namespace

Result<std::string> model_digest(const std::string& path) {
  ASSAY_TRY(const Stamp stamp, stamp_of(path));
  const std::string note = path + ".sha256.json";
  if (const auto text = read_file(note, 4096)) {
    const auto kept = read_json(*text);
    if (kept && kept->at("size") == Json(stamp.size) && kept->at("changed") == Json(stamp.changed) && kept->at("sha256").is_string() &&
        is_hex(kept->at("sha256").as_string(), 64)) {
      return kept->at("sha256").as_string();
    }
  }
  ASSAY_TRY(std::string digest, sha256_file(path));
  const Json fresh = JsonObject{{"changed", stamp.changed}, {"sha256", digest}, {"size", stamp.size}};
  if (const auto text = canonical(fresh)) (void)write_file(note, *text + "\n");  // a folder that cannot be written only costs time
  return digest;
}

Result<std::string> find_model(const std::string& name) {
  if (name.ends_with(".gguf")) return name;
  std::vector<std::string> places;
  if (const char* folder = std::getenv("ASSAY_MODEL_DIR"); folder != nullptr && *folder != '\0')
    places.push_back((fs::path(folder) / (name + ".gguf")).string());
  places.push_back((fs::path(cache_folder()) / "models" / (name + ".gguf")).string());
  std::error_code ignored;
  for (const auto& place : places) {
    if (fs::is_regular_file(place, ignored)) return place;
  }
  return fail(ErrorCode::unavailable, fmt::format("the model '{}' is not on this machine (looked at {})", name, fmt::join(places, ", ")),
              "scripts/fetch-model " + name);
}

Result<std::unique_ptr<LocalLane>> LocalLane::open(const LocalLaneOptions& options, Clock& clock) {
  ASSAY_TRY(auto model, LocalModel::load(options.model, clock));
  Lane lane;
  lane.kind = "local";
  lane.model = options.name.empty() ? fs::path(options.model.path).stem().string() : options.name;
  ASSAY_TRY(lane.model_sha256, model_digest(options.model.path));
  lane.chat_template_sha256 = sha256_hex(model->chat_template());
  lane.engine = model->engine();
  return std::unique_ptr<LocalLane>(new LocalLane(std::move(model), std::move(lane)));
}

Result<LocalPrompt> LocalLane::prompt(const LmRequest& request) const {
  if (request.tools.is_object() && !request.tools.as_object().empty()) {
    return fail(ErrorCode::refused, "a local model takes no native tools", "use a template that writes the tools into the prompt", "tools");
  }
  ASSAY_TRY(const auto turns, chat_turns(request));
  return model_->prompt(turns);
}

Result<LmResponse> LocalLane::complete(const LmRequest& request, const Wait& wait) {
  ASSAY_TRY(const Sampling sampling, read_sampling(request));
  ASSAY_TRY(const LocalPrompt tokens, prompt(request));
  auto parts = answer_parts(request.schema);
  if (!parts) return std::unexpected(std::move(parts.error()).in("schema"));
  ASSAY_TRY(const auto plan, answer_plan(*parts, [this](std::string_view text) { return model_->tokenise(text); }));
  ASSAY_TRY(LocalAnswer answer, model_->answer(tokens, plan, sampling, wait));
  LmResponse response;
  response.content = std::move(answer.text);
  response.finish_reason = std::move(answer.finish_reason);
  response.usage.prompt_tokens = answer.prompt_tokens;
  response.usage.completion_tokens = answer.completion_tokens;
  response.logprobs = std::move(answer.logprobs);
  return response;
}

Result<std::int64_t> LocalLane::prompt_tokens_max(const LmRequest& request) const {
  ASSAY_TRY(const LocalPrompt tokens, prompt(request));
  return static_cast<std::int64_t>(tokens.tokens.size());
}

std::vector<std::string> LocalLane::capabilities() const { return {fmt::format("context:{}", model_->context_tokens()), "json_schema"}; }

}  // namespace assay
