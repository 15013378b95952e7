#include "assay/net/http_server.h"

#include <atomic>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "assay/net/http_client.h"
#include "assay/net/raw_peer_test.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

Wait within(std::chrono::milliseconds time, std::stop_token stop = {}) { return {Deadline::after(system_clock(), time), std::move(stop)}; }

// A server that repeats what it hears, and streams that stay open.
class HttpServerTest : public ::testing::Test {
 protected:
  void start(const HttpServerLimits& limits = {}) {
    auto started = HttpServer::start("127.0.0.1", 0, [this](const ServerRequest& request) { return answer(request); }, limits);
    ASSERT_TRUE(started.has_value()) << started.error().text();
    server_ = std::move(*started);
  }
  ServerReply answer(const ServerRequest& request) {
    if (request.path == "/echo") return ServerReply::text(request.method + " " + request.body);
    if (request.path == "/query") return ServerReply::text(request.query_value("name").value_or("none"));
    if (request.path == "/throw") throw std::runtime_error("handler");
    if (request.path == "/events") {
      return ServerReply::events([this](std::shared_ptr<EventStream> stream) {
        const std::lock_guard lock(mutex_);
        streams_.push_back(std::move(stream));
      });
    }
    return ServerReply::not_found();
  }
  std::string url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(server_->port()) + path; }
  Result<HttpResponse> get(const std::string& path, std::string body = {}, std::string method = "GET") {
    return http_send({std::move(method), url(path), {}, std::move(body)}, {}, within(5s), system_clock());
  }
  std::shared_ptr<EventStream> stream() {
    for (int i = 0; i < 500; ++i) {
      {
        const std::lock_guard lock(mutex_);
        if (!streams_.empty()) return streams_.back();
      }
      std::this_thread::sleep_for(10ms);
    }
    return nullptr;
  }
  template <class Ready>
  static bool eventually(Ready ready) {
    for (int i = 0; i < 500; ++i) {
      if (ready()) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }

  std::mutex mutex_;
  std::vector<std::shared_ptr<EventStream>> streams_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAndKeepsStatusAndBody) {
  start();
  const auto echoed = get("/echo", "hello", "POST");
  ASSERT_TRUE(echoed.has_value()) << echoed.error().text();
  EXPECT_EQ(echoed->status, 200);
  EXPECT_EQ(echoed->body, "POST hello");
  EXPECT_EQ(find_header(echoed->headers, "x-content-type-options"), "nosniff");
  EXPECT_EQ(get("/nothing")->status, 404);
  EXPECT_EQ(get("/query?a=1&name=x%20y")->body, "x y");
  EXPECT_EQ(get("/throw")->status, 500);
  EXPECT_EQ(get("/echo", "", "HEAD")->body, "");
}

TEST_F(HttpServerTest, AcceptsABodyAtTheLimitAndRefusesOneByteMore) {
  HttpServerLimits limits;
  limits.body_bytes_max = 1000;
  start(limits);
  EXPECT_EQ(get("/echo", std::string(1000, 'x'), "POST")->status, 200);
  EXPECT_EQ(get("/echo", std::string(1001, 'x'), "POST")->status, 413);
}

TEST_F(HttpServerTest, RefusesAHeaderBeyondTheLimit) {
  HttpServerLimits limits;
  limits.header_bytes_max = 1024;
  start(limits);
  const auto with = [&](std::size_t bytes) {
    return http_send({"GET", url("/echo"), {{"x-pad", std::string(bytes, 'x')}}, ""}, {}, within(5s), system_clock())->status;
  };
  EXPECT_EQ(with(700), 200);
  EXPECT_EQ(with(1100), 431);
}

TEST_F(HttpServerTest, RefusesForeignHostAndOriginNames) {
  start();
  const auto ask = [&](const std::string& headers) {
    RawClient peer(server_->port());
    peer.say("GET /echo HTTP/1.1\r\n" + headers + "Connection: close\r\n\r\n");
    return peer.hear_all().substr(9, 3);
  };
  EXPECT_EQ(ask("Host: localhost\r\n"), "200");
  EXPECT_EQ(ask("Host: evil.example\r\n"), "403");
  EXPECT_EQ(ask(""), "403");
  EXPECT_EQ(ask("Host: localhost\r\nHost: evil.example\r\n"), "403");
  EXPECT_EQ(ask("Host: localhost\r\nOrigin: http://evil.example\r\n"), "403");
  EXPECT_EQ(ask("Host: localhost\r\nOrigin: http://localhost:9\r\n"), "200");
}

TEST_F(HttpServerTest, AnswersGarbageWith400) {
  start();
  RawClient peer(server_->port());
  peer.say("\x16\x03\x01 nonsense\r\n\r\n");
  EXPECT_EQ(peer.hear_all().substr(0, 12), "HTTP/1.1 400");
}

TEST_F(HttpServerTest, CutsAPeerThatSendsOneByteAnHour) {
  HttpServerLimits limits;
  limits.header_wait = 200ms;
  start(limits);
  RawClient peer(server_->port());
  peer.say("GET");  // and never more
  EXPECT_EQ(peer.hear_all(), "");
}

TEST_F(HttpServerTest, RefusesOneConnectionMoreThanTheLimitAndServesAgainAfter) {
  HttpServerLimits limits;
  limits.connections_max = 2;
  start(limits);
  RawClient first(server_->port()), second(server_->port());
  first.say("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(first.hear(12), "HTTP/1.1 200");
  second.say("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(second.hear(12), "HTTP/1.1 200");
  RawClient third(server_->port());
  EXPECT_EQ(third.hear(12), "HTTP/1.1 503");
  first.close();
  EXPECT_TRUE(eventually([&] { return get("/echo").has_value() && get("/echo")->status == 200; }));
}

TEST_F(HttpServerTest, ServesARequestAlthoughPeersThatSayNothingFillIt) {
  HttpServerLimits limits;
  limits.connections_max = 4;
  start(limits);
  std::vector<std::unique_ptr<RawClient>> silent;
  for (int i = 0; i < 40; ++i) {
    silent.push_back(std::make_unique<RawClient>(server_->port()));
    if (i % 2 == 0) silent.back()->say("GET /echo HTTP/1.1\r\nHost:");
    EXPECT_TRUE(eventually([&] { return get("/echo").has_value() && get("/echo")->status == 200; })) << i;
  }
}

TEST_F(HttpServerTest, StreamsEventsAndNoticesThatTheClientHasGone) {
  start();
  auto peer = std::make_unique<RawClient>(server_->port());
  peer->say("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto events = stream();
  ASSERT_NE(events, nullptr);
  EXPECT_TRUE(events->send("tick", "one\ntwo"));
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
  EXPECT_EQ(peer->hear(head.size()), head);
  std::string rest;
  while (rest.find("two\n\n") == std::string::npos) {
    const std::string next = peer->hear(1);
    ASSERT_FALSE(next.empty()) << rest;
    rest += next;
  }
  EXPECT_NE(rest.find("event: tick\ndata: one\ndata: two\n\n"), std::string::npos) << rest;
  peer.reset();
  EXPECT_TRUE(eventually([&] { return !events->open(); }));
  EXPECT_FALSE(events->send("tick", "late"));
}

TEST_F(HttpServerTest, ClosesAnEventStreamWhoseReaderDoesNotRead) {
  HttpServerLimits limits;
  limits.send_queue_bytes_max = 64 * 1024;
  limits.write_wait = 200ms;
  start(limits);
  RawClient peer(server_->port());
  peer.say("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto events = stream();
  ASSERT_NE(events, nullptr);
  const std::string big(16 * 1024, 'x');
  EXPECT_TRUE(eventually([&] {
    for (int i = 0; i < 64; ++i) events->send("", big);
    return !events->open();
  }));
}

TEST_F(HttpServerTest, StopsWithOpenStreamsAndHandlesOutliveIt) {
  start();
  RawClient peer(server_->port()), idle(server_->port());
  peer.say("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const auto events = stream();
  ASSERT_NE(events, nullptr);
  server_->stop();  // the client reads on for ever: that this returns is the proof
  server_.reset();
  EXPECT_FALSE(events->open());
  EXPECT_FALSE(events->send("a", "b"));
  EXPECT_NE(peer.hear_all().find("text/event-stream"), std::string::npos);
}

TEST_F(HttpServerTest, SaysWhyItCannotListen) {
  start();
  const auto taken = HttpServer::start("127.0.0.1", server_->port(), [](const ServerRequest&) { return ServerReply::not_found(); });
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error().code, ErrorCode::io);
  EXPECT_EQ(HttpServer::start("example.org", 0, {}).error().code, ErrorCode::usage);
}

// A server in one thread that says fixed bytes, slowly if asked.
class SaysBytes {
 public:
  SaysBytes(std::string bytes, std::chrono::milliseconds between, bool then_close)
      : acceptor_(context_, {boost::asio::ip::address_v4::loopback(), 0}),
        thread_([this, bytes, between, then_close](const std::stop_token& stop) {
          boost::asio::ip::tcp::socket peer(context_);
          boost::system::error_code error;
          acceptor_.accept(peer, error);
          if (error) return;
          for (std::size_t i = 0; i < bytes.size() && !stop.stop_requested(); i += between > 0ms ? 1 : bytes.size()) {
            boost::asio::write(peer, boost::asio::buffer(bytes.data() + i, between > 0ms ? 1 : bytes.size()), error);
            std::this_thread::sleep_for(between);
          }
          while (!then_close && !stop.stop_requested()) std::this_thread::sleep_for(10ms);
          char waste[1024];
          peer.shutdown(boost::asio::ip::tcp::socket::shutdown_send, error);
          while (!error && !stop.stop_requested()) peer.read_some(boost::asio::buffer(waste), error);
        }) {}
  std::string url() const { return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port()) + "/secret-path"; }

 private:
  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::jthread thread_;
};

TEST(HttpClient, KeepsItsDeadlineWithAPeerThatDripsBytes) {
  const SaysBytes peer("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 20ms, false);
  // A million bytes take six hours at this pace: a deadline that each byte pushes on would never end the test.
  const auto answer = http_send({"GET", peer.url(), {}, ""}, {}, within(300ms), system_clock());
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::timed_out);
}

TEST(HttpClient, StopsWhenAsked) {
  const SaysBytes peer("", 0ms, false);
  std::stop_source source;
  const std::jthread stopper([&] {
    std::this_thread::sleep_for(100ms);
    source.request_stop();
  });
  const auto answer = http_send({"GET", peer.url(), {}, ""}, {}, within(60s, source.get_token()), system_clock());
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::cancelled);
}

TEST(HttpClient, HoldsItsLimitsOnTheAnswer) {
  HttpLimits limits;
  limits.body_bytes_max = 10;
  limits.header_bytes_max = 200;
  const auto ask = [&](const std::string& bytes) {
    const SaysBytes peer(bytes, 0ms, true);
    return http_send({"GET", peer.url(), {}, ""}, limits, within(5s), system_clock());
  };
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789")->body, "0123456789");
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789a").error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n").error().code,
            ErrorCode::limit_exceeded);
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nX: " + std::string(300, 'x') + "\r\n\r\n").error().code, ErrorCode::limit_exceeded);
}

TEST(HttpClient, NamesTheProblemButNeverThePath) {
  const auto ask = [](const std::string& bytes) {
    const SaysBytes peer(bytes, 0ms, true);
    return http_send({"GET", peer.url(), {}, ""}, {}, within(5s), system_clock());
  };
  EXPECT_EQ(ask("this is not HTTP\r\n\r\n").error().code, ErrorCode::malformed);
  const auto cut = ask("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  ASSERT_FALSE(cut.has_value());
  EXPECT_EQ(cut.error().code, ErrorCode::unavailable);
  EXPECT_EQ(cut.error().text().find("secret-path"), std::string::npos);
  EXPECT_EQ(ask("").error().code, ErrorCode::unavailable);
}

TEST(HttpClient, RefusesBadRequestsBeforeAnythingIsSent) {
  const auto ask = [](HttpRequest request) { return http_send(request, {}, within(5s), system_clock()).error().code; };
  EXPECT_EQ(ask({"GET", "http://127.0.0.1:1/", {{"a", "b\r\nc: d"}}, ""}), ErrorCode::usage);
  EXPECT_EQ(ask({"GET", "http://127.0.0.1:1/", {{"Content-Length", "7"}}, ""}), ErrorCode::usage);
  EXPECT_EQ(ask({"G T", "http://127.0.0.1:1/", {}, ""}), ErrorCode::usage);
  EXPECT_EQ(ask({"GET", "ws://127.0.0.1:1/", {}, ""}), ErrorCode::usage);
  EXPECT_EQ(ask({"GET", "http://127.0.0.1:1/", {}, ""}), ErrorCode::unavailable);  // nobody listens on port 1
}

}  // namespace
}  // namespace assay
