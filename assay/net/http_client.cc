#include "assay/net/http_client.h"

#include <fmt/format.h>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "assay/net/asio.h"
#include "assay/net/outgoing.h"
#include "assay/net/tls.h"

namespace assay {
namespace {

namespace http = net::beast::http;
using net::AsioError;
using net::Blocking;
using net::Outgoing;

// Sends and receives over a connected stream; `close` ends whatever is under way.
template <class Stream, class Close>
Result<HttpResponse> exchange(Blocking& blocking, Stream& stream, const Url& url, Outgoing& out, const HttpLimits& limits, Close close) {
  const auto write = [&](auto done) { http::async_write(stream, out, [done](AsioError error, std::size_t) { done(error); }); };
  ASSAY_TRY(const AsioError written, blocking.run("the request", write, close));
  // A server that refuses early (413, 431) may close before it has read all: its answer is still worth reading.
  if (written && written != net::asio::error::broken_pipe && written != net::asio::error::connection_reset) {
    return std::unexpected(net::peer_error(url, "send to", written));
  }
  net::beast::flat_buffer buffer(limits.header_bytes_max + 64 * 1024);
  http::response_parser<http::string_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes_max));
  parser.body_limit(limits.body_bytes_max);
  parser.skip(out.method() == http::verb::head);
  const auto read = [&](auto done) { http::async_read(stream, buffer, parser, [done](AsioError error, std::size_t) { done(error); }); };
  ASSAY_TRY(const AsioError got, blocking.run("the response", read, close));
  if (got && !(parser.is_done())) return std::unexpected(net::peer_error(url, "read from", got));
  auto message = parser.release();
  HttpResponse response;
  response.status = static_cast<int>(message.result_int());
  for (const auto& field : message) {
    response.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  response.body = std::move(message.body());
  return response;
}

Result<HttpResponse> send_tls(Blocking& blocking, net::asio::io_context& context, const Url& url, Outgoing& out, const HttpLimits& limits) {
  ASSAY_TRY(const auto tls, net::tls_context(limits.ca_file));
  net::beast::ssl_stream<net::beast::tcp_stream> stream(context, *tls);
  ASSAY_CHECK(net::expect_host(stream, url));
  ASSAY_CHECK(net::connect_tcp(blocking, stream.next_layer(), url));
  const auto close = [&] { stream.next_layer().close(); };
  const auto shake = [&](auto done) { stream.async_handshake(net::asio::ssl::stream_base::client, done); };
  ASSAY_TRY(const AsioError error, blocking.run("the TLS handshake", shake, close));
  if (error) return std::unexpected(net::peer_error(url, "agree on TLS with", error));
  return exchange(blocking, stream, url, out, limits, close);
}

Result<HttpResponse> send(const HttpRequest& request, const HttpLimits& limits, const Wait& wait, Clock& clock) {
  ASSAY_TRY(const Url url, parse_url(request.url));
  if (url.websocket()) return fail(ErrorCode::usage, "an HTTP request was given a WebSocket URL", "use http:// or https://");
  ASSAY_TRY(Outgoing out, net::outgoing(request, url, false));
  net::asio::io_context context;
  Blocking blocking(context, wait, clock);
  if (url.tls()) return send_tls(blocking, context, url, out, limits);
  net::beast::tcp_stream stream(context);
  ASSAY_CHECK(net::connect_tcp(blocking, stream, url));
  return exchange(blocking, stream, url, out, limits, [&] { stream.close(); });
}

}  // namespace

Result<HttpResponse> http_send(const HttpRequest& request, const HttpLimits& limits, const Wait& wait, Clock& clock) {
  try {
    return send(request, limits, wait, clock);
  } catch (const std::exception& problem) {  // Boost throws where the machine is out of memory or descriptors
    return fail(ErrorCode::io, std::string("the HTTP request could not be made: ") + problem.what());
  }
}

}  // namespace assay
