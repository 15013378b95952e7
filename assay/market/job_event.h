#pragma once
/// @file
/// Jobs as Nostr events (NIP-90): request 5050, result 6050, feedback 7000. Source: docs/formats.md §7.
///
///     ASSAY_TRY(const UnsignedEvent ask, request_event(job, terms, key, now, entropy));
///     ASSAY_TRY(const JobRequest read, read_job_request(*event, key, {}));         // or `unsupported: …`, by name
///
/// A request to one provider is encrypted to it by default (NIP-44, tag `encrypted`), and so are its result and the text of
/// feedback; prices, states and ids stay readable. Thread safety: pure functions.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "assay/market/job.h"
#include "assay/nostr/event.h"

namespace assay {

inline constexpr std::int64_t job_request_kind = 5050;
inline constexpr std::int64_t job_result_kind = 6050;
inline constexpr std::int64_t job_feedback_kind = 7000;
inline constexpr std::int64_t provider_info_kind = 31990;

struct JobLimits {
  std::size_t payload_bytes_max = 40 * 1024;  ///< encrypted and in base64, 40 KiB still fit an event of 64 KiB
  std::size_t result_bytes_max = 40 * 1024;   ///< of the result's text, before encryption
};

struct RequestTerms {
  std::optional<std::string> provider;  ///< public key; empty: any
  std::int64_t bid_msats = 0;           ///< the most the buyer will pay
  std::string relay_url;
  std::int64_t expires_at = 0;          ///< Unix seconds
  bool encrypt = true;                  ///< only with a provider
  std::string sandbox_profile;          ///< for a sandbox job: "small", …; empty: whatever holds the request
};

/// Tags in this order: i, output, param job_type, param job_hash, param schema_version, bid, relays, p, expiration. A random
/// param makes the id new each time, so that asking twice is two jobs.
Result<UnsignedEvent> request_event(const JobEnvelope& job, const RequestTerms& terms, const SecretKey& buyer, std::int64_t now,
                                    Entropy& entropy);

struct JobRequest {
  EventId id;
  std::string buyer;
  JobEnvelope job;
  bool plain = false;      ///< a NIP-90 request without an envelope: the result is bare text
  bool encrypted = false;
  std::optional<std::int64_t> bid_msats;
  std::string sandbox_profile;
};

/// Canonical JSON that may stand in an event: DEL, which programs hash differently, is written as an escape.
Result<std::string> event_json_text(const Json& value);

/// A peer's words for a terminal, a log or a tag: valid UTF-8, control characters as '?', at most `bytes_max`.
std::string printable_text(std::string_view text, std::size_t bytes_max = 500);

/// True if the event asks this provider: a request that names it or nobody, not its own, not a trace, not expired.
bool is_for_provider(const Event& event, const std::string& provider, std::int64_t now);

/// Everything that a request demands, or the first thing that is not honoured, by name.
/// Errors: `refused` ("unsupported: …"), `malformed`, `mismatch` (job hash), `limit_exceeded`.
Result<JobRequest> read_job_request(const Event& event, const SecretKey& provider, const JobLimits& limits);

/// What an invoice for a job must commit to in its description hash: so an invoice made for one request, provider and price
/// cannot be shown for another.
Result<std::string> quote_commitment(const EventId& request_id, const std::string& provider, const std::string& job_hash,
                                     std::int64_t amount_msats);

struct JobFeedback {
  std::string status;  ///< "payment-required", "processing", "error", "partial", "success"
  std::string text;    ///< for people; printable once read
  std::optional<std::int64_t> amount_msats;
  std::string invoice;
};
UnsignedEvent feedback_event(const EventId& request_id, const std::string& buyer, const JobFeedback& feedback, const std::string& relay_url,
                             std::int64_t now);
/// Errors: `malformed` (no status; an amount that is no count).
Result<JobFeedback> read_feedback(const Event& event);

/// `content` is encrypted to the buyer if the request was.
Result<UnsignedEvent> result_event(const JobRequest& request, std::string content, std::int64_t amount_msats, const std::string& relay_url,
                                   const SecretKey& provider, std::int64_t now, Entropy& entropy);
/// The text of a result: decrypted if it says so. Errors: `malformed`, `mismatch`, `limit_exceeded`.
Result<std::string> read_result_text(const Event& event, const SecretKey& buyer, const JobLimits& limits);

/// The event must be about that request and to that buyer. Errors: `mismatch`.
Result<void> check_answers(const Event& event, const EventId& request_id, const std::string& buyer);

}  // namespace assay
