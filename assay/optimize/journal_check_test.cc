// A journal that somebody altered is not gone on with: nothing is asked, nothing is signed, the file stays as it is.
#include "assay/optimize/journal_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <stop_token>

#include "assay/base/files.h"
#include "assay/base/sha256.h"
#include "assay/optimize/colours_test.h"
#include "assay/trace/record_line.h"

namespace assay {
namespace {

using namespace colours;

// The record's lines, chained anew: what somebody can do who has no key.
std::string sealed(const RunRecord& record) {
  std::string text, prev(64, '0');
  for (std::size_t i = 0; i < record.entries.size(); ++i) {
    RecordEntry entry = record.entries[i];
    entry.seq = static_cast<std::int64_t>(i);
    entry.prev = prev;
    const std::string line = record_line_text(entry).value();
    prev = sha256_hex(line);
    text += line + "\n";
  }
  return text;
}

struct JournalChecked : Bench {
  JournalChecked() {
    prices = PriceBook::read(read_json(R"({"format":"assay.prices/1","prices":[{"lane_kind":"scripted","model":"*",
      "prompt_msats_per_mtok":1000000,"completion_msats_per_mtok":1000000,"source":"test","date":"2026-11-27"}]})")
                                 .value())
                 .value();
  }
  // A compile that its lane left in the middle of the test set.
  RunRecord stopped(int calls) {
    const auto left = std::make_shared<int>(calls);
    const auto lane = std::make_shared<ScriptedLM>([left](const LmRequest& request) -> Result<LmResponse> {
      if ((*left)-- <= 0) return fail(ErrorCode::unavailable, "the lane is gone");
      return answer_by_demos(request);
    });
    EXPECT_FALSE(compile_program(plan(), world(lane)));
    RunRecord record = read_record_file(journal).value();
    std::erase_if(record.entries, [](const RecordEntry& entry) { return entry.type == "head"; });
    return record;
  }
  Result<std::int64_t> checked(const RunRecord& record) const {
    return check_journal(record, plan(), Optimizers::built_in(), {.path = "j", .prices = &prices});
  }
};

RecordEntry& first(RunRecord& record, const std::string& type, const std::string& below) {
  return *std::find_if(record.entries.begin(), record.entries.end(),
                       [&](const RecordEntry& entry) { return entry.type == type && entry.node.starts_with(below); });
}

TEST_F(JournalChecked, ToTheLastLine) {
  const RunRecord good = stopped(200);
  const auto holds = checked(good);
  ASSERT_TRUE(holds) << holds.error().text();
  EXPECT_GE(*holds, 200);
  struct Row {
    const char* what;
    ErrorCode code;
    std::function<void(RunRecord&)> alter;
  };
  const auto answer = [](RunRecord& r, const char* below) -> RecordEntry& { return first(r, "lm_response", below); };
  const Row rows[] = {
      {"an answer", ErrorCode::diverged, [&](RunRecord& r) { answer(r, "test/").data.set("content", "Label: c"); }},
      {"a score", ErrorCode::diverged,
       [](RunRecord& r) {
         Json& score = first(r, "score", "").data;
         score.set("value", score.at("value") == Json(1) ? 0 : 1);
       }},
      {"a cost", ErrorCode::mismatch, [&](RunRecord& r) { answer(r, "search/").data.set("cost_msats", 7); }},
      {"a request", ErrorCode::mismatch,
       [](RunRecord& r) {
         Json& data = first(r, "lm_request", "search/").data;
         Json request = data.at("request");
         request.set("seed", 99);
         data.set("request", std::move(request));
       }},
      {"an answer to no request", ErrorCode::mismatch,
       [&](RunRecord& r) {
         RecordEntry planted = answer(r, "search/");
         r.entries.push_back(std::move(planted));
       }},
      {"a row", ErrorCode::diverged,
       [](RunRecord& r) {
         std::erase_if(r.entries, [done = false](const RecordEntry& entry) mutable {
           return entry.type == "event" && entry.data.at("name") == Json("data") && !std::exchange(done, true);
         });
       }},
  };
  for (const Row& row : rows) {
    RunRecord bad = good;
    row.alter(bad);
    const auto refused = checked(bad);
    ASSERT_FALSE(refused) << row.what;
    EXPECT_EQ(refused.error().code, row.code) << row.what << ": " << refused.error().text();
  }
}

TEST_F(JournalChecked, InTheOrderOfItsPasses) {
  for (const int calls : {40, 30, 1000}) {
    const auto left = std::make_shared<int>(calls);
    CompileWorld on = world(std::make_shared<ScriptedLM>([left](const LmRequest& request) -> Result<LmResponse> {
      if ((*left)-- <= 0) return fail(ErrorCode::unavailable, "the lane is gone");
      return answer_by_demos(request);
    }));
    on.resume = calls != 40;
    EXPECT_EQ(compile_program(plan(), on).has_value(), calls == 1000);
  }
  const RunRecord good = read_record_file(journal).value();
  ASSERT_TRUE(checked(good));
  const auto resume = [](const RecordEntry& entry) { return entry.type == "resume"; };
  RunRecord swapped = good;
  const auto second = std::find_if(swapped.entries.begin(), swapped.entries.end(), resume);
  const auto third = std::find_if(second + 1, swapped.entries.end(), resume);
  ASSERT_NE(third, swapped.entries.end());
  std::rotate(swapped.entries.begin() + 1, second, third);  // the second pass before the first
  const auto first_line = std::find_if(swapped.entries.begin(), swapped.entries.end(), resume);
  RecordEntry line = *first_line;
  swapped.entries.erase(first_line);
  swapped.entries.insert(swapped.entries.begin() + (third - second), std::move(line));
  const auto refused = checked(swapped);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::mismatch) << refused.error().text();
}

// A pass that is stopped says of requests that an earlier one had answered that they were not sent.
TEST_F(JournalChecked, ThoughAPassWasStoppedWhereAnotherHadItsAnswers) {
  stopped(60);
  CompileWorld on = world(std::make_shared<ScriptedLM>(answer_by_demos));
  on.resume = true;
  for (const bool stop_now : {false, true, false}) {
    std::stop_source stop;
    on.effects.wait.stop = stop.get_token();
    on.hooks.say = [&](const std::string&) {
      if (stop_now) stop.request_stop();
    };
    const auto outcome = compile_program(plan(), on);
    EXPECT_EQ(outcome.has_value(), !stop_now) << (outcome ? std::string() : outcome.error().text());
  }
  const RunRecord record = read_record_file(journal).value();
  EXPECT_TRUE(std::any_of(record.entries.begin(), record.entries.end(),
                          [](const RecordEntry& entry) { return entry.type == "lm_request" && entry.data.at("sent") == Json(false); }));
  const auto holds = checked(record);
  EXPECT_TRUE(holds) << holds.error().text();
}

TEST_F(JournalChecked, WithoutAPassThatStandsThereTwice) {
  stopped(60);
  CompileWorld on = world(std::make_shared<ScriptedLM>(answer_by_demos));
  on.resume = true;
  EXPECT_TRUE(compile_program(plan(), on));
  RunRecord record = read_record_file(journal).value();
  std::erase_if(record.entries, [](const RecordEntry& entry) { return entry.type == "run_end"; });
  ASSERT_TRUE(checked(record));
  const auto resume =
      std::find_if(record.entries.begin(), record.entries.end(), [](const RecordEntry& entry) { return entry.type == "resume"; });
  const std::vector<RecordEntry> again(resume, record.entries.end());
  record.entries.insert(record.entries.end(), again.begin(), again.end());
  EXPECT_EQ(checked(record).error().code, ErrorCode::mismatch);
}

TEST_F(JournalChecked, AndItsLooksAreThoseOfTheCounter) {
  RunRecord record = stopped(200);
  const auto look = std::find_if(record.entries.begin(), record.entries.end(), [](const RecordEntry& entry) {
    return entry.type == "value" && entry.data.at("what") == Json("test_looks");
  });
  ASSERT_NE(look, record.entries.end());
  look->data.set("value", 0);
  ASSERT_TRUE(write_file(journal, sealed(record)));
  CompileWorld on = world(std::make_shared<ScriptedLM>(answer_by_demos));
  on.resume = true;
  on.hooks.open_test = [](const std::string&, const std::string&) -> Result<std::int64_t> { return 5; };
  const auto outcome = compile_program(plan(), on);
  ASSERT_TRUE(outcome) << outcome.error().text();
  EXPECT_EQ(outcome->result.scorecard.test_looks, 5);
}

TEST_F(JournalChecked, BeforeAnythingIsAsked) {
  for (const int calls : {60, 200, 1000}) {  // in the search, in the test, and at the end
    std::remove(journal.c_str());
    RunRecord record = [&] {
      if (calls < 1000) return stopped(calls);
      EXPECT_TRUE(compile_program(plan(), world(std::make_shared<ScriptedLM>(answer_by_demos))));
      RunRecord whole = read_record_file(journal).value();
      std::erase_if(whole.entries, [](const RecordEntry& entry) { return entry.type == "head" || entry.type == "run_end"; });
      return whole;
    }();
    const std::string good = sealed(record);
    first(record, "lm_response", "search/").data.set("content", "Label: b");
    const std::string bad = sealed(record);
    ASSERT_TRUE(write_file(journal, bad));
    const auto lane = std::make_shared<ScriptedLM>(answer_by_demos);
    CompileWorld on = world(lane);
    on.resume = true;
    const auto refused = compile_program(plan(), on);
    ASSERT_FALSE(refused);
    EXPECT_EQ(exit_code(refused.error().code), exit_code(ErrorCode::diverged)) << refused.error().text();
    EXPECT_EQ(refused.error().path, journal);
    EXPECT_EQ(lane->calls(), 0);
    EXPECT_EQ(read_file(journal).value(), bad);
    ASSERT_TRUE(write_file(journal, good));  // without heads, and honest
    const auto resumed = compile_program(plan(), on);
    ASSERT_TRUE(resumed) << resumed.error().text();
  }
}

}  // namespace
}  // namespace assay
