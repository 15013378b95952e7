#include "assay/hud/event_feed.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

// A viewer whose connection takes only what the test lets it take.
class ScriptedViewer final : public EventStream {
 public:
  bool send(std::string_view event, std::string_view data) override {
    if (!open_) return false;
    heard.emplace_back(event, data);
    if (stalled) queued += data.size();
    return true;
  }
  bool open() const override { return open_; }
  std::size_t queued_bytes() const override { return queued; }
  void close() override { open_ = false; }

  std::vector<std::pair<std::string, std::string>> heard;
  bool stalled = false;
  std::size_t queued = 0;

 private:
  bool open_ = true;
};

Json numbered(int number) { return JsonObject{{"n", number}}; }

TEST(EventFeedTest, AViewerHearsWhatComesAfterItInOrder) {
  EventFeed feed;
  feed.publish("node_start", numbered(0));
  const auto viewer = std::make_shared<ScriptedViewer>();
  ASSERT_TRUE(feed.subscribe(viewer, numbered(9)));
  feed.publish("node_start", numbered(1));
  feed.publish("node_end", numbered(2));
  feed.pump();
  const std::vector<std::pair<std::string, std::string>> expected{
      {"hello", R"({"n":9})"}, {"node_start", R"({"n":1})"}, {"node_end", R"({"n":2})"}};
  EXPECT_EQ(viewer->heard, expected);
  EXPECT_EQ(feed.counts().events, 3);
  EXPECT_EQ(feed.counts().dropped, 0);
}

TEST(EventFeedTest, AStalledViewerLosesTheOldestAndIsToldHowMany) {
  EventFeed feed({.events_max = 4, .viewer_bytes_max = 8});
  const auto slow = std::make_shared<ScriptedViewer>();
  const auto quick = std::make_shared<ScriptedViewer>();
  slow->stalled = true;
  ASSERT_TRUE(feed.subscribe(slow, numbered(0)));
  ASSERT_TRUE(feed.subscribe(quick, numbered(0)));
  slow->queued = 8;
  for (int i = 1; i <= 10; ++i) {
    feed.publish("score", numbered(i));
    feed.pump();
  }
  EXPECT_EQ(quick->heard.size(), 11U) << "a slow viewer must not hold back another one";
  EXPECT_EQ(slow->heard.size(), 1U) << "nothing that it has no room for";
  slow->queued = 0;
  slow->stalled = false;
  for (int i = 0; i < 8; ++i) feed.pump();
  ASSERT_EQ(slow->heard.size(), 1U + 1U + 4U);
  EXPECT_EQ(slow->heard[1], (std::pair<std::string, std::string>{"gap", R"({"dropped":6})"}));
  EXPECT_EQ(slow->heard[2].second, R"({"n":7})");
  EXPECT_EQ(slow->heard.back().second, R"({"n":10})");
  EXPECT_EQ(feed.counts().dropped, 6);
}

TEST(EventFeedTest, ManyEventsAreKeptWithinTheirBytes) {
  EventFeed feed({.bytes_max = 1000, .viewer_bytes_max = 1 << 20});
  const auto viewer = std::make_shared<ScriptedViewer>();
  ASSERT_TRUE(feed.subscribe(viewer, numbered(0)));
  for (int i = 0; i < 100; ++i) feed.publish("score", JsonObject{{"text", std::string(90, 'x')}});
  feed.pump();
  EXPECT_EQ(viewer->heard[1], (std::pair<std::string, std::string>{"gap", R"({"dropped":91})"}));
  EXPECT_EQ(viewer->heard.size(), 2U + 9U);
}

TEST(EventFeedTest, RefusesOneViewerTooManyAndForgetsThoseThatWent) {
  EventFeed feed({.viewers_max = 2});
  const auto first = std::make_shared<ScriptedViewer>();
  ASSERT_TRUE(feed.subscribe(first, numbered(0)));
  ASSERT_TRUE(feed.subscribe(std::make_shared<ScriptedViewer>(), numbered(0)));
  EXPECT_TRUE(feed.full());
  EXPECT_FALSE(feed.subscribe(std::make_shared<ScriptedViewer>(), numbered(0)));
  first->close();
  EXPECT_EQ(feed.counts().viewers, 1);
  EXPECT_TRUE(feed.subscribe(std::make_shared<ScriptedViewer>(), numbered(0)));
}

TEST(EventFeedTest, SecretsDoNotReachTheStream) {
  EventFeed feed;
  const auto viewer = std::make_shared<ScriptedViewer>();
  ASSERT_TRUE(feed.subscribe(viewer, numbered(0)));
  feed.publish("lm_end", JsonObject{{"answer", "it is sk-0123456789abcdefghij"}});
  feed.pump();
  EXPECT_EQ(viewer->heard[1].second, R"({"answer":"it is [REDACTED]"})");
}

}  // namespace
}  // namespace assay
