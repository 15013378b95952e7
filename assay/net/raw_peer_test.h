#pragma once
// For tests: a TCP client and a TCP server that say exactly the bytes they are given, for peers that Beast would never be.

#include <string>
#include <string_view>

#include <sys/socket.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

namespace assay {

class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : socket_(context_) {
    socket_.connect({boost::asio::ip::address_v4::loopback(), port});
    const timeval wait{10, 0};
    ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  }
  void say(std::string_view bytes) {
    boost::system::error_code ignored;
    boost::asio::write(socket_, boost::asio::buffer(bytes), ignored);
  }
  // Everything until the peer closes, at most 10 s of silence.
  std::string hear_all() {
    std::string out;
    char part[4096];
    while (true) {  // ends: when the peer closes, or is silent for 10 s
      const ssize_t count = ::recv(socket_.native_handle(), part, sizeof part, 0);
      if (count <= 0) return out;
      out.append(part, static_cast<std::size_t>(count));
    }
  }
  std::string hear(std::size_t bytes) {
    std::string out(bytes, '\0');
    std::size_t got = 0;
    while (got < bytes) {
      const ssize_t count = ::recv(socket_.native_handle(), out.data() + got, bytes - got, 0);
      if (count <= 0) break;
      got += static_cast<std::size_t>(count);
    }
    out.resize(got);
    return out;
  }
  void close() { socket_.close(); }
  // Without a goodbye: the peer's next write fails.
  void reset() {
    socket_.set_option(boost::asio::socket_base::linger(true, 0));
    socket_.close();
  }

 private:
  boost::asio::io_context context_;
  boost::asio::ip::tcp::socket socket_;
};

}  // namespace assay
