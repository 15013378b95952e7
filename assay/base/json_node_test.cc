// Canonical JSON against other implementations of it: the npm package canonicalize, and Node's way to print numbers (interop/canonicalize).
//
//   ASSAY_DOUBLES=100000000 assay_base_test --gtest_filter='JsonNode.Doubles*'        the long run; CI's is a sample
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include <gtest/gtest.h>

#include "assay/base/files.h"
#include "assay/base/json.h"
#include "assay/base/random.h"
#include "assay/base/sha256.h"

namespace assay {
namespace {

const std::string folder = std::string(ASSAY_SOURCE_DIR) + "/interop/canonicalize";

std::string output_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string out;
  std::array<char, 65536> part{};
  for (std::size_t count = 1; pipe != nullptr && count > 0;) {
    count = std::fread(part.data(), 1, part.size(), pipe);
    out.append(part.data(), count);
  }
  if (pipe != nullptr) ::pclose(pipe);
  return out;
}

// As in ./x test, which installs the package and puts node on the path.
bool there() { return std::filesystem::exists(folder + "/node_modules") && !output_of("node --version 2>/dev/null").empty(); }
constexpr const char* missing = "node or the package canonicalize is not installed: npm ci --ignore-scripts in interop/canonicalize";

// The sequence of numbers.mjs.
std::uint32_t mix(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bU;
  x = (x ^ (x >> 13)) * 0xc2b2ae35U;
  return x ^ (x >> 16);
}

double number(std::uint32_t i) {
  constexpr double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11};
  const std::uint32_t low = mix(2 * i), high = mix(2 * i + 1);
  if (i % 2 != 0) return (static_cast<double>(low % 20000001) - 10000000) / tens[high % 12];
  const std::uint64_t bits = low | static_cast<std::uint64_t>(high) << 32;
  double x = 0;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

constexpr std::uint32_t block = 65536;

std::string block_text(std::uint32_t first, std::uint32_t end) {
  std::string text;
  for (std::uint32_t i = first; i < end; ++i) {
    if (const double x = number(i); std::isfinite(x)) text += number_text(x) + '\n';
  }
  return text;
}

TEST(JsonNode, DoublesPrintAsNodePrintsThem) {
  if (!there()) GTEST_SKIP() << missing;
  const char* const wanted = std::getenv("ASSAY_DOUBLES");
  const auto count = static_cast<std::uint32_t>(wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 1'000'000);
  std::istringstream theirs(output_of("node '" + folder + "/numbers.mjs' " + std::to_string(count)));
  for (std::uint32_t b = 0; b * std::uint64_t{block} < count; ++b) {
    std::string hash;
    ASSERT_TRUE(std::getline(theirs, hash)) << "node printed fewer blocks than " << b + 1;
    const std::string ours = block_text(b * block, std::min(count, (b + 1) * block));
    if (sha256_hex(ours) == hash) continue;
    std::istringstream a(output_of("node '" + folder + "/numbers.mjs' " + std::to_string(count) + " " + std::to_string(b)));
    std::istringstream o(ours);
    for (std::string x, y; std::getline(a, x) && std::getline(o, y);) ASSERT_EQ(x, y) << "in block " << b;
    FAIL() << "block " << b << " has another hash, but the same numbers";
  }
}

TEST(JsonNode, CanonicalTextIsThatOfTheNpmPackage) {
  if (!there()) GTEST_SKIP() << missing;
  JsonList items;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    std::string text = "line " + std::to_string(i) + " \"quoted\" \\ / café 😀 \t\n\r\b\f\x01\x1f\x7f\xE2\x80\xA8";
    JsonObject item{{"", i}, {"z" + text, number(2 * i + 1)}, {"\xF0\x9F\x98\x80", true}, {"\xEF\xBF\xBD", nullptr}, {"é", text}};
    item.set(std::string(1, static_cast<char>('a' + i % 26)), JsonList{Json(number(2 * i + 1)), JsonObject{}, JsonList{}});
    items.push_back(std::move(item));
  }
  const std::string text = canonical(items).value();
  const std::string file = std::filesystem::temp_directory_path() / ("assay-node-" + system_entropy().hex_bytes(8) + ".json");
  ASSERT_TRUE(write_file(file, text).has_value());
  const std::string theirs = output_of("node '" + folder + "/peer.mjs' '" + file + "' --hash");
  std::filesystem::remove(file);
  EXPECT_EQ(theirs, sha256_hex(text) + "\n");
  EXPECT_EQ(canonical(read_json(text).value()).value(), text);
}

}  // namespace
}  // namespace assay
