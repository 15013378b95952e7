#include "assay/trace/group_sync.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <semaphore>
#include <thread>
#include <vector>

#include "assay/base/test_files.h"
#include "assay/trace/record.h"

namespace assay {
namespace {

TEST(GroupSync, SyncsOnlyWhatIsNotDurableYet) {
  int syncs = 0;
  GroupSync sync([&] { return ++syncs, 0; });
  EXPECT_EQ(sync.wait(0), 0);
  EXPECT_EQ(syncs, 0);
  sync.wrote(10);
  EXPECT_EQ(sync.wait(5), 0);  // covers all ten
  EXPECT_EQ(sync.wait(10), 0);
  EXPECT_EQ(syncs, 1);
  sync.wrote(11);
  EXPECT_EQ(sync.wait(11), 0);
  EXPECT_EQ(syncs, 2);
}

TEST(GroupSync, AFailedSyncFailsAllThatFollow) {
  int syncs = 0;
  GroupSync sync([&] { return ++syncs == 1 ? EIO : 0; });
  sync.wrote(10);
  EXPECT_EQ(sync.wait(10), EIO);
  sync.wrote(20);
  EXPECT_EQ(sync.wait(20), EIO);  // the disk may have dropped the first ten
  EXPECT_EQ(syncs, 1);
}

// The first sync is held until every other thread has written: all of them then share the second.
TEST(GroupSyncConcurrent, ThreadsThatWriteDuringASyncShareTheNext) {
  constexpr int threads = 8;
  std::atomic<int> syncs = 0;
  std::counting_semaphore<> begun(0), go_on(0);
  GroupSync sync([&] {
    if (++syncs == 1) {
      begun.release();
      go_on.acquire();
    }
    return 0;
  });
  sync.wrote(1);
  std::jthread first([&] { EXPECT_EQ(sync.wait(1), 0); });
  begun.acquire();
  std::atomic<int> written = 0;
  std::vector<std::jthread> others;
  for (int i = 2; i <= threads; ++i) {
    others.emplace_back([&, i] {
      sync.wrote(i);
      ++written;
      EXPECT_EQ(sync.wait(i), 0);
    });
  }
  while (written < threads - 1) std::this_thread::yield();  // ends: each thread writes once
  go_on.release();
  others.clear();
  EXPECT_EQ(syncs, 2);
}

struct PowerRecord : testing::Test {
  TestFolder folder;
  ManualClock clock;
  FixedEntropy entropy{1};
  std::atomic<int> syncs = 0;
  int sync_error = 0;

  std::unique_ptr<RunRecorder> recorder() {
    RecorderOptions options;
    options.path = folder.path("power.run.jsonl");
    options.durability = Durability::power;
    options.sync = [this](int) { return ++syncs, sync_error; };
    return RunRecorder::create(std::move(options), RunStart{}, clock, entropy).value();
  }
};

Json payment() { return JsonObject{{"payment_hash", std::string(64, 'a')}, {"amount_msats", 5}, {"state", "settled"}}; }
Json step() { return JsonObject{{"name", "step"}, {"data", JsonObject{}}}; }

TEST_F(PowerRecord, SyncsBeforeAnEffectAndAtTheEndOnly) {
  const auto made = recorder();
  const int after_start = syncs;
  EXPECT_EQ(after_start, 1);
  ASSERT_TRUE(made->append("event", "a", step()));
  EXPECT_EQ(syncs, after_start);
  ASSERT_TRUE(made->append("payment", "a", payment()));
  EXPECT_EQ(syncs, after_start + 1);
  ASSERT_TRUE(made->finish(std::nullopt));
  EXPECT_EQ(syncs, after_start + 2);
}

TEST_F(PowerRecord, ALineThatIsNotOnDiskIsAnErrorAndStopsTheRecord) {
  const auto made = recorder();
  sync_error = EIO;
  const auto paid = made->append("payment", "a", payment());
  ASSERT_FALSE(paid);
  EXPECT_EQ(paid.error().code, ErrorCode::io);
  sync_error = 0;
  EXPECT_EQ(made->append("event", "a", step()).error().code, ErrorCode::io);  // nothing goes on over a hole
}

using PowerRecordConcurrent = PowerRecord;

TEST_F(PowerRecordConcurrent, EveryPaymentIsDurableBeforeItsAppendReturns) {
  constexpr int threads = 8, each = 20;
  const auto made = recorder();
  {
    std::barrier start(threads);
    std::vector<std::jthread> all;
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&] {
        start.arrive_and_wait();
        for (int k = 0; k < each; ++k) EXPECT_TRUE(made->append("payment", "a", payment()));
      });
    }
  }
  EXPECT_LE(syncs, 1 + threads * each);
  ASSERT_TRUE(made->finish(std::nullopt));
  const auto record = read_record_file(made->path());
  ASSERT_TRUE(record);
  EXPECT_EQ(record->verdict.state, RecordState::complete);
  EXPECT_EQ(record->entries.size(), 2U + threads * each);
}

}  // namespace
}  // namespace assay
