#pragma once
/// @file
/// A lane: a named way to get a completion. Source: docs/formats.md §4 LANE, REQUEST.
///
///     const Result<LmResponse> answer = lm.complete(request, wait);
///
/// Thread safety: `complete` may be called from many threads at once.

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/base/json.h"
#include "assay/base/shared_json.h"
#include "assay/contract/privacy.h"
#include "assay/lm/logprobs.h"
#include "assay/trace/usage.h"

namespace assay {

/// Who answers. lane_id = hash of the JSON; absent hashes are null there.
struct Lane {
  std::string kind;   ///< "local", "openai", "pylon", "replay", "scripted"
  std::string model;
  std::optional<std::string> model_sha256, tokenizer_sha256, chat_template_sha256;
  std::string engine;  ///< build or endpoint identity

  Json to_json() const;
  static Result<Lane> read(const Json& value);
  Result<std::string> id() const;
  bool operator==(const Lane&) const = default;
};

struct Message {
  std::string role;  ///< "system", "user", "assistant", "tool"
  Json content;      ///< text, or a list of parts
  Json to_json() const;
};

struct LmRequest {
  std::vector<Message> messages;
  SharedJson config;               ///< the artifact's, after overrides
  std::optional<std::int64_t> seed;
  Json schema;                     ///< what the lane must keep to, or null (docs/templates/chat-1.md)
  Json tools = JsonObject{};
  std::int64_t rollout = 0;
};

/// REQUEST as recorded and hashed; `request_hash = hash(request_json(…))`.
Json request_json(const LmRequest& request, const Lane& lane);
/// canonical(request_json(…)), without making the JSON value first. Errors: those of `canonical`.
Result<std::string> request_text(const LmRequest& request, const Lane& lane, const JsonLimits& limits = {});

struct LmResponse {
  std::string content;        ///< bytes as they came; the record keeps invalid UTF-8 as {"$base64"}
  std::string finish_reason;  ///< "stop", "length", …
  LmUsage usage;
  std::optional<std::vector<SaidToken>> logprobs = {};  ///< if the config asked for them: one entry for each completion token
  /// What a lane wants to be told once the answer stands in the record (or has reached its caller, where there is none): a lane that pays
  /// keeps it until then. May be empty; called at most once.
  std::function<void()> kept = {};
};

/// Does an error of this code leave open what the call used? For lanes inside the process; others say so by `LM::Events`.
bool may_have_used(ErrorCode code);

class LM {
 public:
  virtual ~LM() = default;
  virtual const Lane& lane() const = 0;
  /// lane().id(), worked out once.
  Result<std::string> lane_id() const;
  /// Errors of a lane inside the process: `unavailable`, `limit_exceeded` (context overflow, refused before generating), `refused`,
  /// `usage`: nothing was used; `timed_out`, `cancelled`, `malformed` and any other: the call may have been used up, and counts so
  /// (`may_have_used`). A lane behind a network (HttpLane, PylonLane) may give any of them after something was used, or paid: only
  /// `complete_with` tells, by its events. Who keeps accounts calls that one.
  virtual Result<LmResponse> complete(const LmRequest& request, const Wait& wait) = 0;
  /// What a lane tells while a call is under way, on the caller's thread. An empty one is not told.
  struct Events {
    /// Each payment as soon as it is made, or may have been made (data of a record's `payment` line), whatever becomes of the answer. True:
    /// it stands in a record now, so that no other record counts it.
    std::function<bool(const Json& payment)> paid;
    /// The request was sent, and what became of it is not known: it may be charged. `again`: the lane means to send it once more, which
    /// it must not where this returns an error (`over_budget`); that error is then the call's.
    std::function<Result<void>(bool again)> lost;
    std::string record = {};  ///< path of the record that payments go to; empty: none
  };
  /// As `complete`, for lanes that pay, try again, or know better than the error's code what was used.
  virtual Result<LmResponse> complete_with(const LmRequest& request, const Wait& wait, const Events& events);
  /// Most prompt tokens the request can use: exact where the tokenizer is known, else UTF-8 bytes + 16 a message.
  virtual Result<std::int64_t> prompt_tokens_max(const LmRequest& request) const;
  /// Most msats the call can cost, where the lane itself knows: a budget reserves it before the call. Empty: the price book's word.
  virtual Result<std::optional<std::int64_t>> cost_msats_max(const LmRequest&) const { return std::optional<std::int64_t>(); }
  /// Would it take a request with this config and schema, whatever is asked? For what is checked before a run. Errors: those with which it
  /// would refuse the call.
  virtual Result<void> takes(const LmRequest&) const { return {}; }
  /// Modes this lane may see. Lanes inside the process accept all; others public_ok and no_pii unless configured.
  virtual std::vector<PrivacyMode> privacy_modes() const;
  /// The same request gets the same answer, whenever and however often it is asked: a compile that only such lanes answered repeats.
  virtual bool repeats() const { return false; }
  /// Calls that gain from being made at once; results never depend on it.
  virtual int concurrency() const { return 4; }
  /// How well the provider did before whom the lane buys from; empty: nothing is known. Only lanes of kind "pylon" buy.
  virtual std::optional<double> provider_reputation() const { return std::nullopt; }
  /// What it can do, as Compatibility names it: "json_schema", "context:2048", …
  virtual std::vector<std::string> capabilities() const { return {}; }

 private:
  mutable std::mutex id_mutex_;
  mutable std::optional<Lane> named_;  // the lane that `id_` belongs to: one may still change while it is being set up
  mutable std::string id_;
};

}  // namespace assay
