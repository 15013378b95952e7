#include "assay/net/asio.h"

#include <vector>

#include <fmt/format.h>
#include <boost/beast/http/error.hpp>
#include <boost/beast/websocket/error.hpp>

namespace assay::net {
namespace {

// Addresses and "localhost" without asking anyone; empty for other names.
std::vector<Tcp::endpoint> literal_endpoints(const Url& url) {
  if (url.host == "localhost") {
    return {{asio::ip::address_v4::loopback(), url.port}, {asio::ip::address_v6::loopback(), url.port}};
  }
  AsioError error;
  const auto address = asio::ip::make_address(url.host, error);
  if (error) return {};
  return {{address, url.port}};
}

}  // namespace

Result<void> connect_tcp(Blocking& blocking, beast::tcp_stream& stream, const Url& url) {
  std::vector<Tcp::endpoint> endpoints = literal_endpoints(url);
  if (endpoints.empty()) {
    Tcp::resolver resolver(stream.get_executor());
    const auto start = [&](auto done) {
      resolver.async_resolve(url.host, std::to_string(url.port),
                             [&endpoints, done](AsioError error, const Tcp::resolver::results_type& found) {
                               for (const auto& entry : found) endpoints.push_back(entry.endpoint());
                               done(error);
                             });
    };
    ASSAY_TRY(const AsioError error, blocking.run("the name look-up", start, [&] { resolver.cancel(); }));
    if (error) return std::unexpected(peer_error(url, "look up", error));
  }
  stream.expires_never();  // the caller's deadline rules
  const auto start = [&](auto done) { stream.async_connect(endpoints, [done](AsioError error, const Tcp::endpoint&) { done(error); }); };
  ASSAY_TRY(const AsioError error, blocking.run("the connection", start, [&] { stream.close(); }));
  if (error) return std::unexpected(peer_error(url, "connect to", error));
  AsioError ignored;
  stream.socket().set_option(Tcp::no_delay(true), ignored);
  return {};
}

Error peer_error(const Url& url, std::string_view doing, AsioError error) {
  ErrorCode code = ErrorCode::unavailable;
  std::string remedy = "check the address and that the other side is running";
  if (error == beast::http::error::body_limit || error == beast::http::error::header_limit ||
      error == beast::http::error::buffer_overflow || error == beast::websocket::error::message_too_big ||
      error == beast::websocket::error::buffer_overflow) {
    code = ErrorCode::limit_exceeded;
    remedy = "the peer sends more than is read from anyone: ask for less, or use another";
  } else if (error == beast::http::error::partial_message || error == beast::http::error::end_of_stream || error == asio::error::eof) {
    remedy = "the peer closed the connection early: try again";
  } else if (error.category() == make_error_code(beast::http::error::bad_version).category()) {
    code = ErrorCode::malformed;
    remedy = "the peer does not speak HTTP/1.1 as it should";
  }
  return Error{code, fmt::format("cannot {} {}: {}", doing, url.authority(), error.message()), url.authority(), remedy};
}

}  // namespace assay::net
