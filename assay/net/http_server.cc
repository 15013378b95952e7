#include "assay/net/http_server.h"

#include <thread>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include "assay/net/server_shared.h"

namespace assay {
namespace {

using net::AsioError;
using net::Connection;
using net::Connections;
using net::IncomingRequest;
using net::Seat;
using net::Tcp;
namespace asio = net::asio;
namespace beast = net::beast;
namespace http = net::http;

ServerRequest server_request(const IncomingRequest& message) {
  ServerRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  const std::size_t mark = std::min(request.target.find('?'), request.target.size());
  request.path = percent_decode(std::string_view(request.target).substr(0, mark));
  if (mark < request.target.size()) request.query = request.target.substr(mark + 1);
  for (const auto& field : message) request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  request.body = message.body();
  request.websocket_upgrade = beast::websocket::is_upgrade(message);
  return request;
}

// Exactly one Host, and it and any Origin name this machine.
bool names_this_machine(const IncomingRequest& message) {
  if (message.count(http::field::host) != 1 || !is_loopback_host(std::string_view(message[http::field::host]))) return false;
  const auto origin = message.find(http::field::origin);
  return origin == message.end() || is_loopback_origin(std::string_view(origin->value()));
}

// Reads requests and writes replies, one after the other, until it hands over to a stream or a WebSocket.
class HttpConnection final : public Connection, public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(Tcp::socket socket, Seat seat, const HttpServerLimits& limits, const HttpHandler& handler)
      : stream_(std::move(socket)), seat_(std::move(seat)), limits_(limits), handler_(handler) {}

  void begin() {
    seat_->hold(weak_from_this(), stream_.get_executor());
    asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->read_header(); });
  }

  void leave() override {
    leaving_ = true;
    if (idle_) stream_.close();
  }
  void cut() override { stream_.close(); }

 private:
  using Parser = http::request_parser<http::string_body>;

  void read_header() {
    if (leaving_) return stream_.close();
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(limits_.header_bytes_max));
    parser_->body_limit(limits_.body_bytes_max);
    idle_ = true;
    seat_->set_idle(true);
    stream_.expires_after(limits_.header_wait);
    http::async_read_header(stream_, buffer_, *parser_, [self = shared_from_this()](AsioError error, std::size_t) {
      self->idle_ = false;
      self->seat_->set_idle(false);
      if (error) return self->refuse(error);
      self->read_body();
    });
  }

  void read_body() {
    stream_.expires_after(limits_.body_wait);
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](AsioError error, std::size_t) {
      if (error) return self->refuse(error);
      self->answer(self->parser_->release());
    });
  }

  void refuse(AsioError error) {
    if (error == http::error::header_limit || error == http::error::buffer_overflow)
      return write(ServerReply::text("header too large\n", 431), 11, false, false);
    if (error == http::error::body_limit) return write(ServerReply::text("body too large\n", 413), 11, false, false);
    const bool is_http = error.category() == make_error_code(http::error::bad_version).category();
    if (is_http && error != http::error::end_of_stream && error != http::error::partial_message) {
      return write(ServerReply::text("not a readable HTTP request\n", 400), 11, false, false);
    }
    stream_.close();
  }

  void answer(IncomingRequest message) {
    if (limits_.loopback_names_only && !names_this_machine(message)) {
      return write(ServerReply::text("this server answers only to localhost\n", 403), message.version(), false, false);
    }
    ServerReply reply;
    try {
      reply = handler_(server_request(message));
    } catch (const std::exception&) {  // a handler's own problem ends its request, not the server
      reply = ServerReply::text("internal error\n", 500);
    }
    const bool upgrade = beast::websocket::is_upgrade(message);
    if (reply.websocket && upgrade) {
      stream_.expires_never();
      return net::serve_websocket(std::move(stream_), std::move(seat_), limits_, std::move(message), std::move(reply));
    }
    if (reply.websocket) reply = ServerReply::text("a WebSocket upgrade is expected here\n", 426);
    if (reply.stream && message.method() == http::verb::get) {
      return net::serve_events(std::move(stream_), std::move(seat_), limits_, std::move(reply));
    }
    if (reply.stream) reply = ServerReply::text("an event stream is read with GET\n", 405);
    write(std::move(reply), message.version(), message.keep_alive() && !upgrade && !leaving_, message.method() == http::verb::head);
  }

  void write(ServerReply reply, unsigned version, bool keep_alive, bool head) {
    response_ = {};
    response_.version(version == 10 ? 10 : 11);
    response_.result(static_cast<unsigned>(reply.status));
    response_.set("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : reply.headers) {
      if (valid_header(name, value)) response_.insert(name, value);
    }
    response_.keep_alive(keep_alive);
    response_.content_length(reply.body.size());
    if (!head) response_.body() = std::move(reply.body);
    stream_.expires_after(limits_.write_wait);
    http::async_write(stream_, response_, [self = shared_from_this(), keep_alive](AsioError error, std::size_t) {
      if (error) return self->stream_.close();
      if (keep_alive) return self->read_header();
      self->linger();
    });
  }

  // Reads what is still on its way for a moment, so that the kernel does not answer it with a reset that eats our reply.
  void linger() {
    AsioError ignored;
    stream_.socket().shutdown(Tcp::socket::shutdown_send, ignored);
    stream_.expires_after(std::chrono::milliseconds(500));
    drain();
  }
  void drain() {
    stream_.async_read_some(asio::buffer(waste_), [self = shared_from_this()](AsioError error, std::size_t count) {
      self->drained_bytes_ += count;
      if (error || self->leaving_ || self->drained_bytes_ > self->limits_.body_bytes_max) return self->stream_.close();
      self->drain();
    });
  }

  beast::tcp_stream stream_;
  Seat seat_;
  const HttpServerLimits& limits_;
  const HttpHandler& handler_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  http::response<http::string_body> response_;
  std::array<char, 4096> waste_{};
  std::size_t drained_bytes_ = 0;
  bool idle_ = false;
  bool leaving_ = false;
};

}  // namespace

struct HttpServer::Impl {
  HttpServerLimits limits;
  HttpHandler handler;
  std::shared_ptr<Connections> connections = std::make_shared<Connections>();
  std::uint16_t port = 0;
  bool stopped = false;
  asio::io_context context;
  Tcp::acceptor acceptor{context};
  asio::steady_timer pause{context};
  std::vector<std::jthread> threads;

  Result<void> bind(const std::string& address, std::uint16_t wanted) {
    AsioError error;
    const auto ip = asio::ip::make_address(address == "localhost" ? "127.0.0.1" : address, error);
    if (error) return fail(ErrorCode::usage, "not an IP address: " + address, "use 127.0.0.1 or ::1");
    const Tcp::endpoint endpoint(ip, wanted);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (!error) port = acceptor.local_endpoint(error).port();
    if (error) {
      return fail(ErrorCode::io, fmt::format("cannot listen on {}:{}: {}", address, wanted, error.message()),
                  "choose another port, or 0 for a free one");
    }
    return {};
  }

  void accept() {
    acceptor.async_accept(asio::make_strand(context), [this](AsioError error, Tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) {  // out of descriptors: wait a little instead of spinning
        pause.expires_after(std::chrono::milliseconds(100));
        pause.async_wait([this](AsioError stop) {
          if (!stop) accept();
        });
        return;
      }
      welcome(std::move(socket));
      accept();
    });
  }

  void welcome(Tcp::socket socket) {
    AsioError ignored;
    socket.set_option(Tcp::no_delay(true), ignored);
    const Seat seat = Connections::take(connections, limits.connections_max);
    if (!seat) {
      constexpr std::string_view busy =
          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";
      socket.non_blocking(true, ignored);
      socket.write_some(asio::buffer(busy), ignored);
      return;
    }
    std::make_shared<HttpConnection>(std::move(socket), seat, limits, handler)->begin();
  }

  void run() {
    accept();
    for (unsigned i = 0; i < std::max(1U, limits.threads); ++i) threads.emplace_back([this] { context.run(); });
  }

  void stop() {
    if (std::exchange(stopped, true)) return;
    asio::post(context, [this] {
      AsioError ignored;
      acceptor.close(ignored);
      pause.cancel();
    });
    connections->tell_all(&Connection::leave);
    if (!connections->wait_until_none(std::chrono::milliseconds(1500))) {
      connections->tell_all(&Connection::cut);
      connections->wait_until_none(std::chrono::milliseconds(500));
    }
    context.stop();
    threads.clear();  // joins
    connections->cut_all_here();
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { stop(); }

Result<std::unique_ptr<HttpServer>> HttpServer::start(const std::string& address, std::uint16_t port, HttpHandler handler,
                                                      const HttpServerLimits& limits) {
  try {
    auto impl = std::make_unique<Impl>();
    impl->limits = limits;
    impl->handler = std::move(handler);
    ASSAY_CHECK(impl->bind(address, port));
    impl->run();
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
  } catch (const std::exception& problem) {
    return fail(ErrorCode::io, std::string("the server cannot start: ") + problem.what());
  }
}

std::uint16_t HttpServer::port() const { return impl_->port; }

void HttpServer::stop() { impl_->stop(); }

std::optional<std::string> ServerRequest::query_value(std::string_view name) const {
  std::string_view rest = query;
  while (!rest.empty()) {  // ends: every round takes one parameter off
    const std::size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (percent_decode(pair.substr(0, equals)) == name) {
      return percent_decode(equals < pair.size() ? pair.substr(equals + 1) : std::string_view());
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::nullopt;
}

namespace {
ServerReply typed(std::string type, std::string body, int status) {
  ServerReply reply;
  reply.status = status;
  reply.headers.emplace_back("Content-Type", std::move(type));
  reply.body = std::move(body);
  return reply;
}
}  // namespace

ServerReply ServerReply::text(std::string body, int status) { return typed("text/plain; charset=utf-8", std::move(body), status); }
ServerReply ServerReply::html(std::string body, int status) { return typed("text/html; charset=utf-8", std::move(body), status); }
ServerReply ServerReply::json(std::string body, int status) { return typed("application/json", std::move(body), status); }
ServerReply ServerReply::not_found() { return text("not found\n", 404); }

ServerReply ServerReply::events(std::function<void(std::shared_ptr<EventStream>)> on_open) {
  ServerReply reply;
  reply.stream = std::move(on_open);
  return reply;
}

ServerReply ServerReply::upgrade(std::shared_ptr<WebSocketSession> session) {
  ServerReply reply;
  reply.websocket = std::move(session);
  return reply;
}

}  // namespace assay
