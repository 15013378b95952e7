#pragma once
/// @file
/// A blocking WebSocket client for text messages, ws and wss.
///
///     ASSAY_TRY(auto socket, WebSocketClient::connect("ws://127.0.0.1:7777", wait, clock));
///     ASSAY_CHECK(socket->send_text(R"(["REQ","a",{}])", wait));
///     ASSAY_TRY(const std::string text, socket->receive(wait));
///
/// One thread of its own reads, answers pings and writes; so messages are taken while nobody waits, up to the inbox's limits
/// (then the peer is made to wait). Thread safety: all calls from any thread.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "assay/base/clock.h"
#include "assay/base/result.h"
#include "assay/net/http_message.h"

namespace assay {

struct WebSocketLimits {
  std::size_t message_bytes_max = std::size_t{1} << 20;  ///< one received message; beyond: the connection ends with `limit_exceeded`
  std::size_t inbox_messages_max = 4096;                 ///< received and not yet taken; beyond: reading pauses
  std::size_t inbox_bytes_max = std::size_t{16} << 20;
  std::size_t outbox_bytes_max = std::size_t{16} << 20;  ///< given to send_text and not yet written
  HttpHeaders headers = {};                              ///< further headers of the upgrade request
  std::string ca_file = {};                              ///< PEM file of further trusted roots
};

class WebSocketClient {
 public:
  /// Errors: `malformed` (URL, or the peer does not upgrade), `unavailable`, `timed_out`, `cancelled`, `io`.
  static Result<std::unique_ptr<WebSocketClient>> connect(const std::string& url, const Wait& wait, Clock& clock,
                                                          const WebSocketLimits& limits = {});
  ~WebSocketClient();
  WebSocketClient(const WebSocketClient&) = delete;
  WebSocketClient& operator=(const WebSocketClient&) = delete;

  /// Returns when the message has been handed to the machine's network stack. After `timed_out` or `cancelled` it may still go out.
  Result<void> send_text(std::string_view text, const Wait& wait);
  /// The next message, in order. A `timed_out` or `cancelled` wait loses nothing: call again. `unavailable` once the
  /// connection has ended and the inbox is empty; the message says why.
  Result<std::string> receive(const Wait& wait);
  bool open() const;
  /// Says goodbye, waits for the peer's at most a second. Idempotent; the destructor calls it.
  void close();

 private:
  struct Impl;
  explicit WebSocketClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
