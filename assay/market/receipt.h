#pragma once
/// @file
/// A buyer's receipt: who paid whom how much for which job, with the proof of payment. Source: docs/formats.md §3 (signing), §7.
///
///     ASSAY_TRY(const Json receipt, make_payment_receipt(facts, buyer, entropy, clock));
///     verify_payment_receipt(receipt);          // signature, and sha256(preimage) = payment hash
///
/// Thread safety: free functions.

#include <cstdint>
#include <string>

#include "assay/base/clock.h"
#include "assay/base/keys.h"

namespace assay {

struct PaymentFacts {
  std::string request_id, result_id, job_type, job_hash, payment_hash, preimage, provider;
  std::int64_t amount_msats = 0;
};

/// `{"format": "assay.receipt/1", "kind": "payment", "request_id", "result_id", "job_type", "job_hash", "payment_hash",
/// "preimage", "amount_msats", "buyer", "provider", "created_at", "signer", "signature"}`; buyer is the signer.
/// Errors: `mismatch` (the preimage is not that of the payment hash).
Result<Json> make_payment_receipt(const PaymentFacts& facts, const SecretKey& buyer, Entropy& entropy, Clock& clock);

/// Errors: `malformed`, `mismatch`.
Result<PaymentFacts> verify_payment_receipt(const Json& receipt);

}  // namespace assay
