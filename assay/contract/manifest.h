#pragma once
/// @file
/// The manifest of a compiled module: how it was made, how well it does, what it needs, who signed it.
/// Source: docs/formats.md §3 (`assay.manifest/1`); field names are the plan's.
///
///     ASSAY_TRY(CompiledModuleManifest manifest, read_manifest(json));
///     manifest.scorecard.truth_metrics["accuracy"];
///     ASSAY_TRY(manifest, sign_manifest(manifest, key, entropy));
///     ASSAY_TRY(const std::string name, canonical_hash(manifest));       // of the manifest with its signature
///
/// `to_json` and `read_manifest` are each other's inverse; members that this version does not know live in `extra`.
/// Thread safety: values.

#include <concepts>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/json.h"
#include "assay/base/keys.h"
#include "assay/contract/privacy.h"

namespace assay {

inline constexpr std::string_view manifest_format = "assay.manifest/1";

/// What JSON can hash: a type with `to_json(const T&)` giving Json or Result<Json>, or Json itself.
template <class T>
concept Hashable = requires(const T& value) {
  { to_json(value) } -> std::convertible_to<Result<Json>>;
};
inline Result<Json> to_json(const Json& value) { return value; }

/// 64 lowercase hex digits of SHA-256 over the canonical JSON (formats.md §1 `hash`). The name is the plan's.
/// Errors: as `canonical` (NaN, depth, …). For the hash of the Rust protocol crate see legacy_hash.h.
template <Hashable T>
Result<std::string> canonical_hash(const T& value) {
  const Result<Json> json = to_json(value);
  if (!json) return std::unexpected(json.error());
  return hash(*json);
}

/// A confidence interval. `method`: "wilson/1" (shares), "bootstrap/1" (means), "paired-bootstrap/1".
struct Interval {
  double low = 0;
  double high = 0;
  double level = 0.95;
  std::string method;
  std::optional<std::int64_t> seed;  ///< of the bootstrap
  std::optional<std::int64_t> b;     ///< number of resamples
  JsonObject extra;
  bool operator==(const Interval&) const = default;
};

/// Calls and tokens that were really made; cached calls are counted apart and bring no tokens.
struct Usage {
  std::int64_t calls = 0;
  std::int64_t cached_calls = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  JsonObject extra;
  Usage& operator+=(const Usage& other);  ///< `extra`: integers of the same name are added, others kept
  bool operator==(const Usage&) const = default;
};

struct Score {
  double score = 0;
  std::optional<Interval> interval;
  JsonObject extra;
  bool operator==(const Score&) const = default;
};

struct Quantiles {
  std::optional<double> p50, p95;  ///< null when nothing was measured (unpriced calls have no msats)
  JsonObject extra;
  bool operator==(const Quantiles&) const = default;
};

struct PerCall {
  Quantiles tokens, msats, latency_ms;
  JsonObject extra;
  bool operator==(const PerCall&) const = default;
};

/// What was measured (formats.md §3 has the meaning of each figure). An unmeasured figure is nullopt, written as null.
struct Scorecard {
  std::map<std::string, double> proxy_metrics;  ///< from data, or by a judge, that the search could see
  std::map<std::string, double> truth_metrics;  ///< from held-out labels that neither search nor proposer saw
  std::optional<std::string> primary;           ///< the truth metric that `score` is
  std::int64_t rollouts = 0;                    ///< program executions of the whole compile, cached ones included
  double median_score = 0;                      ///< over test examples
  double p_fail = 0;                            ///< share of test executions that end unreadable, invalid or over a limit
  std::optional<Interval> p_fail_interval;
  std::int64_t n_test = 0;
  std::optional<double> score;
  std::optional<Interval> interval;
  std::optional<Score> baseline;  ///< the uncompiled program on the same test set
  std::optional<double> gain;     ///< paired difference to the baseline
  std::optional<Interval> gain_interval;
  std::int64_t test_looks = 0;    ///< how often this testset_id has been opened
  PerCall per_call;
  JsonObject extra;
  bool operator==(const Scorecard&) const = default;
};

/// What a module needs to run; see compatibility.h for the check. The lists are sets: `to_json` sorts them.
struct Compatibility {
  std::vector<std::string> required_tools;
  std::vector<std::string> required_lanes;  ///< "lm:…", "retrieval:…", "exec:…", "tool:…", "lm:any"
  std::vector<PrivacyMode> privacy_modes_allowed;
  std::optional<double> min_provider_reputation;
  std::vector<std::string> capabilities;  ///< "json_schema", "tools", "vision", "context:N"
  JsonObject extra;
  bool operator==(const Compatibility&) const = default;
};

struct LaneRef {
  std::string lane_id;
  std::string model;
  JsonObject extra;
  bool operator==(const LaneRef&) const = default;
};

struct AssayBuild {
  std::string version;
  std::string build;
  JsonObject extra;
  bool operator==(const AssayBuild&) const = default;
};

/// Where the module came from.
struct Provenance {
  std::optional<LaneRef> task;      ///< the lane that ran the program; null when nothing was run
  std::optional<LaneRef> proposer;  ///< the lane that proposed instructions
  AssayBuild assay;
  std::optional<std::string> parent;        ///< compiled_id this one was made from
  std::optional<std::string> journal_root;  ///< root hash of the compile journal
  Usage usage;
  std::optional<std::int64_t> cost_msats;  ///< null when any call was unpriced
  std::int64_t duration_ms = 0;
  JsonObject extra;
  bool operator==(const Provenance&) const = default;
};

struct CompiledModuleManifest {
  std::string signature_name;  ///< of the program's own signature
  std::string compiled_id;     ///< 64 hex digits
  std::string optimizer = "none";
  JsonObject optimizer_config;  ///< every hyper-parameter, "seed", "order_seed"
  std::string trainset_id;
  std::optional<std::string> valset_id;
  std::optional<std::string> testset_id;
  std::int64_t created_at = 0;  ///< Unix seconds
  Scorecard scorecard;
  Compatibility compatibility;
  Provenance provenance;
  std::optional<std::string> signer;     ///< x-only public key, hex
  std::optional<std::string> signature;  ///< BIP-340, hex; nullopt: unsigned
  JsonObject extra;
  bool operator==(const CompiledModuleManifest&) const = default;
};

// Errors of all: `malformed` with the member's path (NaN and infinities included).
Result<Json> to_json(const CompiledModuleManifest& manifest);
Result<Json> to_json(const Scorecard& scorecard);
Result<Json> to_json(const Compatibility& compatibility);
Result<Json> to_json(const Provenance& provenance);
Result<Json> to_json(const Interval& interval);
Result<Json> to_json(const Usage& usage);
Result<Json> to_json(const Score& score);
Result<Json> to_json(const Quantiles& quantiles);
Result<Json> to_json(const PerCall& per_call);
Result<Json> to_json(const LaneRef& lane);
Result<Json> to_json(const AssayBuild& build);

/// Inverse of `to_json`. Every member that formats.md shows must be present with its type; sets must be sorted.
/// An absent "signature" reads as null. Signature and compiled_id are not checked here: see module_file.h.
Result<CompiledModuleManifest> read_manifest(const Json& json);
Result<Scorecard> read_scorecard(const Json& json);
Result<Compatibility> read_compatibility(const Json& json);
Result<Provenance> read_provenance(const Json& json);
Result<Interval> read_interval(const Json& json);
Result<Usage> read_usage(const Json& json);

/// A copy with `signer` and `signature` set; whatever signature was there is replaced.
Result<CompiledModuleManifest> sign_manifest(CompiledModuleManifest manifest, const SecretKey& key, Entropy& entropy);

/// The id of a set without examples, hash([]): `trainset_id` of a module that was not compiled on data.
std::string empty_set_id();

}  // namespace assay
