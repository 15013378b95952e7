#include "assay/net/url.h"

#include <gtest/gtest.h>

#include "assay/net/http_message.h"

namespace assay {
namespace {

TEST(Url, ReadsWhatAssayDials) {
  const auto url = parse_url("WSS://Relay.Example:7777/a/b?x=1#part");
  ASSERT_TRUE(url.has_value());
  EXPECT_EQ(url->scheme, "wss");
  EXPECT_EQ(url->host, "relay.example");
  EXPECT_EQ(url->port, 7777);
  EXPECT_EQ(url->target, "/a/b?x=1");
  EXPECT_EQ(url->authority(), "relay.example:7777");
  EXPECT_EQ(parse_url("http://[::1]:80")->authority(), "[::1]");
  EXPECT_EQ(parse_url("https://a?q")->target, "/?q");
  EXPECT_EQ(parse_url("ws://a")->port, 80);
}

TEST(Url, RefusesWhatItCannotDialAndRepeatsNoSecret) {
  for (const char* text : {"", "a", "ftp://a", "http://", "http://a:0", "http://a:65536", "http://a:b", "http://a b",
                           "http://user:hunter2@a/", "http://[::1", "http://[]", "http://a\r\nX: y", "http://\xC3\xA9", "http://[::1]x"}) {
    const auto url = parse_url(text);
    ASSERT_FALSE(url.has_value()) << text;
    EXPECT_EQ(url.error().code, ErrorCode::malformed) << text;
    EXPECT_EQ(url.error().text().find("hunter2"), std::string::npos);
  }
  EXPECT_EQ(parse_url("http://a/" + std::string(9000, 'x')).error().code, ErrorCode::limit_exceeded);
}

TEST(Url, KnowsLoopbackNamesFromOthers) {
  for (const char* host : {"localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:443"})
    EXPECT_TRUE(is_loopback_host(host)) << host;
  for (const char* host : {"", "localhost.evil.example", "127.0.0.1.evil.example", "128.0.0.1", "127.0.0", "127.0.0.1.", "127.0.0.256",
                           "0.0.0.0", "[::2]", "localhost:0", "localhost:99999", "localhost:", "a@localhost", "::1", "127.0.0.1:80:80"}) {
    EXPECT_FALSE(is_loopback_host(host)) << host;
  }
  EXPECT_TRUE(is_loopback_origin("http://localhost:8080"));
  EXPECT_FALSE(is_loopback_origin("null"));
  EXPECT_FALSE(is_loopback_origin("http://evil.example"));
}

TEST(HttpHeader, TakesNoControlCharacters) {
  EXPECT_TRUE(valid_header("X-A", "some value"));
  EXPECT_FALSE(valid_header("X-A", "a\r\nB: c"));
  EXPECT_FALSE(valid_header("X A", "a"));
  EXPECT_FALSE(valid_header("", "a"));
  EXPECT_EQ(find_header({{"Content-Type", "x"}}, "content-type"), "x");
  EXPECT_EQ(percent_decode("a%2Fb+c%"), "a/b c%");
}

}  // namespace
}  // namespace assay
