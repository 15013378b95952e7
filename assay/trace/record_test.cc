#include "assay/trace/record.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/trace/record_line.h"
#include "assay/trace/worked_case.h"

namespace assay {
namespace {

class RecordFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("assay-record-{}-{}", ::getpid(), testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "a.run.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string text() const { return read_file(path_).value(); }
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  RecorderOptions options(const SecretKey* key = nullptr) const { return {.path = path_, .key = key}; }

  std::filesystem::path folder_;
  std::string path_;
  ManualClock clock_{worked::started_unix_ns};
  worked::CaseEntropy entropy_;
  SecretKey key_ = worked::key();
};

Json decision(std::int64_t i) { return JsonObject{{"what", "i"}, {"value", i}}; }

std::vector<std::string> types_of(std::string_view text) {
  std::vector<std::string> types;
  const RunRecord record = read_record(text).value();
  for (const RecordEntry& entry : record.entries) types.push_back(entry.type);
  return types;
}

TEST_F(RecordFile, IsTheWorkedCaseByteForByte) {
  const auto recorder = worked::begin(options(&key_), clock_, entropy_).value();
  EXPECT_EQ(recorder->finish(std::string(worked::output_hash)).value(), worked::root_hash);
  const std::string written = text();
  const std::size_t last = written.rfind('\n', written.size() - 2) + 1;
  EXPECT_EQ(sha256_hex(written.substr(last, written.size() - last - 1)), worked::last_line_hash);  // its chain commits to all before it
  if (const auto reference = read_file(ASSAY_SOURCE_DIR "/../shared/design/examples/run.run.jsonl")) {
    EXPECT_EQ(written, *reference);
  }
  const RecordVerdict verdict = verify_record(written, {.complete = true, .head = {}});
  EXPECT_EQ(verdict.state, RecordState::complete);
  EXPECT_TRUE(verdict.problems.empty());
  EXPECT_EQ(verdict.signer, worked::signer);
  EXPECT_EQ(verdict.run_id, worked::run_id);
}

TEST_F(RecordFile, InMemoryHasTheSameLines) {
  const auto recorder = worked::begin(options(&key_), clock_, entropy_).value();
  recorder->finish(std::string(worked::output_hash)).value();
  EXPECT_EQ(text(), worked::record_text());
}

TEST_F(RecordFile, LinesAreOnDiskBeforeAppendReturns) {
  const auto recorder = worked::begin(options(), clock_, entropy_).value();
  EXPECT_EQ(types_of(text()), (std::vector<std::string>{"run_start", "node_start", "lm_request", "lm_response", "node_end"}));
  EXPECT_EQ(verify_record(text()).state, RecordState::open);
}

TEST_F(RecordFile, StartsAndEndsOfNodesThatComeAsTextWaitForTheNextLineOrTheRecordersEnd) {
  auto recorder = RunRecorder::create(options(), worked::start(), clock_, entropy_).value();
  constexpr std::string_view start = R"({"inputs":{},"name":"again","node_type":"Predict"})";
  constexpr std::string_view end = R"({"error":null,"outputs":{},"status":"ok"})";
  ASSERT_TRUE(recorder->append_text("node_start", "again", start));
  EXPECT_EQ(types_of(text()), (std::vector<std::string>{"run_start"}));
  ASSERT_TRUE(recorder->append("decision", "", decision(1)));
  EXPECT_EQ(types_of(text()), (std::vector<std::string>{"run_start", "node_start", "decision"}));
  ASSERT_TRUE(recorder->append_text("node_end", "again", end));
  EXPECT_EQ(types_of(text()).back(), "decision");
  recorder.reset();
  EXPECT_EQ(types_of(text()).back(), "node_end");
  EXPECT_EQ(verify_record(text()).state, RecordState::open);
}

TEST_F(RecordFile, ManyWaitingBytesAreWritten) {
  const auto recorder = RunRecorder::create(options(), worked::start(), clock_, entropy_).value();
  const std::string start = R"({"inputs":{"text":")" + std::string(100'000, 'x') + R"("},"name":"long","node_type":"Predict"})";
  ASSERT_TRUE(recorder->append_text("node_start", "long", start));
  EXPECT_EQ(types_of(text()).back(), "node_start");
}

TEST_F(RecordFile, WritesAHeadAfter256LinesAndAfterASecond) {
  const auto recorder = RunRecorder::create(options(&key_), worked::start(), clock_, entropy_).value();
  for (int i = 1; i < 256; ++i) ASSERT_TRUE(recorder->append("decision", "", decision(i)));
  EXPECT_EQ(types_of(text()).back(), "head");
  EXPECT_EQ(types_of(text()).size(), 257U);
  ASSERT_TRUE(recorder->append("decision", "", decision(256)));
  clock_.advance(std::chrono::milliseconds(999));
  ASSERT_TRUE(recorder->append("decision", "", decision(257)));
  EXPECT_EQ(types_of(text()).back(), "decision");
  clock_.advance(std::chrono::milliseconds(1));
  ASSERT_TRUE(recorder->append("decision", "", decision(258)));
  EXPECT_EQ(types_of(text()).back(), "head");
}

TEST_F(RecordFile, WithoutAKeyIsCompleteAndUnsigned) {
  const auto recorder = worked::begin(options(), clock_, entropy_).value();
  recorder->finish(std::nullopt).value();
  const RecordVerdict verdict = verify_record(text());
  EXPECT_EQ(verdict.state, RecordState::complete);
  EXPECT_FALSE(verdict.is_signed);
  EXPECT_TRUE(verdict.problems.empty());
  EXPECT_EQ(verify_record(text(), {.complete = true, .head = {}}).problems.at(0).message, "the record is complete but not signed");
}

TEST_F(RecordFile, TotalsAreTheSumOfItsResponsesAndCacheHits) {
  const auto recorder = worked::begin(options(), clock_, entropy_).value();
  Json hit = JsonObject{{"lane_id", worked::lane_id},   {"request_hash", worked::request_hash},
                        {"request", worked::request()}, {"content", "x"},
                        {"finish_reason", "stop"},      {"usage", JsonObject{{"prompt_tokens", 50}, {"completion_tokens", 3}}}};
  ASSERT_TRUE(recorder->append("cache_hit", "classify:1", hit));
  Json unpriced = JsonObject{{"request_hash", worked::request_hash},
                             {"content", "x"},
                             {"finish_reason", "stop"},
                             {"cost_msats", nullptr},
                             {"latency_ns", 1},
                             {"usage", JsonObject{{"prompt_tokens", 5}, {"completion_tokens", 2}}}};
  ASSERT_TRUE(recorder->append("lm_response", "classify:2", unpriced));
  recorder->finish(std::nullopt).value();
  const Json end = recorder->entries().back().data;
  const Totals totals = Totals::read(end.at("totals")).value();
  EXPECT_EQ(totals,
            (Totals{.calls = 2, .cached_calls = 1, .prompt_tokens = 55, .completion_tokens = 5, .cost_msats = 7, .unpriced_calls = 1}));
}

TEST_F(RecordFile, TotalsCountPaymentsOnceWithOrWithoutAnAnswer) {
  const auto recorder = worked::begin(options(), clock_, entropy_).value();
  const std::int64_t before = recorder->totals().cost_msats;
  const Json payment = JsonObject{{"payment_hash", std::string(64, 'a')}, {"amount_msats", 100}};
  ASSERT_TRUE(recorder->append("payment", "classify:1", payment));  // nothing came of it
  EXPECT_EQ(recorder->totals().cost_msats, before + 100);
  ASSERT_TRUE(recorder->append("payment", "classify:2", payment));
  Json answer = JsonObject{{"request_hash", worked::request_hash},
                           {"content", "x"},
                           {"finish_reason", "stop"},
                           {"cost_msats", 100},
                           {"latency_ns", 1},
                           {"usage", JsonObject{{"prompt_tokens", 5}, {"completion_tokens", 2}}}};
  ASSERT_TRUE(recorder->append("lm_response", "classify:2", answer));
  EXPECT_EQ(recorder->totals().cost_msats, before + 200);
  // A pass paid and was killed; the next one tells the same payment again, or gets the answer for nothing.
  ASSERT_TRUE(recorder->append("payment", "classify:1", payment));
  EXPECT_EQ(recorder->totals().cost_msats, before + 200);
  answer.set("cost_msats", 0);
  ASSERT_TRUE(recorder->append("lm_response", "classify:1", answer));
  EXPECT_EQ(recorder->totals().cost_msats, before + 200) << "the money is gone whoever asked";
  recorder->finish(std::nullopt).value();
  EXPECT_EQ(verify_record(text()).state, RecordState::complete);
}

TEST_F(RecordFile, RefusesAFileThatHoldsSomething) {
  write("precious\n");
  const auto recorder = RunRecorder::create(options(), worked::start(), clock_, entropy_);
  ASSERT_FALSE(recorder);
  EXPECT_EQ(recorder.error().code, ErrorCode::refused);
  EXPECT_EQ(text(), "precious\n");
}

TEST_F(RecordFile, HasOneWriter) {
  const auto recorder = RunRecorder::create(options(), worked::start(), clock_, entropy_).value();
  const auto second = RunRecorder::resume(options(), "test", clock_, entropy_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
}

TEST_F(RecordFile, RefusesWhatItsReaderWouldRefuse) {
  const auto recorder = RunRecorder::create(options(), worked::start(), clock_, entropy_).value();
  EXPECT_EQ(recorder->append("lm_response", "a", JsonObject{}).error().code, ErrorCode::malformed);
  EXPECT_EQ(recorder->append("decision", "a//b", decision(1)).error().code, ErrorCode::malformed);
  EXPECT_EQ(recorder->append("decision", "", "text").error().code, ErrorCode::malformed);
  EXPECT_EQ(recorder->append("decision", "", JsonObject{{"x", 0.0 / 0.0}}).error().code, ErrorCode::malformed);
  EXPECT_EQ(recorder->append("run_end", "", JsonObject{}).error().code, ErrorCode::usage);
  ASSERT_TRUE(recorder->append("decision", "ex:0123456789abcdef.1/refine/attempt:0/classify:2", decision(1)));
  EXPECT_EQ(verify_record(text()).state, RecordState::open);
  EXPECT_EQ(verify_record(text()).lines, 2);
}

TEST_F(RecordFile, TakesNoLinesAfterItsEnd) {
  const auto recorder = worked::begin(options(), clock_, entropy_).value();
  recorder->finish(std::nullopt).value();
  EXPECT_EQ(recorder->append("decision", "", decision(1)).error().code, ErrorCode::usage);
  EXPECT_EQ(recorder->finish(std::nullopt).error().code, ErrorCode::usage);
}

TEST_F(RecordFile, ResumesAfterATornTailAndSaysWhatItCut) {
  const std::string whole = worked::record_text();
  const std::size_t third_line_end = whole.find('\n', whole.find('\n', whole.find('\n') + 1) + 1) + 1;
  write(whole.substr(0, third_line_end + 100));
  ASSERT_EQ(verify_record(text()).state, RecordState::torn);
  clock_.advance(std::chrono::seconds(60));
  const auto recorder = RunRecorder::resume(options(&key_), "killed", clock_, entropy_).value();
  EXPECT_EQ(recorder->run_id(), worked::run_id);
  EXPECT_EQ(recorder->entries().back().type, "head");  // a minute has passed since the last one
  const RecordEntry resumed = recorder->entries().at(3);
  EXPECT_EQ(resumed.type, "resume");
  EXPECT_EQ(resumed.seq, 3);
  EXPECT_EQ(resumed.t, 60000000000);
  EXPECT_EQ(resumed.data.at("cut_bytes").as_int(), 100);
  EXPECT_EQ(resumed.data.at("cut_sha256").as_string(), sha256_hex(whole.substr(third_line_end, 100)));
  recorder->finish(std::nullopt).value();
  EXPECT_EQ(verify_record(text(), {.complete = true, .head = {}}).problems.size(), 0U);
}

TEST_F(RecordFile, ResumesACompleteRecordAndKeepsItsSums) {
  write(worked::record_text());
  const auto recorder = RunRecorder::resume(options(&key_), "more", clock_, entropy_).value();
  EXPECT_EQ(recorder->totals().prompt_tokens, 50);
  recorder->finish(std::nullopt).value();
  const RecordVerdict verdict = verify_record(text(), {.complete = true, .head = {}});
  EXPECT_EQ(verdict.state, RecordState::complete);
  EXPECT_EQ(verdict.lines, 10);  // resume, head, run_end
  EXPECT_TRUE(verdict.problems.empty());
}

TEST_F(RecordFile, DoesNotResumeABrokenOrLinelessRecord) {
  std::string broken = worked::record_text();
  broken[200] ^= 1;
  write(broken);
  EXPECT_EQ(RunRecorder::resume(options(), "x", clock_, entropy_).error().code, ErrorCode::mismatch);
  EXPECT_EQ(text(), broken);
  write(worked::record_text().substr(0, 50));
  EXPECT_EQ(RunRecorder::resume(options(), "x", clock_, entropy_).error().code, ErrorCode::mismatch);
}

// A wall clock that somebody sets; the steady one goes on.
class JumpClock final : public Clock {
 public:
  static constexpr std::int64_t year_ns = std::int64_t{365} * 86400 * 1000000000;
  std::int64_t unix_ns() override { return wall_ns + steady_.steady_ns(); }
  std::int64_t steady_ns() override { return steady_.steady_ns(); }
  bool sleep_until(std::int64_t at_ns, const std::stop_token& stop) override { return steady_.sleep_until(at_ns, stop); }
  void advance(std::chrono::nanoseconds by) { steady_.advance(by); }
  std::int64_t wall_ns = worked::started_unix_ns;

 private:
  ManualClock steady_{0};
};

TEST_F(RecordFile, AWallClockThatJumpsMovesNoTimeOfALine) {
  using namespace std::chrono_literals;
  JumpClock clock;
  const auto recorder = RunRecorder::create(options(&key_), worked::start(), clock, entropy_).value();
  const Deadline deadline = Deadline::after(clock, 10s);
  for (const std::int64_t jump : {-JumpClock::year_ns, JumpClock::year_ns, std::int64_t{0}}) {
    clock.wall_ns = worked::started_unix_ns + jump;
    clock.advance(600ms);
    ASSERT_TRUE(recorder->append("decision", "a", decision(1)));
    EXPECT_FALSE(deadline.passed(clock));
  }
  std::int64_t last = 0, heads = 0;
  for (const RecordEntry& entry : recorder->entries()) {
    EXPECT_GE(entry.t, last);
    last = entry.t;
    heads += entry.type == "head" ? 1 : 0;
  }
  EXPECT_EQ(last, std::chrono::nanoseconds(1800ms).count());
  EXPECT_GE(heads, 1) << "a second of writing passed without a head";
  clock.advance(10s);
  EXPECT_TRUE(deadline.passed(clock));
}

TEST_F(RecordFile, AResumeAfterAJumpGoesOnFromTheLastLine) {
  using namespace std::chrono_literals;
  for (const std::int64_t jump : {-JumpClock::year_ns, JumpClock::year_ns}) {
    std::filesystem::remove(path_);
    JumpClock clock;
    {
      const auto recorder = RunRecorder::create(options(&key_), worked::start(), clock, entropy_).value();
      clock.advance(5s);
      ASSERT_TRUE(recorder->append("decision", "a", decision(1)));
    }
    JumpClock later;  // another process: its steady clock begins anew
    later.wall_ns = worked::started_unix_ns + jump;
    const auto resumed = RunRecorder::resume(options(&key_), "test", later, entropy_).value();
    for (int i = 0; i < 3; ++i) {
      later.advance(700ms);
      ASSERT_TRUE(resumed->append("decision", "a", decision(i)));
    }
    ASSERT_TRUE(resumed->finish(std::nullopt));
    const RunRecord record = read_record(text(), {.complete = true, .head = {}}).value();
    EXPECT_TRUE(record.verdict.problems.empty());
    EXPECT_EQ(record.entries.back().t, std::chrono::nanoseconds(5s + 2100ms).count()) << "jump of " << jump;
    EXPECT_EQ(std::count_if(record.entries.begin(), record.entries.end(), [](const RecordEntry& e) { return e.type == "head"; }), 3);
  }
}

TEST_F(RecordFile, SaysWhoWritesARecordThatIsLocked) {
  const auto writer = RunRecorder::create(options(), worked::start(), clock_, entropy_).value();
  const auto second = RunRecorder::resume(options(), "test", clock_, entropy_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  // Where the kernel's list has the file under another device number (some stacked file systems), nobody is named.
  const std::string& message = second.error().message;
  const bool named = message.find(fmt::format("another process ({}) is writing", ::getpid())) != std::string::npos;
  EXPECT_TRUE(named || message.starts_with("another process is writing")) << message;
}

TEST_F(RecordFile, AsksBeforeItChangesWhatItResumes) {
  write(worked::record_text().substr(0, worked::record_text().size() - 30));
  const std::string before = text();
  const auto refuse = [](const RunRecord& record) -> Result<void> {
    EXPECT_FALSE(record.entries.empty());
    return fail(ErrorCode::refused, "another program's");
  };
  EXPECT_EQ(RunRecorder::resume(options(), "test", clock_, entropy_, refuse).error().code, ErrorCode::refused);
  EXPECT_EQ(text(), before);
}

TEST_F(RecordFile, ALineLongerThanAnyIsFoundWithoutReadingOn) {
  write("{\"data\":" + std::string(5000, ' ') + "\n");
  const auto text = read_record_text(path_, 1000);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::mismatch);
  EXPECT_EQ(text.error().path, path_ + ":1");
  EXPECT_TRUE(read_record_text(path_, 6000));
}

TEST_F(RecordFile, RefusesADeviceAsItsFile) {
  const auto recorder = RunRecorder::create({.path = "/dev/full", .key = nullptr}, worked::start(), clock_, entropy_);
  ASSERT_FALSE(recorder);
  EXPECT_EQ(recorder.error().code, ErrorCode::refused);
}

// Selected by the thread sanitizer's run: lines from many threads stay one chain.
TEST_F(RecordFile, ConcurrentAppendsStayOneChain) {
  const auto recorder = RunRecorder::create(options(&key_), worked::start(), clock_, entropy_).value();
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&recorder, thread] {
        for (int i = 0; i < 100; ++i) EXPECT_TRUE(recorder->append("decision", fmt::format("thread:{}", thread), decision(i)));
      });
    }
  }
  recorder->finish(std::nullopt).value();
  const RecordVerdict verdict = verify_record(text(), {.complete = true, .head = {}});
  EXPECT_EQ(verdict.state, RecordState::complete);
  EXPECT_TRUE(verdict.problems.empty());
  EXPECT_EQ(verdict.lines, 1 + 400 + 1 + 1 + 1);  // start, decisions, a head at 256, the last head, end
}

TEST(RecordedText, KeepsBytesThatAreNotUtf8) {
  EXPECT_EQ(recorded_text("ok"), Json("ok"));
  const Json wrapped = recorded_text("\xff\x00z");
  EXPECT_TRUE(wrapped.at("$base64").is_string());
  EXPECT_EQ(recorded_bytes(wrapped).value(), std::string("\xff"));  // the literal ends at its NUL
  EXPECT_FALSE(recorded_bytes(Json(1)));
  EXPECT_FALSE(recorded_bytes(JsonObject{{"$base64", "?"}}));
}

}  // namespace
}  // namespace assay
