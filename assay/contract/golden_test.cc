// The golden files (tests/golden) against this implementation; scripts/golden made them without it.
#include <gtest/gtest.h>

#include "assay/base/keys.h"
#include "assay/base/test_files.h"
#include "assay/contract/dataset.h"
#include "assay/contract/module_file.h"
#include "assay/contract/samples_test.h"

namespace assay {
namespace {

Json values() { return read_json(source_text("tests/golden/values.json")).value(); }

TEST(Golden, ArtifactsHaveTheirIds) {
  const Json golden = values();
  ASSERT_EQ(golden.at("artifacts").as_object().size(), 5u);
  for (const auto& [name, id] : golden.at("artifacts").as_object()) {
    const std::string text = source_text("tests/golden/" + name + ".artifact.json");
    const auto artifact = Artifact::parse(text);
    ASSERT_TRUE(artifact) << name << artifact.error().text();
    EXPECT_EQ(artifact->id()->hex(), id.as_string()) << name;
    EXPECT_EQ(sha256_hex(text), id.as_string()) << name;
  }
}

TEST(Golden, TheModuleVerifies) {
  const Json golden = values();
  const std::string text = source_text("tests/golden/pipeline.module.json");
  const ModuleVerdict verdict = verify_module(text);
  ASSERT_TRUE(verdict.intact()) << verdict.problems.front().text();
  EXPECT_EQ(verdict.signer, golden.at("signer").as_string());
  EXPECT_EQ(verdict.compiled_id, golden.at("artifacts").at("pipeline").as_string());
  EXPECT_EQ(canonical_hash(verdict.module->manifest).value(), golden.at("module").at("manifest_hash").as_string());
}

TEST(Golden, SigningAgainGivesTheSameBytes) {
  ZeroEntropy zeros;
  const SecretKey key = SecretKey::parse(sha256_hex("assay golden key")).value();
  EXPECT_EQ(key.public_hex(), values().at("signer").as_string());
  ModuleFile module = read_module(source_text("tests/golden/pipeline.module.json")).value();
  const std::string before = *module.manifest.signature;
  module.manifest.signature.reset();
  EXPECT_EQ(sign_manifest(module.manifest, key, zeros)->signature, before);
  module.manifest.signature = before;
  EXPECT_EQ(attest(module, "Scored again on our own tickets: 0.64.", key, zeros).value(), module.attestations.as_list()[0]);
}

TEST(Golden, TheRunsHashesAreThose) {
  const Json run = values().at("run");
  const std::string text = source_text("tests/golden/retry_cache_repair_resume.run.jsonl");
  std::string prev(64, '0');
  std::int64_t seq = 0;
  std::vector<std::string> requests;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    const std::string line = text.substr(at, end - at);
    const Json entry = read_json(line).value();
    EXPECT_EQ(canonical(entry).value(), line) << seq;
    EXPECT_EQ(entry.at("prev").as_string(), prev) << seq;
    EXPECT_EQ(entry.at("seq").as_int(), seq++);
    if (entry.at("data").at("request").is_object()) {
      const std::string found = hash(entry.at("data").at("request")).value();
      EXPECT_EQ(found, entry.at("data").at("request_hash").as_string());
      if (entry.at("type") == Json("lm_request")) requests.push_back(found);
    }
    if (entry.at("type") == Json("head")) {
      EXPECT_TRUE(verify_object(entry.at("data"))) << seq;
    }
    if (entry.at("type") == Json("run_end")) {
      EXPECT_EQ(entry.at("data").at("root_hash").as_string(), prev);
      EXPECT_EQ(prev, run.at("root_hash").as_string());
      Json bare = entry;
      const_cast<Json&>(bare.at("data")).as_object().erase("signature");
      EXPECT_TRUE(verify_signature(entry.at("data").at("signer").as_string(), sha256(canonical(bare).value()),
                                   entry.at("data").at("signature").as_string()));
    }
    prev = sha256_hex(line);
    at = end + 1;
  }
  EXPECT_EQ(seq, run.at("lines").as_int());
  ASSERT_EQ(requests.size(), run.at("request_hashes").as_list().size());
  for (std::size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(requests[i], run.at("request_hashes").as_list()[i].as_string());
  EXPECT_EQ(output_hash(JsonObject{{"team", "sales"}, {"summary", "The customer wants a larger size."}}).value(),
            run.at("output_hash").as_string());
}

}  // namespace
}  // namespace assay
