#include "assay/base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "assay/base/test_files.h"

namespace assay {
namespace {

TEST(Files, WritesWholeAndReadsBack) {
  const TestFolder folder;
  const std::string bytes("a\0b\xFF\n", 5);
  ASSERT_TRUE(write_file(folder.path("f"), bytes));
  EXPECT_EQ(read_file(folder.path("f")).value(), bytes);
  ASSERT_TRUE(write_file(folder.path("f"), "new"));
  EXPECT_EQ(read_file(folder.path("f")).value(), "new");
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++files;
  EXPECT_EQ(files, 1u);  // no temporary is left
}

TEST(Files, SetsTheMode) {
  const TestFolder folder;
  ASSERT_TRUE(write_file(folder.path("secret"), "x", 0600));
  struct stat info{};
  ASSERT_EQ(::stat(folder.path("secret").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST(Files, RefusesMissingFoldersAndTooLargeFiles) {
  const TestFolder folder;
  EXPECT_EQ(read_file(folder.path("none")).error().code, ErrorCode::io);
  EXPECT_EQ(read_file(folder.path("none")).error().path, folder.path("none"));
  EXPECT_EQ(read_file(folder.path()).error().code, ErrorCode::io);
  ASSERT_TRUE(write_file(folder.path("f"), "12345"));
  EXPECT_TRUE(read_file(folder.path("f"), 5));
  EXPECT_EQ(read_file(folder.path("f"), 4).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(write_file(folder.path("no/such/f"), "x").error().code, ErrorCode::io);
}

TEST(Files, LimitHoldsForWhatHasNoSize) { EXPECT_EQ(read_file("/dev/zero", 100000).error().code, ErrorCode::limit_exceeded); }

TEST(Files, MakesFoldersAndMindsFilesInTheWay) {
  const TestFolder folder;
  EXPECT_TRUE(make_folders(folder.path("a/b/c")));
  EXPECT_TRUE(make_folders(folder.path("a/b/c")));
  ASSERT_TRUE(write_file(folder.path("a/file"), "x"));
  EXPECT_FALSE(make_folders(folder.path("a/file/d")));
  EXPECT_FALSE(make_folders(folder.path("a/file")));
}

TEST(Files, AreRefusedByTheirSizeBeforeTheyAreRead) {
  const TestFolder folder;
  const std::string path = folder.path("large");
  ASSERT_TRUE(write_file(path, "x"));
  ASSERT_EQ(::truncate(path.c_str(), off_t{1} << 40), 0);  // a terabyte of nothing: reading it would take an hour
  EXPECT_EQ(read_file(path).error().code, ErrorCode::limit_exceeded);
}

TEST(Files, NameTheLineThatIsTooLong) {
  const TestFolder folder;
  const std::string path = folder.path("lines");
  ASSERT_TRUE(write_file(path, "one\ntwo\n" + std::string(200000, 'x') + "\nfour\n"));
  EXPECT_EQ(read_file(path, 1 << 20, 100000).error().path, path + ":3");
  EXPECT_TRUE(read_file(path, 1 << 20, 200000));
  EXPECT_EQ(read_file(path, 1 << 20, 3).error().path, path + ":3");
}

TEST(Files, AFolderIsTriedByMakingAFileInIt) {
  const TestFolder folder;
  EXPECT_TRUE(check_writable_folder(folder.path("a/b")));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path("a/b")));
  EXPECT_EQ(check_writable_folder("/proc/self").error().code, ErrorCode::io);
}

}  // namespace
}  // namespace assay
