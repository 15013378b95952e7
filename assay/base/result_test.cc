#include "assay/base/result.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

Result<int> half(int x) {
  if (x % 2 != 0) return fail(ErrorCode::malformed, "odd", "add one", "x");
  return x / 2;
}
Result<int> quarter(int x) {
  ASSAY_TRY(const int first, half(x));
  return half(first);
}
Result<void> check_half(int x) {
  ASSAY_CHECK(half(x));
  return {};
}

TEST(Result, TryPassesTheErrorOn) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().message, "odd");
  EXPECT_EQ(check_half(3).error().path, "x");
  EXPECT_TRUE(check_half(4));
}

TEST(Result, PathsGrowFromInsideOut) {
  EXPECT_EQ((Error{ErrorCode::io, "m", "demos[3]", ""}).in("classify").in("predictors").path, "predictors.classify.demos[3]");
  EXPECT_EQ((Error{ErrorCode::io, "m", "[3]", ""}).in("demos").path, "demos[3]");
  EXPECT_EQ((Error{ErrorCode::io, "m", ":12:7", ""}).in("relay.jsonl").path, "relay.jsonl:12:7");
  EXPECT_EQ((Error{ErrorCode::io, "m", "", ""}).in("file").path, "file");
  EXPECT_EQ((Error{ErrorCode::io, "m", "a/b.json", ""}).in("a/b.json").path, "a/b.json");
  EXPECT_EQ((Error{ErrorCode::io, "m", "b.json:3", ""}).in("b.json").path, "b.json:3");
  EXPECT_EQ((Error{ErrorCode::io, "m", "budget.msats", ""}).in("--budget").path, "--budget.msats");
  EXPECT_EQ((Error{ErrorCode::io, "m", "in.in", ""}).in("in").path, "in.in.in");
  EXPECT_EQ((Error{ErrorCode::io, "m", "other/x.json", ""}).in("one.run.jsonl").path, "one.run.jsonl: other/x.json");
}

TEST(Result, ALongPlaceKeepsBothEnds) {
  EXPECT_EQ(short_place("a/b"), "a/b");
  std::string place = "begin";
  while (place.size() < 3000) place += "é";
  const std::string shown = short_place(place + "end");
  EXPECT_TRUE(shown.starts_with("beginéé") && shown.ends_with("ééend")) << shown;
  EXPECT_NE(shown.find("é…é"), std::string::npos);
  EXPECT_LE(shown.size(), 1024U);
  Error error{ErrorCode::io, "m", "x", ""};
  for (int i = 0; i < 1000; ++i) error = std::move(error).in("layer");
  EXPECT_LE(error.path.size(), 1100U);
}

TEST(Result, TextHasMessagePlaceAndRemedy) {
  EXPECT_EQ((Error{ErrorCode::over_budget, "too dear", "calls", "raise it"}).text(),
            "too dear (over_budget)\n  at   calls\n  try  raise it");
  EXPECT_EQ((Error{ErrorCode::internal, "oh", "", ""}).text(), "oh (internal)");
}

TEST(Result, CodesHaveTheDocumentedExits) {
  const std::pair<ErrorCode, int> rows[] = {{ErrorCode::malformed, 1},   {ErrorCode::limit_exceeded, 1}, {ErrorCode::mismatch, 3},
                                            {ErrorCode::diverged, 4},    {ErrorCode::over_budget, 5},    {ErrorCode::refused, 6},
                                            {ErrorCode::unavailable, 7}, {ErrorCode::timed_out, 7},      {ErrorCode::cancelled, 130},
                                            {ErrorCode::io, 1},          {ErrorCode::usage, 2},          {ErrorCode::unreadable, 1},
                                            {ErrorCode::internal, 1}};
  for (const auto& [code, exit] : rows) EXPECT_EQ(exit_code(code), exit) << name(code);
  EXPECT_EQ(name(ErrorCode::unreadable), "unreadable");
  EXPECT_EQ(name(ErrorCode::malformed), "malformed");
}

}  // namespace
}  // namespace assay
