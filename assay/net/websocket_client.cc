#include "assay/net/websocket_client.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "assay/net/asio.h"
#include "assay/net/tls.h"

namespace assay {
namespace {

namespace asio = net::asio;
namespace beast = net::beast;
namespace websocket = beast::websocket;
using net::AsioError;
using net::Blocking;

// One message on its way out; the sender waits for `done`.
struct Sending {
  std::string text;
  bool done = false;
  AsioError error;
};

// What callers' threads and the connection's own thread share.
struct Mailbox {
  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::deque<std::string> inbox;
  std::size_t inbox_bytes = 0;
  std::deque<std::shared_ptr<Sending>> outbox;
  std::size_t outbox_bytes = 0;
  bool ended = false;
  Error why{ErrorCode::unavailable, "the connection has ended", "", ""};
};

// A connected stream and the operations on it; everything but construction happens on its thread.
class Line {
 public:
  virtual ~Line() = default;
  virtual void read() = 0;
  virtual void write_next() = 0;
  virtual void farewell() = 0;
  virtual void cut() = 0;
};

template <class Stream>
class LineOver final : public Line {
 public:
  LineOver(Stream stream, Url url, const WebSocketLimits& limits, Mailbox& mail)
      : stream_(std::move(stream)), timer_(stream_.get_executor()), url_(std::move(url)), limits_(limits), mail_(mail) {}

  Result<void> upgrade(Blocking& blocking) {
    stream_.set_option(websocket::stream_base::decorator([this](websocket::request_type& request) {
      request.set(beast::http::field::user_agent, "assay");
      for (const auto& [name, value] : limits_.headers) request.set(name, value);
    }));
    stream_.read_message_max(limits_.message_bytes_max);
    stream_.auto_fragment(false);
    stream_.text(true);
    websocket::response_type response;
    const auto start = [&](auto done) { stream_.async_handshake(response, url_.authority(), url_.target, done); };
    ASSAY_TRY(const AsioError error, blocking.run("the WebSocket upgrade", start, [this] { cut(); }));
    if (error == websocket::error::upgrade_declined) {
      return fail(ErrorCode::unavailable,
                  fmt::format("{} does not serve a WebSocket here: it answered {}", url_.authority(), response.result_int()),
                  "check the URL's path", url_.authority());
    }
    if (error) return std::unexpected(net::peer_error(url_, "open a WebSocket to", error));
    websocket::stream_base::timeout timeout{};
    timeout.handshake_timeout = std::chrono::seconds(1);
    timeout.idle_timeout = std::chrono::seconds(60);
    timeout.keep_alive_pings = true;
    stream_.set_option(timeout);
    return {};
  }

  void read() override {
    if (reading_ || stopped_) return;
    {
      const std::lock_guard lock(mail_.mutex);
      if (mail_.inbox.size() >= limits_.inbox_messages_max || mail_.inbox_bytes >= limits_.inbox_bytes_max) return;  // `receive` resumes
    }
    reading_ = true;
    stream_.async_read(buffer_, [this](AsioError error, std::size_t) {
      reading_ = false;
      if (error) return stop(error);
      {
        const std::lock_guard lock(mail_.mutex);
        mail_.inbox.push_back(beast::buffers_to_string(buffer_.cdata()));
        mail_.inbox_bytes += mail_.inbox.back().size();
        mail_.changed.notify_all();
      }
      buffer_.consume(buffer_.size());
      read();
    });
  }

  void write_next() override {
    if (writing_ || stopped_) return;
    std::shared_ptr<Sending> next;
    {
      const std::lock_guard lock(mail_.mutex);
      if (!mail_.outbox.empty()) next = mail_.outbox.front();
    }
    if (!next) {
      if (leaving_) close_stream();
      return;
    }
    writing_ = true;
    stream_.async_write(asio::buffer(next->text), [this, next](AsioError error, std::size_t) {
      writing_ = false;
      if (error) return stop(error);  // tells all who wait, this one too
      {
        const std::lock_guard lock(mail_.mutex);
        mail_.outbox.pop_front();
        mail_.outbox_bytes -= next->text.size();
        next->done = true;
        mail_.changed.notify_all();
      }
      write_next();
    });
  }

  void farewell() override {
    if (stopped_ || std::exchange(leaving_, true)) return;
    timer_.expires_after(std::chrono::seconds(1));
    timer_.async_wait([this](AsioError error) {
      if (!error) stop(asio::error::timed_out);
    });
    write_next();
  }

  void cut() override { beast::get_lowest_layer(stream_).close(); }

 private:
  void close_stream() {
    if (std::exchange(closing_, true)) return;
    stream_.async_close(websocket::close_code::normal,
                        [this](AsioError error) { stop(error ? error : AsioError(websocket::error::closed)); });
  }

  void stop(AsioError error) {
    if (std::exchange(stopped_, true)) return;
    timer_.cancel();
    cut();
    const std::lock_guard lock(mail_.mutex);
    mail_.ended = true;
    mail_.why = net::peer_error(url_, "go on with", error);
    if (error == websocket::error::closed && !leaving_) {
      const auto& reason = stream_.reason();
      mail_.why.message = fmt::format("{} closed the connection ({}{}{})", url_.authority(), static_cast<unsigned>(reason.code),
                                      reason.reason.empty() ? "" : ": ", printable(reason.reason));
    }
    for (const auto& sending : mail_.outbox) {
      sending->done = true;
      sending->error = error;
    }
    mail_.changed.notify_all();
  }

  template <class Text>
  static std::string printable(const Text& text) {
    std::string out;
    for (const char c : text) out += c >= ' ' && c < 0x7F ? c : '?';
    return out;
  }

  Stream stream_;
  asio::steady_timer timer_;
  const Url url_;
  const WebSocketLimits& limits_;
  Mailbox& mail_;
  beast::flat_buffer buffer_;
  bool reading_ = false;
  bool writing_ = false;
  bool leaving_ = false;
  bool closing_ = false;
  bool stopped_ = false;
};

using PlainStream = websocket::stream<beast::tcp_stream, false>;
using TlsStream = websocket::stream<beast::ssl_stream<beast::tcp_stream>, false>;

}  // namespace

struct WebSocketClient::Impl {
  explicit Impl(Clock& the_clock, const WebSocketLimits& the_limits) : clock(the_clock), limits(the_limits) {}

  Clock& clock;
  const WebSocketLimits limits;
  Mailbox mail;
  std::unique_ptr<asio::ssl::context> tls;
  asio::io_context context;
  std::unique_ptr<Line> line;
  std::jthread thread;
  std::mutex closing;

  template <class Stream>
  Result<void> upgrade(Stream stream, const Url& url, Blocking& blocking) {
    auto over = std::make_unique<LineOver<Stream>>(std::move(stream), url, limits, mail);
    ASSAY_CHECK(over->upgrade(blocking));
    line = std::move(over);
    return {};
  }

  Result<void> connect(const std::string& text, const Wait& wait) {
    ASSAY_TRY(const Url url, parse_url(text));
    if (!url.websocket()) return fail(ErrorCode::usage, "a WebSocket was given an HTTP URL", "use ws:// or wss://");
    for (const auto& [name, value] : limits.headers) {
      if (!valid_header(name, value)) return fail(ErrorCode::usage, "a header of the upgrade request is not allowed");
    }
    Blocking blocking(context, wait, clock);
    if (!url.tls()) {
      beast::tcp_stream stream(context);
      ASSAY_CHECK(net::connect_tcp(blocking, stream, url));
      return upgrade(PlainStream(std::move(stream)), url, blocking);
    }
    ASSAY_TRY(tls, net::tls_context(limits.ca_file));
    beast::ssl_stream<beast::tcp_stream> stream(context, *tls);
    ASSAY_CHECK(net::expect_host(stream, url));
    ASSAY_CHECK(net::connect_tcp(blocking, stream.next_layer(), url));
    const auto shake = [&](auto done) { stream.async_handshake(asio::ssl::stream_base::client, done); };
    ASSAY_TRY(const AsioError error, blocking.run("the TLS handshake", shake, [&] { stream.next_layer().close(); }));
    if (error) return std::unexpected(net::tls_error(stream, url, error));
    return upgrade(TlsStream(std::move(stream)), url, blocking);
  }

  void run() {
    context.restart();
    asio::post(context, [this] { line->read(); });
    thread = std::jthread([this] {
      // The guard keeps the loop alive while reading is paused; `close` ends it.
      const auto guard = asio::make_work_guard(context);
      context.run();
    });
  }

  void close() {
    const std::lock_guard one(closing);
    if (!thread.joinable()) return;
    asio::post(context, [this] { line->farewell(); });
    {
      std::unique_lock lock(mail.mutex);
      mail.changed.wait_for(lock, std::chrono::milliseconds(1500), [this] { return mail.ended; });
      mail.ended = true;
      mail.changed.notify_all();
    }
    context.stop();
    thread.join();
  }

  // Waits in slices, so that a clock that is not the machine's is seen to move too.
  template <class Ready>
  Result<void> wait_for(std::unique_lock<std::mutex>& lock, const Wait& wait, std::string_view what, Ready ready) {
    while (!ready()) {  // ends: when ready, at the deadline or on a stop
      ASSAY_CHECK(wait.check(clock, what));
      const auto slice = std::min(wait.deadline.left(clock), std::chrono::nanoseconds(std::chrono::milliseconds(200)));
      mail.changed.wait_for(lock, wait.stop, slice, ready);
    }
    return {};
  }
};

WebSocketClient::WebSocketClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

WebSocketClient::~WebSocketClient() { close(); }

Result<std::unique_ptr<WebSocketClient>> WebSocketClient::connect(const std::string& url, const Wait& wait, Clock& clock,
                                                                  const WebSocketLimits& limits) {
  try {
    auto impl = std::make_unique<Impl>(clock, limits);
    ASSAY_CHECK(impl->connect(url, wait));
    impl->run();
    return std::unique_ptr<WebSocketClient>(new WebSocketClient(std::move(impl)));
  } catch (const std::exception& problem) {
    return fail(ErrorCode::io, std::string("the WebSocket could not be opened: ") + problem.what());
  }
}

Result<void> WebSocketClient::send_text(std::string_view text, const Wait& wait) {
  ASSAY_CHECK(wait.check(impl_->clock, "the message"));
  auto sending = std::make_shared<Sending>();
  sending->text = text;
  Mailbox& mail = impl_->mail;
  std::unique_lock lock(mail.mutex);
  if (mail.ended) return std::unexpected(mail.why);
  if (mail.outbox_bytes + text.size() > impl_->limits.outbox_bytes_max) {
    return fail(ErrorCode::limit_exceeded, "too much is waiting to be sent", "the peer reads too slowly: wait, or close");
  }
  mail.outbox.push_back(sending);
  mail.outbox_bytes += text.size();
  asio::post(impl_->context, [this] { impl_->line->write_next(); });
  ASSAY_CHECK(impl_->wait_for(lock, wait, "sending the message", [&] { return sending->done || mail.ended; }));
  if (!sending->done || sending->error) return std::unexpected(mail.why);
  return {};
}

Result<std::string> WebSocketClient::receive(const Wait& wait) {
  Mailbox& mail = impl_->mail;
  std::unique_lock lock(mail.mutex);
  ASSAY_CHECK(impl_->wait_for(lock, wait, "waiting for a message", [&] { return !mail.inbox.empty() || mail.ended; }));
  if (mail.inbox.empty()) return std::unexpected(mail.why);
  std::string text = std::move(mail.inbox.front());
  mail.inbox.pop_front();
  mail.inbox_bytes -= text.size();
  if (!mail.ended) asio::post(impl_->context, [this] { impl_->line->read(); });
  return text;
}

bool WebSocketClient::open() const {
  const std::lock_guard lock(impl_->mail.mutex);
  return !impl_->mail.ended;
}

void WebSocketClient::close() { impl_->close(); }

}  // namespace assay
