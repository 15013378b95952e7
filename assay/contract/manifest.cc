// The manifest's way to JSON. The way back is in manifest_reader.cc; the two are each other's inverse (manifest_test.cc).
#include "assay/contract/manifest.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/contract/dataset.h"

namespace assay {
namespace {

// Builds an object; the first bad number is remembered with its member and fails the whole.
class Out {
 public:
  explicit Out(const JsonObject& extra) : object_(extra) {}

  Out& put(const char* key, Json value) {
    object_.set(key, std::move(value));
    return *this;
  }
  Out& put(const char* key, Result<Json> value) {
    if (!value) return keep(std::move(value.error()).in(key));
    return put(key, std::move(*value));
  }
  Out& number(const char* key, double value) {
    if (!std::isfinite(value))
      return keep(
          {ErrorCode::malformed, "expected a finite number, found NaN or an infinity", key, "leave a figure out that was not measured"});
    return put(key, Json(value));
  }
  template <class T>
  Out& maybe(const char* key, const std::optional<T>& value) {
    if (!value) return put(key, Json());
    if constexpr (std::is_same_v<T, double>) {
      return number(key, *value);
    } else if constexpr (std::is_same_v<T, std::string> || std::is_integral_v<T>) {
      return put(key, Json(*value));
    } else {
      return put(key, to_json(*value));
    }
  }
  Out& set_of(const char* key, std::vector<std::string> texts) {
    std::sort(texts.begin(), texts.end(), [](const auto& a, const auto& b) { return compare_utf16(a, b) < 0; });
    texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
    return put(key, Json(JsonList(texts.begin(), texts.end())));
  }
  Out& numbers(const char* key, const std::map<std::string, double>& values) {
    Out inner{JsonObject{}};
    for (const auto& [name, value] : values) inner.number(name.c_str(), value);
    return put(key, inner.done());
  }
  Result<Json> done() {
    if (error_) return std::unexpected(std::move(*error_));
    return Json(std::move(object_));
  }

 private:
  Out& keep(Error error) {
    if (!error_) error_ = std::move(error);
    return *this;
  }
  JsonObject object_;
  std::optional<Error> error_;
};

}  // namespace

Result<Json> to_json(const Score& score) { return Out(score.extra).number("score", score.score).maybe("interval", score.interval).done(); }
Result<Json> to_json(const Quantiles& quantiles) {
  return Out(quantiles.extra).maybe("p50", quantiles.p50).maybe("p95", quantiles.p95).done();
}
Result<Json> to_json(const PerCall& per_call) {
  return Out(per_call.extra)
      .put("tokens", to_json(per_call.tokens))
      .put("msats", to_json(per_call.msats))
      .put("latency_ms", to_json(per_call.latency_ms))
      .done();
}
Result<Json> to_json(const LaneRef& lane) {
  return Out(lane.extra).put("lane_id", Json(lane.lane_id)).put("model", Json(lane.model)).done();
}
Result<Json> to_json(const AssayBuild& build) {
  return Out(build.extra).put("version", Json(build.version)).put("build", Json(build.build)).done();
}

Usage& Usage::operator+=(const Usage& other) {
  calls += other.calls;
  cached_calls += other.cached_calls;
  prompt_tokens += other.prompt_tokens;
  completion_tokens += other.completion_tokens;
  for (const auto& [key, value] : other.extra) {
    Json* mine = extra.find(key);
    if (mine == nullptr) {
      extra.set(key, value);
    } else if (mine->is_int() && value.is_int()) {
      *mine = Json(mine->as_int() + value.as_int());
    }
  }
  return *this;
}

Result<Json> to_json(const Interval& interval) {
  Out out(interval.extra);
  out.number("low", interval.low).number("high", interval.high).number("level", interval.level).put("method", Json(interval.method));
  if (interval.seed) out.put("seed", Json(*interval.seed));
  if (interval.b) out.put("b", Json(*interval.b));
  return out.done();
}

Result<Json> to_json(const Usage& usage) {
  return Out(usage.extra)
      .put("calls", Json(usage.calls))
      .put("cached_calls", Json(usage.cached_calls))
      .put("prompt_tokens", Json(usage.prompt_tokens))
      .put("completion_tokens", Json(usage.completion_tokens))
      .done();
}

Result<Json> to_json(const Scorecard& card) {
  return Out(card.extra)
      .numbers("proxy_metrics", card.proxy_metrics)
      .numbers("truth_metrics", card.truth_metrics)
      .maybe("primary", card.primary)
      .put("rollouts", Json(card.rollouts))
      .number("median_score", card.median_score)
      .number("p_fail", card.p_fail)
      .maybe("p_fail_interval", card.p_fail_interval)
      .put("n_test", Json(card.n_test))
      .maybe("score", card.score)
      .maybe("interval", card.interval)
      .maybe("baseline", card.baseline)
      .maybe("gain", card.gain)
      .maybe("gain_interval", card.gain_interval)
      .put("test_looks", Json(card.test_looks))
      .put("per_call", to_json(card.per_call))
      .done();
}

Result<Json> to_json(const Compatibility& needed) {
  std::vector<std::string> modes;
  for (const PrivacyMode mode : needed.privacy_modes_allowed) modes.emplace_back(privacy_name(mode));
  return Out(needed.extra)
      .set_of("required_tools", needed.required_tools)
      .set_of("required_lanes", needed.required_lanes)
      .set_of("privacy_modes_allowed", std::move(modes))
      .maybe("min_provider_reputation", needed.min_provider_reputation)
      .set_of("capabilities", needed.capabilities)
      .done();
}

Result<Json> to_json(const Provenance& provenance) {
  return Out(provenance.extra)
      .maybe("task", provenance.task)
      .maybe("proposer", provenance.proposer)
      .put("assay", to_json(provenance.assay))
      .maybe("parent", provenance.parent)
      .maybe("journal_root", provenance.journal_root)
      .put("usage", to_json(provenance.usage))
      .maybe("cost_msats", provenance.cost_msats)
      .put("duration_ms", Json(provenance.duration_ms))
      .done();
}

Result<Json> to_json(const CompiledModuleManifest& manifest) {
  return Out(manifest.extra)
      .put("format", Json(manifest_format))
      .put("signature_name", Json(manifest.signature_name))
      .put("compiled_id", Json(manifest.compiled_id))
      .put("optimizer", Json(manifest.optimizer))
      .put("optimizer_config", Json(manifest.optimizer_config))
      .put("trainset_id", Json(manifest.trainset_id))
      .maybe("valset_id", manifest.valset_id)
      .maybe("testset_id", manifest.testset_id)
      .put("created_at", Json(manifest.created_at))
      .put("scorecard", to_json(manifest.scorecard))
      .put("compatibility", to_json(manifest.compatibility))
      .put("provenance", to_json(manifest.provenance))
      .maybe("signer", manifest.signer)
      .maybe("signature", manifest.signature)
      .done();
}

Result<CompiledModuleManifest> sign_manifest(CompiledModuleManifest manifest, const SecretKey& key, Entropy& entropy) {
  manifest.signer = key.public_hex();
  ASSAY_TRY(const Json json, to_json(manifest));
  ASSAY_TRY(const Bytes32 message, signing_hash(json));
  ASSAY_TRY(std::string signature, key.sign(message, entropy));
  manifest.signature = std::move(signature);
  return manifest;
}

std::string empty_set_id() { return set_id({}); }

}  // namespace assay
