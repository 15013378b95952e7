#pragma once
/// @file
/// What is bought and sold: job envelopes, and the payloads of text generation. Source: docs/formats.md §7.
/// (The payload of `oa.sandbox_run.v1` is in assay/sandbox/request.h.)
///
///     ASSAY_TRY(const JobEnvelope job, text_job(request, {}));                     // an LmRequest as a job
///     ASSAY_TRY(const JobEnvelope run, sandbox_job(sandbox_request));
///     job.job_hash;                                                                 // hash of the payload
///
/// Thread safety: values and pure functions.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/lm/lm.h"
#include "assay/sandbox/request.h"

namespace assay {

/// Text generation with our own request: the payload is REQUEST (docs/formats.md §4) with `model` null or naming one.
inline constexpr std::string_view text_job_type = "assay.text_generation.v1";
/// Plain NIP-90 text generation: one prompt and a few parameters; the result is bare text.
inline constexpr std::string_view plain_job_type = "text_generation";
inline constexpr std::string_view sandbox_job_type = "oa.sandbox_run.v1";
inline constexpr std::string_view job_schema_version = "1.0.0";

struct JobEnvelope {
  std::string job_type;
  std::string schema_version = std::string(job_schema_version);
  std::string job_hash;  ///< of the request's payload; a response repeats it
  Json payload;
};

/// `job_hash` is computed here. Errors: those of `hash`.
Result<JobEnvelope> make_job(std::string_view job_type, Json payload);
Json to_json(const JobEnvelope& envelope);
/// Shape, and that the major version is ours. Does not recompute the hash: a response carries that of its request.
/// Errors: `malformed`, `refused` ("unsupported: schema_version 2.0.0").
Result<JobEnvelope> read_envelope(const Json& json);
/// A request with the defaults of its payload written out, whose hash must then be the one it names (docs/formats.md §7).
/// Errors: `mismatch`, and those of reading a sandbox request.
Result<JobEnvelope> completed_request(JobEnvelope request);

/// A model that a text job demands; an empty member demands nothing.
struct ModelDemand {
  std::string id;
  std::string digest;  ///< sha256 of the model file
};

struct TextJob {
  LmRequest request;
  ModelDemand model;
};

Result<JobEnvelope> text_job(const LmRequest& request, const ModelDemand& model);
Result<JobEnvelope> sandbox_job(const SandboxRunRequest& request);

/// Every member is read or refused by name: roles, texts, config keys, seed, schema, tools, rollout, model.
/// Errors: `malformed`, `limit_exceeded`, `refused` ("unsupported: config.top_k"); the path is the member's.
Result<TextJob> read_text_job(const Json& payload);
/// What a plain NIP-90 request becomes: one user message, the parameters as config.
Json plain_text_payload(std::string_view prompt, const JsonObject& parameters);

/// The response payload of a text job.
struct TextAnswer {
  std::string content;  ///< bytes; not UTF-8: {"$base64"} on the wire
  std::string finish_reason;
  LmUsage usage;
  Json provenance;      ///< model_id, sampling, input_sha256, output_sha256, provider_pubkey, executed_at, duration_ms, tokens
};
Json to_json(const TextAnswer& answer);
/// From a seller who may lie: the content must have the hash that is claimed for it. Errors: `malformed`, `mismatch`.
Result<TextAnswer> read_text_answer(const Json& payload);

}  // namespace assay
