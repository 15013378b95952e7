#include "assay/contract/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <fmt/format.h>

#include "assay/base/clock.h"
#include "assay/base/test_files.h"
#include "assay/contract/samples_test.h"

namespace assay {
namespace {

TrustStore trusting_sample() {
  TrustStore trust;
  trust.trust_own(sample_key().public_hex());
  return trust;
}

ModuleFile made_at(std::int64_t created_at, const SecretKey& key = sample_key()) {
  ZeroEntropy zeros;
  CompiledModuleManifest manifest = sample_manifest();
  manifest.created_at = created_at;
  return seal_module(sample_artifact(), manifest, key, zeros).value();
}

SecretKey stranger() {
  FixedEntropy entropy(7);
  return SecretKey::generate(entropy).value();
}

const CompiledId sample_id = CompiledId::parse(sample_compiled_id).value();

TEST(Store, NamesFilesByTheHashOfTheirBytes) {
  const TestFolder folder;
  Store store(folder.path());
  const auto manifest_hash = store.put(sample_module());
  ASSERT_TRUE(manifest_hash) << manifest_hash.error().text();
  EXPECT_EQ(sha256_file(folder.path(std::string("artifacts/") + sample_compiled_id + ".json")).value(), sample_compiled_id);
  EXPECT_EQ(sha256_file(folder.path("manifests/" + *manifest_hash + ".json")).value(), *manifest_hash);
  EXPECT_EQ(*manifest_hash, canonical_hash(sample_module().manifest).value());
  EXPECT_EQ(store.put(sample_module()).value(), *manifest_hash);
  EXPECT_EQ(store.list().value(), std::vector<CompiledId>{sample_id});
}

TEST(Store, GivesTheNewestManifestOfATrustedSigner) {
  const TestFolder folder;
  Store store(folder.path());
  for (const std::int64_t at : {100, 300, 200}) ASSERT_TRUE(store.put(made_at(at)));
  ASSERT_TRUE(store.put(made_at(400, stranger())));
  EXPECT_EQ(store.get(sample_id, trusting_sample())->manifest.created_at, 300);
  EXPECT_EQ(store.manifests(sample_id)->front().created_at, 400);
  EXPECT_EQ(store.manifests(sample_id)->size(), 4u);
  const auto none = store.get(sample_id, TrustStore());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::refused);
  // For looking, and for who lets a signer run by name: whoever signed it.
  EXPECT_EQ(store.find(sample_id, trusting_sample())->manifest.created_at, 300);
  EXPECT_EQ(store.find(sample_id, TrustStore())->manifest.created_at, 400);
  EXPECT_EQ(store.find(sample_id, TrustStore(), made_at(100).manifest.signer.value())->manifest.created_at, 300);
}

TEST(Store, KeepsAttestations) {
  const TestFolder folder;
  Store store(folder.path());
  FixedEntropy entropy(1);
  ModuleFile module = sample_module();
  module.attestations = JsonList{attest(module, "good", stranger(), entropy).value()};
  ASSERT_TRUE(store.put(module));
  EXPECT_EQ(store.get(sample_id, trusting_sample())->attestations, module.attestations);
}

TEST(Store, RefusesABadModule) {
  const TestFolder folder;
  Store store(folder.path());
  ModuleFile module = sample_module();
  module.manifest.created_at += 1;
  EXPECT_EQ(store.put(module).error().code, ErrorCode::mismatch);
  EXPECT_TRUE(store.list()->empty());
}

TEST(Store, ADamagedFileIsFoundAndAGoodPutHealsIt) {
  const TestFolder folder;
  Store store(folder.path());
  ASSERT_TRUE(store.put(sample_module()));
  const std::string path = folder.path(std::string("artifacts/") + sample_compiled_id + ".json");
  std::string text = read_file(path).value();
  text.replace(text.find("chess"), 5, "Chess");
  ASSERT_TRUE(write_file(path, text));
  const auto found = store.get(sample_id, trusting_sample());
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::mismatch);
  ASSERT_TRUE(store.put(sample_module()));
  EXPECT_TRUE(store.get(sample_id, trusting_sample()));
}

TEST(Store, ADamagedManifestDoesNotHideAnother) {
  const TestFolder folder;
  Store store(folder.path());
  ASSERT_TRUE(store.put(made_at(100)));
  const std::string newer = store.put(made_at(200)).value();
  ASSERT_TRUE(write_file(folder.path("manifests/" + newer + ".json"), "{"));
  ASSERT_TRUE(write_file(folder.path("manifests/stray.json"), "{}"));
  EXPECT_EQ(store.get(sample_id, trusting_sample())->manifest.created_at, 100);
}

TEST(Store, MissingThingsAreUnavailable) {
  const TestFolder folder;
  const Store store(folder.path("none"));
  EXPECT_EQ(store.get(sample_id, TrustStore()).error().code, ErrorCode::unavailable);
  EXPECT_EQ(store.ref("x").error().code, ErrorCode::unavailable);
  EXPECT_TRUE(store.list()->empty());
  EXPECT_TRUE(store.refs()->empty());
}

TEST(Store, RefsPointToIdsAndResolve) {
  const TestFolder folder;
  Store store(folder.path());
  ASSERT_TRUE(store.set_ref("triage/prod", sample_id));
  ASSERT_TRUE(store.set_ref("latest", CompiledId()));
  ASSERT_TRUE(store.set_ref("latest", sample_id));
  EXPECT_EQ(store.ref("latest").value(), sample_id);
  EXPECT_EQ(store.refs().value(), (std::vector<std::string>{"latest", "triage/prod"}));
  EXPECT_EQ(store.resolve("triage/prod").value(), sample_id);
  EXPECT_THAT(store.set_ref("triage", sample_id).error().text(), testing::HasSubstr("there are refs below"));
  EXPECT_EQ(store.resolve(std::string("sha256:") + sample_compiled_id).value(), sample_id);
  for (const char* bad : {"", "../x", "/x", "a/../b", "a//b", "x y"}) {
    EXPECT_EQ(store.set_ref(bad, sample_id).error().code, ErrorCode::usage) << bad;
    EXPECT_EQ(store.ref(bad).error().code, ErrorCode::usage) << bad;
  }
}

// --- gc ---

constexpr std::int64_t hour = 3600;

std::int64_t now() { return system_clock().unix_ns() / 1'000'000'000; }

ModuleFile other_program(const std::optional<std::string>& parent = {}) {
  ZeroEntropy zeros;
  Json artifact = sample_artifact().json();
  artifact.as_object().find("program")->set("version", parent ? "3" : "2");
  CompiledModuleManifest manifest = sample_manifest();
  manifest.provenance.parent = parent;
  return seal_module(Artifact::read(artifact).value(), manifest, sample_key(), zeros).value();
}

TEST(StoreGarbage, IsWhatNoRefRecordOrLineageNames) {
  const TestFolder folder;
  Store store(folder.path());
  ASSERT_TRUE(store.put(sample_module()));
  ASSERT_TRUE(store.put(other_program()));
  const ModuleFile child = other_program(std::string(sample_compiled_id));
  ASSERT_TRUE(store.put(child));
  const Garbage all = store.garbage({}, now() + 2 * hour).value();
  EXPECT_EQ(all.ids.size(), 3U);
  EXPECT_EQ(all.files.size(), 6U);
  EXPECT_GT(all.bytes, 1000);

  ASSERT_TRUE(store.set_ref("triage/prod", CompiledId::parse(child.id()).value()));  // and so its parent, the sample
  const Garbage rest = store.garbage({}, now() + 2 * hour).value();
  EXPECT_EQ(rest.ids, std::vector<std::string>{other_program().id()});
  EXPECT_TRUE(store.garbage({other_program().id()}, now() + 2 * hour)->files.empty());  // a record names it

  ASSERT_TRUE(store.remove(rest));
  EXPECT_EQ(store.list()->size(), 2U);
  EXPECT_TRUE(store.get(sample_id, trusting_sample()));
  ASSERT_TRUE(store.remove_ref("triage/prod"));
  EXPECT_FALSE(store.ref("triage/prod"));
  EXPECT_TRUE(store.set_ref("triage", sample_id));  // the folder's name is free again
  EXPECT_THAT(store.set_ref("triage/prod", sample_id).error().text(), testing::HasSubstr("assay store unref triage"));
  EXPECT_TRUE(store.remove_ref("triage"));
  EXPECT_EQ(store.garbage({}, now() + 2 * hour)->ids.size(), 2U);
}

TEST(StoreGarbage, LeavesYoungFilesAlone) {
  const TestFolder folder;
  Store store(folder.path());
  ASSERT_TRUE(store.put(sample_module()));
  EXPECT_TRUE(store.garbage({}, now())->files.empty());
  EXPECT_EQ(store.garbage({}, now() + 1, 0)->files.size(), 2U);
}

TEST(Store, AFullDiskLeavesNothingHalfWritten) {
  const TestFolder folder;
  const ModuleFile module = made_at(1790000000);
  const pid_t child = ::fork();
  if (child == 0) {  // a process whose files may have no more than 100 bytes, as on a disk with no more room
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit most{.rlim_cur = 100, .rlim_max = 100};
    const bool limited = ::setrlimit(RLIMIT_FSIZE, &most) == 0;
    const auto put = Store(folder.path("store")).put(module);
    ::_exit(limited && !put && put.error().code == ErrorCode::io ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the put did not fail as a full disk makes it fail";
  std::size_t files = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder.path("store"))) {
    if (file.is_regular_file() && file.file_size() > 0) ++files;
  }
  EXPECT_EQ(files, 0u);
  Store store(folder.path("store"));
  EXPECT_TRUE(store.list()->empty());
  ASSERT_TRUE(store.put(module));  // when there is room again
  EXPECT_EQ(store.list()->size(), 1u);
}

TEST(StoreGarbage, TakesWhatAKilledWriterLeftBehind) {
  const TestFolder folder;
  Store store(folder.path());
  ASSERT_TRUE(store.put(sample_module()));
  ASSERT_TRUE(store.set_ref("a", sample_id));
  const std::string left = fmt::format("artifacts/{}.json.4711.Ab3xYz", std::string(64, 'a'));
  ASSERT_TRUE(write_file(folder.path(left), "half"));
  EXPECT_TRUE(store.garbage({}, now())->files.empty());  // it may be another writer's, at work
  EXPECT_EQ(store.garbage({}, now() + 2 * hour)->files, std::vector<std::string>{left});
}

TEST(StoreGarbage, ASweepHasTheStoreAlone) {
  const TestFolder folder;
  Store store(folder.path("store"));
  {
    const Fd sweeping = store.lock(true).value();
    const Fd other(::open(folder.path("store/lock").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_NE(::flock(other.get(), LOCK_SH | LOCK_NB), 0);  // what `put` takes
  }
  EXPECT_TRUE(store.put(made_at(1790000000)));
}

TEST(StoreGarbage, WhatIsPutAgainIsYoungAgain) {
  const TestFolder folder;
  Store store(folder.path("store"));
  const ModuleFile module = made_at(1790000000);
  ASSERT_TRUE(store.put(module));
  const std::string path = folder.path("store/artifacts/" + module.id() + ".json");
  const timespec old[2] = {{.tv_sec = 1000, .tv_nsec = 0}, {.tv_sec = 1000, .tv_nsec = 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), old, 0), 0);
  ASSERT_TRUE(store.put(module));
  EXPECT_TRUE(store.garbage({}, 4600 + 1000).value().ids.empty());
}

}  // namespace
}  // namespace assay
