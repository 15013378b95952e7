#pragma once
/// @file
/// The URLs that Assay dials: http, https, ws and wss. Source: RFC 3986, of which user names, passwords and fragments are refused.
///
///     ASSAY_TRY(const Url url, parse_url("wss://relay.example/path?x=1"));   // tls, "relay.example", 443, "/path?x=1"
///
/// Thread safety: values.

#include <cstdint>
#include <string>
#include <string_view>

#include "assay/base/result.h"

namespace assay {

struct Url {
  std::string scheme;         ///< "http", "https", "ws" or "wss"
  std::string host;           ///< lower case; an IPv6 address without its brackets
  std::uint16_t port = 0;     ///< the scheme's own (80 or 443) if none was written
  std::string target = "/";   ///< path and query as sent; it may hold a key, so no error repeats it
  bool tls() const { return scheme == "https" || scheme == "wss"; }
  bool websocket() const { return scheme == "ws" || scheme == "wss"; }
  /// "host" or "host:port", as a Host header and an error say it.
  std::string authority() const;
};

/// Errors: `malformed`; the message names the part that is wrong and never repeats path, query or password.
Result<Url> parse_url(std::string_view text);

/// True for a Host header (or host) that names this machine only: localhost, 127.0.0.0/8, [::1], with or without a port.
/// A page of another site that points its own name at 127.0.0.1 (DNS rebinding) still sends its own name here.
bool is_loopback_host(std::string_view host);

/// True for an Origin header whose host is loopback. "null" and anything unreadable is not.
bool is_loopback_origin(std::string_view origin);

/// "%2F" → "/", "+" → " ". Broken escapes stay as they are.
std::string percent_decode(std::string_view text);

}  // namespace assay
