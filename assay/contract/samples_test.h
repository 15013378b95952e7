#pragma once
/// @file
/// For tests of several layers: a small artifact, a manifest and a signed module, as values.

#include "assay/base/json.h"
#include "assay/contract/module_file.h"

namespace assay {

/// The worked case's program: "package-triage" with one predictor "classify".
inline const char* const sample_artifact_text =
    R"({"code":null,"entry":"classify","flow":null,"format":"assay.module/1","modules":{},"predictors":{"classify":{"config":{"max_tokens":8,"n":1,"seed_policy":"fixed","stop":["\n"],"temperature":0,"top_p":1},"demos":[{"inputs":{"description":"chess game for the terminal"},"outputs":{"section":"games"}},{"inputs":{"description":"mail filter with Bayesian scoring"},"outputs":{"section":"mail"}}],"kind":"predict/1","signature":{"inputs":[{"description":"one-line description of the package","name":"description","schema":{"type":"string"}}],"instructions":"Choose the archive section that fits the package.","name":"PackageTriage","outputs":[{"description":"archive section","name":"section","schema":{"enum":["games","mail","sound"],"type":"string"}}]},"template":{"fallback":[],"reader":"chat/1","renderer":"chat/1","slots":{"assistant":"Section: {outputs.section}","system":"{instructions}","user":"Description: {inputs.description}"}}}},"program":{"name":"package-triage","version":"1"},"tools":{}})";

/// Its compiled_id, as two other implementations computed it.
inline const char* const sample_compiled_id = "e6e1e787a20f5a3a5cb1b9cbf8964276565c200b3c9b57d7bdb9cdb5f2cb0d03";

inline Json sample_json() { return read_json(sample_artifact_text).value(); }
inline Artifact sample_artifact() { return Artifact::parse(sample_artifact_text).value(); }

/// The secret key of BIP-340's vector 1.
inline SecretKey sample_key() { return SecretKey::parse("b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef").value(); }

/// As in the worked case: 32 zero bytes for every signature.
class ZeroEntropy final : public Entropy {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = 0;
  }
};

/// The worked case's manifest, member by member; not yet signed.
inline CompiledModuleManifest sample_manifest() {
  const std::string lane = "44025c23cb313b5159b8e83dd50df735564f00f380e38089cce7833a9db20d14";
  CompiledModuleManifest m;
  m.signature_name = "PackageTriage";
  m.compiled_id = sample_compiled_id;
  m.optimizer = "BootstrapFewShot";
  m.optimizer_config = {{"max_demos", 2}, {"seed", 7}, {"order_seed", 7}};
  m.trainset_id = "d4437b03d91c051193cde882a0329f7812e24951cce1c18ec96959331a45aae9";
  m.valset_id = "70b7aa22d71a1ff06b565379e18617e7fc94c577e3ea9c64ce28c12fdd09098a";
  m.testset_id = "1bf81c989bf727301e0f4312c1ae7bdb31d8a97885b71efe86b665efff46780d";
  m.created_at = 1790000000;
  Scorecard& s = m.scorecard;
  s.truth_metrics = {{"accuracy", 0.8133333333333334}};
  s.proxy_metrics = {{"accuracy", 0.9}};
  s.primary = "accuracy";
  s.rollouts = 12;
  s.median_score = 1;
  s.n_test = 2;
  s.score = 0.8133333333333334;
  s.interval = Interval{.low = 0.2, .high = 1, .level = 0.95, .method = "wilson/1", .seed = {}, .b = {}, .extra = {}};
  s.baseline = Score{.score = 0.5,
                     .interval = Interval{.low = 0.1, .high = 0.9, .level = 0.95, .method = "wilson/1", .seed = {}, .b = {}, .extra = {}},
                     .extra = {}};
  s.gain = 0.31333333333333335;
  s.gain_interval = Interval{.low = -0.1, .high = 0.7, .level = 0.95, .method = "paired-bootstrap/1", .seed = 7, .b = 1000, .extra = {}};
  s.test_looks = 1;
  s.per_call.tokens = {.p50 = 110, .p95 = 120, .extra = {}};
  s.per_call.msats = {.p50 = 42, .p95 = 43, .extra = {}};
  s.per_call.latency_ms = {.p50 = 5, .p95 = 9, .extra = {}};
  m.compatibility.required_lanes = {"lm:any"};
  m.compatibility.privacy_modes_allowed = {PrivacyMode::PublicOk, PrivacyMode::NoPii};
  m.provenance.task = LaneRef{lane, "tiny", {}};
  m.provenance.proposer = LaneRef{lane, "tiny", {}};
  m.provenance.assay = {"0.1.0", "x", {}};
  m.provenance.journal_root = std::string(64, 'b');
  m.provenance.usage = {.calls = 2, .cached_calls = 0, .prompt_tokens = 100, .completion_tokens = 10, .extra = {}};
  m.provenance.cost_msats = 42;
  m.provenance.duration_ms = 1234;
  return m;
}

inline ModuleFile sample_module() {
  ZeroEntropy zeros;
  return seal_module(sample_artifact(), sample_manifest(), sample_key(), zeros).value();
}

}  // namespace assay
