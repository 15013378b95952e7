#pragma once
/// @file
/// A signed statement of what was run, how it was kept in and what came of it. Source: docs/formats.md §3 (signing), §7.
///
///     ASSAY_TRY(const Json receipt, make_receipt(request, response, key, entropy, clock));
///     verify_receipt(receipt, request, response);      // Result<void>: signature, and both hashes
///
/// Thread safety: free functions.

#include "assay/base/clock.h"
#include "assay/base/keys.h"
#include "assay/sandbox/request.h"

namespace assay {

/// `{"format": "assay.receipt/1", "kind": "oa.sandbox_run.v1", "job_hash", "response_hash", "status", "profile", "isolation",
/// "runs": [{"exit_code", "verdict", "stdout_sha256", "stderr_sha256"}], "artifacts": [{"path", "sha256"}], "created_at",
/// "signer", "signature"}`. Errors: `mismatch` if the response is not one to this request.
Result<Json> make_receipt(const SandboxRunRequest& request, const SandboxRunResponse& response, const SecretKey& key, Entropy& entropy,
                          Clock& clock);

/// Format, kind and signature. Errors: `malformed`, `mismatch`.
Result<void> verify_receipt(const Json& receipt);
/// As above, and that it speaks of just this request and response.
Result<void> verify_receipt(const Json& receipt, const SandboxRunRequest& request, const SandboxRunResponse& response);

}  // namespace assay
