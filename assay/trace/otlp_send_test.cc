// otlp_send against a real HTTP server of ours that plays the collector.
#include <gtest/gtest.h>

#include <chrono>
#include <mutex>

#include <fmt/format.h>
#include <protozero/pbf_writer.hpp>

#include "assay/net/http_server.h"
#include "assay/trace/otlp.h"
#include "assay/trace/worked_case.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

std::vector<TraceSpan> spans() {
  return TraceContract::graph_to_spans(graph_of(read_record(worked::record_text()).value().entries), nullptr);
}

class OtlpSend : public testing::Test {
 protected:
  void SetUp() override {
    auto started = HttpServer::start(
        "127.0.0.1", 0,
        [this](const ServerRequest& request) {
          const std::scoped_lock lock(mutex_);
          path_ = request.path;
          content_type_ = find_header(request.headers, "content-type").value_or("");
          authorization_ = find_header(request.headers, "authorization").value_or("");
          bodies_.push_back(request.body);
          return ServerReply{
              .status = status_, .headers = {{"content-type", "application/x-protobuf"}}, .body = answer_, .stream = {}, .websocket = {}};
        },
        {.body_bytes_max = std::size_t{16} << 20});
    ASSERT_TRUE(started) << started.error().text();
    server_ = std::move(*started);
  }
  std::string endpoint(std::string_view path = "") const { return fmt::format("http://127.0.0.1:{}{}", server_->port(), path); }
  Result<void> send(const std::vector<TraceSpan>& list, std::string_view path = "") {
    return otlp_send(list, endpoint(path), Wait{Deadline::after(system_clock(), 10s), {}}, system_clock());
  }

  std::mutex mutex_;
  int status_ = 200;
  std::string answer_, path_, content_type_, authorization_;
  std::vector<std::string> bodies_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(OtlpSend, SendsHeadersAndRepeatsNoneOfThem) {
  const HttpHeaders headers = otlp_headers("authorization=Bearer%20abc12345,x-team=a").value();
  const auto with = [&] {
    return otlp_send(spans(), endpoint(), Wait{Deadline::after(system_clock(), 10s), {}}, system_clock(), OtlpFormat::protobuf, headers);
  };
  ASSERT_TRUE(with());
  EXPECT_EQ(authorization_, "Bearer abc12345");
  status_ = 401;
  answer_ = "who is Bearer abc12345, with abc12345?";
  const Error refused = with().error();
  EXPECT_EQ(refused.message, "the collector answered 401: who is [key], with [key]?");
  EXPECT_NE(refused.remedy.find("OTEL_EXPORTER_OTLP_HEADERS"), std::string::npos);
  EXPECT_TRUE(otlp_headers("")->empty());
  for (const char* bad : {"x", "=v", "a=", "a b=c", "a=b%0d%0aevil: 1", "a=b,,"}) {
    const auto read = otlp_headers(bad);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().text().find("evil"), std::string::npos);
  }
}

TEST_F(OtlpSend, PostsProtobufToTheTracesPath) {
  ASSERT_TRUE(send(spans()));
  EXPECT_EQ(path_, "/v1/traces");
  ASSERT_EQ(bodies_.size(), 1U);
  EXPECT_EQ(bodies_[0], otlp_protobuf(spans()));
  ASSERT_TRUE(send(spans(), "/custom/path"));
  EXPECT_EQ(path_, "/custom/path");
}

TEST_F(OtlpSend, PostsJsonWhereItIsAskedFor) {
  const auto send_json = [&] {
    return otlp_send(spans(), endpoint(), Wait{Deadline::after(system_clock(), 10s), {}}, system_clock(), OtlpFormat::json);
  };
  ASSERT_TRUE(send_json());
  EXPECT_EQ(bodies_.at(0), otlp_json(spans()));
  EXPECT_EQ(content_type_, "application/json");
  answer_ = R"({"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}})";
  EXPECT_EQ(send_json().error().message, "the collector rejected 2 span(s): too old");
}

TEST_F(OtlpSend, SendsLongTracesInParts) {
  std::vector<TraceSpan> many(4500, spans()[2]);
  ASSERT_TRUE(send(many));
  EXPECT_EQ(bodies_.size(), 3U);
}

TEST_F(OtlpSend, SaysHowManySpansWereRejectedAndWhy) {
  std::string partial;
  protozero::pbf_writer inner(partial);
  inner.add_int64(1, 2);
  inner.add_string(2, "too old");
  protozero::pbf_writer outer(answer_);
  outer.add_message(1, partial);
  const auto sent = send(spans());
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::refused);
  EXPECT_EQ(sent.error().message, "the collector rejected 2 span(s): too old");
}

TEST_F(OtlpSend, TellsLaterFromNever) {
  for (const int status : {429, 500, 503}) {
    status_ = status;
    EXPECT_EQ(send(spans()).error().code, ErrorCode::unavailable);
  }
  status_ = 400;
  answer_ = "bad\xff";
  const auto refused = send(spans());
  EXPECT_EQ(refused.error().code, ErrorCode::refused);
  EXPECT_EQ(refused.error().message, "the collector answered 400: bad\xEF\xBF\xBD");
}

TEST_F(OtlpSend, AnAnswerThatIsNoProtobufIsTakenAsDone) {
  answer_ = "{}\xff\xff\xff";
  EXPECT_TRUE(send(spans()));
}

TEST_F(OtlpSend, ACollectorThatIsGoneIsUnavailable) {
  const std::string gone = endpoint();
  server_.reset();
  const auto sent = otlp_send(spans(), gone, Wait{Deadline::after(system_clock(), 10s), {}}, system_clock());
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace assay
