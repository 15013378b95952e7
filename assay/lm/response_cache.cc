#include "assay/lm/response_cache.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/sha256.h"
#include "assay/lm/answer_lanes.h"

namespace assay {
namespace {

constexpr std::string_view response_format = "assay.response/1";
constexpr std::size_t response_bytes_max = std::size_t{64} << 20;

Json response_json(const LmResponse& response) {
  JsonObject out;
  out.set("content", recorded_text(response.content));
  out.set("finish_reason", response.finish_reason);
  out.set("usage", response.usage.to_json());
  out.set("cost_msats", response.usage.cost_msats ? Json(*response.usage.cost_msats) : Json());
  if (response.logprobs) out.set("logprobs", logprobs_json(*response.logprobs));
  return out;
}

Result<LmResponse> read_response(const Json& json) {
  LmResponse response;
  ASSAY_TRY(response.content, recorded_bytes(json.at("content")));
  ASSAY_TRY(response.finish_reason, string_member(json, "finish_reason"));
  ASSAY_TRY(response.usage, LmUsage::read(json.at("usage")));
  if (const Json& cost = json.at("cost_msats"); cost.is_int()) response.usage.cost_msats = cost.as_int();
  if (const Json& tokens = json.at("logprobs"); !tokens.is_null()) {
    ASSAY_TRY(response.logprobs, read_logprobs(tokens));
  }
  return response;
}

std::string file_of(const std::string& folder, const std::string& key) {
  return fmt::format("{}/{}/{}.json", folder, key.substr(0, 2), key);
}

Result<void> write_entry(const std::string& folder, const std::string& key, const LmResponse& response) {
  const Json body = response_json(response);
  ASSAY_TRY(std::string body_hash, hash(body));
  JsonObject file;
  file.set("format", response_format);
  file.set("key", key);
  file.set("hash", std::move(body_hash));
  file.set("response", body);
  ASSAY_TRY(const std::string text, canonical(file));
  ASSAY_CHECK(make_folders(folder + "/" + key.substr(0, 2)));
  return write_file(file_of(folder, key), text + "\n", 0600);  // answers may be private
}

// What the file says, if it is whole, of this key and unaltered.
Result<LmResponse> read_entry(const std::string& folder, const std::string& key) {
  const std::string path = file_of(folder, key);
  ASSAY_TRY(const std::string text, read_file(path, response_bytes_max));
  ASSAY_TRY(const Json file, read_json(text));
  ASSAY_TRY(const std::string body_hash, hash(file.at("response")));
  if (file.at("format") != Json(response_format) || file.at("key") != Json(key) || file.at("hash") != Json(body_hash)) {
    return fail(ErrorCode::mismatch, "a cached response was altered", "it is asked for again", path);
  }
  return read_response(file.at("response"));
}

}  // namespace

Result<std::string> ResponseCache::key(const std::string& request_hash, const std::string& lane_id) {
  return hash(JsonList{Json(request_hash), Json(lane_id), Json()});
}

std::optional<LmResponse> ResponseCache::find(const std::string& key) {
  if (const auto at = responses_.find(key); at != responses_.end()) return at->second;
  if (folder_.empty() || !is_hex(key, 64)) return std::nullopt;
  auto kept = read_entry(folder_, key);
  if (!kept) return std::nullopt;  // absent or damaged: asked again and written anew
  responses_.insert_or_assign(key, *kept);
  return *std::move(kept);
}

void ResponseCache::keep(const std::string& key, const LmResponse& response) {
  responses_.insert_or_assign(key, response);
  // An answer that was paid for is never lost to a full disk: then it is kept in memory only.
  if (folder_.empty() || !is_hex(key, 64)) return;
  if (const auto written = write_entry(folder_, key, response); !written && not_kept_.answers++ == 0) not_kept_.why = written.error();
}

ResponseCache::NotKept ResponseCache::not_kept() const {
  const std::scoped_lock lock(mutex_);
  return not_kept_;
}

Result<ResponseCache::Found> ResponseCache::get_or_compute(const std::string& key, const Wait& wait, Clock& clock,
                                                           const std::function<Result<LmResponse>()>& compute) {
  std::unique_lock lock(mutex_);
  while (true) {  // ends: found, computed here, or the wait is over
    if (auto response = find(key)) return Found{*std::move(response), true};
    if (computing_.insert(key).second) break;
    if (auto ended = wait.check(clock, "the wait for another call of the same request"); !ended) return std::unexpected(ended.error());
    // Woken by the other call, by a stop, or after a while to look at the injected clock.
    ready_.wait_for(lock, wait.stop, std::chrono::milliseconds(20), [&] { return !computing_.contains(key); });
  }
  lock.unlock();
  auto found = compute_alone(key, wait, clock, compute);
  lock.lock();
  computing_.erase(key);
  lock.unlock();
  ready_.notify_all();
  return found;
}

Result<ResponseCache::Found> ResponseCache::compute_alone(const std::string& key, const Wait& wait, Clock& clock,
                                                          const std::function<Result<LmResponse>()>& compute) {
  std::optional<Fd> held;
  const std::string lock_path = file_of(folder_, key) + ".lock";
  // What cannot be locked is asked for all the same: a cache is a help and no condition.
  while (!folder_.empty() && is_hex(key, 64) &&
         make_folders(folder_ + "/" + key.substr(0, 2), 0700)) {  // ends: held, found, or the wait is over
    auto tried = try_lock_file(lock_path);
    if (!tried) break;
    held = std::move(*tried);
    {
      const std::scoped_lock lock(mutex_);
      if (auto response = find(key)) {  // another process has asked meanwhile
        if (held) ::unlink(lock_path.c_str());
        return Found{*std::move(response), true};
      }
    }
    if (held) break;
    ASSAY_CHECK(wait.check(clock, "the wait for another process's call of the same request"));
    constexpr std::int64_t look_again_ns = 20'000'000;
    clock.sleep_until(clock.steady_ns() + look_again_ns, wait.stop);
  }
  auto response = compute();
  if (response) {
    const std::scoped_lock lock(mutex_);
    keep(key, *response);
  }
  if (held) ::unlink(lock_path.c_str());
  if (!response) return std::unexpected(std::move(response).error());
  return Found{*std::move(response), false};
}

Result<void> ResponseCache::preload(const std::vector<RecordEntry>& entries) {
  AnswerLanes lanes;
  const std::scoped_lock lock(mutex_);
  for (const RecordEntry& entry : entries) {
    const auto lane_id = lanes.take(entry);
    if (!lane_id) continue;
    ASSAY_TRY(const std::string request_hash, string_member(entry.data, "request_hash"));
    ASSAY_TRY(std::string key, ResponseCache::key(request_hash, *lane_id));
    ASSAY_TRY(LmResponse response, read_response(entry.data));
    responses_.insert_or_assign(std::move(key), std::move(response));
  }
  return {};
}

}  // namespace assay
