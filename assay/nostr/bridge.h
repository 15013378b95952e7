#pragma once
/// @file
/// NostrBridge: a finished run's trace as Nostr events. Source: docs/formats.md §6; the names are the plan's.
///
///     const NostrBridge bridge{"ws://127.0.0.1:7777", key};
///     ASSAY_TRY(const std::vector<EventId> ids, bridge.publish_trace(graph, manifest));   // the last is the run's summary
///     ASSAY_TRY(const FetchedTrace trace, fetch_trace(*client, ids.back(), wait));
///
/// What is published: for each LM call and each sandbox run a request (kind 5050) and, if it was answered, a result (6050),
/// addressed to the signer itself and marked as a trace, so that no provider takes it for work; then a summary (30078) that names
/// all of them and the record's root hash. Root, Map and answers from the cache publish nothing. The summary's `d` is the run_id,
/// with "/open" for a run that has not ended, "/module" where a manifest is named and "/app-data" for that form: each way to
/// publish a run has a place of its own, and none takes another's.
/// Contents are commitments, hash([salt, value]), unless the run's privacy mode is `public_ok`.
/// Times come from the record, so publishing the same run again gives the same ids, and the relay answers "duplicate".
/// Thread safety: a value; `publish_trace` blocks its caller.

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/base/keys.h"
#include "assay/contract/manifest.h"
#include "assay/nostr/event.h"
#include "assay/nostr/relay_client.h"
#include "assay/trace/graph.h"

namespace assay {

inline constexpr std::int64_t trace_request_kind = 5050;
inline constexpr std::int64_t trace_result_kind = 6050;
inline constexpr std::int64_t trace_summary_kind = 30078;
inline constexpr std::int64_t trace_part_kind = 78;
inline constexpr std::string_view trace_format = "assay.trace/1";
inline constexpr std::string_view trace_tag = "assay-trace";  ///< the `t` tag of everything published here

struct NostrBridge {
  std::string relay_url;
  SecretKey keypair;
  bool as_app_data = false;                 ///< requests and results as kind 78 too: for relays that are not one's own
  std::chrono::milliseconds patience{60'000};  ///< for a whole `publish_trace`
  std::stop_token stop = {};
  Clock* clock = &system_clock();
  Entropy* entropy = &system_entropy();

  /// The node's first event, or nothing for Root, Map and nodes that called nobody. `privacy_mode` as in `Graph`.
  std::optional<Event> node_to_event(const Node& node, std::string_view privacy_mode = {}) const;
  /// All events of a node, requests before their results.
  Result<std::vector<VerifiedEvent>> node_events(const Node& node, std::string_view privacy_mode = {}) const;
  /// All events of a run, the summary last. `manifest` may be null. Nothing is sent.
  Result<std::vector<VerifiedEvent>> trace_events(const Graph& graph, const CompiledModuleManifest* manifest) const;

  /// Sends what `trace_events` gives and waits until the relay has acknowledged each. After an error, call it again: what
  /// arrived is acknowledged as a duplicate. Errors: as RelayClient; `refused` (the relay's words), `timed_out`.
  Result<std::vector<EventId>> publish_trace(const Graph& graph, const CompiledModuleManifest& manifest) const;
  Result<std::vector<EventId>> publish_trace(const Graph& graph, const CompiledModuleManifest* manifest) const;

  /// The salt of a commitment: known to the holder of the key only, and given away for one value at a time.
  /// HMAC-SHA-256 with the secret key over "assay.salt/1\n", the node's path, the call's index, its start in ns and the role.
  std::string commitment_salt(std::string_view path, std::int64_t index, std::int64_t start_unix_ns, std::string_view role) const;
};

/// A published run, read back.
struct FetchedTrace {
  VerifiedEvent summary;
  std::string run_id;
  std::string root_hash;                 ///< of the run record; "" if the run had not ended
  Json content;                          ///< the summary's
  std::vector<VerifiedEvent> events;     ///< in the order in which the summary names them
};

/// Reads a summary and everything that it names; all of one author. Errors: `unavailable` (not there, with the first missing
/// id), `malformed` (no summary of ours, or a run id or root hash that is none), `mismatch` (an event of another author, or a result
/// whose request is not part of it).
Result<FetchedTrace> fetch_trace(RelayClient& relay, const EventId& summary_id, const Wait& wait);
/// The same, by author and run: of several summaries the one that says most (ended before open, with a manifest before without).
Result<FetchedTrace> fetch_trace_of_run(RelayClient& relay, const std::string& author_hex, const std::string& run_id, const Wait& wait);

}  // namespace assay
