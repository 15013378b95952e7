#include "assay/net/http_session.h"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "assay/net/http_server.h"
#include "assay/net/raw_peer_test.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

Wait in(std::chrono::milliseconds time) { return {Deadline::after(system_clock(), time), {}}; }

class HttpSessionTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = HttpServer::start("127.0.0.1", 0, [this](const ServerRequest& request) {
                ++requests_;
                if (request.path == "/error") return ServerReply::text("no such thing\n", 404);
                return ServerReply::text(std::string(200000, 'x'));
              }).value();
  }
  std::string url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(server_->port()) + path; }

  std::atomic<int> requests_ = 0;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpSessionTest, KeepsAConnectionForTheNextRequest) {
  HttpSession session({}, system_clock());
  for (int i = 0; i < 5; ++i) {
    const auto answer = session.send({"GET", url("/"), {}, ""}, in(5s));
    ASSERT_TRUE(answer) << answer.error().text();
    EXPECT_EQ(answer->body.size(), 200000U);
    EXPECT_EQ(session.idle(), 1U);
  }
}

TEST_F(HttpSessionTest, GivesBodiesInPartsAndStopsWhenItIsEnough) {
  HttpSession session({}, system_clock());
  std::size_t bytes = 0, parts = 0;
  bool sent = false;
  const auto all =
      session.stream({"GET", url("/"), {}, ""}, [&](std::string_view part) { return bytes += part.size(), ++parts, true; }, in(5s), sent);
  EXPECT_TRUE(sent);
  ASSERT_TRUE(all) << all.error().text();
  EXPECT_EQ(bytes, 200000U);
  EXPECT_GT(parts, 1U);
  EXPECT_TRUE(all->body.empty());
  EXPECT_EQ(session.idle(), 1U);
  const auto first = session.stream({"GET", url("/"), {}, ""}, [](std::string_view) { return false; }, in(5s), sent);
  ASSERT_TRUE(first);
  EXPECT_EQ(session.idle(), 0U);  // what it had not read would be taken for the next answer
  const auto error = session.stream({"GET", url("/error"), {}, ""}, [](std::string_view) { return ADD_FAILURE(), true; }, in(5s), sent);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->status, 404);
  EXPECT_EQ(error->body, "no such thing\n");
}

TEST_F(HttpSessionTest, NoticesThatAnIdleConnectionHasGone) {
  HttpSession session({}, system_clock());
  ASSERT_TRUE(session.send({"GET", url("/"), {}, ""}, in(5s)));
  const std::uint16_t port = server_->port();
  server_.reset();
  const auto away = session.send({"GET", "http://127.0.0.1:" + std::to_string(port) + "/", {}, ""}, in(5s));
  ASSERT_FALSE(away);
  EXPECT_EQ(away.error().code, ErrorCode::unavailable);
  bool sent = false;
  EXPECT_FALSE(session.stream(
      {"GET", "http://127.0.0.1:" + std::to_string(port) + "/", {}, ""}, [](std::string_view) { return true; }, in(5s), sent));
  EXPECT_FALSE(sent) << "there was no connection to send on";
  server_ = HttpServer::start("127.0.0.1", port, [](const ServerRequest&) { return ServerReply::text("back"); }).value();
  const auto back = session.send({"GET", url("/"), {}, ""}, in(5s));
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(back->body, "back");
}

TEST_F(HttpSessionTest, EndsAtItsDeadlineAndOnAStop) {
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor silent(context, {boost::asio::ip::address_v4::loopback(), 0});
  const std::string place = "http://127.0.0.1:" + std::to_string(silent.local_endpoint().port()) + "/";
  HttpSession session({}, system_clock());
  const auto late = session.send({"GET", place, {}, ""}, in(100ms));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::timed_out);
  std::stop_source stop;
  std::jthread soon([&] {
    std::this_thread::sleep_for(50ms);
    stop.request_stop();
  });
  const auto stopped = session.send({"GET", place, {}, ""}, {Deadline::after(system_clock(), 30s), stop.get_token()});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
}

class Interim : public HttpSessionTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(KeptOrNot, Interim, testing::Bool());

TEST_P(Interim, AnswersAreNotYetTheAnswer) {
  const bool keeps = GetParam();
  const auto ask_one_that_says = [keeps](const std::string& bytes) {
    boost::asio::io_context context;
    boost::asio::ip::tcp::acceptor acceptor(context, {boost::asio::ip::address_v4::loopback(), 0});
    std::jthread server([&] {
      boost::asio::ip::tcp::socket peer(context);
      boost::system::error_code error;
      acceptor.accept(peer, error);
      boost::asio::write(peer, boost::asio::buffer(bytes), error);
      char waste[1024];
      while (!error) peer.read_some(boost::asio::buffer(waste), error);
    });
    const HttpRequest request{"GET", "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port()) + "/", {}, ""};
    return keeps ? HttpSession({}, system_clock()).send(request, in(5s)) : http_send(request, {}, in(5s), system_clock());
  };
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
  const auto answer = ask_one_that_says("HTTP/1.1 100 Continue\r\n\r\n" + interim + good);
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "hi");
  std::string endless;
  for (int i = 0; i < 50; ++i) endless += interim;
  const auto never = ask_one_that_says(endless + good);
  EXPECT_TRUE(!never || never->status == 103) << "only so many";
}

TEST_F(HttpSessionTest, ConcurrentRequestsHaveConnectionsOfTheirOwn) {
  HttpSession session({}, system_clock());
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 5; ++k) {
          const auto answer = session.send({"GET", url("/"), {}, ""}, in(20s));
          if (answer && answer->body.size() == 200000) ++good;
        }
      });
    }
  }
  EXPECT_EQ(good, 40);
  EXPECT_LE(session.idle(), 8U);
}

}  // namespace
}  // namespace assay
