#pragma once
/// @file
/// Takes what looks like a secret out of what a viewer sees. The record itself is not changed.
///
///     redact_text("key sk-live-0123456789abcdefghij");     // "key [REDACTED]"
///     redact_value(Json(JsonObject{{"password", "x"}}));    // {"password":"[REDACTED]"}
///
/// Shapes: keys of well-known services by their prefix (sk-, ghp_, github_pat_, xoxb-, AKIA, AIza, hf_, …), `bearer` and what
/// follows it, JSON web tokens, Nostr secret keys (nsec1), PEM private keys; and text members named token, secret, password,
/// api_key, apikey, authorization or bearer. It is a net for accidents, not a border: records should hold no secrets at all.
/// Thread safety: pure. Cost: linear.

#include <string>
#include <string_view>

#include "assay/base/json.h"

namespace assay {

inline constexpr std::string_view redacted_mark = "[REDACTED]";

std::string redact_text(std::string_view text);
/// Every text in the value, at any depth; keys stay.
Json redact_value(const Json& value);

}  // namespace assay
