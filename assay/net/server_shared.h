#pragma once
// Private to net: what the listener and the three kinds of connection share.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include "assay/net/asio.h"
#include "assay/net/http_server.h"

namespace assay::net {

namespace http = beast::http;
using IncomingRequest = http::request<http::string_body>;

// One connection as the server sees it. All calls come on the connection's strand.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual void leave() = 0;  // politely, soon
  virtual void cut() = 0;    // now
};

// The open connections. It outlives the server while a connection holds it.
class Connections {
 public:
  struct Entry {
    std::weak_ptr<Connection> connection;
    asio::any_io_executor executor;
    bool idle = false;  // it waits for a request
  };
  // A connection's membership; gone with the connection.
  class Seat {
   public:
    Seat(std::shared_ptr<Connections> all, std::uint64_t number) : all_(std::move(all)), number_(number) {}
    ~Seat() { all_->erase(number_); }
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    void hold(std::weak_ptr<Connection> connection, asio::any_io_executor executor) {
      all_->set(number_, {std::move(connection), std::move(executor)});
    }
    void set_idle(bool idle) { all_->set_idle(number_, idle); }

   private:
    std::shared_ptr<Connections> all_;
    std::uint64_t number_;
  };

  // Null when `most` are open and none of them can be sent away for it: of those that wait for a request the oldest is cut.
  // Those that are leaving are not counted, up to `leaving_max` of them.
  static std::shared_ptr<Seat> take(const std::shared_ptr<Connections>& all, std::size_t most);
  void tell_all(void (Connection::*what)());
  void cut_all_here();  // when no thread runs any more: detaches every outbox before the event loop goes
  bool wait_until_none(std::chrono::milliseconds at_most);

 private:
  void erase(std::uint64_t number);
  void set(std::uint64_t number, Entry entry);
  void set_idle(std::uint64_t number, bool idle);
  bool cut_oldest_idle();  // with mutex_ held

  std::mutex mutex_;
  std::condition_variable none_;
  std::unordered_map<std::uint64_t, Entry> open_;
  std::uint64_t next_ = 0;
  static constexpr std::size_t leaving_max = 64;
};

using Seat = std::shared_ptr<Connections::Seat>;

// The queue between any thread that sends and the strand that writes. The connection detaches when it ends; handles that users
// keep then only answer "closed", so that no socket outlives its event loop.
class Outbox {
 public:
  using Text = std::shared_ptr<const std::string>;
  enum class Pushed { queued, overflowed, closed };

  Outbox(std::size_t bytes_max, std::function<void()> wake) : bytes_max_(bytes_max), wake_(std::move(wake)) {}
  Pushed push(Text text);
  // Nothing more is taken; what is queued is still written. Code and reason are a WebSocket's.
  void finish(std::uint16_t code = 1000, std::string_view reason = {});
  std::pair<std::uint16_t, std::string> farewell() const;
  void detach();  // the connection has gone
  bool open() const;
  bool finished() const;
  std::size_t bytes() const;
  // For the writer: the front stays queued (and counted) until `pop`.
  Text front() const;
  void pop();

 private:
  mutable std::mutex mutex_;
  const std::size_t bytes_max_;
  std::function<void()> wake_;  // posts to the strand; empty once detached
  std::deque<Text> texts_;
  std::size_t bytes_ = 0;
  std::pair<std::uint16_t, std::string> farewell_{1000, ""};
  bool finished_ = false;
  bool overflowed_ = false;
};

// Take over a connection whose request has been read.
void serve_events(beast::tcp_stream stream, Seat seat, const HttpServerLimits& limits, ServerReply reply);
void serve_websocket(beast::tcp_stream stream, Seat seat, const HttpServerLimits& limits, IncomingRequest request, ServerReply reply);

}  // namespace assay::net
