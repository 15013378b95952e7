#include "assay/base/json_line.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

constexpr std::string_view text = R"({
  "format": "x/1",
  "prices": [
    {"a": 1},
    {"a/b": "}]\"",
     "c": [true,
           null, -1.5e3]}
  ]
}
)";

TEST(JsonPlace, IsTheLineOfTheValue) {
  EXPECT_EQ(line_of_place(text, ""), 1u);
  EXPECT_EQ(line_of_place(text, "/format"), 2u);
  EXPECT_EQ(line_of_place(text, "/prices/0/a"), 4u);
  EXPECT_EQ(line_of_place(text, "/prices/1"), 5u);
  EXPECT_EQ(line_of_place(text, "/prices/1/a~1b"), 5u);
  EXPECT_EQ(line_of_place(text, "/prices/1/c/0"), 6u);
  EXPECT_EQ(line_of_place(text, "/prices/1/c/2"), 7u);
}

TEST(JsonPlace, IsTheContainerOfWhatIsMissing) {
  EXPECT_EQ(line_of_place(text, "/prices/0/model"), 4u);
  EXPECT_EQ(line_of_place(text, "/prices/9"), 3u);
  EXPECT_EQ(line_of_place(text, "/format/deeper"), 2u);
}

TEST(JsonPlace, EndsOnTextThatIsNoJson) {
  for (const std::string_view broken : {"", "{", "[1,", "{\"a\"", "{\"a\":", "\"", "[[[[", "}", "{\"a\\"}) {
    EXPECT_EQ(line_of_place(broken, "/a/0/b"), 1u) << broken;
  }
}

}  // namespace
}  // namespace assay
