#pragma once
/// @file
/// A blocking HTTP/1.1 client that keeps its connections: for many requests to few servers, with bodies read as they come.
///
///     HttpSession session({}, clock);
///     ASSAY_TRY(const HttpResponse answer, session.send({"GET", url, {}, ""}, wait));
///     const auto part = [&](std::string_view bytes) { text += bytes; return true; };        // false: enough
///     ASSAY_TRY(const HttpResponse streamed, session.stream({"POST", url, {}, body}, part, wait));   // its body is empty
///
/// A connection that the server has closed while it was idle is noticed and replaced; a request that was sent is never sent again.
/// Thread safety: any number of requests at once, each on a connection of its own.

#include <functional>
#include <memory>
#include <string_view>

#include "assay/net/http_client.h"

namespace assay {

class HttpSession {
 public:
  /// Gets the body of a 2xx answer in pieces, in order, on the caller's thread. False ends the transfer without an error.
  using Part = std::function<bool(std::string_view)>;

  /// `keeps` false: one connection a request.
  HttpSession(HttpLimits limits, Clock& clock, bool keeps = true);
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  /// Errors: as http_send.
  Result<HttpResponse> send(const HttpRequest& request, const Wait& wait);
  /// As `send`, but the body of a 2xx answer goes to `part`; that of any other stands in the response. `sent` is set as soon as the
  /// server may have got something of the request: what became of it is then open if no response comes.
  Result<HttpResponse> stream(const HttpRequest& request, const Part& part, const Wait& wait, bool& sent);
  std::size_t idle() const;  ///< connections that are kept

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
