#pragma once
// For tests: a folder of its own, and records written line by line by the real recorder.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "assay/base/random.h"
#include "assay/trace/record.h"

namespace assay {

class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "assay-hud-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string repeated(char c, std::size_t count) { return std::string(count, c); }

// One record that a test writes, step by step.
class TestRecord {
 public:
  explicit TestRecord(const std::string& path, Json program = Json(), std::int64_t seed = 1, const SecretKey* key = nullptr)
      : entropy_(seed) {
    RunStart start;
    start.program = std::move(program);
    start.settings = JsonObject{{"program", JsonObject{{"name", "triage"}}}};
    start.lanes = {JsonObject{{"kind", "local"},
                              {"model", "tiny"},
                              {"model_sha256", Json()},
                              {"tokenizer_sha256", Json()},
                              {"chat_template_sha256", Json()},
                              {"engine", "test"}}};
    start.assay_version = "0.1.0";
    start.assay_build = "test";
    auto made = RunRecorder::create({.path = path, .key = key}, std::move(start), clock_, entropy_);
    if (!made) ADD_FAILURE() << made.error().text();
    else recorder_ = std::move(*made);
  }
  void append(std::string_view type, std::string_view node, Json data) {
    clock_.advance(std::chrono::milliseconds(1));
    const auto appended = recorder_->append(type, node, std::move(data));
    EXPECT_TRUE(appended.has_value()) << (appended ? "" : appended.error().text());
  }
  static Json request(const std::string& text) {
    return JsonObject{{"messages", JsonList{Json(JsonObject{{"role", "user"}, {"content", text}})}},
                      {"config", JsonObject()},
                      {"seed", 7},
                      {"schema", Json()},
                      {"tools", JsonObject()},
                      {"model", JsonObject{{"id", "tiny"}, {"digest", Json()}}},
                      {"rollout", 0}};
  }
  void call(const std::string& node, const std::string& answer, std::int64_t cost_msats = 7) {
    append("node_start", node, JsonObject{{"node_type", "Predict"}, {"name", "Triage"}, {"inputs", JsonObject{{"text", "imap client"}}}});
    const std::string hash = repeated('b', 64);
    append("lm_request", node, JsonObject{{"lane_id", repeated('c', 64)}, {"request_hash", hash}, {"request", request("imap client")}});
    append("lm_response", node,
           JsonObject{{"request_hash", hash},
                      {"content", answer},
                      {"finish_reason", "stop"},
                      {"latency_ns", 5000},
                      {"cost_msats", cost_msats},
                      {"usage", JsonObject{{"prompt_tokens", 50}, {"completion_tokens", 3}}}});
    append("node_end", node, JsonObject{{"outputs", JsonObject{{"section", answer}}}, {"status", "ok"}, {"error", Json()}});
  }
  void score(const std::string& node, double value) {
    append("score", node, JsonObject{{"example", repeated('d', 64)}, {"metric", "exact"}, {"value", value}});
  }
  void finish() {
    const auto root = recorder_->finish(std::nullopt);
    EXPECT_TRUE(root.has_value());
  }
  void let_go() { recorder_.reset(); }  // as a process that dies: the lock goes, no run_end
  const std::string& run_id() const { return recorder_->run_id(); }

 private:
  ManualClock clock_;
  FixedEntropy entropy_;
  std::unique_ptr<RunRecorder> recorder_;
};

inline void append_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::app | std::ios::binary) << bytes;
}

inline std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace assay
