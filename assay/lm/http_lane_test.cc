#include "assay/lm/http_lane.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>

#include "assay/net/http_server.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

const std::string key = "sk-test-0123456789";

std::string event(const std::string& json) { return "data: " + json + "\n\n"; }

std::string good_stream() {
  return ": a comment\n\n" + event(R"({"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]})") +
         event(R"({"choices":[{"index":0,"delta":{"content":"Section: "},"finish_reason":null}]})") +
         event(R"({"choices":[{"index":0,"delta":{"content":"mail"},"finish_reason":null}]})") +
         event(R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})") +
         event(R"({"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":32}}})") +
         "data: [DONE]\n\n";
}

struct Said {
  int status = 200;
  std::string body;
  HttpHeaders headers = {};
};

LmRequest ask() {
  LmRequest request;
  request.messages = {{"user", Json("imap client")}};
  request.config =
      JsonObject{{"temperature", 0}, {"top_p", 1}, {"max_tokens", 8}, {"stop", JsonList{}}, {"n", 1}, {"seed_policy", "fixed"}};
  request.seed = 7;
  return request;
}

// A server that says what the test wrote, in order; the last answer again and again.
class HttpLaneTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = HttpServer::start("127.0.0.1", 0, [this](const ServerRequest& request) { return serve(request); }).value();
    options_.base_url = "http://127.0.0.1:" + std::to_string(server_->port()) + "/v1/";
    options_.model = "m";
    options_.api_key = key;
  }
  ServerReply serve(const ServerRequest& request) {
    const std::lock_guard lock(mutex_);
    last_ = request;
    const Said& said = script_[std::min<std::size_t>(static_cast<std::size_t>(requests_++), script_.size() - 1)];
    ServerReply reply = ServerReply::text(said.body, said.status);
    for (const auto& header : said.headers) reply.headers.push_back(header);
    return reply;
  }
  Result<LmResponse> call(const LmRequest& request = ask(), std::chrono::seconds wait = 60s) {
    const auto lane = HttpLane::open(options_, clock_, entropy_);
    if (!lane) return std::unexpected(lane.error());
    return (*lane)->complete(request, {Deadline::after(clock_, wait), {}});
  }

  std::mutex mutex_;
  std::vector<Said> script_{{.status = 200, .body = good_stream()}};
  std::atomic<int> requests_ = 0;
  ServerRequest last_;
  ManualClock clock_;
  FixedEntropy entropy_{1};
  HttpLaneOptions options_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpLaneTest, AServerCannotPutTheKeyIntoARecord) {
  script_ = {
      {.status = 200,
       .body = event(std::string(R"({"choices":[{"index":0,"delta":{"content":"you sent )") + key + R"("},"finish_reason":"stop"}]})") +
               event(R"({"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3}})") + "data: [DONE]\n\n"}};
  const auto answer = call();
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->content, "you sent [key]");
  // Nor into an error, by a stream that gives up in its middle.
  script_ = {{.status = 200, .body = event(std::string(R"({"error":{"message":"no: )") + key + "\"}}")}};
  const auto given_up = call();
  ASSERT_FALSE(given_up);
  EXPECT_NE(given_up.error().message.find("no: [key]"), std::string::npos) << given_up.error().text();
  // Nor by a name in its answer, nor where a text is cut.
  script_ = {{.status = 200, .body = std::string("{\"") + key + "\":1,\"" + key + "\":2}"}};
  EXPECT_EQ(call().error().text().find(key), std::string::npos);
  for (const int status : {200, 401}) {
    script_ = {{.status = status, .body = R"({"error":{"message":")" + std::string(301 - key.size(), 'x') + key + "\"}}"}};
    EXPECT_EQ(call().error().text().find(key.substr(0, key.size() - 1)), std::string::npos) << status;
  }
  // Nor by tokens that divide it.
  std::string tokens;
  for (const std::string& token : {std::string("a "), key.substr(0, 5), key.substr(5, 6), key.substr(11), std::string(" b")})
    tokens +=
        (tokens.empty() ? "" : ",") + canonical(JsonObject{{"token", token}, {"logprob", -0.5}, {"top_logprobs", JsonList{}}}).value();
  script_ = {{.status = 200,
              .body = event(R"({"choices":[{"index":0,"delta":{"content":"a b"},"logprobs":{"content":[)" + tokens +
                            R"(]},"finish_reason":"stop"}]})") +
                      event(R"({"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":5}})") + "data: [DONE]\n\n"}};
  LmRequest with_logprobs = ask();
  with_logprobs.config.set("logprobs", true);
  const auto pieces = call(with_logprobs);
  ASSERT_TRUE(pieces && pieces->logprobs) << pieces.error().text();
  std::string told;
  for (const SaidToken& token : *pieces->logprobs) told += token.said.token;
  EXPECT_EQ(told, "a " + std::string(key.size(), '*') + " b");
  // A key that is part of its own mask.
  options_.api_key = "key";
  script_ = {{.status = 400, .body = R"({"error":{"message":"bad key key"}})"}};
  EXPECT_NE(call().error().message.find("bad [key] [key]"), std::string::npos);
  options_.api_key = key;
}

TEST_F(HttpLaneTest, ReadsAStreamedAnswerWithItsUsage) {
  const auto answer = call();
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->content, "Section: mail");
  EXPECT_EQ(answer->finish_reason, "stop");
  EXPECT_EQ(answer->usage.prompt_tokens, 40);
  EXPECT_EQ(answer->usage.completion_tokens, 3);
  EXPECT_EQ(answer->usage.to_json().at("cached_tokens"), Json(32));
  EXPECT_EQ(last_.path, "/v1/chat/completions");
  EXPECT_EQ(find_header(last_.headers, "authorization"), "Bearer " + std::string(key));
  const Json body = read_json(last_.body).value();
  EXPECT_EQ(body.at("model"), Json("m"));
  EXPECT_EQ(body.at("max_tokens"), Json(8));
  EXPECT_TRUE(body.at("stop").is_null() && body.at("n").is_null() && body.at("seed").is_int());
}

LmRequest ask_logprobs(std::int64_t top) {
  LmRequest request = ask();
  request.config.set("logprobs", true);
  request.config.set("top_logprobs", top);
  return request;
}

std::string stream_with(const std::string& tokens) {
  return event(R"({"choices":[{"index":0,"delta":{"content":"mail"},"logprobs":{"content":)" + tokens + R"(},"finish_reason":null}]})") +
         event(R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})") +
         event(R"({"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":2}})") + "data: [DONE]\n\n";
}

TEST_F(HttpLaneTest, ReadsLogProbabilitiesOfAStream) {
  script_ = {{.status = 200,
              .body = stream_with(R"([{"token":"ma","logprob":-0.5,"bytes":[109,97],"top_logprobs":[{"token":"ma","logprob":-0.5},)"
                                  R"({"token":"x","logprob":-2.5}]},{"token":"\ufffd","logprob":1e-9,"bytes":[195],"top_logprobs":[]}])")}};
  const auto answer = call(ask_logprobs(1));
  ASSERT_TRUE(answer) << answer.error().text();
  ASSERT_TRUE(answer->logprobs.has_value());
  ASSERT_EQ(answer->logprobs->size(), 2u);
  EXPECT_EQ(answer->logprobs->at(0).said.logprob, -0.5);
  EXPECT_EQ(answer->logprobs->at(0).top.size(), 1u) << "no more than asked for";
  EXPECT_EQ(answer->logprobs->at(1).said.token, "\xC3") << "the bytes, not the replacement character";
  EXPECT_EQ(answer->logprobs->at(1).said.logprob, 0);
  const Json body = read_json(last_.body).value();
  EXPECT_EQ(body.at("logprobs"), Json(true));
  EXPECT_EQ(body.at("top_logprobs"), Json(1));
  EXPECT_FALSE(call()->logprobs.has_value()) << "not asked for, not kept";
}

TEST_F(HttpLaneTest, RefusesLogProbabilitiesThatAreMissingOrWrong) {
  EXPECT_EQ(call(ask_logprobs(0)).error().path, "config.logprobs") << "the server sent none";
  for (const char* tokens : {R"([{"token":"a"}])", R"([{"token":1,"logprob":0}])", R"([{"token":"a","logprob":0,"bytes":[256]}])"}) {
    script_ = {{.status = 200, .body = stream_with(tokens)}};
    EXPECT_EQ(call(ask_logprobs(0)).error().code, ErrorCode::malformed) << tokens;
  }
  std::string many = R"([{"token":"a","logprob":0,"top_logprobs":[)";
  for (int i = 0; i <= 20; ++i) many += std::string(i > 0 ? "," : "") + R"({"token":"a","logprob":0})";
  script_ = {{.status = 200, .body = stream_with(many + "]}]")}};
  EXPECT_EQ(call(ask_logprobs(20)).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(call(ask_logprobs(21)).error().path, "config.top_logprobs");
}

TEST_F(HttpLaneTest, ReadsAnAnswerThatIsNotStreamed) {
  script_ = {{.status = 200,
              .body = R"({"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"length"}],)"
                      R"("usage":{"prompt_tokens":1,"completion_tokens":2}})"}};
  const auto answer = call();
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->content, "hi");
  EXPECT_EQ(answer->finish_reason, "length");
}

TEST_F(HttpLaneTest, ReadsContentInPartsAndARefusalAndNothingElse) {
  const auto said = [&](const std::string& message, const std::string& usage = R"({"prompt_tokens":1,"completion_tokens":2})") {
    script_ = {{.status = 200, .body = R"({"choices":[{"message":)" + message + R"(,"finish_reason":"stop"}],"usage":)" + usage + "}"}};
    return call();
  };
  EXPECT_EQ(said(R"({"content":[{"type":"text","text":"a "},{"type":"text","text":"b"}]})")->content, "a b");
  EXPECT_EQ(said(R"({"content":null,"refusal":"I will not"})")->content, "I will not");
  EXPECT_EQ(said(R"({"content":null,"tool_calls":[]})")->content, "");
  for (const char* content : {"5", "{}", R"([{"type":"image"}])", R"(["x"])"})
    EXPECT_EQ(said(R"({"content":)" + std::string(content) + "}").error().path, "answer.content") << content;
  for (const char* usage :
       {R"({"prompt_tokens":1.5,"completion_tokens":2})", R"({"prompt_tokens":"1","completion_tokens":2})", R"({"prompt_tokens":1})"})
    EXPECT_EQ(said(R"({"content":"x"})", usage).error().path, "answer.usage") << usage;
}

TEST_F(HttpLaneTest, AsksAgainAsRetryAfterSaysAndCountsTheAttempts) {
  script_ = {{.status = 429, .body = "{}", .headers = {{"Retry-After", "7"}}},
             {.status = 503, .body = ""},
             {.status = 200, .body = good_stream()}};
  const std::int64_t begin = clock_.steady_ns();
  const auto answer = call();
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->usage.to_json().at("attempts"), Json(3));
  EXPECT_GE(clock_.steady_ns() - begin, 7'000'000'000);
  EXPECT_LE(clock_.steady_ns() - begin, 8'000'000'000);  // the second pause is at most a second
}

TEST_F(HttpLaneTest, ReadsRetryAfterAsADateToo) {
  for (const char* far : {"Fri, 01 Jan 2100 00:00:00 GMT", "100000", "1e300"}) {
    script_ = {{.status = 429, .body = "{}", .headers = {{"Retry-After", far}}}, {.status = 200, .body = good_stream()}};
    requests_ = 0;
    EXPECT_NE(call().error().message.find("after the deadline"), std::string::npos) << far;
    EXPECT_EQ(requests_, 1);
  }
  for (const char* now : {"Thu, 01 Jan 1970 00:00:00 GMT", "soon", "-1"}) {
    script_ = {{.status = 429, .body = "{}", .headers = {{"Retry-After", now}}}, {.status = 200, .body = good_stream()}};
    requests_ = 0;
    EXPECT_TRUE(call()) << now;
  }
}

TEST_F(HttpLaneTest, DoesNotWaitForAServerThatWantsToBeLeftAloneForLong) {
  script_ = {{.status = 429, .body = "{}", .headers = {{"Retry-After", "1000"}}}};
  const auto answer = call(ask(), std::chrono::hours(9));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::unavailable);
  EXPECT_NE(answer.error().message.find("asks to be left alone"), std::string::npos) << answer.error().message;
  EXPECT_EQ(requests_, 1);
}

TEST_F(HttpLaneTest, DoesNotWaitBeyondTheDeadline) {
  script_ = {{.status = 429, .body = R"({"error":{"message":"slow down"}})", .headers = {{"Retry-After", "90"}}}};
  const auto answer = call();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::unavailable);
  EXPECT_NE(answer.error().message.find("slow down; the next try would come in 90.0 s"), std::string::npos) << answer.error().message;
  EXPECT_EQ(requests_, 1);
}

TEST_F(HttpLaneTest, NeverAsksAgainWhatWouldBeAnsweredTheSame) {
  for (const auto& [status, code] : {std::pair{401, ErrorCode::refused}, {400, ErrorCode::refused}, {404, ErrorCode::unavailable}}) {
    script_ = {{.status = status, .body = std::string(R"({"error":{"message":"no: )") + key + "\"}}"}};
    requests_ = 0;
    const auto answer = call();
    ASSERT_FALSE(answer) << status;
    EXPECT_EQ(answer.error().code, code) << status;
    EXPECT_EQ(requests_, 1) << status;
    EXPECT_EQ(answer.error().text().find(key), std::string::npos);  // a server that repeats the key does not bring it into an error
  }
}

TEST_F(HttpLaneTest, GivesUpAfterItsAttempts) {
  script_ = {{.status = 500, .body = ""}};
  EXPECT_EQ(call().error().code, ErrorCode::unavailable);
  EXPECT_EQ(requests_, options_.attempts);
}

TEST_F(HttpLaneTest, TellsWhatWasSentAndMayHaveBeenUsed) {
  std::vector<bool> lost;  // for each try that was: does the lane mean to ask again?
  Result<void> may;
  const LM::Events events{.paid = {}, .lost = [&](bool again) { return lost.push_back(again), may; }};
  const auto told = [&](std::vector<Said> script, std::chrono::seconds wait = 60s) {
    script_ = std::move(script);
    requests_ = 0;
    lost.clear();
    return HttpLane::open(options_, clock_, entropy_).value()->complete_with(ask(), {Deadline::after(clock_, wait), {}}, events);
  };
  const Said good{.status = 200, .body = good_stream()};
  // A status is the server's word that it did nothing, but for a gateway's that its server is away.
  EXPECT_TRUE(told({{.status = 429, .body = "{}"}, {.status = 500, .body = ""}, good}));
  EXPECT_EQ(lost, std::vector<bool>());
  EXPECT_TRUE(told({{.status = 504, .body = ""}, {.status = 502, .body = ""}, good}));
  EXPECT_EQ(lost, (std::vector<bool>{true, true}));
  EXPECT_FALSE(told({{.status = 401, .body = ""}}));
  EXPECT_EQ(lost, std::vector<bool>());
  for (const std::string& body : {std::string("<html>login</html>"), good_stream().substr(0, 200)}) {
    EXPECT_FALSE(told({{.status = 200, .body = body}}));
    EXPECT_EQ(lost, std::vector<bool>{false}) << body;
  }
  may = fail(ErrorCode::over_budget, "no room for another");
  EXPECT_EQ(told({{.status = 504, .body = ""}, good}).error().code, ErrorCode::over_budget);
  EXPECT_EQ(requests_, 1);
  may = {};
  server_.reset();  // nobody there: nothing is sent
  EXPECT_EQ(told({good}).error().code, ErrorCode::unavailable);
  EXPECT_EQ(lost, std::vector<bool>());
}

TEST_F(HttpLaneTest, RefusesAnswersThatAreNotWhole) {
  const std::pair<std::string, ErrorCode> rows[] = {
      {"<html>login</html>", ErrorCode::malformed},
      {"", ErrorCode::malformed},
      {"{\"choices\":[]}", ErrorCode::malformed},
      {event(R"({"choices":[{"delta":{"content":"cut"},"finish_reason":null}]})"), ErrorCode::malformed},
      {event(R"({"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]})") + "data: [DONE]\n", ErrorCode::malformed},
      {event(R"({"error":{"message":"out of memory"}})"), ErrorCode::unavailable},
      {event(R"({"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":-1,"completion_tokens":1}})"),
       ErrorCode::malformed},
      {event("{\"choices\":1,\"choices\":2}"), ErrorCode::malformed},
      {event("[" + std::string(5000, '[')), ErrorCode::malformed},  // the server's fault, not the model's
      {"data: \"" + std::string(2 << 20, 'x'), ErrorCode::malformed},
  };
  for (const auto& [body, code] : rows) {
    script_ = {{.status = 200, .body = body}};
    const auto answer = call();
    ASSERT_FALSE(answer) << body.substr(0, 60);
    EXPECT_EQ(answer.error().code, code) << body.substr(0, 60) << "\n" << answer.error().text();
  }
}

TEST_F(HttpLaneTest, SendsAGrammarWhereTheServerTakesOneAndRefusesASchemaElsewhere) {
  LmRequest request = ask();
  request.schema = JsonObject{{"type", "string"}, {"enum", JsonList{"Section: mail", "Section: games"}}};
  EXPECT_EQ(call(request).error().code, ErrorCode::refused);
  EXPECT_EQ(requests_, 0);
  options_.dialect = ChatDialect::llama_cpp;
  ASSERT_TRUE(call(request));
  EXPECT_EQ(read_json(last_.body).value().at("grammar"), Json("root ::= (\"Section: mail\" | \"Section: games\")\n"));
  request.config.set("top_a", 1);
  EXPECT_EQ(call(request).error().path, "config.top_a");
}

TEST_F(HttpLaneTest, KeepsTheKeyFromPlainHttp) {
  options_.base_url = "http://models.example/v1";
  EXPECT_EQ(call().error().code, ErrorCode::refused);
  options_.api_key = "a\nb";
  options_.base_url = "https://models.example/v1";
  EXPECT_EQ(call().error().code, ErrorCode::usage);
  options_.api_key.clear();
  options_.model.clear();
  EXPECT_EQ(call().error().code, ErrorCode::usage);
}

TEST_F(HttpLaneTest, EachRolloutIsADrawOfItsOwn) {
  const auto seed = [this](std::int64_t rollout) {
    LmRequest request = ask();
    request.rollout = rollout;
    EXPECT_TRUE(call(request));
    return read_json(last_.body).value().at("seed").as_int();
  };
  const std::int64_t first = seed(0);
  EXPECT_EQ(seed(0), first);
  EXPECT_NE(seed(1), first);
}

TEST_F(HttpLaneTest, PrivacyIsAsConfigured) {
  const auto plain = HttpLane::open(options_, clock_, entropy_).value();
  EXPECT_EQ(plain->privacy_modes().size(), 2U);
  options_.privacy = all_privacy_modes();
  EXPECT_EQ(HttpLane::open(options_, clock_, entropy_).value()->privacy_modes().size(), 4U);
}

}  // namespace
}  // namespace assay
