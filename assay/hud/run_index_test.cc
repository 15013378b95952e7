#include "assay/hud/run_index.h"

#include "assay/hud/record_gen_test.h"

namespace assay {
namespace {

class RunIndexTest : public ::testing::Test {
 protected:
  RunIndex make(RunIndexOptions options = {}) {
    options.folders = {folder_.path()};
    return RunIndex(std::move(options), [this](std::string_view event, const Json& data) { heard_.emplace_back(event, data); });
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [event, data] : heard_) out.push_back(event);
    return out;
  }
  static void settle(RunIndex& index) {
    for (int i = 0; i < 1000 && index.poll(); ++i) {
    }
  }
  using Names = std::vector<std::string>;

  TestFolder folder_;
  std::vector<std::pair<std::string, Json>> heard_;
};

TEST_F(RunIndexTest, TellsANewRunLineByLineAndAnOldOneNotAtAll) {
  TestRecord old(folder_.file("old.run.jsonl"), {}, 1);
  old.call("classify", "mail");
  old.finish();
  RunIndex index = make();
  settle(index);
  EXPECT_EQ(names(), Names{});
  EXPECT_EQ(index.list().size(), 1U);

  TestRecord fresh(folder_.file("new.run.jsonl"), {}, 2);
  fresh.call("classify", "games");
  settle(index);
  EXPECT_EQ(names(), (Names{"run_started", "node_start", "lm_start", "lm_end", "node_end", "run_state"}));
  EXPECT_EQ(heard_[3].second.at("answer"), Json("games"));
  EXPECT_EQ(heard_[3].second.at("run_id"), Json(fresh.run_id()));
  EXPECT_EQ(index.find(fresh.run_id())->state, RunState::running);
  heard_.clear();
  fresh.finish();
  settle(index);
  EXPECT_EQ(names(), Names{"run_ended"});
  EXPECT_EQ(index.find(fresh.run_id())->state, RunState::complete);
  EXPECT_EQ(index.counts().totals.cost_msats, 14);
}

TEST_F(RunIndexTest, ARunThatIsNoCompileHasItsProgramsNameToo) {
  RunIndex index = make();
  settle(index);
  TestRecord record(folder_.file("named.run.jsonl"));
  settle(index);
  ASSERT_EQ(names().at(0), "run_started");
  EXPECT_EQ(heard_[0].second.at("program"), Json("triage"));
}

TEST_F(RunIndexTest, AnAnswerFromTheCacheStartsAndEndsToo) {
  RunIndex index = make();
  settle(index);
  TestRecord record(folder_.file("cached.run.jsonl"));
  record.append("cache_hit", "classify",
                JsonObject{{"lane_id", repeated('c', 64)},
                           {"request_hash", repeated('b', 64)},
                           {"request", TestRecord::request("imap client")},
                           {"content", "mail"},
                           {"finish_reason", "stop"},
                           {"usage", JsonObject{{"prompt_tokens", 50}, {"completion_tokens", 3}}}});
  settle(index);
  EXPECT_EQ(names(), (Names{"run_started", "lm_start", "lm_end", "run_state"}));
  EXPECT_EQ(heard_[1].second.at("model"), Json("tiny"));
  EXPECT_EQ(heard_[2].second.at("cached"), Json(true));
}

TEST_F(RunIndexTest, SaysWhichOtherFilesHaveTheSameRunId) {
  RunIndex index = make();
  TestRecord record(folder_.file("a.run.jsonl"));
  record.call("classify", "mail");
  std::filesystem::copy_file(folder_.file("a.run.jsonl"), folder_.file("b.run.jsonl"));
  settle(index);
  ASSERT_EQ(index.list().size(), 1U);
  EXPECT_EQ(index.list()[0].at("file"), Json("a.run.jsonl"));
  EXPECT_EQ(index.list()[0].at("also"), Json(JsonList{"b.run.jsonl"}));
}

TEST_F(RunIndexTest, ASignedRecordGoesBeforeACopyThatWasSealedAgain) {
  const SecretKey key = SecretKey::generate(system_entropy()).value();
  const auto write = [&](const std::string& name, const SecretKey* signer, const std::string& answer) {
    TestRecord record(folder_.file(name), Json(), 1, signer);
    record.call("classify", answer);
    record.finish();
    return record.run_id();
  };
  EXPECT_EQ(write("a-forged.run.jsonl", nullptr, "games"), write("one.run.jsonl", &key, "mail"));
  RunIndex index = make();
  settle(index);
  ASSERT_EQ(index.list().size(), 1U);
  EXPECT_EQ(index.list()[0].at("file"), Json("one.run.jsonl"));
  EXPECT_EQ(index.list()[0].at("also"), Json(JsonList{"a-forged.run.jsonl"}));
  EXPECT_EQ(std::filesystem::path(index.find(index.list()[0].at("id").as_string())->path).filename(), "one.run.jsonl");
}

TEST_F(RunIndexTest, AnOldRunThatGoesOnIsNews) {
  TestRecord record(folder_.file("a.run.jsonl"));
  RunIndex index = make();
  settle(index);
  record.call("classify", "mail");
  settle(index);
  EXPECT_EQ(names().back(), "node_end");
  EXPECT_EQ(heard_.size(), 5U) << "four lines, and that a writer is there";
}

TEST_F(RunIndexTest, AWriterThatDiedLeavesAnInterruptedRun) {
  TestRecord record(folder_.file("a.run.jsonl"));
  RunIndex index = make();
  settle(index);
  EXPECT_EQ(index.find(record.run_id())->state, RunState::running);
  const std::string id = record.run_id();
  record.let_go();
  settle(index);
  EXPECT_EQ(index.find(id)->state, RunState::interrupted);
  EXPECT_EQ(heard_.back().first, "run_state");
  EXPECT_EQ(heard_.back().second.at("state"), Json("interrupted"));
}

TEST_F(RunIndexTest, ATornLastLineWaitsForItsRest) {
  const std::string source = folder_.file("source");
  TestRecord record(source);
  record.call("classify", "mail");
  record.finish();
  const std::string text = bytes_of(source), path = folder_.file("torn.run.jsonl");
  const std::size_t cut = text.size() - 40;
  append_bytes(path, text.substr(0, cut));
  RunIndex index = make();
  settle(index);
  EXPECT_EQ(index.find(record.run_id())->state, RunState::interrupted);
  EXPECT_EQ(index.find(record.run_id())->summary.lines, 5);
  append_bytes(path, text.substr(cut, 20));
  settle(index);
  EXPECT_EQ(index.find(record.run_id())->summary.lines, 5);
  append_bytes(path, text.substr(cut + 20));
  settle(index);
  EXPECT_EQ(index.find(record.run_id())->state, RunState::complete);
}

TEST_F(RunIndexTest, AnAlteredLineMakesTheRunBrokenAndSaysWhere) {
  const std::string path = folder_.file("a.run.jsonl");
  std::string id;
  {
    TestRecord record(path);
    record.call("classify", "mail");
    record.finish();
    id = record.run_id();
  }
  std::string text = bytes_of(path);
  text.replace(text.find("\"mail\""), 6, "\"news\"");
  std::ofstream(path, std::ios::binary) << text;
  RunIndex index = make();
  settle(index);
  EXPECT_EQ(index.find(id)->state, RunState::broken);
  EXPECT_TRUE(index.find(id)->problem.starts_with("line 5: it does not follow")) << index.find(id)->problem;
  EXPECT_EQ(index.counts().by_state["broken"], 1);
}

TEST_F(RunIndexTest, WhatIsNoRecordIsShownAsBrokenAndLinksAreNotFollowed) {
  append_bytes(folder_.file("junk.run.jsonl"), "<script>alert(1)</script>\n");
  append_bytes(folder_.file("secret"), "x\n");
  append_bytes(folder_.file("empty.run.jsonl"), "");
  std::filesystem::create_symlink(folder_.file("secret"), folder_.file("link.run.jsonl"));
  std::filesystem::create_directory(folder_.file("folder.run.jsonl"));
  RunIndex index = make();
  settle(index);
  const JsonList rows = index.list();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].at("state"), Json("broken"));
  EXPECT_EQ(rows[0].at("file"), Json("junk.run.jsonl"));
  EXPECT_TRUE(rows[0].at("problem").as_string().starts_with("line 1: "));
}

TEST_F(RunIndexTest, AFileThatWasReplacedIsReadAgainAndOneThatWentIsForgotten) {
  const std::string path = folder_.file("a.run.jsonl");
  std::string first;
  {
    TestRecord record(path, {}, 1);
    record.call("classify", "mail");
    first = record.run_id();
  }
  RunIndex index = make();
  settle(index);
  std::filesystem::remove(path);
  TestRecord record(path, {}, 2);
  settle(index);
  EXPECT_FALSE(index.find(first));
  EXPECT_TRUE(index.find(record.run_id()));
  std::filesystem::remove(path);
  settle(index);
  EXPECT_EQ(index.list().size(), 0U);
  EXPECT_EQ(heard_.back().first, "run_removed");
}

TEST_F(RunIndexTest, ReadsInPortionsAndRefusesALineBeyondTheLimit) {
  const std::string path = folder_.file("a.run.jsonl");
  TestRecord record(path);
  for (int i = 0; i < 50; ++i) record.call(i == 0 ? "classify" : "classify:" + std::to_string(i), std::string(1000, 'x'));
  RunIndex small = make({.poll_bytes_max = 100});
  settle(small);
  EXPECT_EQ(small.find(record.run_id())->summary.nodes, 50);
  RunIndex strict = make({.line_bytes_max = 900});
  settle(strict);
  EXPECT_EQ(strict.list()[0].at("state"), Json("broken"));
}

TEST_F(RunIndexTest, ACompileKeepsCandidatesStagesAndItsPlan) {
  const Json plan =
      JsonObject{{"artifact", JsonObject{{"program", JsonObject{{"name", "triage"}}}}},
                 {"optimizer", JsonObject{{"name", "Search"}, {"config", JsonObject{{"num_candidates", 4}, {"val_rows", 2}}}}}};
  TestRecord record(folder_.file("a.run.jsonl"), plan);
  record.call("search/cand:0/val/ex:1111111111111111/classify", "mail", 5);
  record.score("search/cand:0/val/ex:1111111111111111", 1);
  record.call("search/cand:0/val/ex:2222222222222222/classify", "mail", 5);
  record.score("search/cand:0/val/ex:2222222222222222", 0);
  record.append("candidate", "search/cand:0",
                JsonObject{{"id", "cand:0"}, {"compiled_id", repeated('e', 64)}, {"metrics", JsonObject{{"exact", 0.5}}}});
  record.append("decision", "", JsonObject{{"what", "best"}, {"value", "cand:0"}});
  RunIndex index = make();
  settle(index);
  const RunIndex::Found found = *index.find(record.run_id());
  EXPECT_TRUE(found.summary.is_compile);
  EXPECT_EQ(found.summary.program, "triage");
  const Json compile = found.summary.compile_json();
  EXPECT_EQ(compile.at("candidates_planned"), Json(5));
  EXPECT_EQ(*compile.pointer("/candidates/0/metrics/exact"), Json(0.5));
  EXPECT_EQ(*compile.pointer("/stages/0/path"), Json("search/cand:0/val"));
  EXPECT_EQ(*compile.pointer("/stages/0/candidate"), Json("0"));
  EXPECT_EQ(*compile.pointer("/stages/0/mean"), Json(0.5));
  EXPECT_EQ(*compile.pointer("/stages/0/totals/cost_msats"), Json(10));
  EXPECT_EQ(*compile.pointer("/decisions/0/data/what"), Json("best"));
}

}  // namespace
}  // namespace assay
