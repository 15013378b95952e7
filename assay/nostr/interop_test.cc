// nostr-tools (another implementation) reads what we publish, and we read what it publishes. Needs `npm ci` in interop/nostr.
#include <array>
#include <cstdio>
#include <filesystem>

#include <gtest/gtest.h>

#include "assay/nostr/relay.h"
#include "assay/nostr/relay_client.h"

namespace assay {
namespace {

using namespace std::chrono_literals;

std::string output_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string out;
  std::array<char, 4096> part{};
  while (pipe != nullptr && std::fgets(part.data(), part.size(), pipe) != nullptr) out += part.data();
  if (pipe != nullptr) ::pclose(pipe);
  return out;
}

TEST(NostrInterop, NostrToolsAndAssayReadEachOther) {
  const std::string script = std::string(ASSAY_SOURCE_DIR) + "/interop/nostr/check.mjs";
  if (!std::filesystem::exists(std::string(ASSAY_SOURCE_DIR) + "/interop/nostr/node_modules") ||
      output_of("node --version 2>/dev/null").empty()) {
    GTEST_SKIP() << "node or nostr-tools is not installed: npm ci --ignore-scripts in interop/nostr";
  }
  const std::string folder = std::filesystem::temp_directory_path() / ("assay-interop-test-" + system_entropy().hex_bytes(8));
  const Wait wait{Deadline::after(system_clock(), 30s), {}};
  {
    const auto relay = Relay::start({.port = 0, .data_folder = folder}, system_clock()).value();
    const auto client = RelayClient::connect(relay->url(), wait, system_clock()).value();
    const auto key = SecretKey::generate(system_entropy()).value();
    const std::int64_t now = system_clock().unix_ns() / 1'000'000'000;
    const auto request = sign_event({now, 5050, {{"p", key.public_hex()}, {"t", "Grüße / <&> \xE2\x80\xA8"}}, "line\n\"quote\" \\ \t 😀"},
                                    key, system_entropy())
                             .value();
    const auto result = sign_event({now, 6050, {{"e", request->id}, {"p", key.public_hex()}}, "done"}, key, system_entropy()).value();
    ASSERT_TRUE(client->publish_all({request, result}, wait).has_value());
    const std::string out = output_of("node '" + script + "' " + relay->url() + " --author " + key.public_hex() + " 2>&1");
    const auto json = read_json(out);
    ASSERT_TRUE(json.has_value()) << out;
    ASSERT_EQ(json->at("ok"), Json(true)) << out;
    EXPECT_EQ(json->at("read").as_int(), 2);
    const auto theirs = client->fetch({{.ids = {{json->at("published").as_string()}}}}, wait);
    ASSERT_TRUE(theirs.has_value()) << theirs.error().text();
    ASSERT_EQ(theirs->size(), 1U);
    EXPECT_EQ(theirs->at(0)->pubkey, json->at("author").as_string());
    EXPECT_NE(theirs->at(0)->content.find("nostr-tools"), std::string::npos);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace assay
