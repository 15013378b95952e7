#include "assay/hud/server.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <thread>

#include "assay/hud/hud_callback.h"
#include "assay/hud/record_gen_test.h"
#include "assay/net/http_client.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

// A viewer's connection, read until a text comes.
class StreamReader {
 public:
  StreamReader(std::uint16_t port, std::string_view extra = {}) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval wait{10, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const std::string request = "GET /hud/stream HTTP/1.1\r\nHost: localhost\r\n" + std::string(extra) + "\r\n";
    EXPECT_EQ(::send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL), static_cast<ssize_t>(request.size()));
  }
  // All that was heard so far, once `text` is in it; or what there is after 10 s of silence.
  const std::string& until(std::string_view text) {
    char part[4096];
    while (heard_.find(text) == std::string::npos) {  // ends: with the text, or when the peer is silent or gone
      const ssize_t count = ::recv(fd_.get(), part, sizeof part, 0);
      if (count <= 0) break;
      heard_.append(part, static_cast<std::size_t>(count));
    }
    return heard_;
  }

 private:
  Fd fd_;
  std::string heard_;
};

class HudServerTest : public ::testing::Test {
 protected:
  void start() {
    HudOptions options;
    options.runs_folders = {folder_.path()};
    options.version = "0.1.0";
    options.poll = 20ms;
    auto started = HudServer::start(std::move(options), system_clock());
    ASSERT_TRUE(started.has_value()) << started.error().text();
    hud_ = std::move(*started);
  }
  HttpResponse get(const std::string& path, HttpHeaders headers = {}, std::string method = "GET") {
    const Wait wait{Deadline::after(system_clock(), 10s), {}};
    auto answer = http_send({std::move(method), "http://127.0.0.1:" + std::to_string(hud_->port()) + path, std::move(headers), ""}, {},
                            wait, system_clock());
    if (!answer) {
      ADD_FAILURE() << answer.error().text();
      return {};
    }
    return std::move(*answer);
  }
  Json json(const std::string& path) {
    const auto read = read_json(get(path).body);
    EXPECT_TRUE(read.has_value()) << path;
    return read.value_or(Json());
  }
  std::string finished_run(const std::string& node = "classify", const std::string& answer = "mail") {
    TestRecord record(folder_.file("a.run.jsonl"));
    record.call(node, answer);
    record.finish();
    return record.run_id();
  }

  TestFolder folder_;
  std::unique_ptr<HudServer> hud_;
};

TEST_F(HudServerTest, ServesThePageWithAPolicyThatLetsNoTextBecomeCode) {
  start();
  const HttpResponse page = get("/hud");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(find_header(page.headers, "content-type"), "text/html; charset=utf-8");
  const std::string policy = find_header(page.headers, "content-security-policy").value_or("");
  for (const char* part : {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"}) {
    EXPECT_NE(policy.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  EXPECT_EQ(find_header(page.headers, "x-content-type-options"), "nosniff");
  EXPECT_EQ(find_header(page.headers, "access-control-allow-origin"), std::nullopt);
  EXPECT_EQ(page.body.find("<script>"), std::string::npos) << "no inline script";
  EXPECT_EQ(page.body.find("style="), std::string::npos) << "no inline style";
  EXPECT_EQ(get("/hud", {{"If-None-Match", find_header(page.headers, "etag").value_or("")}}).status, 304);
}

TEST_F(HudServerTest, RefusesOtherHostsOtherSitesAndOtherMethods) {
  start();
  EXPECT_EQ(get("/api/runs", {{"Origin", "http://evil.example"}}).status, 403);
  EXPECT_EQ(get("/api/runs", {{"Origin", "null"}}).status, 403);
  EXPECT_EQ(get("/api/runs", {{"Sec-Fetch-Site", "cross-site"}}).status, 403);
  EXPECT_EQ(get("/api/runs", {{"Sec-Fetch-Site", "same-origin"}}).status, 200);
  EXPECT_EQ(get("/hud", {{"Sec-Fetch-Site", "cross-site"}}).status, 200) << "a link to the HUD is fine";
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) EXPECT_EQ(get("/api/runs", {}, method).status, 405) << method;
  StreamReader rebound(hud_->port(), "Host: attacker.example\r\n");  // a second Host
  EXPECT_NE(rebound.until("\r\n").find(" 403 "), std::string::npos);
}

TEST_F(HudServerTest, ListsRunsAndShowsOneWithMessagesUsageAndPrice) {
  const std::string id = finished_run();
  start();
  const Json runs = json("/api/runs");
  EXPECT_EQ(*runs.pointer("/runs/0/id"), Json(id));
  EXPECT_EQ(*runs.pointer("/runs/0/state"), Json("complete"));
  EXPECT_EQ(*runs.pointer("/runs/0/totals/cost_msats"), Json(7));
  const Json run = json("/api/runs/" + id + "?bodies=1");
  EXPECT_EQ(*run.pointer("/record/state"), Json("complete"));
  EXPECT_EQ(*run.pointer("/graph/nodes/1/path"), Json("classify"));
  EXPECT_EQ(*run.pointer("/graph/nodes/1/calls/0/messages/0/content"), Json("imap client"));
  EXPECT_EQ(*run.pointer("/graph/nodes/1/calls/0/content"), Json("mail"));
  EXPECT_EQ(*run.pointer("/graph/nodes/1/calls/0/usage/prompt_tokens"), Json(50));
  EXPECT_EQ(*run.pointer("/graph/nodes/1/start_ns"), Json(1000000));
  EXPECT_EQ(*run.pointer("/graph/nodes/1/output_values/section"), Json("mail"));
  const Json lean = json("/api/runs/" + id);
  EXPECT_EQ(lean.pointer("/graph/nodes/1/calls/0/content"), nullptr);
  EXPECT_EQ(json("/api/runs/" + id + "?graph=0").at("graph"), Json());
  EXPECT_EQ(json("/api/runs/" + id + "/node?path=classify").at("calls").as_list().size(), 1U);
}

TEST_F(HudServerTest, AnIdIsNeverAPath) {
  const std::string id = finished_run();
  append_bytes(folder_.file("secret.txt"), "top secret");
  start();
  for (const std::string path :
       {"/api/runs/../secret.txt", "/api/runs/..%2fsecret.txt", "/api/runs/%2e%2e/secret.txt", "/api/runs/a.run.jsonl", "/api/runs/",
        "/hud/assets/../../CMakeLists.txt", "/hud/assets/%2e%2e%2fCMakeLists.txt", "/hud/assets//etc/passwd", "/api/runs/%00"}) {
    EXPECT_EQ(get(path).status, 404) << path;
  }
  EXPECT_EQ(get("/api/runs/" + id + "/node?path=../../secret.txt").status, 404);
  EXPECT_EQ(get("/api/runs/" + id + "/other").status, 404);
}

TEST_F(HudServerTest, HidesSecretsInBodies) {
  const std::string id = finished_run("classify", "the key is sk-0123456789abcdefghij");
  start();
  const std::string body = get("/api/runs/" + id + "?bodies=1").body;
  EXPECT_EQ(body.find("sk-0123456789"), std::string::npos);
  EXPECT_NE(body.find("the key is [REDACTED]"), std::string::npos);
}

TEST_F(HudServerTest, StreamsARunOfAnotherWriterAsItGoes) {
  start();
  StreamReader viewer(hud_->port());
  viewer.until("event: hello");
  TestRecord record(folder_.file("live.run.jsonl"));
  record.call("classify", "mail");
  record.finish();
  const std::string& heard = viewer.until("event: run_ended");
  for (const char* part : {"HTTP/1.1 200", "text/event-stream", "event: run_started", "event: node_start", "event: lm_start",
                           "event: lm_end", "\"answer\":\"mail\"", "event: node_end", "event: run_ended"}) {
    EXPECT_NE(heard.find(part), std::string::npos) << part;
  }
  EXPECT_NE(heard.find(record.run_id()), std::string::npos);
}

TEST_F(HudServerTest, ACallbacksEventsAreNotToldTwiceAndARunInMemoryIsShownToo) {
  start();
  StreamReader viewer(hud_->port());
  viewer.until("event: hello");
  TestRecord record(folder_.file("own.run.jsonl"));
  HudCallback callback(hud_->hub(), record.run_id());
  callback.on_module_start("m1", "classify", Example());
  record.call("classify", "mail");
  record.finish();
  const std::string heard = viewer.until("event: run_ended");
  EXPECT_EQ(heard.find("event: node_start"), heard.rfind("event: node_start"));
  EXPECT_NE(heard.find("event: node_start"), std::string::npos);
  EXPECT_EQ(heard.find("event: lm_end"), std::string::npos);

  Graph graph;
  graph.run_id = repeated('9', 32);
  graph.program_name = "in memory";
  graph.nodes.emplace_back().status = "ok";
  HudCallback(hud_->hub()).on_trace_complete(graph, nullptr);
  EXPECT_EQ(*json("/api/runs").pointer("/runs/0/program"), Json("in memory"));
  EXPECT_EQ(get("/api/runs/" + graph.run_id).status, 200);
}

TEST_F(HudServerTest, SaysHowItIsAndWhatItCounted) {
  finished_run();
  start();
  StreamReader viewer(hud_->port());
  viewer.until("event: hello");
  const Json status = json("/status");
  EXPECT_EQ(status.at("version"), Json("0.1.0"));
  EXPECT_EQ(*status.pointer("/runs/by_state/complete"), Json(1));
  EXPECT_EQ(status.at("viewers"), Json(1));
  const HttpResponse metrics = get("/metrics");
  EXPECT_EQ(find_header(metrics.headers, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* line :
       {"\nassay_runs{state=\"complete\"} 1\n", "\nassay_lm_calls{cached=\"false\"} 1\n", "\nassay_cost_msats 7\n",
        "\nassay_hud_viewers 1\n", "\nassay_hud_events_dropped_total 0\n", "\nassay_lm_tokens{direction=\"prompt\"} 50\n"}) {
    EXPECT_NE(metrics.body.find(line), std::string::npos) << line;
  }
}

TEST_F(HudServerTest, ABrokenRecordIsShownUpToItsBadLine) {
  const std::string id = finished_run();
  const std::string path = folder_.file("a.run.jsonl");
  std::string text = bytes_of(path);
  const std::size_t at = text.rfind("\"ok\"");
  text.replace(at, 4, "\"OK\"");
  std::ofstream(path, std::ios::binary) << text;
  start();
  const Json run = json("/api/runs/" + id);
  EXPECT_EQ(*run.pointer("/run/state"), Json("broken"));
  EXPECT_EQ(*run.pointer("/record/state"), Json("broken"));
  EXPECT_EQ(*run.pointer("/graph/nodes/1/calls/0/usage/prompt_tokens"), Json(50));
}

TEST_F(HudServerTest, ASecondServerOnThePortSaysSo) {
  start();
  HudOptions options;
  options.port = hud_->port();
  const auto second = HudServer::start(std::move(options), system_clock());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::io);
  EXPECT_FALSE(second.error().remedy.empty());
}

}  // namespace
}  // namespace assay
