// WebSocket, server side: Beast's stream, our queue, and limits on size, time and silence.
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "assay/net/server_shared.h"

namespace assay::net {
namespace {

namespace websocket = beast::websocket;

class PeerHandle final : public WebSocketPeer {
 public:
  explicit PeerHandle(std::shared_ptr<Outbox> outbox) : outbox_(std::move(outbox)) {}
  bool send(std::shared_ptr<const std::string> text) override { return outbox_->push(std::move(text)) == Outbox::Pushed::queued; }
  bool open() const override { return outbox_->open(); }
  std::size_t queued_bytes() const override { return outbox_->bytes(); }
  void close(std::uint16_t code, std::string_view reason) override {
    outbox_->finish(code, reason.substr(0, 120));  // a close frame holds 123 bytes
  }

 private:
  std::shared_ptr<Outbox> outbox_;
};

class WebSocketConnection final : public Connection, public std::enable_shared_from_this<WebSocketConnection> {
 public:
  WebSocketConnection(beast::tcp_stream stream, Seat seat, const HttpServerLimits& limits, std::shared_ptr<WebSocketSession> session)
      : stream_(std::move(stream)),
        slow_(stream_.get_executor()),
        farewell_(stream_.get_executor()),
        seat_(std::move(seat)),
        limits_(limits),
        session_(std::move(session)) {}
  ~WebSocketConnection() override {
    if (outbox_) outbox_->detach();
    if (opened_ && session_) session_->on_close();
  }

  void begin(IncomingRequest request) {
    outbox_ = std::make_shared<Outbox>(limits_.send_queue_bytes_max, [weak = weak_from_this(), executor = stream_.get_executor()] {
      asio::post(executor, [weak] {
        if (const auto self = weak.lock()) self->write_next();
      });
    });
    seat_->hold(weak_from_this(), stream_.get_executor());
    websocket::stream_base::timeout timeout{};
    timeout.handshake_timeout = limits_.header_wait;
    timeout.idle_timeout = limits_.websocket_idle;
    timeout.keep_alive_pings = true;
    stream_.set_option(timeout);
    // Our own limit is checked as bytes arrive and answered politely; Beast refuses at once what announces far more.
    stream_.read_message_max(2 * limits_.websocket_message_bytes_max + 64 * 1024);
    stream_.auto_fragment(false);
    stream_.text(true);
    request_ = std::move(request);
    stream_.async_accept(request_, [self = shared_from_this()](AsioError error) {
      if (error || self->ended_) return self->end();
      self->request_ = {};
      self->open();
    });
  }

  void leave() override { close(1001, "the server stops"); }
  void cut() override { end(); }

 private:
  void open() {
    opened_ = true;
    guarded([&] { session_->on_open(std::make_shared<PeerHandle>(outbox_)); });
    read();
  }

  void read() {
    if (ended_) return;
    stream_.async_read_some(buffer_, 64 * 1024, [self = shared_from_this()](AsioError error, std::size_t) {
      if (error || self->ended_) return self->end();  // bytes may have been read before a failed write ended it all
      self->got_some();
    });
  }

  void got_some() {
    if (stream_.got_binary()) return close(1003, "text only");
    if (buffer_.size() > limits_.websocket_message_bytes_max) return close(1009, "message too big");
    if (!stream_.is_message_done()) {
      if (!slow_armed_) arm_slow();
      return read();
    }
    slow_armed_ = false;
    slow_.cancel();
    const auto bytes = buffer_.cdata();
    guarded([&] { session_->on_text({static_cast<const char*>(bytes.data()), bytes.size()}); });
    buffer_.consume(buffer_.size());
    read();
  }

  // A message that has begun must end in time: a peer cannot hold a buffer open with one byte an hour.
  void arm_slow() {
    slow_armed_ = true;
    slow_.expires_after(limits_.message_wait);
    slow_.async_wait([weak = weak_from_this()](AsioError error) {
      const auto self = weak.lock();
      if (!error && self && self->slow_armed_) self->end();
    });
  }

  void write_next() {
    if (ended_ || !opened_) return;
    if (outbox_->finished()) arm_farewell();
    if (writing_) return;
    const Outbox::Text text = outbox_->front();
    if (!text) {
      if (outbox_->finished()) send_close();
      return;
    }
    writing_ = true;
    stream_.async_write(asio::buffer(*text), [self = shared_from_this(), text](AsioError error, std::size_t) {
      self->writing_ = false;
      if (error || self->ended_) return self->end();
      self->outbox_->pop();
      if (!self->outbox_->front() && !self->outbox_->finished()) self->guarded([&] { self->session_->on_drained(); });
      self->write_next();
    });
  }

  void close(std::uint16_t code, std::string_view reason) {
    if (!opened_) return end();
    outbox_->finish(code, reason);
    asio::post(stream_.get_executor(), [self = shared_from_this()] { self->write_next(); });  // keeps itself alive where no read waits
  }

  void send_close() {
    if (std::exchange(closing_, true)) return;
    const auto [code, reason] = outbox_->farewell();
    stream_.async_close({static_cast<websocket::close_code>(code), reason}, [self = shared_from_this()](AsioError) { self->end(); });
  }

  // What is queued and the closing handshake get a moment, then the connection is cut.
  void arm_farewell() {
    if (std::exchange(leaving_, true)) return;
    farewell_.expires_after(std::min(limits_.write_wait, std::chrono::milliseconds(1000)));
    farewell_.async_wait([weak = weak_from_this()](AsioError error) {
      const auto self = weak.lock();
      if (!error && self) self->end();
    });
  }

  template <class Call>
  void guarded(Call call) {
    try {
      call();
    } catch (const std::exception&) {  // a session's own problem ends its connection, not the server
      close(1011, "internal error");
    }
  }

  void end() {
    if (std::exchange(ended_, true)) return;
    outbox_->detach();
    slow_.cancel();
    farewell_.cancel();
    beast::get_lowest_layer(stream_).close();
    if (std::exchange(opened_, false)) session_->on_close();
    session_.reset();
  }

  websocket::stream<beast::tcp_stream, false> stream_;  // no compression: no inflation bombs
  asio::steady_timer slow_;
  asio::steady_timer farewell_;
  Seat seat_;
  const HttpServerLimits& limits_;
  std::shared_ptr<WebSocketSession> session_;
  std::shared_ptr<Outbox> outbox_;
  IncomingRequest request_;
  beast::flat_buffer buffer_;
  bool opened_ = false;
  bool writing_ = false;
  bool closing_ = false;
  bool leaving_ = false;
  bool slow_armed_ = false;
  bool ended_ = false;
};

}  // namespace

void serve_websocket(beast::tcp_stream stream, Seat seat, const HttpServerLimits& limits, IncomingRequest request, ServerReply reply) {
  std::make_shared<WebSocketConnection>(std::move(stream), std::move(seat), limits, std::move(reply.websocket))->begin(std::move(request));
}

}  // namespace assay::net
