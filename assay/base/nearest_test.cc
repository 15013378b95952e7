#include "assay/base/nearest.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

TEST(Nearest, FindsATypo) {
  EXPECT_EQ(nearest("compil", {"compile", "run", "replay"}), "compile");
  EXPECT_EQ(nearest("max_token", {"max_tokens", "temperature"}), "max_tokens");
}

TEST(Nearest, NamesNothingThatHasNothingInCommon) {
  EXPECT_EQ(nearest("x", {"run", "key"}), "");
  EXPECT_EQ(nearest("", {"run"}), "");
  EXPECT_EQ(nearest(std::string(1000, 'r'), {"run"}), "");
}

}  // namespace
}  // namespace assay
