#pragma once
/// @file
/// Nostr events (NIP-01): the exact text that is hashed, signing, and verification.
///
///     ASSAY_TRY(const VerifiedEvent event, sign_event({.created_at = 1790000000, .kind = 1, .content = "hello"}, key, entropy));
///     ASSAY_TRY(const VerifiedEvent theirs, verify_event(text));     // or an error: malformed, mismatch, limit_exceeded
///     theirs->content;
///
/// A `VerifiedEvent` can be had only from these two functions: what holds one has checked id and signature.
/// Thread safety: values and pure functions.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/base/keys.h"

namespace assay {

using EventId = std::string;  ///< 64 lowercase hex digits
using EventTag = std::vector<std::string>;
using EventTags = std::vector<EventTag>;

inline constexpr std::int64_t event_kind_max = 65535;

/// What an author decides.
struct UnsignedEvent {
  std::int64_t created_at = 0;  ///< Unix seconds
  std::int64_t kind = 1;        ///< 0 … 65535
  EventTags tags;
  std::string content;
};

struct Event {
  EventId id;
  std::string pubkey;  ///< x-only, hex
  std::int64_t created_at = 0;
  std::int64_t kind = 0;
  EventTags tags;
  std::string content;
  std::string sig;  ///< BIP-340 over the id; many are valid for one id, so it identifies nothing
  bool operator==(const Event&) const = default;
};

struct EventLimits {
  std::size_t event_bytes_max = 64 * 1024;  ///< of the event's JSON
  std::size_t tags_max = 2000;
  std::size_t tag_items_max = 4000;         ///< over all tags
};

/// An event whose id and signature have been checked, or made here.
class VerifiedEvent {
 public:
  const Event& operator*() const { return event_; }
  const Event* operator->() const { return &event_; }
  const Event& event() const { return event_; }

 private:
  friend Result<VerifiedEvent> verify_event(Event event);
  friend Result<VerifiedEvent> sign_event(UnsignedEvent event, const SecretKey& key, Entropy& entropy);
  explicit VerifiedEvent(Event event) : event_(std::move(event)) {}
  Event event_;
};

/// `[0,pubkey,created_at,kind,tags,content]` as NIP-01 writes it; SHA-256 of it is the id.
std::string event_text(const Event& event);
EventId event_id(const Event& event);

/// Errors: `malformed`: not UTF-8, kind or time out of range, an empty tag, or a control character that implementations hash
/// differently (all but \n \r \t \b \f, and DEL): the path names the place.
Result<VerifiedEvent> sign_event(UnsignedEvent event, const SecretKey& key, Entropy& entropy);

/// The shape only: seven members with their types, hex in lower case, kind in range. Unknown members are dropped.
/// Errors: `malformed`, `limit_exceeded`.
Result<Event> read_event(const Json& json, const EventLimits& limits = {});
/// Errors: `mismatch` (the id is not that of the content).
Result<void> check_event_id(const Event& event);
/// Id, then signature. Errors: `mismatch`.
Result<VerifiedEvent> verify_event(Event event);
Result<VerifiedEvent> verify_event_json(const Json& json, const EventLimits& limits = {});
Result<VerifiedEvent> verify_event(std::string_view text, const EventLimits& limits = {});

Json to_json(const Event& event);
/// One line, members in the usual order.
std::string event_json(const Event& event);

/// The first value of the first tag of that name ("" if the tag has none).
std::optional<std::string> tag_value(const Event& event, std::string_view name);
/// The first values of all tags of that name.
std::vector<std::string> tag_values(const Event& event, std::string_view name);

// Classes of kinds (NIP-01).
bool is_replaceable(std::int64_t kind);  ///< 0, 3, 10000 … 19999: the newest of an author
bool is_ephemeral(std::int64_t kind);    ///< 20000 … 29999: passed on, never stored
bool is_addressable(std::int64_t kind);  ///< 30000 … 39999: the newest of an author and `d` value
/// "kind:pubkey:d", as an `a` tag names a replaceable or addressable event.
std::string event_address(const Event& event);

}  // namespace assay
