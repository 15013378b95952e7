#include "assay/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace assay {
namespace {

const RandomStream demo{.seed = 7, .phase = "search", .iteration = 0, .purpose = "demo"};

std::string block_hex(Random& random) { return hex(std::span<const std::uint8_t>(random.block())); }

TEST(Random, GivesTheWorkedBlocksAndShuffle) {
  Random random(demo);
  EXPECT_EQ(block_hex(random), "d3bc10ff16d9f2f8e9df4ee67b035f89eefd050253ea398bde319540bee99fde");
  EXPECT_EQ(block_hex(random), "7fd4c90cd02ed6cbd95d4837e9e4a0e927410757df86e7e6dcc2ebc5202fb4c2");
  EXPECT_EQ(block_hex(random), "75fad1865407f148662e1f391466736bc7bdb5ac006a223085b6ea3297c77d15");
  std::vector<int> items(10);
  std::iota(items.begin(), items.end(), 0);
  Random(demo).shuffle(items);
  EXPECT_EQ(items, (std::vector<int>{9, 8, 1, 7, 6, 3, 5, 0, 2, 4}));
}

TEST(Random, DrawsFromTheBlocksAsTheFormatSays) {
  EXPECT_EQ(Random(demo).word(), 0xd3bc10ff16d9f2f8u);
  EXPECT_EQ(Random(demo).unit(), static_cast<double>(0xd3bc10ff16d9f2f8u >> 11) * 0x1p-53);
  EXPECT_EQ(Random(demo).below(1000), 0xd3bc10ff16d9f2f8u % 1000);
  EXPECT_EQ(Random(demo).below(1), 0u);
}

TEST(Random, BelowDrawsAgainWhenTheWordIsInTheRest) {
  // n = 2^63 + 1 accepts only words below n: the first word is above, the second below.
  Random random(demo);
  EXPECT_EQ(random.below((std::uint64_t{1} << 63) + 1), 0x7fd4c90cd02ed6cbu);
}

TEST(Random, EveryPartOfTheStreamCounts) {
  const std::uint64_t first = Random(demo).word();
  for (const RandomStream& other :
       {RandomStream{8, "search", 0, "demo"}, RandomStream{7, "Search", 0, "demo"}, RandomStream{7, "search", 1, "demo"},
        RandomStream{7, "search", 0, "demos"}, RandomStream{7, "search\",0,\"demo", 0, ""}}) {
    EXPECT_NE(Random(other).word(), first);
  }
}

TEST(Random, PurposesAreEscapedAsJson) {
  const std::string text = "[\"assay.random/1\",1,\"a\\\"b\",2,\"ü\\n\",0]";
  EXPECT_EQ(Random({1, "a\"b", 2, "ü\n"}).block(), sha256(text));
}

TEST(Entropy, FixedRepeatsAndSystemDoesNot) {
  FixedEntropy a(3), b(3), c(4);
  const std::string first = a.hex_bytes(40);
  EXPECT_EQ(first, b.hex_bytes(40));
  EXPECT_NE(first, c.hex_bytes(40));
  EXPECT_EQ(first.size(), 80u);
  EXPECT_NE(system_entropy().bytes32(), system_entropy().bytes32());
}

}  // namespace
}  // namespace assay
