#include "assay/base/secret_text.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

TEST(SecretText, TakesATextOverAndLeavesNothingBehind) {
  std::string small = "pass word", large(100, 'x');
  const SecretText a(std::move(small));
  const SecretText b(std::move(large));
  EXPECT_EQ(a.view(), "pass word");
  EXPECT_EQ(b.view(), std::string(100, 'x'));
  EXPECT_EQ(small, "");  // NOLINT(bugprone-use-after-move): that nothing is left there is what is tested
  EXPECT_EQ(small.data()[1], 0);
}

TEST(SecretText, MovesAndWipesWhatItMovedFrom) {
  SecretText from(std::string("abc"));
  const SecretText to(std::move(from));
  EXPECT_EQ(to.view(), "abc");
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move)
}

TEST(SecretText, IsTypedByteByByteUpToItsLimit) {
  SecretText text;
  EXPECT_TRUE(text.push('a'));
  EXPECT_TRUE(text.push('b'));
  text.pop();
  EXPECT_EQ(text.view(), "a");
  for (std::size_t i = 1; i < SecretText::bytes_max; ++i) ASSERT_TRUE(text.push('c'));
  EXPECT_FALSE(text.push('d'));
}

TEST(SecretText, LosesOneLineEndAndNoMore) {
  SecretText text(std::string("two\n\r\n"));
  text.chomp();
  EXPECT_EQ(text.view(), "two\n");
}

}  // namespace
}  // namespace assay
