#include "assay/program/recorded_jobs.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

RecordEntry line(std::int64_t seq, std::string type, Json data) {
  RecordEntry entry;
  entry.seq = seq;
  entry.type = std::move(type);
  entry.node = "n1";
  entry.data = std::move(data);
  return entry;
}

std::vector<RecordEntry> job(const Json& request, const Json& response, const Json& request_hash, const Json& response_hash) {
  return {line(1, "node_start", JsonObject{{"inputs", JsonObject{{"request", request}}}}),
          line(2, "sandbox", JsonObject{{"request_hash", request_hash}, {"response_hash", response_hash}}),
          line(3, "node_end", JsonObject{{"outputs", JsonObject{{"response", response}}}})};
}

const Json asked = JsonObject{{"commands", JsonList{"ls"}}};
const Json gave = JsonObject{{"status", "success"}};

TEST(RecordedJobs, HashesAreThoseOfWhatTheNodeWasGivenAndGave) {
  EXPECT_TRUE(check_jobs(job(asked, gave, hash(asked).value(), hash(gave).value())).empty());
  EXPECT_TRUE(check_jobs(job(asked, Json(), hash(asked).value(), Json())).empty()) << "a job that brought nothing";
}

TEST(RecordedJobs, AnotherRequestOrResponseIsNamedWithItsLine) {
  const auto other_request = check_jobs(job(gave, gave, hash(asked).value(), hash(gave).value()));
  ASSERT_EQ(other_request.size(), 1u);
  EXPECT_EQ(other_request[0].line, 3);
  EXPECT_NE(other_request[0].message.find("line 3: the request of the sandbox job at 'n1'"), std::string::npos) << other_request[0].message;
  const auto other_response = check_jobs(job(asked, asked, hash(asked).value(), hash(gave).value()));
  ASSERT_EQ(other_response.size(), 1u);
  EXPECT_EQ(other_response[0].line, 4);
  EXPECT_EQ(check_jobs(job(asked, Json(), hash(asked).value(), hash(gave).value())).size(), 1u) << "a response that is kept back";
}

TEST(RecordedJobs, KeepsSixteenProblems) {
  std::vector<RecordEntry> many;
  for (int i = 0; i < 20; ++i) {
    for (RecordEntry& entry : job(asked, gave, hash(asked).value(), hash(asked).value())) many.push_back(std::move(entry));
  }
  EXPECT_EQ(check_jobs(many).size(), 16u);
}

}  // namespace
}  // namespace assay
