// Server-sent events: one response without an end, a queue that any thread fills, and a read that notices when the client goes.
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include "assay/net/server_shared.h"

namespace assay::net {
namespace {

using Shared = std::shared_ptr<const std::string>;

class StreamHandle final : public EventStream {
 public:
  explicit StreamHandle(std::shared_ptr<Outbox> outbox) : outbox_(std::move(outbox)) {}

  bool send(std::string_view event, std::string_view data) override {
    std::string text;
    text.reserve(event.size() + data.size() + 24);
    if (!event.empty() && event.find_first_of("\r\n") == std::string_view::npos) text.append("event: ").append(event).append("\n");
    while (true) {  // ends: every round takes one line off, the last has no break
      const std::size_t end = std::min(data.find_first_of("\r\n"), data.size());
      text.append("data: ").append(data.substr(0, end)).append("\n");
      if (end == data.size()) break;
      data.remove_prefix(end + (data.substr(end).starts_with("\r\n") ? 2 : 1));
    }
    text += '\n';
    return outbox_->push(std::make_shared<const std::string>(std::move(text))) == Outbox::Pushed::queued;
  }
  bool open() const override { return outbox_->open(); }
  std::size_t queued_bytes() const override { return outbox_->bytes(); }
  void close() override { outbox_->finish(); }

 private:
  std::shared_ptr<Outbox> outbox_;
};

class EventConnection final : public Connection, public std::enable_shared_from_this<EventConnection> {
 public:
  EventConnection(beast::tcp_stream stream, Seat seat, const HttpServerLimits& limits)
      : stream_(std::move(stream)), ping_(stream_.get_executor()), seat_(std::move(seat)), limits_(limits) {}
  ~EventConnection() override {
    if (outbox_) outbox_->detach();
  }

  void begin(const ServerReply& reply) {
    outbox_ = std::make_shared<Outbox>(limits_.send_queue_bytes_max, [weak = weak_from_this(), executor = stream_.get_executor()] {
      asio::post(executor, [weak] {
        if (const auto self = weak.lock()) self->write_next();
      });
    });
    seat_->hold(weak_from_this(), stream_.get_executor());
    std::string head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: "
        "close\r\n";
    for (const auto& [name, value] : reply.headers) {
      if (valid_header(name, value)) head.append(name).append(": ").append(value).append("\r\n");
    }
    stream_.expires_never();
    watch();
    outbox_->push(std::make_shared<const std::string>(head + "\r\n"));
    arm_ping();
    try {
      reply.stream(std::make_shared<StreamHandle>(outbox_));
    } catch (const std::exception&) {
      outbox_->finish();
    }
  }

  void leave() override { outbox_->finish(); }
  void cut() override { end(); }

 private:
  // The client has nothing to say: whatever it sends is thrown away, and its going ends the stream.
  void watch() {
    stream_.async_read_some(asio::buffer(waste_), [self = shared_from_this()](AsioError error, std::size_t) {
      if (error) return self->end();
      self->watch();
    });
  }

  void write_next() {
    if (writing_ || ended_) return;
    const Shared text = outbox_->front();
    if (!text) {
      if (outbox_->finished()) end();
      return;
    }
    writing_ = true;
    stream_.expires_after(limits_.write_wait);  // the read that waits keeps its own: never
    asio::async_write(stream_, asio::buffer(*text), [self = shared_from_this(), text](AsioError error, std::size_t) {
      self->writing_ = false;
      if (error) return self->end();
      self->outbox_->pop();
      self->write_next();
    });
  }

  void arm_ping() {
    ping_.expires_after(limits_.event_ping);
    ping_.async_wait([weak = weak_from_this()](AsioError error) {
      const auto self = weak.lock();
      if (error || !self || self->ended_) return;
      if (!self->outbox_->front()) self->outbox_->push(std::make_shared<const std::string>(": ping\n\n"));
      if (self->outbox_->finished() && !self->writing_) return self->end();  // overflowed: nobody reads
      self->arm_ping();
    });
  }

  void end() {
    if (std::exchange(ended_, true)) return;
    outbox_->detach();
    ping_.cancel();
    AsioError ignored;
    stream_.socket().shutdown(Tcp::socket::shutdown_both, ignored);
    stream_.close();
  }

  beast::tcp_stream stream_;
  asio::steady_timer ping_;
  Seat seat_;
  const HttpServerLimits& limits_;
  std::shared_ptr<Outbox> outbox_;
  std::array<char, 512> waste_{};
  bool writing_ = false;
  bool ended_ = false;
};

}  // namespace

void serve_events(beast::tcp_stream stream, Seat seat, const HttpServerLimits& limits, ServerReply reply) {
  std::make_shared<EventConnection>(std::move(stream), std::move(seat), limits)->begin(reply);
}

}  // namespace assay::net
