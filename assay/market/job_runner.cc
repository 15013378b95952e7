#include "assay/market/job_runner.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "assay/sandbox/receipt.h"

namespace assay {
namespace {

constexpr std::size_t preview_bytes_max = 4 * 1024;   // of each stream: the hash covers all of it
constexpr std::size_t preview_bytes_least = 16;       // when a result does not fit an event otherwise; after that, none

std::unexpected<Error> unsupported(std::string_view what) {
  return fail(ErrorCode::refused, fmt::format("unsupported: {}", what), "leave it out, or ask another provider", std::string(what));
}

bool can(const LM& lane, std::string_view capability) {
  const std::vector<std::string> all = lane.capabilities();
  return std::find(all.begin(), all.end(), capability) != all.end();
}

Json sampling(const LmRequest& request) {
  JsonObject out{{"temperature", request.config.at("temperature").is_null() ? Json(0) : request.config.at("temperature")}};
  for (const char* key : {"top_p", "max_tokens"}) {
    if (!request.config.at(key).is_null()) out.set(key, request.config.at(key));
  }
  if (request.seed) out.set("seed", *request.seed);
  if (request.config.at("stop").is_list() && !request.config.at("stop").as_list().empty()) out.set("stop", request.config.at("stop"));
  return Json(std::move(out));
}

// Text of a plain result: Nostr programs disagree about control characters, so none is sent.
std::string printable(const std::string& bytes) {
  std::string out = to_utf8(bytes);
  std::replace_if(out.begin(), out.end(), [](unsigned char c) { return (c < 32 && c != '\n' && c != '\r' && c != '\t') || c == 127; }, ' ');
  return out;
}

// Fewer files named, where even that is too much for an event. False: there is nothing left to leave out.
bool name_fewer(SandboxRunResponse& response, std::size_t& unnamed) {
  const auto halve = [&unnamed](auto& list) {
    unnamed += list.size() - list.size() / 2;
    list.resize(list.size() / 2);
  };
  if (response.artifacts.empty() && response.skipped.empty()) return false;
  if (response.artifacts.size() >= response.skipped.size()) halve(response.artifacts);
  else halve(response.skipped);
  const std::string what = " files are not named here: the result would not fit an event";
  std::erase_if(response.notes, [&](const std::string& note) { return note.ends_with(what); });
  response.notes.push_back(fmt::format("{}{}", unnamed, what));
  return true;
}

void cut(SandboxStream& stream, std::size_t bytes) {
  if (stream.stored.size() <= bytes) return;
  stream.stored.resize(bytes);
  stream.truncated = true;
}

}  // namespace

JobRunner::JobRunner(JobRunnerOptions options, SecretKey key, Clock& clock, Entropy& entropy)
    : options_(std::move(options)), key_(key), clock_(clock), entropy_(entropy) {
  sandbox_limits_.commands_max = 16;
  sandbox_limits_.stored_bytes_max = preview_bytes_max;
  sandbox_limits_.artifacts_max = 64;
}

Result<TextJob> JobRunner::read_text(const JobRequest& request) const {
  ASSAY_TRY(TextJob job, read_text_job(request.job.payload));
  const std::int64_t most = job.request.config.at("max_tokens").as_int();
  if (most > options_.max_tokens_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("max_tokens is {}, at most {} are sold", most, options_.max_tokens_max),
                "ask for fewer", "config.max_tokens");
  }
  return job;
}

Result<LM*> JobRunner::lane_for(const TextJob& job) const {
  if (options_.lanes.empty()) return unsupported("text generation");
  bool model_found = false;
  for (const std::shared_ptr<LM>& lane : options_.lanes) {
    if (!job.model.id.empty() && job.model.id != lane->lane().model) continue;
    if (!job.model.digest.empty() && job.model.digest != lane->lane().model_sha256) continue;
    model_found = true;
    if (!job.request.schema.is_null() && !can(*lane, "json_schema")) continue;
    return lane.get();
  }
  return model_found ? unsupported("schema") : unsupported("model " + job.model.id.substr(0, 128));
}

Result<SandboxProfile> JobRunner::profile_for(const JobRequest& request) const {
  if (!options_.sandbox) return unsupported(fmt::format("job_type {}", sandbox_job_type));
  if (request.sandbox_profile.empty()) return options_.profile;
  const auto named = sandbox_profile(request.sandbox_profile);
  if (!named) return unsupported("param profile=" + request.sandbox_profile.substr(0, 32));
  if (named->vcpus > options_.profile.vcpus)
    return unsupported(fmt::format("param profile={}: at most {} is sold", named->name, options_.profile.name));
  return *named;
}

// A prompt that cannot fit is refused before it is paid for.
Result<void> JobRunner::check_context(const LM& lane, std::int64_t tokens) const {
  constexpr std::string_view prefix = "context:";
  for (const std::string& capability : lane.capabilities()) {
    if (!capability.starts_with(prefix)) continue;
    std::int64_t most = 0;
    std::from_chars(capability.data() + prefix.size(), capability.data() + capability.size(), most);
    if (tokens > most) {
      return fail(ErrorCode::limit_exceeded, fmt::format("prompt and max_tokens are {} tokens, the model holds {}", tokens, most),
                  "send less", "messages");
    }
  }
  return {};
}

// A result repeats the commands, and has this much besides when nothing more can be left out: what would not fit is refused before it is
// paid.
Result<void> JobRunner::check_answerable(const SandboxRunRequest& job) const {
  constexpr std::size_t whole_bytes = 4096, run_bytes = 1024;
  std::size_t least = whole_bytes;
  for (const SandboxCommand& command : job.commands) {
    ASSAY_TRY(const std::string text, event_json_text(Json(command.cmd)));
    least += run_bytes + text.size();
  }
  if (least <= options_.limits.result_bytes_max) return {};
  return fail(
      ErrorCode::limit_exceeded,
      fmt::format("the result, which repeats the commands, may have {} bytes, at most {} fit", least, options_.limits.result_bytes_max),
      "send fewer or shorter commands", "commands");
}

Result<std::int64_t> JobRunner::price(const JobRequest& request) const {
  if (request.job.job_type == sandbox_job_type) {
    ASSAY_TRY(const SandboxRunRequest job, read_sandbox_request(request.job.payload));
    ASSAY_TRY(const SandboxProfile profile, profile_for(request));
    ASSAY_CHECK(check_sandbox_request(job, profile, sandbox_limits_));
    ASSAY_CHECK(check_answerable(job));
    return options_.prices.sandbox(job);
  }
  ASSAY_TRY(const TextJob job, read_text(request));
  ASSAY_TRY(const LM* lane, lane_for(job));
  ASSAY_TRY(const std::int64_t prompt, lane->prompt_tokens_max(job.request));
  const std::int64_t completion = job.request.config.at("max_tokens").as_int();
  ASSAY_CHECK(check_context(*lane, prompt + completion));
  return options_.prices.text(prompt, completion);
}

Result<std::string> JobRunner::run(const JobRequest& request, const Wait& wait) const {
  return request.job.job_type == sandbox_job_type ? run_sandbox(request, wait) : run_text(request, wait);
}

Result<std::string> JobRunner::envelope_text(const JobRequest& request, Json payload, const Json& receipt) const {
  Json envelope = to_json(JobEnvelope{request.job.job_type, request.job.schema_version, request.job.job_hash, std::move(payload)});
  if (!receipt.is_null()) envelope.set("receipt", receipt);
  ASSAY_TRY(std::string text, event_json_text(envelope));
  if (text.size() > options_.limits.result_bytes_max) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("the result has {} bytes, at most {} fit", text.size(), options_.limits.result_bytes_max), "ask for less");
  }
  return text;
}

Result<std::string> JobRunner::run_text(const JobRequest& request, const Wait& wait) const {
  ASSAY_TRY(const TextJob job, read_text(request));
  ASSAY_TRY(LM * lane, lane_for(job));
  const std::int64_t began = clock_.steady_ns();
  const Wait limited{wait.deadline.sooner(Deadline::after(clock_, std::chrono::seconds(options_.text_seconds_max))), wait.stop};
  ASSAY_TRY(const LmResponse response, lane->complete(job.request, limited));
  if (request.plain) {
    std::string text = printable(response.content);
    if (text.size() > options_.limits.result_bytes_max)
      return fail(ErrorCode::limit_exceeded, "the result does not fit an event", "ask for fewer tokens");
    return text;
  }
  TextAnswer answer{response.content, response.finish_reason, response.usage, {}};
  ASSAY_TRY(const std::string lane_id, lane->lane().id());
  JsonObject provenance{
      {"model_id", lane->lane().model}, {"lane_id", lane_id}, {"sampling", sampling(job.request)}, {"input_sha256", request.job.job_hash}};
  provenance.set("output_sha256", sha256_hex(response.content));
  provenance.set("provider_pubkey", key_.public_hex());
  provenance.set("executed_at", clock_.unix_ns() / 1'000'000'000);
  provenance.set("duration_ms", (clock_.steady_ns() - began) / 1'000'000);
  provenance.set("tokens", JsonObject{{"input", response.usage.prompt_tokens}, {"output", response.usage.completion_tokens}});
  answer.provenance = Json(std::move(provenance));
  return envelope_text(request, to_json(answer), {});
}

Result<std::string> JobRunner::run_sandbox(const JobRequest& request, const Wait& wait) const {
  ASSAY_TRY(const SandboxRunRequest job, read_sandbox_request(request.job.payload));
  ASSAY_TRY(const SandboxProfile profile, profile_for(request));
  ASSAY_TRY(SandboxRunResponse response, run_sandboxed(job, profile, sandbox_limits_, wait, clock_));
  ASSAY_CHECK(wait.check(clock_, "sandbox job"));  // a job that was cut off by our own stop is not the buyer's result
  if (!response.provenance.is_object()) response.provenance = JsonObject{};
  response.provenance.set("provider_pubkey", key_.public_hex());
  std::size_t most = preview_bytes_max, unnamed = 0;
  while (true) {  // ends: with what fits, or when nothing is left to leave out
    for (SandboxCommandRun& run : response.runs) {
      cut(run.out, most);
      cut(run.err, most);
    }
    ASSAY_TRY(const Json receipt, make_receipt(job, response, key_, entropy_, clock_));
    auto text = envelope_text(request, to_json(response), receipt);
    if (text || text.error().code != ErrorCode::limit_exceeded) return text;
    if (most > 0) most = most > preview_bytes_least ? most / 2 : 0;
    else if (!name_fewer(response, unnamed)) return text;
  }
}

Result<ProviderInfo> JobRunner::info() const {
  ProviderInfo out;
  out.pubkey = key_.public_hex();
  out.prices = options_.prices;
  if (options_.sandbox) out.profile = std::string(options_.profile.name);
  for (const std::shared_ptr<LM>& lane : options_.lanes) {
    ASSAY_TRY(std::string id, lane->lane().id());
    out.models.push_back({lane->lane().model, lane->lane().model_sha256, std::move(id), lane->capabilities()});
  }
  return out;
}

}  // namespace assay
