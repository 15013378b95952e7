#pragma once
/// @file
/// A small HTTP/1.1 server: plain replies, server-sent events and WebSocket, with a limit on everything a peer can do.
///
///     ASSAY_TRY(auto server, HttpServer::start("127.0.0.1", 0, [](const ServerRequest& request) {
///       return request.path == "/status" ? ServerReply::json(R"({"ok":true})") : ServerReply::not_found();
///     }));
///     server->port();                       // the port that was bound
///     server->stop();                       // also in the destructor
///
/// Threads: `threads` threads run one event loop; calls for one connection never overlap, calls for two may. Handlers run on
/// these threads: they should return within milliseconds, and must not call `stop()`. `EventStream` and `WebSocketPeer` may
/// be kept and used from any thread, also after the server has gone (they then only answer false).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "assay/base/result.h"
#include "assay/net/http_message.h"

namespace assay {

struct HttpServerLimits {
  std::size_t header_bytes_max = 16 * 1024;                ///< beyond: 431
  std::size_t body_bytes_max = std::size_t{1} << 20;       ///< beyond: 413
  std::size_t connections_max = 256;  ///< beyond: the one that has waited longest for a request is cut, else 503 and closed
  std::chrono::milliseconds header_wait{10'000};  ///< from the first moment of waiting to the end of the header, also between requests
  std::chrono::milliseconds body_wait{30'000};  ///< for the whole body
  std::chrono::milliseconds write_wait{30'000};  ///< for one write that the peer does not take
  std::chrono::milliseconds event_ping{15'000};  ///< a comment on a silent event stream, so that a dead peer is noticed
  std::chrono::milliseconds websocket_idle{120'000};  ///< a silent WebSocket is pinged after half of it and then closed
  std::chrono::milliseconds message_wait{30'000};  ///< for the rest of a WebSocket message once it has begun
  std::size_t websocket_message_bytes_max = 128 * 1024;  ///< beyond: closed with 1009
  std::size_t send_queue_bytes_max = std::size_t{8} << 20;  ///< waiting for one slow reader; beyond: it is cut off
  unsigned threads = 2;
  bool loopback_names_only = true;  ///< 403 unless Host (and Origin, where sent) name this machine: no DNS rebinding, no foreign pages
};

struct ServerRequest {
  std::string method;
  std::string target;  ///< as sent
  std::string path;  ///< percent-decoded, without the query
  std::string query;  ///< raw, without '?'
  HttpHeaders headers;
  std::string body;
  bool websocket_upgrade = false;
  /// The first value of a query parameter, decoded.
  std::optional<std::string> query_value(std::string_view name) const;
};

/// One client that listens to server-sent events.
class EventStream {
 public:
  virtual ~EventStream() = default;
  /// Queues one event; line breaks in `data` are kept. False if the client has gone or its queue is full (it is then closed).
  virtual bool send(std::string_view event, std::string_view data) = 0;
  virtual bool open() const = 0;
  virtual std::size_t queued_bytes() const = 0;  ///< not yet taken by the client: lets a sender wait instead of overflowing
  virtual void close() = 0;  ///< after what is queued
};

/// The sending side of one WebSocket connection.
class WebSocketPeer {
 public:
  virtual ~WebSocketPeer() = default;
  /// Queues one text message without a copy. False if the peer has gone or its queue is full (it is then closed with 1008).
  virtual bool send(std::shared_ptr<const std::string> text) = 0;
  virtual bool open() const = 0;
  virtual std::size_t queued_bytes() const = 0;
  virtual void close(std::uint16_t code = 1000, std::string_view reason = "") = 0;  ///< after what is queued
  bool send(std::string text) { return send(std::make_shared<const std::string>(std::move(text))); }
};

/// What a WebSocket connection does. One object a connection; its calls never overlap.
class WebSocketSession {
 public:
  virtual ~WebSocketSession() = default;
  virtual void on_open(std::shared_ptr<WebSocketPeer> peer) = 0;
  virtual void on_text(std::string_view text) = 0;  ///< whole message, valid UTF-8, within the limit
  virtual void on_drained() {}  ///< the send queue has become empty: time for the next page
  virtual void on_close() {}  ///< the last call, exactly once after on_open
};

/// What a handler answers: a body, or a stream, or a WebSocket.
struct ServerReply {
  int status = 200;
  HttpHeaders headers;
  std::string body;
  std::function<void(std::shared_ptr<EventStream>)> stream;  ///< set: an event stream; called once when it is open
  std::shared_ptr<WebSocketSession> websocket;  ///< set: accept the upgrade

  static ServerReply text(std::string body, int status = 200);
  static ServerReply html(std::string body, int status = 200);
  static ServerReply json(std::string body, int status = 200);
  static ServerReply not_found();
  static ServerReply events(std::function<void(std::shared_ptr<EventStream>)> on_open);
  static ServerReply upgrade(std::shared_ptr<WebSocketSession> session);
};

using HttpHandler = std::function<ServerReply(const ServerRequest&)>;

class HttpServer {
 public:
  /// Binds and begins to serve. `port` 0 picks a free one. Errors: `io` (address in use or not of this machine), `usage`.
  static Result<std::unique_ptr<HttpServer>> start(const std::string& address, std::uint16_t port, HttpHandler handler,
                                                   const HttpServerLimits& limits = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  std::uint16_t port() const;
  /// Refuses new connections, says goodbye to the open ones, waits at most about two seconds for them and ends. Idempotent.
  void stop();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
