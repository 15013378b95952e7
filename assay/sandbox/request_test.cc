#include "assay/sandbox/request.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/sandbox/artifacts.h"
#include "assay/sandbox/receipt.h"
#include "assay/sandbox/sandbox.h"

namespace assay {
namespace {

constexpr const char* small_request = R"({"sandbox":{"provider":"native","image_digest":"native"},"commands":[{"cmd":"echo hi"}]})";

SandboxRunRequest request_of(std::string_view text) { return read_sandbox_request(read_json(text).value()).value(); }

TEST(SandboxRequest, WritesEveryDefault) {
  EXPECT_EQ(
      canonical(to_json(request_of(R"({"sandbox":{"image_digest":"sha256:abc123"},"commands":[{"cmd":"echo hello"}]})"))).value(),
      R"({"commands":[{"cmd":"echo hello","continue_on_fail":false}],"repo":{"mount_path":"/workspace","source":""},)"
      R"("sandbox":{"image_digest":"sha256:abc123","network_policy":"none","provider":"docker","resources":{"cpus":1,"memory_mb":512,"timeout_secs":60}},)"
      R"("verification":{"adjudication":"none","mode":"objective","redundancy":1}})");
}

TEST(SandboxRequest, KeepsAllFieldsAndUnknownOnes) {
  const std::string text =
      R"({"commands":[{"cmd":"make","continue_on_fail":true,"shell":"bash","workdir":"/workspace/a"}],"env":{"A":"1"},"later":[1],)"
      R"("repo":{"depth":1,"git_ref":"main","mount_path":"/src","source":"https://example.org/r"},)"
      R"("sandbox":{"gpu":true,"image_digest":"d","network_policy":"full","provider":"p","resources":{"cpus":0.5,"disk_mb":9,"memory_mb":64,"swap":0,"timeout_secs":3}},)"
      R"("verification":{"adjudication":"judge_model","judge_model":"m","mode":"subjective","redundancy":2,"x":null}})";
  EXPECT_EQ(canonical(to_json(request_of(text))).value(), text);
}

TEST(SandboxRequest, DefaultsDoNotChangeTheJobHash) {
  const SandboxRunRequest read = request_of(small_request);
  EXPECT_EQ(job_hash(read).value(), hash(to_json(read)).value());
  EXPECT_EQ(job_hash(read).value(), job_hash(read_sandbox_request(to_json(read)).value()).value());
  SandboxRunRequest same;
  same.commands = {{.cmd = "echo hi"}};
  EXPECT_EQ(job_hash(read).value(), job_hash(same).value());
}

struct Broken {
  const char* text;
  const char* path;
};

TEST(SandboxRequest, NamesTheMemberThatIsWrong) {
  for (const Broken& broken :
       {Broken{R"([])", ""}, Broken{R"({})", "sandbox"}, Broken{R"({"sandbox":3})", "sandbox"},
        Broken{R"({"sandbox":{}})", "sandbox.image_digest"}, Broken{R"({"sandbox":{"image_digest":1}})", "sandbox.image_digest"},
        Broken{R"({"sandbox":{"image_digest":""}})", "commands"},
        Broken{R"({"sandbox":{"image_digest":"","network_policy":"some"}})", "sandbox.network_policy"},
        Broken{R"({"sandbox":{"image_digest":"","resources":{"cpus":0}}})", "sandbox.resources.cpus"},
        Broken{R"({"sandbox":{"image_digest":"","resources":{"memory_mb":-1}}})", "sandbox.resources.memory_mb"},
        Broken{R"({"sandbox":{"image_digest":"","resources":{"memory_mb":4294967296}}})", "sandbox.resources.memory_mb"},
        Broken{R"({"sandbox":{"image_digest":"","resources":{"timeout_secs":1.5}}})", "sandbox.resources.timeout_secs"},
        Broken{R"({"sandbox":{"image_digest":"","resources":{"disk_mb":"1"}}})", "sandbox.resources.disk_mb"},
        Broken{R"({"sandbox":{"image_digest":""},"repo":{}})", "repo.source"},
        Broken{R"({"sandbox":{"image_digest":""},"commands":[{"cmd":"a"},{}]})", "commands[1].cmd"},
        Broken{R"({"sandbox":{"image_digest":""},"commands":[{"cmd":"a","continue_on_fail":0}]})", "commands[0].continue_on_fail"},
        Broken{R"({"sandbox":{"image_digest":""},"commands":[],"env":{"A":1}})", "env.A"},
        Broken{R"({"sandbox":{"image_digest":""},"commands":[],"verification":{"mode":"x"}})", "verification.mode"},
        Broken{R"({"sandbox":{"image_digest":""},"commands":[],"verification":{"redundancy":256}})", "verification.redundancy"}}) {
    const auto read = read_sandbox_request(read_json(broken.text).value());
    ASSERT_FALSE(read) << broken.text;
    EXPECT_EQ(read.error().path, broken.path) << broken.text;
  }
}

struct Refused {
  void (*change)(SandboxRunRequest&);
  const char* message;
};

TEST(SandboxRequest, RefusesByNameWhatItCannotHonour) {
  const SandboxProfile profile = SandboxProfile::Small;
  SandboxRunRequest fine;
  fine.commands = {{.cmd = "true"}};
  EXPECT_TRUE(check_sandbox_request(fine, profile, {}));
  for (const Refused& refused : {
           Refused{[](auto& r) { r.provider = "docker"; }, "unsupported: provider=docker"},
           Refused{[](auto& r) { r.image_digest = "sha256:abc"; }, "unsupported: image_digest=sha256:abc"},
           Refused{[](auto& r) { r.network_policy = "full"; }, "unsupported: network_policy=full"},
           Refused{[](auto& r) { r.resources.memory_mb = 1025; }, "unsupported: memory_mb=1025"},
           Refused{[](auto& r) { r.resources.memory_mb = 15; }, "unsupported: memory_mb=15"},
           Refused{[](auto& r) { r.resources.cpus = 1.5; }, "unsupported: cpus=1.5"},
           Refused{[](auto& r) { r.resources.timeout_secs = 61; }, "unsupported: timeout_secs=61"},
           Refused{[](auto& r) { r.resources.disk_mb = 385; }, "unsupported: disk_mb=385"},
           Refused{[](auto& r) { r.repo.source = "https://example.org"; }, "unsupported: source=https://example.org"},
           Refused{[](auto& r) { r.repo.git_ref = "main"; }, "unsupported: git_ref=main"},
           Refused{[](auto& r) { r.repo.mount_path = "/usr/x"; }, "unsupported: mount_path=/usr/x"},
           Refused{[](auto& r) { r.repo.mount_path = "/a/../b"; }, "unsupported: mount_path=/a/../b"},
           Refused{[](auto& r) { r.repo.mount_path = "work"; }, "unsupported: mount_path=work"},
           Refused{[](auto& r) { r.commands[0].workdir = "/proc/self/fd/7"; }, "unsupported: workdir=/proc/self/fd/7"},
           Refused{[](auto& r) { r.commands[0].workdir = "../x"; }, "unsupported: workdir=/workspace/../x"},
           Refused{[](auto& r) { r.commands.clear(); }, "there is no command to run"},
           Refused{[](auto& r) { r.env = {{"LD_PRELOAD", "x"}}; }, "unsupported: env LD_PRELOAD"},
           Refused{[](auto& r) { r.env = {{"A=B", "x"}}; }, "not the name of an environment variable, or its value holds a zero byte"},
           Refused{[](auto& r) { r.verification.redundancy = 2; }, "unsupported: redundancy=2"},
           Refused{[](auto& r) { r.verification.mode = "subjective"; }, "unsupported: mode=subjective"},
           Refused{[](auto& r) { r.verification.adjudication = "merge"; }, "unsupported: adjudication=merge"},
           Refused{[](auto& r) { r.verification.judge_model = "m"; }, "unsupported: judge_model=m"},
           Refused{[](auto& r) { r.extra = {{"priority", 1}}; }, "unsupported: priority"},
           Refused{[](auto& r) { r.sandbox_extra = {{"user", "root"}}; }, "unsupported: user"},
           Refused{[](auto& r) { r.resources.extra = {{"gpus", 1}}; }, "unsupported: gpus"},
           Refused{[](auto& r) { r.repo.extra = {{"depth", 1}}; }, "unsupported: depth"},
           Refused{[](auto& r) { r.verification.extra = {{"judges", 3}}; }, "unsupported: judges"},
           Refused{[](auto& r) { r.commands[0].extra = {{"timeout_secs", 5}}; }, "unsupported: timeout_secs"},
       }) {
    SandboxRunRequest request = fine;
    refused.change(request);
    const auto checked = check_sandbox_request(request, profile, {});
    ASSERT_FALSE(checked) << refused.message;
    EXPECT_EQ(checked.error().message, refused.message);
    EXPECT_FALSE(checked.error().path.empty());
    EXPECT_EQ(exit_code(checked.error().code), 6);
  }
}

TEST(SandboxRequest, TakesEachLimitAtItsMaxAndRefusesOneMore) {
  SandboxRunRequest request;
  request.commands = {{.cmd = "true"}};
  request.resources = {.memory_mb = 1024, .cpus = 1, .timeout_secs = 60, .disk_mb = 768};
  EXPECT_TRUE(check_sandbox_request(request, SandboxProfile::Small, {}));
  SandboxLimits limits;
  request.commands.assign(limits.commands_max, {.cmd = std::string(limits.command_bytes_max, 'x')});
  EXPECT_TRUE(check_sandbox_request(request, SandboxProfile::Small, limits));
  request.commands[0].cmd += "x";
  EXPECT_EQ(check_sandbox_request(request, SandboxProfile::Small, limits).error().path, "commands[0].cmd");
  request.commands.assign(limits.commands_max + 1, {.cmd = "true"});
  EXPECT_EQ(check_sandbox_request(request, SandboxProfile::Small, limits).error().code, ErrorCode::limit_exceeded);
  request.commands = {{.cmd = "true"}};
  request.env = {{"A", std::string(limits.env_bytes_max - 3, 'x')}};
  EXPECT_TRUE(check_sandbox_request(request, SandboxProfile::Small, limits));
  request.env[0].second += "x";
  EXPECT_EQ(check_sandbox_request(request, SandboxProfile::Small, limits).error().code, ErrorCode::limit_exceeded);
}

TEST(SandboxProfiles, AreThePlans) {
  EXPECT_EQ(SandboxProfile::Small.vcpus, 1);
  EXPECT_EQ(SandboxProfile::Small.memory_mb, 1024);
  EXPECT_EQ(SandboxProfile::Medium.vcpus, 2);
  EXPECT_EQ(SandboxProfile::Medium.memory_mb, 4096);
  EXPECT_EQ(SandboxProfile::Large.vcpus, 4);
  EXPECT_EQ(SandboxProfile::Large.memory_mb, 8192);
  EXPECT_EQ(sandbox_profile("Large").value().wall_seconds, 300);
  EXPECT_FALSE(sandbox_profile("huge"));
}

// What the job printed, whatever bytes, comes back from JSON as it was.
RC_GTEST_PROP(SandboxResponse, SurvivesJson, (const std::string& out, int exit_code, bool truncated)) {
  SandboxRunResponse response;
  SandboxCommandRun run;
  run.cmd = "x";
  run.exit_code = exit_code & 0xff;
  run.verdict = run.exit_code == 0 ? SandboxVerdict::ok : SandboxVerdict::exit_nonzero;
  run.out = {sha256_hex(out), static_cast<std::int64_t>(out.size()) + (truncated ? 1 : 0), out, truncated};
  run.err = {sha256_hex(""), 0, "", false};
  response.runs.push_back(run);
  response.job_hash = sha256_hex(out);
  response.provenance = JsonObject();
  response.isolation.level = "full";
  const Json json = to_json(response);
  const auto read = read_sandbox_response(read_json(canonical(json).value()).value());
  RC_ASSERT(read.has_value());
  RC_ASSERT(to_json(*read) == json);
  RC_ASSERT(read->runs[0].out.stored == out);
}

TEST(SandboxResponse, RefusesAnOutputThatHasNotItsHash) {
  SandboxRunRequest request;
  request.commands = {{.cmd = "echo hi"}};
  const auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock());
  ASSERT_TRUE(response) << response.error().text();
  Json forged = to_json(*response);
  EXPECT_TRUE(read_sandbox_response(forged));
  JsonObject run = forged.at("runs").as_list()[0].as_object();
  run.set("stdout_preview", "ho\n");
  forged.set("runs", JsonList{run});
  const auto read = read_sandbox_response(forged);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::mismatch);
  EXPECT_EQ(read.error().path, "runs[0].stdout");
}

TEST(SandboxReceipt, BindsRequestAndResponse) {
  FixedEntropy entropy(1);
  const SecretKey key = SecretKey::generate(entropy).value();
  ManualClock clock;
  SandboxRunRequest request;
  request.commands = {{.cmd = "echo hi"}};
  auto response = run_sandboxed(request, SandboxProfile::Small, {}, Wait{}, system_clock()).value();
  const Json receipt = make_receipt(request, response, key, entropy, clock).value();
  EXPECT_TRUE(verify_receipt(receipt));
  EXPECT_TRUE(verify_receipt(receipt, request, response));
  EXPECT_EQ(receipt.at("signer").as_string(), key.public_hex());

  for (const auto& [key_name, value] : receipt.as_object()) {  // no member can be changed
    Json forged = receipt;
    forged.set(key_name, value.is_string() ? Json(std::string(value.as_string().size(), '0')) : Json("x"));
    EXPECT_FALSE(verify_receipt(forged)) << key_name;
  }
  SandboxRunResponse other = response;
  other.runs[0].exit_code = 1;
  EXPECT_EQ(verify_receipt(receipt, request, other).error().code, ErrorCode::mismatch);
  SandboxRunRequest another = request;
  another.commands[0].cmd = "echo ho";
  EXPECT_EQ(verify_receipt(receipt, another, response).error().code, ErrorCode::mismatch);
  EXPECT_FALSE(make_receipt(another, response, key, entropy, clock));
  // A receipt of another signer is intact, but not this one's.
  const SecretKey stranger = SecretKey::generate(entropy).value();
  EXPECT_NE(make_receipt(request, response, stranger, entropy, clock).value().at("signer").as_string(), key.public_hex());
}

TEST(SandboxArtifactName, IsPrintable) {
  EXPECT_EQ(percent_encoded("a b-ü.txt"), "a b-ü.txt");
  EXPECT_EQ(percent_encoded("a\nb%\x7f"), "a%0Ab%25%7F");
  EXPECT_EQ(percent_encoded("\xff"
                            "a"),
            "%FFa");
}

}  // namespace
}  // namespace assay
