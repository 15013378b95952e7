#include "assay/nostr/relay.h"

#include <filesystem>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "assay/base/database.h"
#include "assay/net/http_client.h"
#include "assay/net/http_server.h"
#include "assay/net/websocket_client.h"
#include "assay/nostr/relay_client.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

Wait within(std::chrono::milliseconds time = 10s, std::stop_token stop = {}) {
  return {Deadline::after(system_clock(), time), std::move(stop)};
}
std::int64_t now() { return system_clock().unix_ns() / 1'000'000'000; }

class RelayTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("assay-relay-test-" + system_entropy().hex_bytes(8));
    start();
  }
  void TearDown() override {
    relay_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start(const RelayLimits& limits = {}) {
    relay_.reset();
    auto started = Relay::start({.port = 0, .data_folder = folder_, .limits = limits}, system_clock());
    ASSERT_TRUE(started.has_value()) << started.error().text();
    relay_ = std::move(*started);
  }
  std::unique_ptr<RelayClient> client() {
    auto made = RelayClient::connect(relay_->url(), within(), system_clock());
    EXPECT_TRUE(made.has_value()) << made.error().text();
    return made ? std::move(*made) : nullptr;
  }
  std::unique_ptr<WebSocketClient> raw() { return WebSocketClient::connect(relay_->url(), within(), system_clock()).value(); }
  VerifiedEvent event(std::int64_t kind, std::string content, EventTags tags = {}, std::int64_t time = now()) {
    return sign_event({time, kind, std::move(tags), std::move(content)}, key_, system_entropy()).value();
  }
  // What the relay answers to one message.
  std::string ask(WebSocketClient& socket, const std::string& message) {
    EXPECT_TRUE(socket.send_text(message, within()).has_value());
    return socket.receive(within()).value_or("(nothing)");
  }
  static std::vector<std::string> contents(const Result<std::vector<VerifiedEvent>>& events) {
    std::vector<std::string> out;
    EXPECT_TRUE(events.has_value());
    if (events) {
      for (const auto& e : *events) out.push_back(e->content);
    }
    return out;
  }

  std::string folder_;
  SecretKey key_ = SecretKey::generate(system_entropy()).value();
  SecretKey other_ = SecretKey::generate(system_entropy()).value();
  std::unique_ptr<Relay> relay_;
};

using Strings = std::vector<std::string>;

TEST_F(RelayTest, StoresAnswersAndKeepsOverARestart) {
  const auto one = event(1, "one", {{"t", "x"}}, now() - 10), two = event(1, "two", {{"t", "y"}}, now() - 5);
  {
    const auto c = client();
    EXPECT_FALSE(c->publish(one, within())->duplicate);
    ASSERT_TRUE(c->publish_all({one, two}, within()).has_value());
    EXPECT_TRUE(c->publish(one, within())->duplicate);
    EXPECT_EQ(contents(c->fetch({{.kinds = {{1}}}}, within())), (Strings{"two", "one"}));
    EXPECT_EQ(contents(c->fetch({{.limit = 1}}, within())), (Strings{"two"}));
    EXPECT_EQ(contents(c->fetch({{.limit = 0}}, within())), Strings{});
    EXPECT_EQ(contents(c->fetch({{.tags = {{'t', {"x"}}}}, {.ids = {{two->id}}}}, within())), (Strings{"two", "one"}));
    EXPECT_EQ(contents(c->fetch({{.authors = std::vector<std::string>{}}}, within())), Strings{});
    EXPECT_EQ(contents(c->fetch({{.until = one->created_at}}, within())), (Strings{"one"}));
  }
  start();
  const auto c = client();
  EXPECT_EQ(c->fetch({{.ids = {{one->id}}}}, within())->at(0).event(), *one);
  EXPECT_TRUE(c->publish(one, within())->duplicate);
  EXPECT_EQ(relay_->counts().stored, 0U);
}

TEST_F(RelayTest, PassesLiveEventsOnAfterTheStoredOnes) {
  const auto a = client(), b = client();
  ASSERT_TRUE(a->publish(event(1, "before"), within()).has_value());
  const auto subscription = b->subscribe({{.kinds = {{1, 20001}}}}, within());
  ASSERT_TRUE(subscription.has_value());
  EXPECT_EQ((*subscription)->next_stored(within()).value().value()->content, "before");
  EXPECT_FALSE((*subscription)->next_stored(within()).value().has_value());  // EOSE
  ASSERT_TRUE(a->publish(event(2, "other kind"), within()).has_value());
  ASSERT_TRUE(a->publish(event(1, "after"), within()).has_value());
  ASSERT_TRUE(a->publish(event(20001, "ephemeral"), within()).has_value());
  EXPECT_EQ((*subscription)->next(within()).value()->content, "after");
  EXPECT_EQ((*subscription)->next(within()).value()->content, "ephemeral");
  EXPECT_EQ((*subscription)->next(within(50ms)).error().code, ErrorCode::timed_out);
  EXPECT_EQ(contents(a->fetch({{.kinds = {{20001}}}}, within())), Strings{});  // never stored
  EXPECT_FALSE(a->publish(event(1, "dup"), within())->duplicate);
}

TEST_F(RelayTest, NothingIsLostOrSentTwiceBetweenStoredAndLive) {
  constexpr int total = 400;
  std::vector<VerifiedEvent> events;
  for (int i = 0; i < total; ++i) events.push_back(event(1, std::to_string(i)));
  const auto writer = client(), reader = client();
  const std::jthread publishing([&] { EXPECT_TRUE(writer->publish_all(events, within(30s)).has_value()); });
  std::vector<std::unique_ptr<Subscription>> subscriptions;  // begun while events arrive
  for (int i = 0; i < 12; ++i) {
    auto subscription = reader->subscribe({{.kinds = {{1}}, .limit = 1000}}, within());
    ASSERT_TRUE(subscription.has_value());
    subscriptions.push_back(std::move(*subscription));
    std::this_thread::sleep_for(5ms);
  }
  for (const auto& subscription : subscriptions) {
    std::set<std::string> seen;
    for (int i = 0; i < total; ++i) {
      const auto next = subscription->next(within(30s));
      ASSERT_TRUE(next.has_value()) << next.error().text() << " after " << i;
      EXPECT_TRUE(seen.insert((*next)->id).second) << "twice";
    }
    EXPECT_EQ(subscription->next(within(1ms)).error().code, ErrorCode::timed_out);
  }
}

TEST_F(RelayTest, KeepsTheNewestOfReplaceableAndAddressableEvents) {
  const auto c = client();
  const auto t = now();
  ASSERT_TRUE(c->publish(event(0, "old", {}, t - 2), within()).has_value());
  ASSERT_TRUE(c->publish(event(0, "new", {}, t - 1), within()).has_value());
  const auto late = c->publish(event(0, "older still", {}, t - 3), within());
  EXPECT_EQ(late.error().code, ErrorCode::refused);
  EXPECT_NE(late.error().message.find("replaced:"), std::string::npos);
  EXPECT_EQ(contents(c->fetch({{.kinds = {{0}}}}, within())), (Strings{"new"}));
  ASSERT_TRUE(c->publish(event(30078, "a1", {{"d", "a"}}, t - 2), within()).has_value());
  ASSERT_TRUE(c->publish(event(30078, "b1", {{"d", "b"}}, t - 2), within()).has_value());
  ASSERT_TRUE(c->publish(event(30078, "a2", {{"d", "a"}}, t - 1), within()).has_value());
  EXPECT_EQ(contents(c->fetch({{.kinds = {{30078}}}}, within())), (Strings{"a2", "b1"}));
  // The same second: the lowest id wins, whichever comes first.
  const auto x = event(10001, "x", {}, t), y = event(10001, "y", {}, t);
  const auto& low = x->id < y->id ? x : y;
  const auto& high = x->id < y->id ? y : x;
  ASSERT_TRUE(c->publish(low, within()).has_value());
  EXPECT_FALSE(c->publish(high, within()).has_value());
  EXPECT_EQ(contents(c->fetch({{.kinds = {{10001}}}}, within())), (Strings{low->content}));
}

TEST_F(RelayTest, AnAuthorTakesBackOnlyOwnEventsAndForEver) {
  const auto c = client();
  const auto t = now();
  const auto mine = event(1, "mine", {}, t - 5), addressed = event(30078, "addressed", {{"d", "x:y"}}, t - 5);
  const auto theirs = sign_event({t, 1, {}, "theirs"}, other_, system_entropy()).value();
  ASSERT_TRUE(c->publish_all({mine, theirs, addressed}, within()).has_value());
  ASSERT_TRUE(
      c->publish(event(5, "", {{"e", mine->id}, {"e", theirs->id}, {"a", event_address(*addressed)}, {"e", std::string(64, '0')}}, t),
                 within())
          .has_value());
  EXPECT_EQ(contents(c->fetch({{.kinds = {{1, 30078}}}}, within())), (Strings{"theirs"}));
  EXPECT_NE(c->publish(mine, within()).error().message.find("blocked: deleted"), std::string::npos);
  EXPECT_FALSE(c->publish(addressed, within()).has_value());
  EXPECT_TRUE(c->publish(event(30078, "again", {{"d", "x:y"}}, t + 1), within()).has_value());
  EXPECT_EQ(contents(c->fetch({{.kinds = {{5}}}}, within())).size(), 1U);
}

TEST_F(RelayTest, RefusesForgedAndMisdatedEventsByName) {
  const auto socket = raw();
  const auto good = event(1, "good");
  const auto publish = [&](Event e) { return ask(*socket, "[\"EVENT\"," + event_json(e) + "]"); };
  Event e = *good;
  e.content = "bad";
  EXPECT_EQ(publish(e), "[\"OK\",\"" + e.id + "\",false,\"invalid: bad event id\"]");
  e.id = event_id(e);
  EXPECT_EQ(publish(e), "[\"OK\",\"" + e.id + "\",false,\"invalid: bad signature\"]");
  // Nor does an id that the relay has make a false signature true.
  Event known = *event(1, "known", {}, now());
  EXPECT_EQ(publish(known), "[\"OK\",\"" + known.id + "\",true,\"\"]");
  known.sig[0] = known.sig[0] == '0' ? '1' : '0';
  EXPECT_EQ(publish(known), "[\"OK\",\"" + known.id + "\",false,\"invalid: bad signature\"]");
  EXPECT_NE(publish(*event(1, "", {}, now() + 10'000)).find("false,\"invalid: created_at too far in the future"), std::string::npos);
  EXPECT_NE(publish(*event(1, "", {{"expiration", std::to_string(now() - 1)}})).find("false,\"invalid: expired"), std::string::npos);
  EXPECT_NE(publish(*event(1, "", {{"-"}})).find("false,\"unsupported: protected"), std::string::npos);
  EXPECT_NE(publish(*event(22242, "")).find("false,\"invalid:"), std::string::npos);
  EXPECT_NE(publish(*event(1, std::string(70'000, 'x'))).find("false,\"invalid: event too large"), std::string::npos);
  // A second valid signature for a stored id is a duplicate and changes nothing.
  EXPECT_EQ(publish(*good), "[\"OK\",\"" + good->id + "\",true,\"\"]");
  Event again = *good;
  again.sig = key_.sign_with_aux(bytes32_from_hex(good->id).value(), Bytes32{9}).value();
  ASSERT_NE(again.sig, good->sig);
  EXPECT_NE(publish(again).find("true,\"duplicate:"), std::string::npos);
  EXPECT_EQ(client()->fetch({{.ids = {{good->id}}}}, within())->at(0).event(), *good);
}

TEST_F(RelayTest, AnswersBrokenMessagesWithoutFalling) {
  const auto socket = raw();
  for (const char* message : {"", "nonsense", "{}", "[]", "[1]", "[\"EVENT\"]", "[\"EVENT\",1]", "[\"EVENT\",{}]", "[\"REQ\"]",
                              "[\"REQ\",1,{}]", "[\"REQ\",\"\",{}]", "[\"CLOSE\"]", "[\"WHAT\",1]", "[[[[[[[[[[[[]]]]]]]]]]]]",
                              "[\"REQ\",\"a\",{\"kinds\":[1],\"kinds\":[2]}]", "[\"REQ\",\"\\ud800\",{}]"}) {
    EXPECT_EQ(ask(*socket, message).substr(0, 10), "[\"NOTICE\",") << message;
  }
  EXPECT_EQ(ask(*socket, R"(["REQ","a"])"), R"(["CLOSED","a","invalid: REQ needs at least one filter"])");
  EXPECT_EQ(ask(*socket, R"(["REQ","a",{"search":"x"}])").substr(0, 38), R"(["CLOSED","a","unsupported: filter con)");
  EXPECT_EQ(ask(*socket, R"(["REQ","a",{"ids":["abc"]}])").substr(0, 23), R"(["CLOSED","a","invalid:)");
  EXPECT_EQ(ask(*socket, R"(["REQ","q\"\n",{"limit":0}])"), R"(["EOSE","q\"\n",["finish"]])");
}

TEST_F(RelayTest, HoldsItsLimitsAtMaxAndOneBeyond) {
  RelayLimits limits;
  limits.subscriptions_max = 2;
  limits.filters_max = 2;
  limits.limit_max = 3;
  limits.bad_messages_max = 5;
  limits.message_bytes_max = 4096;
  start(limits);
  const auto socket = raw();
  EXPECT_EQ(ask(*socket, R"(["REQ","a",{},{}])").substr(0, 7), "[\"EOSE\"");
  EXPECT_EQ(ask(*socket, R"(["REQ","b",{}])").substr(0, 7), "[\"EOSE\"");
  EXPECT_NE(ask(*socket, R"(["REQ","c",{}])").find("rate-limited: too many subscriptions"), std::string::npos);
  EXPECT_EQ(ask(*socket, R"(["REQ","b",{}])").substr(0, 7), "[\"EOSE\"");  // replaces
  EXPECT_NE(ask(*socket, R"(["REQ","b",{},{},{}])").find("too many filters"), std::string::npos);
  EXPECT_EQ(ask(*socket, R"(["REQ","c",{}])").substr(0, 7), "[\"EOSE\"");  // b is gone
  const std::string longest(64, 'x');
  EXPECT_NE(ask(*socket, "[\"REQ\",\"" + longest + "x\",{}]").find("NOTICE"), std::string::npos);
  ASSERT_TRUE(socket->send_text(R"(["CLOSE","a"])", within()).has_value());
  EXPECT_EQ(ask(*socket, "[\"REQ\",\"" + longest + "\",{}]").substr(0, 7), "[\"EOSE\"");
  const auto c = client();
  const std::int64_t t = now();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(c->publish(event(1, std::to_string(i), {}, t - i), within()).has_value());
  EXPECT_EQ(contents(c->fetch({{.limit = 1'000'000}}, within())), (Strings{"0", "1", "2"}));
  const auto noisy = raw();
  for (int i = 0; i < 5; ++i) (void)noisy->send_text("nonsense", within());
  Result<std::string> last = noisy->receive(within());
  for (int i = 0; i < 6 && last; ++i) last = noisy->receive(within());
  EXPECT_EQ(last.error().code, ErrorCode::unavailable);
  EXPECT_NE(last.error().message.find("1008"), std::string::npos) << last.error().message;
  const auto big = raw();
  (void)big->send_text(std::string(4097, 'x'), within());
  EXPECT_NE(big->receive(within()).error().message.find("1009"), std::string::npos);
}

TEST_F(RelayTest, ExpiredEventsAreNotServed) {
  const auto c = client();
  ASSERT_TRUE(c->publish(event(1, "brief", {{"expiration", std::to_string(now() + 1)}}), within()).has_value());
  std::this_thread::sleep_for(2100ms);
  EXPECT_EQ(contents(c->fetch({{.kinds = {{1}}}}, within())), Strings{});
}

// A row that is no longer its event harms nobody who would be sent it, and who has the event can put it right.
TEST_F(RelayTest, ADamagedRowIsSentToNobodyAndCanBePublishedAgain) {
  const auto good = event(1, "good", {}, now() - 2), bad = event(1, "bad", {}, now() - 1);
  ASSERT_TRUE(client()->publish(good, within()));
  ASSERT_TRUE(client()->publish(bad, within()));
  for (const std::string damage : {"cast(replace(json, 'bad', x'626164ff') as text)", "replace(json, 'bad', 'BAD')", "'{'"}) {
    relay_.reset();
    {
      Database file = Database::open(folder_ + "/events.db", {}).value();
      ASSERT_TRUE(file.execute(("UPDATE event SET json = " + damage + " WHERE id = '" + bad->id + "'").c_str()));
    }
    Strings notes;
    relay_ = Relay::start({.port = 0, .data_folder = folder_, .on_note = [&](const std::string& note) { notes.push_back(note); }},
                          system_clock())
                 .value();
    EXPECT_EQ(contents(client()->fetch({{.kinds = {{1}}}}, within())), Strings{"good"}) << damage;
    EXPECT_EQ(contents(client()->fetch({{.kinds = {{1}}}}, within())), Strings{"good"}) << damage;
    ASSERT_EQ(notes.size(), 1U) << "told once";
    EXPECT_NE(notes[0].find(bad->id), std::string::npos) << notes[0];
    ASSERT_TRUE(client()->publish(bad, within()));
    EXPECT_EQ(contents(client()->fetch({{.kinds = {{1}}}}, within())), (Strings{"bad", "good"})) << damage;
    relay_.reset();  // before `notes` goes
  }
}

TEST_F(RelayTest, ServesItsInformationDocumentAndOneEndpointOnly) {
  const std::string http = "http" + relay_->url().substr(2);
  const auto get = [&](const std::string& path, const std::string& accept) {
    return http_send({"GET", http + path, {{"accept", accept}}, ""}, {}, within(), system_clock()).value();
  };
  const auto document = get("/", "application/nostr+json");
  EXPECT_EQ(find_header(document.headers, "access-control-allow-origin"), "*");
  const Json json = read_json(document.body).value();
  EXPECT_EQ(json.at("limitation").at("max_subscriptions").as_int(), 64);
  EXPECT_FALSE(json.at("supported_nips").as_list().empty());
  EXPECT_EQ(get("/admin", "*/*").status, 404);
  EXPECT_EQ(get("/", "*/*").status, 200);
  EXPECT_FALSE(WebSocketClient::connect(relay_->url() + "/other", within(), system_clock()).has_value());
}

TEST_F(RelayTest, ABigAnswerIsPagedToAReaderThatTakesItsTime) {
  const auto c = client();
  std::vector<VerifiedEvent> events;
  const std::int64_t t = now();
  for (int i = 0; i < 200; ++i) events.push_back(event(1, std::to_string(i) + std::string(40'000, 'x'), {}, t - i));
  ASSERT_TRUE(c->publish_all(events, within(60s)).has_value());
  const auto all = client()->fetch({{.kinds = {{1}}}}, within(60s));  // 8 MB
  ASSERT_TRUE(all.has_value()) << all.error().text();
  ASSERT_EQ(all->size(), events.size());
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_EQ(all->at(i)->id, events[i]->id);
}

TEST_F(RelayTest, CallsEndWithTheirWaitAndWithTheConnection) {
  const auto c = client();
  const auto subscription = c->subscribe({{.kinds = {{1}}}}, within());
  ASSERT_TRUE(subscription.has_value());
  std::stop_source source;
  {
    const std::jthread stopper([&] {
      std::this_thread::sleep_for(50ms);
      source.request_stop();
    });
    EXPECT_EQ((*subscription)->next(within(60s, source.get_token())).error().code, ErrorCode::cancelled);
  }
  relay_->stop();
  EXPECT_EQ((*subscription)->next(within()).error().code, ErrorCode::unavailable);
  EXPECT_EQ(c->publish(event(1, ""), within()).error().code, ErrorCode::unavailable);
}

// A relay that lies: it answers every REQ with what the test gives it.
class LyingRelay {
 public:
  explicit LyingRelay(std::vector<std::string> events) : events_(std::move(events)) {
    server_ = HttpServer::start("127.0.0.1", 0, [this](const ServerRequest&) {
                return ServerReply::upgrade(std::make_shared<Session>(events_));
              }).value();
  }
  std::string url() const { return "ws://127.0.0.1:" + std::to_string(server_->port()); }

 private:
  struct Session final : WebSocketSession {
    explicit Session(const std::vector<std::string>& events) : all(events) {}
    void on_open(std::shared_ptr<WebSocketPeer> p) override { peer = std::move(p); }
    void on_text(std::string_view text) override {
      const Json message = read_json(text).value();
      if (message.as_list()[0].as_string() != "REQ") return;
      for (const auto& event : all) peer->send("[\"EVENT\",\"" + message.as_list()[1].as_string() + "\"," + event + "]");
      peer->send("[\"EOSE\",\"" + message.as_list()[1].as_string() + "\"]");
    }
    const std::vector<std::string>& all;
    std::shared_ptr<WebSocketPeer> peer;
  };
  std::vector<std::string> events_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(RelayTest, TheClientDropsForgedAndForeignEvents) {
  const auto good = event(1, "good"), foreign = event(2, "not asked for");
  Event forged = *event(1, "forged");
  forged.content = "changed";
  const LyingRelay liar({event_json(forged), event_json(*foreign), "{}", "nonsense-is-not-json", event_json(*good)});
  auto c = RelayClient::connect(liar.url(), within(), system_clock()).value();
  EXPECT_EQ(contents(c->fetch({{.kinds = {{1}}}}, within())), (Strings{"good"}));
  const LyingRelay flood(Strings(200, event_json(forged)));
  auto d = RelayClient::connect(flood.url(), within(), system_clock()).value();
  EXPECT_EQ(d->fetch({{.kinds = {{1}}}}, within()).error().code, ErrorCode::mismatch);
  EXPECT_FALSE(d->open());
}

}  // namespace
}  // namespace assay
