#include "assay/net/http_session.h"

#include <map>
#include <mutex>
#include <optional>
#include <vector>

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
using Parser = http::response_parser<http::string_body>;
using TlsStream = net::beast::ssl_stream<net::beast::tcp_stream>;

constexpr std::size_t idle_max = 32;
constexpr int interim_max = 8;  // answers of 1xx before the one that counts

// One connection with its own event loop; used by one request at a time.
class Connection {
 public:
  explicit Connection(const HttpLimits& limits) : limits_(limits), buffer_(limits.header_bytes_max + 64 * 1024) {}

  Result<void> open(const Url& url, const Wait& wait, Clock& clock) {
    Blocking blocking(context_, wait, clock);
    if (!url.tls()) {
      plain_.emplace(context_);
      return net::connect_tcp(blocking, *plain_, url);
    }
    ASSAY_TRY(tls_context_, net::tls_context(limits_.ca_file));
    tls_.emplace(context_, *tls_context_);
    ASSAY_CHECK(net::expect_host(*tls_, url));
    ASSAY_CHECK(net::connect_tcp(blocking, tls_->next_layer(), url));
    const auto shake = [&](auto done) { tls_->async_handshake(net::asio::ssl::stream_base::client, done); };
    ASSAY_TRY(const AsioError error, blocking.run("the TLS handshake", shake, [this] { close(); }));
    if (error) return std::unexpected(net::tls_error(*tls_, url, error));
    return {};
  }

  // An idle connection on which something came, or whose peer has gone, is of no use any more.
  bool usable() {
    char byte = 0;
    AsioError error;
    auto& socket = tcp().socket();
    if (!socket.is_open() || buffer_.size() > 0) return false;
    socket.non_blocking(true, error);
    if (error) return false;
    socket.receive(net::asio::buffer(&byte, 1), Tcp::socket::message_peek, error);
    return error == net::asio::error::would_block;
  }

  // Reads as much as `part` wants; `reusable` says whether the connection may serve another request.
  Result<HttpResponse> exchange(const Url& url, Outgoing& out, const HttpSession::Part* part, const Wait& wait, Clock& clock,
                                bool& reusable) {
    Blocking blocking(context_, wait, clock);
    const auto stop = [this] { close(); };
    const auto write = [&](auto done) {
      with_stream([&](auto& stream) { http::async_write(stream, out, [done](AsioError error, std::size_t) { done(error); }); });
    };
    ASSAY_TRY(const AsioError written, blocking.run("the request", write, stop));
    if (written && written != net::asio::error::broken_pipe && written != net::asio::error::connection_reset)
      return std::unexpected(net::peer_error(url, "send to", written));
    std::optional<Parser> parsing;
    const auto read_header = [&](auto done) {
      with_stream(
          [&](auto& stream) { http::async_read_header(stream, buffer_, *parsing, [done](AsioError error, std::size_t) { done(error); }); });
    };
    AsioError got;
    for (int interim = 0; interim <= interim_max; ++interim) {  // 1xx comes before the answer (RFC 9110 §15.2)
      parsing.emplace();
      parsing->header_limit(static_cast<std::uint32_t>(limits_.header_bytes_max));
      parsing->body_limit(limits_.body_bytes_max);
      parsing->skip(out.method() == http::verb::head);
      ASSAY_TRY(got, blocking.run("the response", read_header, stop));
      if (got || parsing->get().result_int() / 100 != 1) break;
    }
    Parser& parser = *parsing;
    const auto read_some = [&](auto done) {
      with_stream(
          [&](auto& stream) { http::async_read_some(stream, buffer_, parser, [done](AsioError error, std::size_t) { done(error); }); });
    };
    const bool in_parts = part != nullptr && !got && parser.get().result_int() / 100 == 2;
    while (!got && !parser.is_done()) {  // ends: with the body, at the deadline, or on an error
      ASSAY_TRY(got, blocking.run("the response", read_some, stop));
      if (!in_parts || parser.get().body().empty()) continue;
      const bool more = (*part)(parser.get().body());
      parser.get().body().clear();
      if (!more) return taken(parser);  // the rest stays unread: the connection ends here
    }
    if (got && !parser.is_done()) return std::unexpected(net::peer_error(url, "read from", got));
    reusable = !written && parser.keep_alive();
    return taken(parser);
  }

 private:
  using Tcp = net::Tcp;
  net::beast::tcp_stream& tcp() { return tls_ ? tls_->next_layer() : *plain_; }
  void close() { tcp().close(); }

  template <class Use>
  void with_stream(Use use) {
    if (tls_) use(*tls_);
    else use(*plain_);
  }

  static HttpResponse taken(Parser& parser) {
    HttpResponse response;
    auto& message = parser.get();
    response.status = static_cast<int>(message.result_int());
    for (const auto& field : message) response.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
    response.body = std::move(message.body());
    return response;
  }

  const HttpLimits& limits_;
  net::asio::io_context context_;
  std::unique_ptr<net::asio::ssl::context> tls_context_;
  std::optional<net::beast::tcp_stream> plain_;
  std::optional<TlsStream> tls_;
  net::beast::flat_buffer buffer_;
};

}  // namespace

struct HttpSession::Impl {
  Impl(HttpLimits l, Clock& c, bool k) : limits(std::move(l)), clock(c), keeps(k) {}

  HttpLimits limits;
  Clock& clock;
  const bool keeps;  // connections, for the next request
  mutable std::mutex mutex;
  std::map<std::string, std::vector<std::unique_ptr<Connection>>> kept;  // by scheme and authority

  std::unique_ptr<Connection> take(const std::string& place) {
    const std::lock_guard lock(mutex);
    auto& waiting = kept[place];
    while (!waiting.empty()) {  // ends: every round takes one off
      auto connection = std::move(waiting.back());
      waiting.pop_back();
      if (connection->usable()) return connection;
    }
    return nullptr;
  }

  void keep(const std::string& place, std::unique_ptr<Connection> connection) {
    const std::lock_guard lock(mutex);
    if (auto& waiting = kept[place]; waiting.size() < idle_max) waiting.push_back(std::move(connection));
  }

  Result<HttpResponse> run(const HttpRequest& request, const Part* part, const Wait& wait, bool& sent) {
    ASSAY_TRY(const Url url, parse_url(request.url));
    if (url.websocket()) return fail(ErrorCode::usage, "an HTTP request was given a WebSocket URL", "use http:// or https://");
    ASSAY_TRY(Outgoing out, net::outgoing(request, url, keeps));
    const std::string place = url.scheme + "://" + url.authority();
    auto connection = take(place);
    if (connection == nullptr) {
      connection = std::make_unique<Connection>(limits);
      ASSAY_CHECK(connection->open(url, wait, clock));
    }
    bool reusable = false;
    sent = true;
    auto response = connection->exchange(url, out, part, wait, clock, reusable);
    if (keeps && reusable) keep(place, std::move(connection));
    return response;
  }

  Result<HttpResponse> guarded(const HttpRequest& request, const Part* part, const Wait& wait, bool& sent) {
    try {
      return run(request, part, wait, sent);
    } catch (const std::exception& problem) {  // Boost throws where the machine is out of memory or descriptors
      return fail(ErrorCode::io, std::string("the HTTP request could not be made: ") + problem.what());
    }
  }
};

HttpSession::HttpSession(HttpLimits limits, Clock& clock, bool keeps) : impl_(std::make_unique<Impl>(std::move(limits), clock, keeps)) {}
HttpSession::~HttpSession() = default;

Result<HttpResponse> HttpSession::send(const HttpRequest& request, const Wait& wait) {
  bool sent = false;
  return impl_->guarded(request, nullptr, wait, sent);
}

Result<HttpResponse> HttpSession::stream(const HttpRequest& request, const Part& part, const Wait& wait, bool& sent) {
  return impl_->guarded(request, &part, wait, sent);
}

Result<HttpResponse> http_send(const HttpRequest& request, const HttpLimits& limits, const Wait& wait, Clock& clock) {
  HttpSession session(limits, clock, false);
  return session.send(request, wait);
}

std::size_t HttpSession::idle() const {
  const std::lock_guard lock(impl_->mutex);
  std::size_t count = 0;
  for (const auto& [place, waiting] : impl_->kept) count += waiting.size();
  return count;
}

}  // namespace assay
