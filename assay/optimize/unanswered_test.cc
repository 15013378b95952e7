#include "assay/optimize/unanswered.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

const std::string r1(64, '1'), r2(64, '2'), lane(64, 'a');

RecordEntry line(std::string type, Json data) { return RecordEntry{0, 0, std::move(type), "step", "", std::move(data)}; }

RecordEntry request(const std::string& hash, bool sent = true) {
  Json data = JsonObject{{"request_hash", hash},
                         {"lane_id", lane},
                         {"request", JsonObject{{"messages", JsonList{}}, {"config", JsonObject{{"max_tokens", 7}}}}}};
  if (!sent) data.set("sent", false);
  return line("lm_request", std::move(data));
}
RecordEntry response(const std::string& hash) { return line("lm_response", JsonObject{{"request_hash", hash}}); }
RecordEntry error(const std::string& hash, std::optional<std::int64_t> lost_tokens = {}) {
  Json data = JsonObject{{"request_hash", hash}, {"code", "over_budget"}, {"message", ""}, {"path", ""}};
  if (lost_tokens) data.set("lost", JsonObject{{"calls", 1}, {"tokens", *lost_tokens}, {"msats", 0}});
  return line("error", std::move(data));
}

UnansweredCalls of(std::vector<RecordEntry> entries) {
  entries.insert(entries.begin(), line("run_start", JsonObject{{"lanes", JsonList{}}}));
  return unanswered_calls(entries, nullptr);
}

TEST(Unanswered, IsWhatWasSentAndHasNoEnd) {
  EXPECT_EQ(of({request(r1), response(r1), request(r2)}).all.calls, 1);
  EXPECT_EQ(of({request(r1), error(r1)}).all.calls, 0);
  EXPECT_EQ(of({request(r1), error(r1, 9)}).all.tokens, 9);
  EXPECT_EQ(of({request(r1, false), error(r1)}).all.calls, 0);
}

// What a later pass did not send leaves the call of an earlier one as unknown as it was.
TEST(Unanswered, StaysSoWhenALaterPassIsRefusedTheSameCall) {
  const auto once = of({request(r1), line("resume", JsonObject{}), request(r1, false), error(r1)});
  EXPECT_EQ(once.all.calls, 1);
  EXPECT_EQ(once.to_ask.calls, 1);
  const auto often = of({request(r1), request(r2), line("resume", JsonObject{}), request(r1, false), request(r2, false), error(r2),
                         error(r1), line("resume", JsonObject{}), request(r1, false), error(r1)});
  EXPECT_EQ(often.all.calls, 2);
  // Sent again, and lost or answered: the one before stays charged, and nothing is left to ask.
  const auto lost = of({request(r1), line("resume", JsonObject{}), request(r1, false), request(r1), error(r1, 5), error(r1)});
  EXPECT_EQ(lost.all.calls, 2);
  const auto answered = of(
      {request(r1), line("resume", JsonObject{}), request(r1, false), error(r1), line("resume", JsonObject{}), request(r1), response(r1)});
  EXPECT_EQ(answered.all.calls, 1);
  EXPECT_EQ(answered.to_ask.calls, 0);
}

}  // namespace
}  // namespace assay
