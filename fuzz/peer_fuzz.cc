// What a server says over a real connection: HTTP responses, and WebSocket frames behind a good handshake. A peer on this machine sends the
// input as it is and hangs up. Each input is a connection, so this one is slow; nothing crashes, hangs, or is larger than its limit.
//
//   ./x fuzz peer
#include <atomic>
#include <mutex>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <boost/uuid/detail/sha1.hpp>

#include "assay/base/json.h"
#include "assay/base/sha256.h"
#include "assay/net/http_session.h"
#include "assay/net/websocket_client.h"
#include "fuzz/must.h"

namespace {

using namespace assay;

// Accepts one connection after the other, reads a request's head, and answers with the bytes of the day.
class Peer {
 public:
  Peer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    must(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(listener_, 16) == 0, "the peer listens");
    must(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "and knows its port");
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this] { serve(); });
  }
  ~Peer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string place() const { return "127.0.0.1:" + std::to_string(port_); }
  void answer_with(std::string_view bytes) {
    const std::scoped_lock lock(mutex_);
    bytes_ = bytes;
  }

 private:
  // RFC 6455: what proves that the peer speaks WebSocket; "" for a plain request.
  static std::string upgrade(const std::string& head) {
    constexpr std::string_view name = "Sec-WebSocket-Key: ";
    const std::size_t at = head.find(name);
    if (at == std::string::npos) return "";
    const std::string text = head.substr(at + name.size(), 24) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    // Not OpenSSL's: what it keeps for this thread would look like a leak when the fuzzer ends.
    boost::uuids::detail::sha1 sha1;
    sha1.process_bytes(text.data(), text.size());
    unsigned words[5];
    sha1.get_digest(words);
    std::string digest;
    for (const unsigned word : words) {
      for (int shift = 24; shift >= 0; shift -= 8) digest += static_cast<char>(word >> shift);
    }
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + base64(digest) +
           "\r\n\r\n";
  }

  void serve() {
    while (true) {  // ends: with the listener
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) return;
      const timeval patience{0, 20'000};  // for a client that keeps its connection
      ::setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      std::string head;
      char part[2048];
      for (ssize_t count = 1; count > 0 && head.find("\r\n\r\n") == std::string::npos;) {
        count = ::recv(connection, part, sizeof part, 0);
        if (count > 0) head.append(part, static_cast<std::size_t>(count));
      }
      std::string out = upgrade(head);
      {
        const std::scoped_lock lock(mutex_);
        out += bytes_;
      }
      (void)::send(connection, out.data(), out.size(), MSG_NOSIGNAL);
      ::close(connection);
    }
  }

  int listener_;
  int port_ = 0;
  std::mutex mutex_;
  std::string bytes_;
  std::jthread thread_;
};

Peer& peer() {
  static Peer value;
  return value;
}

void read_response() {
  static HttpSession session({}, system_clock());
  const Wait wait{Deadline::after(system_clock(), std::chrono::seconds(5)), {}};
  std::size_t bytes = 0;
  bool sent = false;
  const auto answer = session.stream(
      {"GET", "http://" + peer().place() + "/", {}, ""},
      [&](std::string_view part) {
        bytes += part.size();
        return bytes < 4096;
      },
      wait, sent);
  if (!answer) return must(!answer.error().message.empty(), "an error says what is wrong");
  must(answer->status >= 100 && answer->status <= 999, "a status has three digits");
}

void read_frames() {
  const Wait wait{Deadline::after(system_clock(), std::chrono::seconds(5)), {}};
  WebSocketLimits limits;
  limits.message_bytes_max = 4096;
  const auto socket = WebSocketClient::connect("ws://" + peer().place() + "/", wait, system_clock(), limits);
  if (!socket) return;
  for (int i = 0; i < 100; ++i) {
    const auto text = (*socket)->receive(wait);
    if (!text) break;
    must(text->size() <= 4096 && valid_utf8(*text), "a message is text within its limit");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  peer().answer_with(text_of(data + 1, size - 1));
  if (data[0] % 2 == 0) read_response();
  else read_frames();
  return 0;
}
