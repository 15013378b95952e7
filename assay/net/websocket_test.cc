#include "assay/net/websocket_client.h"

#include <atomic>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "assay/net/http_server.h"
#include "assay/net/raw_peer_test.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

Wait within(std::chrono::milliseconds time, std::stop_token stop = {}) { return {Deadline::after(system_clock(), time), std::move(stop)}; }

struct Seen {
  std::mutex mutex;
  std::shared_ptr<WebSocketPeer> peer;
  std::atomic<int> opened = 0, closed = 0;
};

class EchoSession final : public WebSocketSession {
 public:
  explicit EchoSession(Seen& seen) : seen_(seen) {}
  void on_open(std::shared_ptr<WebSocketPeer> peer) override {
    peer_ = peer;
    const std::lock_guard lock(seen_.mutex);
    seen_.peer = std::move(peer);
    ++seen_.opened;
  }
  void on_text(std::string_view text) override {
    if (text == "bye") peer_->close(1000, "as you like");
    else if (text == "throw") throw std::runtime_error("session");
    else peer_->send(std::string(text));
  }
  void on_close() override { ++seen_.closed; }

 private:
  Seen& seen_;
  std::shared_ptr<WebSocketPeer> peer_;
};

class WebSocketTest : public ::testing::Test {
 protected:
  void start(const HttpServerLimits& limits = {}) {
    auto started = HttpServer::start(
        "127.0.0.1", 0,
        [this](const ServerRequest& request) {
          return request.path == "/" ? ServerReply::upgrade(std::make_shared<EchoSession>(seen_)) : ServerReply::not_found();
        },
        limits);
    ASSERT_TRUE(started.has_value()) << started.error().text();
    server_ = std::move(*started);
  }
  std::string url(const std::string& path = "") const { return "ws://127.0.0.1:" + std::to_string(server_->port()) + path; }
  std::unique_ptr<WebSocketClient> client(const WebSocketLimits& limits = {}) {
    auto made = WebSocketClient::connect(url(), within(5s), system_clock(), limits);
    EXPECT_TRUE(made.has_value()) << made.error().text();
    return made ? std::move(*made) : nullptr;
  }
  template <class Ready>
  static bool eventually(Ready ready) {
    for (int i = 0; i < 500; ++i) {
      if (ready()) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }

  Seen seen_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(WebSocketTest, EchoesBothWaysInOrder) {
  start();
  const auto socket = client();
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(socket->send_text("message " + std::to_string(i), within(5s)).has_value());
  for (int i = 0; i < 200; ++i) {
    const auto text = socket->receive(within(5s));
    ASSERT_TRUE(text.has_value()) << text.error().text();
    EXPECT_EQ(*text, "message " + std::to_string(i));
  }
  ASSERT_TRUE(socket->send_text("bye", within(5s)).has_value());
  const auto end = socket->receive(within(5s));
  ASSERT_FALSE(end.has_value());
  EXPECT_EQ(end.error().code, ErrorCode::unavailable);
  EXPECT_NE(end.error().message.find("as you like"), std::string::npos) << end.error().message;
  EXPECT_FALSE(socket->open());
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
}

TEST_F(WebSocketTest, ATimedOutWaitLosesNothing) {
  start();
  const auto socket = client();
  EXPECT_EQ(socket->receive(within(50ms)).error().code, ErrorCode::timed_out);
  std::stop_source source;
  const std::jthread stopper([&] {
    std::this_thread::sleep_for(50ms);
    source.request_stop();
  });
  EXPECT_EQ(socket->receive(within(60s, source.get_token())).error().code, ErrorCode::cancelled);
  ASSERT_TRUE(socket->send_text("still here", within(5s)).has_value());
  EXPECT_EQ(socket->receive(within(5s)).value(), "still here");
}

TEST_F(WebSocketTest, TakesAMessageAtTheLimitAndClosesOneByteBeyond) {
  HttpServerLimits limits;
  limits.websocket_message_bytes_max = 5000;
  start(limits);
  const auto socket = client();
  ASSERT_TRUE(socket->send_text(std::string(5000, 'x'), within(5s)).has_value());
  EXPECT_EQ(socket->receive(within(5s))->size(), 5000U);
  (void)socket->send_text(std::string(5001, 'x'), within(5s));
  const auto end = socket->receive(within(5s));
  ASSERT_FALSE(end.has_value());
  EXPECT_NE(end.error().message.find("1009"), std::string::npos) << end.error().message;
}

TEST_F(WebSocketTest, TheClientRefusesAMessageBeyondItsOwnLimit) {
  start();
  WebSocketLimits limits;
  limits.message_bytes_max = 100;
  const auto socket = client(limits);
  ASSERT_TRUE(socket->send_text(std::string(100, 'x'), within(5s)).has_value());
  EXPECT_EQ(socket->receive(within(5s))->size(), 100U);
  ASSERT_TRUE(socket->send_text(std::string(101, 'x'), within(5s)).has_value());
  EXPECT_EQ(socket->receive(within(5s)).error().code, ErrorCode::limit_exceeded);
}

TEST_F(WebSocketTest, CutsAReaderThatDoesNotRead) {
  HttpServerLimits limits;
  limits.send_queue_bytes_max = 256 * 1024;
  start(limits);
  WebSocketLimits slow;
  slow.inbox_messages_max = 1;  // then our client stops reading
  const auto socket = client(slow);
  ASSERT_TRUE(eventually([&] { return seen_.opened == 1; }));
  const auto big = std::make_shared<const std::string>(64 * 1024, 'x');
  EXPECT_TRUE(eventually([&] {
    for (int i = 0; i < 50; ++i) seen_.peer->send(big);
    return !seen_.peer->open();
  }));
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
}

TEST_F(WebSocketTest, RefusesOtherPathsForeignOriginsAndPlainRequests) {
  start();
  const auto wrong = WebSocketClient::connect(url("/admin"), within(5s), system_clock());
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, ErrorCode::unavailable);
  EXPECT_NE(wrong.error().message.find("404"), std::string::npos) << wrong.error().message;
  WebSocketLimits foreign;
  foreign.headers = {{"Origin", "http://evil.example"}};
  EXPECT_FALSE(WebSocketClient::connect(url(), within(5s), system_clock(), foreign).has_value());
  RawClient plain(server_->port());
  plain.say("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(plain.hear_all().substr(0, 12), "HTTP/1.1 426");
  EXPECT_EQ(seen_.opened, 0);
}

TEST_F(WebSocketTest, ASessionThatThrowsEndsOnlyItsConnection) {
  start();
  const auto one = client(), two = client();
  ASSERT_TRUE(one->send_text("throw", within(5s)).has_value());
  EXPECT_NE(one->receive(within(5s)).error().message.find("1011"), std::string::npos);
  ASSERT_TRUE(two->send_text("fine", within(5s)).has_value());
  EXPECT_EQ(two->receive(within(5s)).value(), "fine");
}

const std::string upgrade_request =
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n";

struct BadFrame {
  const char* name;
  std::string bytes;
  int code;
};

// Frames no honest client sends: each is answered with the close code that RFC 6455 gives it.
TEST_F(WebSocketTest, ClosesOnFramesThatBreakTheProtocol) {
  HttpServerLimits limits;
  limits.websocket_message_bytes_max = 1000;
  start(limits);
  const std::string mask(4, '\0');
  const std::vector<BadFrame> frames = {
      {"announces 2^62 bytes", std::string("\x81\xFF\x40\0\0\0\0\0\0\0", 10) + mask, 1009},
      {"not masked", std::string("\x81\x01x"), 1002},
      {"reserved bit", std::string("\xF1\x81") + mask + "x", 1002},
      {"not UTF-8", std::string("\x81\x81") + mask + "\xFF", 1007},
      {"binary", std::string("\x82\x81") + mask + "x", 1003},
  };
  for (const auto& frame : frames) {
    RawClient peer(server_->port());
    peer.say(upgrade_request);
    std::string head;
    while (head.find("\r\n\r\n") == std::string::npos) {
      const std::string next = peer.hear(1);
      ASSERT_FALSE(next.empty()) << frame.name;
      head += next;
    }
    peer.say(frame.bytes);
    const std::string answer = peer.hear(4);
    ASSERT_EQ(answer.size(), 4U) << frame.name;
    EXPECT_EQ(answer[0], '\x88') << frame.name;
    EXPECT_EQ((static_cast<unsigned char>(answer[2]) << 8) | static_cast<unsigned char>(answer[3]), frame.code) << frame.name;
  }
}

TEST_F(WebSocketTest, CutsAMessageThatBeginsAndNeverEnds) {
  HttpServerLimits limits;
  limits.message_wait = 200ms;
  start(limits);
  RawClient peer(server_->port());
  peer.say(upgrade_request);
  ASSERT_TRUE(eventually([&] { return seen_.opened == 1; }));
  peer.say(std::string("\x81\x8A") + std::string(4, '\0') + "xy");  // ten bytes announced, two sent
  EXPECT_TRUE(eventually([&] { return seen_.closed == 1; }));
}

TEST_F(WebSocketTest, StopsWithOpenConnectionsAndSaysGoodbye) {
  start();
  const auto socket = client();
  ASSERT_TRUE(eventually([&] { return seen_.opened == 1; }));
  server_->stop();
  EXPECT_EQ(seen_.closed, 1);
  EXPECT_NE(socket->receive(within(5s)).error().message.find("1001"), std::string::npos);
  EXPECT_EQ(socket->send_text("late", within(1s)).error().code, ErrorCode::unavailable);
  server_.reset();
  EXPECT_FALSE(seen_.peer->send("late"));
}

// Bytes that were read already must not reach a session whose connection a failed write has ended meanwhile.
TEST_F(WebSocketTest, OutlivesPeersThatAskAndResetAtOnce) {
  start();
  for (int round = 0; round < 40; ++round) {
    RawClient peer(server_->port());
    std::string said =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for (int i = 0; i < 20; ++i)
      said += std::string("\x81\xfe\x40\x00\0\0\0\0", 8) + std::string(0x4000, 'a');  // 16 KiB, masked with zeros
    peer.say(said);
    peer.reset();
  }
  const auto socket = client();
  ASSERT_TRUE(socket->send_text("still here", within(5s)).has_value());
  EXPECT_EQ(socket->receive(within(5s)).value(), "still here");
  EXPECT_TRUE(eventually([&] { return seen_.closed >= seen_.opened - 1; }));
}

TEST_F(WebSocketTest, ManyThreadsMaySendOnOneConnection) {
  start();
  const auto socket = client();
  {
    std::vector<std::jthread> senders;
    for (int t = 0; t < 4; ++t) {
      senders.emplace_back([&] {
        for (int i = 0; i < 50; ++i) EXPECT_TRUE(socket->send_text(std::string(3000, 'a'), within(10s)).has_value());
      });
    }
  }
  for (int i = 0; i < 200; ++i) EXPECT_EQ(socket->receive(within(5s))->size(), 3000U);
}

TEST(WebSocketClientTest, KeepsItsDeadlineWithAServerThatNeverUpgrades) {
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor silent(context, {boost::asio::ip::address_v4::loopback(), 0});
  const std::string url = "ws://localhost:" + std::to_string(silent.local_endpoint().port());
  const auto made = WebSocketClient::connect(url, within(200ms), system_clock());
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, ErrorCode::timed_out);
}

}  // namespace
}  // namespace assay
