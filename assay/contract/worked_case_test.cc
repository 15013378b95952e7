// The worked case of formats.md, computed by two other implementations: byte for byte. The shared folder's files are read when they are
// there; the facts stand here too, so that the test means something everywhere.
#include <gtest/gtest.h>

#include "assay/base/test_files.h"
#include "assay/contract/dataset.h"
#include "assay/contract/samples_test.h"

namespace assay {
namespace {

Json lane() {
  return JsonObject{{"kind", "local"},
                    {"model", "tiny"},
                    {"model_sha256", std::string(64, 'a')},
                    {"engine", "llama-1"},
                    {"tokenizer_sha256", Json()},
                    {"chat_template_sha256", Json()}};
}

Json message(const char* role, const char* content) { return JsonObject{{"role", role}, {"content", content}}; }

Json request() {
  const Json config = sample_artifact().predictor("classify")->at("config");
  return JsonObject{
      {"messages", JsonList{message("system", "Choose the archive section that fits the package."),
                            message("user", "Description: chess game for the terminal"), message("assistant", "Section: games"),
                            message("user", "Description: mail filter with Bayesian scoring"), message("assistant", "Section: mail"),
                            message("user", "Description: imap client")}},
      {"config", config},
      {"seed", 7},
      {"schema", Json()},
      {"tools", JsonObject{}},
      {"model", JsonObject{{"id", "tiny"}, {"digest", std::string(64, 'a')}}},
      {"rollout", 0}};
}

Artifact refined() {
  Json json = sample_json();
  json.set("entry", "refine");
  const Json reward = JsonObject{{"name", "section_known"}, {"version", "1"}, {"digest", sha256_hex("reward")}};
  const Json params = JsonObject{{"attempts", 2},     {"threshold", 0.5}, {"on_exhausted", "best"},
                                 {"feedback", false}, {"reward", reward}, {"fallback", JsonList{"lm:any"}}};
  json.set("modules", JsonObject{{"refine", JsonObject{{"kind", "refine/1"}, {"over", JsonList{"classify"}}, {"params", params}}}});
  return Artifact::read(json).value();
}

TEST(WorkedCase, IdsAndHashes) {
  EXPECT_EQ(sample_artifact().id()->hex(), "e6e1e787a20f5a3a5cb1b9cbf8964276565c200b3c9b57d7bdb9cdb5f2cb0d03");
  EXPECT_EQ(refined().id()->hex(), "239dfce2832e9c25ddf12c0c8256d1b935d8e11c13ddb8d21a041c7c532aef63");
  EXPECT_EQ(refined().signature().at("name"), Json("PackageTriage"));
  EXPECT_EQ(hash(lane()).value(), "44025c23cb313b5159b8e83dd50df735564f00f380e38089cce7833a9db20d14");
  EXPECT_EQ(hash(request()).value(), "88097c5470cb2fce04c6c6354463a0fff223da99e90b6f8d7c1d95f0722aa8c7");
  EXPECT_EQ(output_hash(JsonObject{{"section", "mail"}}).value(), "49449f41192539c4a0ac7893bcc829b553ea908077416d118b57b1c8f8985776");
}

TEST(WorkedCase, TheFilesComeOutByteForByte) {
  const auto a = shared_text("design/examples/artifact_A.json");
  const auto b = shared_text("design/examples/artifact_B.json");
  const auto module = shared_text("design/examples/module.json");
  if (!a || !b || !module) GTEST_SKIP() << "the worked case is not on this machine; its values stand above and in the neighbouring tests";
  EXPECT_EQ(sample_artifact().text(), *a);
  EXPECT_EQ(refined().text(), *b);
  const std::string text = write_module(sample_module()).value();
  EXPECT_EQ(text.substr(0, module->size()), *module);  // the example has no final newline
  EXPECT_TRUE(verify_module(*module).intact());
}

TEST(WorkedCase, SetIdsOfAllThreeSets) {
  const auto set = [](std::initializer_list<std::pair<const char*, const char*>> rows) {
    std::vector<std::string> hashes;
    for (const auto& [description, section] : rows) {
      hashes.push_back(example_hash(JsonObject{{"description", description}}, JsonObject{{"section", section}}).value());
    }
    return set_id(hashes);
  };
  EXPECT_EQ(set({{"chess game for the terminal", "games"}, {"mail filter with Bayesian scoring", "mail"}}),
            sample_module().manifest.trainset_id);
  EXPECT_EQ(set({{"ogg player", "sound"}}), sample_module().manifest.valset_id);
  EXPECT_EQ(set({{"imap client", "mail"}, {"go board", "games"}}), sample_module().manifest.testset_id);
}

}  // namespace
}  // namespace assay
