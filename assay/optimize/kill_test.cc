// SIGKILL at every step of a compile, then resume: nothing is lost, nothing is paid twice, and the end is the same.
//
// A step is whatever a process does that others can see, or that comes between two such things: a write (before it, in the middle of it,
// after it), a sync, a rename, a cut, a look at the clock, a draw of entropy, a question to the lane (before it is counted and after). A
// child process walks to its n-th step and is killed there; the parent goes on from what lies on the disk.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <map>
#include <sstream>

#include "assay/base/files.h"
#include "assay/base/test_files.h"
#include "assay/contract/store.h"
#include "assay/lm/scripted_lane.h"
#include "assay/optimize/compile.h"
#include "assay/optimize/replay.h"
#include "assay/program/module.h"

namespace assay {
namespace {

// Off in the parent and in all other tests of this program.
struct Steps {
  std::atomic<bool> on = false;
  std::atomic<long> count = 0;
  long kill_at = 0;

  bool next_is_last() const { return on && count + 1 == kill_at; }
  void step() {
    if (on && ++count == kill_at) ::kill(::getpid(), SIGKILL);
  }
} steps;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr long stride = 29;  // a sample: the sanitizers make each walk many times longer
#else
constexpr long stride = 1;
#endif

}  // namespace
}  // namespace assay

// The system calls of this test program, with steps around them. Pages that were written survive a SIGKILL, so nothing is synced here.
extern "C" {
ssize_t write(int fd, const void* data, size_t size) {
  assay::steps.step();
  if (assay::steps.next_is_last()) ::syscall(SYS_write, fd, data, size / 2);  // a torn line, a torn file
  assay::steps.step();
  const ssize_t count = ::syscall(SYS_write, fd, data, size);
  assay::steps.step();
  return count;
}
int rename(const char* from, const char* to) noexcept {
  assay::steps.step();
  const long result = ::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  assay::steps.step();
  return static_cast<int>(result);
}
int ftruncate(int fd, off_t length) noexcept {
  assay::steps.step();
  const long result = ::syscall(SYS_ftruncate, fd, length);
  assay::steps.step();
  return static_cast<int>(result);
}
int fsync(int) { return assay::steps.step(), 0; }
int fdatasync(int) { return assay::steps.step(), 0; }
}

namespace assay {
namespace {

class StepClock final : public Clock {
 public:
  std::int64_t unix_ns() override { return steps.step(), clock_.unix_ns(); }
  std::int64_t steady_ns() override { return steps.step(), clock_.steady_ns(); }
  bool sleep_until(std::int64_t at_ns, const std::stop_token& stop) override { return steps.step(), clock_.sleep_until(at_ns, stop); }

 private:
  ManualClock clock_;
};

class StepEntropy final : public Entropy {
 public:
  explicit StepEntropy(std::int64_t seed) : entropy_(seed) {}
  void fill(std::span<std::uint8_t> out) override { steps.step(), entropy_.fill(out); }

 private:
  FixedEntropy entropy_;
};

std::string colour_of(const std::string& text) { return text.substr(0, text.find(' ')); }

// Knows a colour's label only if a demo shows it: so a search has something to find.
std::string label_by_demos(const LmRequest& request) {
  const std::string question = request.messages.back().content.as_string();
  const std::string colour = colour_of(question.substr(question.find(": ") + 2));
  for (std::size_t i = 1; i + 1 < request.messages.size(); i += 2) {
    const std::string demo = request.messages[i].content.as_string();
    if (colour_of(demo.substr(demo.find(": ") + 2)) == colour) return request.messages[i + 1].content.as_string();
  }
  return "Label: a";
}

CompilePlan small_plan() {
  const Signature signature = Signature::parse("item -> label: Literal['a','b']", "Colours").value();
  const Program program = program_of("colours", "1", Predict("classify", signature), Rewards::built_in()).value();
  const auto rows = [&](int begin, int end) {
    std::vector<Row> out;
    for (int i = begin; i < end; ++i) {
      const std::string colour = i % 2 == 0 ? "red" : "green";
      out.push_back(make_row(program.signature(), JsonObject{{"item", colour + " thing " + std::to_string(i)}},
                             JsonObject{{"label", i % 2 == 0 ? "a" : "b"}})
                        .value());
    }
    order_rows(out);
    return out;
  };
  return CompilePlan{program,
                     Metrics::built_in().find("accuracy").value(),
                     "BootstrapFewShot",
                     {{"max_bootstrapped_demos", 1}, {"max_labeled_demos", 2}},
                     7,
                     7,
                     {},
                     DataSets{rows(0, 4), rows(4, 6), rows(6, 10)}};
}

struct Ended {
  std::string id;
  Json card;  // without per_call: that is measured on calls really made in the last pass
  Totals totals;
  Amount charged;
};

// One compile in a folder, from the journal to the module's place in the store, as `assay compile` does it.
struct Scene {
  TestFolder folder;
  int threads = 1;
  const CompilePlan& plan;
  SecretKey key = SecretKey::parse(std::string(63, '0') + "3").value();
  PriceBook prices = PriceBook::read(read_json(R"({"format":"assay.prices/1","prices":[{"lane_kind":"scripted","model":"*",
    "prompt_msats_per_mtok":1000000,"completion_msats_per_mtok":1000000,"source":"test","date":"2026-11-26"}]})")
                                         .value())
                         .value();

  explicit Scene(const CompilePlan& of) : plan(of) {}
  std::string journal() const { return folder.path("c.run.jsonl"); }
  std::string module_path() const { return folder.path("c.module.json"); }
  std::string answered() const { return folder.path("answered"); }

  // Every question is counted outside the process before it is answered: what the lane's owner would charge for.
  std::shared_ptr<LM> lane() const {
    return std::make_shared<ScriptedLM>([path = answered()](const LmRequest& request) -> Result<LmResponse> {
      steps.step();
      const std::string line = hash(request.messages.back().content).value() + hash(request.messages.front().content).value() +
                               std::to_string(request.messages.size()) + "\n";
      const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
      if (::syscall(SYS_write, file.get(), line.data(), line.size()) != static_cast<long>(line.size()))
        return fail(ErrorCode::io, "the lane's book cannot be written");
      steps.step();
      return ScriptedLM::answer(label_by_demos(request));
    });
  }

  Result<Ended> compile(bool resume, std::int64_t seed, Unanswered unanswered = Unanswered::ask_again) const {
    StepClock clock;
    StepEntropy entropy(seed);
    Budget budget;
    CompileWorld world;
    world.effects = {.clock = &clock, .entropy = &entropy, .budget = &budget, .prices = &prices};
    world.settings.lm = lane();
    world.journal_path = journal();
    world.resume = resume;
    world.unanswered = unanswered;
    world.key = &key;
    world.assay_version = world.assay_build = "test";
    world.hooks.evaluate.threads = threads;
    world.hooks.open_test = [this](const std::string& id, const std::string& run) {
      return count_test_look(folder.path("looks"), id, run);
    };
    ASSAY_TRY(const CompileOutcome outcome, compile_program(plan, world));
    ASSAY_CHECK(write_file(module_path(), outcome.module_text));
    Store store(folder.path("store"));
    ASSAY_CHECK(store.put(outcome.module));
    ASSAY_TRY(Json card, to_json(outcome.result.scorecard));
    card.as_object().erase("per_call");
    return Ended{outcome.module.id(), std::move(card), outcome.totals, budget.spent()};
  }

  // Compiles in a child that dies at its n-th step. False: it ended before that.
  bool dies_at(long n, bool resume, std::int64_t seed) const {
    const pid_t child = ::fork();
    if (child == 0) {
      steps.kill_at = n;
      steps.on = true;
      const bool good = compile(resume, seed).has_value();
      steps.on = false;
      ::_exit(good ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
      EXPECT_EQ(WTERMSIG(status), SIGKILL) << "step " << n;
      return true;
    }
    EXPECT_EQ(WEXITSTATUS(status), 0) << "step " << n << ": it failed instead of ending";
    return false;
  }
};

// What stands in the journal and in the lane's own book, after the end.
void check_end(const Scene& scene, const Result<Ended>& ended, const Ended& whole, long kills, const std::string& where) {
  SCOPED_TRACE(where);
  ASSERT_TRUE(ended) << ended.error().text();
  EXPECT_EQ(ended->id, whole.id);
  EXPECT_EQ(ended->card, whole.card);
  EXPECT_EQ(ended->totals.calls, whole.totals.calls);
  EXPECT_EQ(ended->totals.cost_msats, whole.totals.cost_msats);

  const auto record = read_record_file(scene.journal(), {.complete = true, .head = {}});
  ASSERT_TRUE(record) << record.error().text();
  EXPECT_TRUE(record->verdict.problems.empty()) << record->verdict.problems.front().message;
  EXPECT_EQ(record->verdict.state, RecordState::complete);
  const auto replayed = replay_compile(*record, Metrics::built_in(), Rewards::built_in());
  ASSERT_TRUE(replayed) << replayed.error().text();
  EXPECT_TRUE(replayed->identical);
  EXPECT_EQ(replayed->compiled_id, whole.id);

  std::map<std::string, int> sent, answered;
  for (const RecordEntry& entry : record->entries) {
    if (entry.type == "lm_request") ++sent[entry.data.at("request_hash").as_string()];
    if (entry.type == "lm_response") ++answered[entry.data.at("request_hash").as_string()];
  }
  long unknown = 0;
  for (const auto& [request, count] : sent) {
    EXPECT_EQ(answered[request], 1) << "paid twice: " << request;
    unknown += count - 1;
  }
  EXPECT_LE(unknown, kills * scene.threads);
  // The lane was asked once for each answer in the journal, and at most once more for each request of unknown end: the journal knows of
  // all.
  std::istringstream book(read_file(scene.answered()).value_or(""));
  long asked = 0;
  for (std::string line; std::getline(book, line);) ++asked;
  EXPECT_GE(asked, whole.totals.calls);
  EXPECT_LE(asked, whole.totals.calls + unknown);
  // What is unknown counts in full.
  EXPECT_EQ(ended->charged.calls, whole.totals.calls + unknown);
  EXPECT_EQ(ended->charged.msats == whole.totals.cost_msats, unknown == 0);

  const auto module = read_file(scene.module_path());
  ASSERT_TRUE(module);
  TrustStore trust;
  trust.trust_own(scene.key.public_hex());
  EXPECT_EQ(verify_module(*module, trust).state, ModuleState::intact_trusted);
  const auto stored = Store(scene.folder.path("store")).get(CompiledId::parse(whole.id).value(), trust);
  ASSERT_TRUE(stored) << stored.error().text();
}

Ended undisturbed(const CompilePlan& plan) {
  Scene scene(plan);
  return scene.compile(false, 3).value();
}

// What a killed process left behind.
struct Seen {
  int unborn = 0, torn = 0, half_modules = 0;

  void look(const Scene& scene) {
    if (is_unborn_record(scene.journal())) ++unborn;
    else if (verify_record(read_file(scene.journal()).value()).state == RecordState::torn) ++torn;
    for (const auto& file : std::filesystem::directory_iterator(scene.folder.path())) {
      if (file.path().filename().string().starts_with("c.module.json.")) ++half_modules;
    }
  }
};

TEST(KilledCompile, GoesOnFromEveryStepToTheSameEnd) {
  const CompilePlan plan = small_plan();
  const Ended whole = undisturbed(plan);
  long last = 0;
  Seen seen;
  for (long n = 1; n < 100000 && !HasFailure(); n += stride) {  // ends: when the child is through before its n-th step
    Scene scene(plan);
    if (!scene.dies_at(n, false, 3)) {
      last = n;
      break;
    }
    if (::access(scene.journal().c_str(), F_OK) != 0) continue;  // killed before there was a journal: nothing to resume
    seen.look(scene);
    check_end(scene, scene.compile(true, 4), whole, 1, "killed at step " + std::to_string(n));
  }
  EXPECT_GT(last, 200) << "the walk was too short to have been one";
  if (stride == 1) {  // what such a walk must have come by, or the steps are not where they should be
    EXPECT_GE(seen.unborn, 2);
    EXPECT_GE(seen.torn, 20);
    EXPECT_GE(seen.half_modules, 2);
  }
  RecordProperty("steps", std::to_string(last));
}

TEST(KilledCompile, GoesOnWhenTheResumesAreKilledToo) {
  const CompilePlan plan = small_plan();
  const Ended whole = undisturbed(plan);
  int scenes = 0;
  for (long n = 40; n < 100000 && !HasFailure(); n += 37 * (stride > 1 ? 3 : 1)) {
    Scene scene(plan);
    if (!scene.dies_at(n, false, 3)) break;
    long kills = 1;
    // Each resume is killed later than the one before, so that the journal grows through several cut passes.
    for (long m = 5 + n % 7; m < n; m += 41 + n / 3) kills += scene.dies_at(m, true, 100 + m) ? 1 : 0;
    check_end(scene, scene.compile(true, 5), whole, kills, "first killed at step " + std::to_string(n));
    ++scenes;
  }
  EXPECT_GT(scenes, stride > 1 ? 1 : 4);
}

TEST(KilledCompile, GoesOnWithCallsOfSeveralThreadsInTheAir) {
  const CompilePlan plan = small_plan();
  const Ended whole = undisturbed(plan);
  for (long n = 30; n < 100000 && !HasFailure(); n += 53 * (stride > 1 ? 4 : 1)) {
    Scene scene(plan);
    scene.threads = 4;
    if (!scene.dies_at(n, false, 3)) break;
    check_end(scene, scene.compile(true, 4), whole, 1, "four threads, killed at step " + std::to_string(n));
  }
}

// The first scene in which a request has no answer.
TEST(KilledCompile, AsksAgainForWhatIsUnknownOnlyIfItMay) {
  const CompilePlan plan = small_plan();
  const Ended whole = undisturbed(plan);
  for (long n = 1; n < 1000; ++n) {
    Scene scene(plan);
    ASSERT_TRUE(scene.dies_at(n, false, 3));
    if (!read_file(scene.answered())) continue;  // ends: at the first question that the lane has counted
    const std::string before = read_file(scene.journal()).value();
    const auto refused = scene.compile(true, 4, Unanswered::stop);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::refused);
    EXPECT_NE(refused.error().message.find("what became of 1 call(s) is not known"), std::string::npos) << refused.error().message;
    EXPECT_EQ(read_file(scene.journal()).value(), before) << "a refused resume changed the journal";
    check_end(scene, scene.compile(true, 4, Unanswered::ask_again), whole, 1, "asked again");
    EXPECT_TRUE(scene.compile(true, 5, Unanswered::stop)) << "it is answered by now: there is nothing to ask";
    return;
  }
  FAIL() << "the lane was never asked";
}

TEST(KilledCompile, ARunLooksAtATestSetOnce) {
  const TestFolder folder;
  EXPECT_EQ(count_test_look(folder.path(), "set", "run1").value(), 1);
  EXPECT_EQ(count_test_look(folder.path(), "set", "run2").value(), 2);
  EXPECT_EQ(count_test_look(folder.path(), "set", "run1").value(), 1);  // it was killed after the count, and asks again
  ASSERT_TRUE(write_file(folder.path("set.4711.abcdef"), "3\n"));  // a writer was killed here
  EXPECT_EQ(count_test_look(folder.path(), "set", "run3").value(), 3);
  EXPECT_FALSE(read_file(folder.path("set.4711.abcdef")));
  for (const char* damaged : {"", "garbage", "3", "2\nrun1\nrun2\nrun3\n", "-1\n", "3x\n"}) {
    ASSERT_TRUE(write_file(folder.path("set"), damaged));
    EXPECT_EQ(count_test_look(folder.path(), "set", "run4").error().code, ErrorCode::malformed) << damaged;
    EXPECT_EQ(check_test_looks(folder.path(), "set").error().code, ErrorCode::malformed) << damaged;
    EXPECT_EQ(read_file(folder.path("set")).value(), damaged) << "it is left as it is";
  }
  EXPECT_TRUE(check_test_looks(folder.path(), "another"));
  ASSERT_TRUE(write_file(folder.path("old"), "7\n"));                   // as it was written before runs stood there
  EXPECT_EQ(count_test_look(folder.path(), "old", "run1").value(), 8);
}

TEST(UnbornRecord, IsEmptyOrABegunFirstLineAndNothingElse) {
  const TestFolder folder;
  const std::string path = folder.path("r.run.jsonl");
  EXPECT_FALSE(is_unborn_record(path));
  for (const std::string& text : {std::string(), std::string("{"), std::string(R"({"data":{"assay":{"bui)")}) {
    ASSERT_TRUE(write_file(path, text));
    EXPECT_TRUE(is_unborn_record(path)) << text;
  }
  for (const std::string& text : {std::string("\n"), std::string("a diary"), std::string("{}"), std::string("{\"data\":{}\n")}) {
    ASSERT_TRUE(write_file(path, text));
    EXPECT_FALSE(is_unborn_record(path)) << text;
  }
}

}  // namespace
}  // namespace assay
