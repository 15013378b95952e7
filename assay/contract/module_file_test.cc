#include "assay/contract/module_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "assay/base/test_files.h"
#include "assay/contract/samples_test.h"

namespace assay {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

std::string sample_text() { return write_module(sample_module()).value(); }

SecretKey stranger() {
  FixedEntropy entropy(99);
  return SecretKey::generate(entropy).value();
}

TrustStore trusting_sample() {
  TrustStore trust;
  EXPECT_TRUE(trust.add(sample_key().public_hex(), {"package-triage"}));
  return trust;
}

TEST(ModuleFile, ReadIsTheInverseOfWrite) {
  for (const std::string& text : {sample_text(), source_text("tests/golden/pipeline.module.json")}) {
    const auto module = read_module(text);
    ASSERT_TRUE(module) << module.error().text();
    EXPECT_EQ(write_module(*module).value(), text);
  }
}

TEST(ModuleFile, StatesAreThoseOfTheFormat) {
  const std::string text = sample_text();
  const ModuleVerdict unknown = verify_module(text);
  EXPECT_EQ(name(unknown.state), "intact-unknown-signer");
  EXPECT_EQ(unknown.exit_code(), 0);
  EXPECT_EQ(unknown.signer, sample_key().public_hex());
  EXPECT_EQ(unknown.program, "package-triage");
  EXPECT_EQ(unknown.compiled_id, sample_compiled_id);
  EXPECT_THAT(unknown.problems, SizeIs(0));
  EXPECT_EQ(verify_module(text, trusting_sample()).state, ModuleState::intact_trusted);

  const std::string plain = write_module(unsigned_module(sample_artifact(), sample_manifest()).value()).value();
  const ModuleVerdict without = verify_module(plain, trusting_sample());
  EXPECT_EQ(name(without.state), "unsigned");
  EXPECT_EQ(without.exit_code(), 3);
  EXPECT_EQ(name(verify_module("{}").state), "bad");
}

TEST(ModuleFile, TrustIsForTheExactProgramOnly) {
  TrustStore trust;
  ASSERT_TRUE(trust.add(sample_key().public_hex(), {"package-triage-2", "Package-triage"}));
  EXPECT_EQ(verify_module(sample_text(), trust).state, ModuleState::intact_unknown_signer);
  trust.trust_own(sample_key().public_hex());
  EXPECT_EQ(verify_module(sample_text(), trust).state, ModuleState::intact_trusted);
}

TEST(ModuleFile, AnEditedArtifactIsNamedWithWantAndFound) {
  std::string text = sample_text();
  text.replace(text.find("chess"), 5, "Chess");
  const ModuleVerdict verdict = verify_module(text, trusting_sample());
  EXPECT_EQ(verdict.state, ModuleState::bad);
  ASSERT_THAT(verdict.problems, SizeIs(1));  // the signature is over the manifest, and that is as it was
  EXPECT_EQ(verdict.problems[0].path, "manifest.compiled_id");
  EXPECT_THAT(verdict.problems[0].message, HasSubstr(std::string("want ") + sample_compiled_id));
  EXPECT_THAT(verdict.problems[0].message, HasSubstr("found " + verdict.compiled_id));
  EXPECT_NE(verdict.compiled_id, sample_compiled_id);
}

TEST(ModuleFile, AnEditedManifestBreaksTheSignature) {
  std::string text = sample_text();
  text.replace(text.find("\"rollouts\":12"), 13, "\"rollouts\":13");
  const ModuleVerdict verdict = verify_module(text, trusting_sample());
  EXPECT_EQ(verdict.state, ModuleState::bad);
  ASSERT_THAT(verdict.problems, SizeIs(1));
  EXPECT_EQ(verdict.problems[0].path, "manifest.signature");
  EXPECT_EQ(verdict.problems[0].code, ErrorCode::mismatch);
}

TEST(ModuleFile, AllThatIsWrongIsReported) {
  ModuleFile module = sample_module();
  module.manifest.compiled_id = std::string(64, '0');
  module.manifest.signature_name = "Other";
  const ModuleVerdict verdict = verify_module(write_module(module).value());
  std::vector<std::string> places;
  for (const Error& problem : verdict.problems) places.push_back(problem.path);
  EXPECT_THAT(places, testing::ElementsAre("manifest.compiled_id", "manifest.signature_name", "manifest.signature"));
}

TEST(ModuleFile, BothPartsOfWrongShapeAreReported) {
  const ModuleVerdict verdict = verify_module(R"({"artifact":{"format":"assay.module/1"},"manifest":{"format":"assay.manifest/1"}})");
  ASSERT_THAT(verdict.problems, SizeIs(2));
  EXPECT_EQ(verdict.problems[0].path, "artifact");
  EXPECT_EQ(verdict.problems[1].path, "manifest");
  EXPECT_FALSE(verdict.module);
  EXPECT_EQ(verdict.compiled_id.size(), 64u);
}

// Edited, re-hashed and re-signed by somebody else: intact, and not trusted.
TEST(ModuleFile, AStrangersResigningIsIntactUntrustedAndRefused) {
  FixedEntropy entropy(5);
  const Artifact edited = sample_artifact().with_instructions("classify", "Always say games.").value();
  const ModuleFile module = seal_module(edited, sample_manifest(), stranger(), entropy).value();
  const ModuleVerdict verdict = verify_module(write_module(module).value(), trusting_sample());
  EXPECT_EQ(verdict.state, ModuleState::intact_unknown_signer);
  const auto run = check_runnable(verdict);
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, ErrorCode::refused);
  EXPECT_EQ(exit_code(run.error().code), 6);
  EXPECT_THAT(run.error().message, HasSubstr(stranger().public_hex()));
  EXPECT_THAT(run.error().remedy, HasSubstr("--allow-signer"));
  EXPECT_TRUE(check_runnable(verdict, stranger().public_hex()));
  EXPECT_FALSE(check_runnable(verdict, sample_key().public_hex()));
}

TEST(ModuleFile, BadAndUnsignedModulesDoNotRun) {
  std::string text = sample_text();
  text.replace(text.find("chess"), 5, "Chess");
  const auto bad = check_runnable(verify_module(text), sample_key().public_hex(), true);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::mismatch);
  EXPECT_THAT(bad.error().message, HasSubstr("compiled_id does not match"));
  const ModuleVerdict plain = verify_module(unsigned_module(sample_artifact(), sample_manifest()).value());
  EXPECT_EQ(check_runnable(plain).error().code, ErrorCode::refused);
  EXPECT_TRUE(check_runnable(plain, {}, true));
  EXPECT_TRUE(check_runnable(verify_module(sample_text(), trusting_sample())));
}

// Three flips of every byte of the file: what comes out is bad, or reads to the identical value (one spelling for another). Only
// the name of the member "signature" can be changed so that the module is another state: it is unsigned then, and does not run either.
TEST(ModuleFile, AnyChangedByteIsFound) {
  const std::string text = sample_text();
  const Json value = read_json(text).value();
  const TrustStore trust = trusting_sample();
  ASSERT_EQ(verify_module(text, trust).state, ModuleState::intact_trusted);
  const std::size_t name_begin = text.rfind("\"signature\"") + 1, name_end = name_begin + std::string_view("signature").size();
  std::size_t same = 0, bad = 0, stripped = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const int flip : {0x01, 0x20, 0x80}) {
      std::string changed = text;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      const ModuleVerdict verdict = verify_module(changed, trust);
      if (verdict.state == ModuleState::bad) {
        ++bad;
        ASSERT_FALSE(verdict.problems.empty()) << at;
        continue;
      }
      EXPECT_FALSE(verdict.intact() && verdict.compiled_id != sample_compiled_id) << at;
      if (verdict.state == ModuleState::unsigned_) {
        ++stripped;
        ASSERT_TRUE(at >= name_begin && at < name_end) << at;
        ASSERT_FALSE(check_runnable(verdict, sample_key().public_hex())) << at;
        continue;
      }
      ++same;
      const auto read = read_json(changed);
      ASSERT_TRUE(read && *read == value) << "byte " << at << " xor " << flip << " gives " << name(verdict.state);
    }
  }
  EXPECT_LE(stripped, 27u);
  EXPECT_LT(same, 16u);
  EXPECT_EQ(bad + same + stripped, 3 * text.size());
}

TEST(ModuleFile, AnyCutIsFound) {
  const std::string text = sample_text();
  for (std::size_t size = 0; size + 1 < text.size(); ++size) ASSERT_EQ(verify_module(text.substr(0, size)).state, ModuleState::bad) << size;
  EXPECT_TRUE(verify_module(text.substr(0, text.size() - 1)).intact());  // only the newline is missing
}

TEST(ModuleFile, MembersSwappedBetweenModulesAreFound) {
  const Json golden = read_json(source_text("tests/golden/pipeline.module.json")).value();
  Json mixed = read_json(sample_text()).value();
  mixed.set("artifact", golden.at("artifact"));
  EXPECT_EQ(verify_module(canonical(mixed).value()).state, ModuleState::bad);
  mixed = golden;
  mixed.set("manifest", read_json(sample_text())->at("manifest"));
  EXPECT_EQ(verify_module(canonical(mixed).value()).state, ModuleState::bad);
}

TEST(ModuleFile, UnknownMembersInsideTheArtifactVerify) {
  Json json = sample_json();
  json.set("x", 1);
  ZeroEntropy zeros;
  const ModuleFile module = seal_module(Artifact::read(json).value(), sample_manifest(), sample_key(), zeros).value();
  EXPECT_TRUE(verify_module(write_module(module).value()).intact());
  EXPECT_FALSE(module.artifact.check_supported());
}

// Nobody signs the object around the parts: attestations whose name was damaged would be gone without a word.
TEST(ModuleFile, HasNoOtherMembers) {
  FixedEntropy entropy(8);
  ModuleFile module = sample_module();
  module.attestations = JsonList{attest(module, "Scored again: 0.8.", stranger(), entropy).value()};
  const std::string text = write_module(module).value();
  ASSERT_TRUE(verify_module(text).intact());
  for (const std::string_view name : {"artifact", "manifest", "attestations"}) {
    const std::size_t at = text.find("\"" + std::string(name) + "\":");
    for (std::size_t byte = 1; byte <= name.size(); ++byte) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string flipped = text;
        flipped[at + byte] = static_cast<char>(flipped[at + byte] ^ (1 << bit));
        EXPECT_EQ(verify_module(flipped).state, ModuleState::bad) << name << " byte " << byte << " bit " << bit;
        EXPECT_FALSE(read_module(flipped));
      }
    }
  }
  Json more = read_json(text).value();
  more.set("note", "hello");
  const auto refused = read_module(canonical(more).value());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().path, "note");
}

TEST(ModuleFile, AttestationsAreChecked) {
  FixedEntropy entropy(8);
  ModuleFile module = sample_module();
  const Json good = attest(module, "Scored again: 0.8.", stranger(), entropy).value();
  module.attestations = JsonList{good};
  EXPECT_TRUE(verify_module(write_module(module).value()).intact());
  const std::pair<const char*, Json> rows[] = {{"statement", "Scored again: 0.9."},
                                               {"compiled_id", std::string(64, '0')},
                                               {"manifest_hash", std::string(64, '0')},
                                               {"format", "assay.attestation/2"},
                                               {"signer", sample_key().public_hex()}};
  for (const auto& [key, value] : rows) {
    Json bad = good;
    bad.set(key, value);
    module.attestations = JsonList{good, bad};
    const ModuleVerdict verdict = verify_module(write_module(module).value());
    EXPECT_EQ(verdict.state, ModuleState::bad) << key;
    ASSERT_THAT(verdict.problems, SizeIs(1)) << key;
    EXPECT_THAT(verdict.problems[0].path, HasSubstr("attestations[1]")) << key;
  }
  Json without = good;
  without.as_object().erase("signature");
  module.attestations = JsonList{without};
  EXPECT_EQ(verify_module(write_module(module).value()).state, ModuleState::bad);
}

TEST(ModuleFile, SignatureNullAndSignatureAbsentAreUnsigned) {
  Json json = read_json(write_module(unsigned_module(sample_artifact(), sample_manifest()).value()).value()).value();
  EXPECT_EQ(verify_module(canonical(json).value()).state, ModuleState::unsigned_);
  const_cast<Json&>(json.at("manifest")).as_object().erase("signature");
  EXPECT_EQ(verify_module(canonical(json).value()).state, ModuleState::unsigned_);
  // A signature taken off an intact module leaves it unsigned, not intact.
  Json stripped = read_json(sample_text()).value();
  const_cast<Json&>(stripped.at("manifest")).as_object().erase("signature");
  EXPECT_EQ(verify_module(canonical(stripped).value(), trusting_sample()).state, ModuleState::unsigned_);
}

TEST(ModuleFile, GarbageIsBadNotACrash) {
  const std::vector<std::string> texts = {"",
                                          "null",
                                          "[]",
                                          std::string(1000000, '['),
                                          "\xEF\xBB\xBF{}",
                                          R"({"artifact":1})",
                                          R"({"artifact":{},"manifest":{},"artifact":{}})",
                                          R"({"artifact":{},"manifest":{},"attestations":null})"};
  for (const std::string& text : texts) {
    const ModuleVerdict verdict = verify_module(text);
    EXPECT_EQ(verdict.state, ModuleState::bad);
    EXPECT_FALSE(verdict.problems.empty());
    EXPECT_FALSE(check_runnable(verdict));
  }
}

}  // namespace
}  // namespace assay
