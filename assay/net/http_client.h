#pragma once
/// @file
/// A blocking HTTP/1.1 client: one request, one response, one connection.
///
///     const Wait wait{Deadline::after(clock, std::chrono::seconds(30)), stop};
///     ASSAY_TRY(const HttpResponse answer, http_send({"POST", url, {{"content-type", "application/json"}}, body}, {}, wait, clock));
///     if (answer.status != 200) …                       // any status is an answer, not an error
///
/// Redirects are not followed and cookies not kept. https checks certificate and host name against the machine's trust store.
/// Thread safety: free function, any number of threads.

#include <cstddef>
#include <string>

#include "assay/base/clock.h"
#include "assay/base/result.h"
#include "assay/net/http_message.h"

namespace assay {

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  HttpHeaders headers;  ///< Host, Content-Length and Connection are set here and must not be given
  std::string body;
};

struct HttpResponse {
  int status = 0;
  HttpHeaders headers;
  std::string body;
};

struct HttpLimits {
  std::size_t header_bytes_max = 64 * 1024;
  std::size_t body_bytes_max = std::size_t{16} << 20;
  std::string ca_file = {};  ///< PEM file of further trusted roots; empty: the machine's only
};

/// Sends and waits for the whole response. The deadline covers everything: name look-up, connect, TLS, send and receive.
/// Errors: `malformed` (URL, header, or an answer that is not HTTP), `limit_exceeded`, `unavailable` (no connection, bad
/// certificate, peer gone; the message names host and port, never path or headers), `timed_out`, `cancelled`.
/// A look-up in the system resolver cannot be broken off: a cancelled call may take as long as the resolver's own time-out.
Result<HttpResponse> http_send(const HttpRequest& request, const HttpLimits& limits, const Wait& wait, Clock& clock);

}  // namespace assay
