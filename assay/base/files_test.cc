#include "assay/base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>

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

TEST(Files, AreBelievedFromTheirOwnerOnly) {
  const TestFolder folder;
  const std::string path = folder.path("trust");
  ASSERT_TRUE(write_file(path, "x", 0600));
  EXPECT_TRUE(check_owner(path));
  ASSERT_EQ(::chmod(path.c_str(), 0602), 0);
  EXPECT_EQ(check_owner(path).error().code, ErrorCode::refused);
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  if (::chown(path.c_str(), 65534, 65534) == 0) {  // root alone can try
    EXPECT_EQ(check_owner(path).error().code, ErrorCode::refused);
  }
  EXPECT_FALSE(check_owner(folder.path("none")));
}

TEST(Files, AFolderServesOne) {
  const TestFolder folder;
  auto held = occupy_folder(folder.path("data"));
  ASSERT_TRUE(held) << held.error().text();
  EXPECT_EQ(occupy_folder(folder.path("data")).error().code, ErrorCode::unavailable);
  held->close();
  EXPECT_TRUE(occupy_folder(folder.path("data")));
}

// Without HOME it is the account's; others could put keys and trust into a folder that all may write.
TEST(Files, ConfigurationIsNeverFoundInAFolderOfAll) {
  std::map<std::string, std::string> before;
  for (const char* name : {"HOME", "XDG_CONFIG_HOME"}) {
    if (const char* value = std::getenv(name)) before[name] = value;
    ::unsetenv(name);
  }
  EXPECT_FALSE(config_folder().starts_with("/tmp")) << config_folder();
  EXPECT_TRUE(config_folder().ends_with("/.config/assay"));
  ::setenv("HOME", "here", 1);
  EXPECT_FALSE(config_folder().starts_with("/tmp")) << config_folder();
  EXPECT_TRUE(config_folder().starts_with("/"));
  ::unsetenv("HOME");
  for (const auto& [name, value] : before) ::setenv(name.c_str(), value.c_str(), 1);
}

}  // namespace
}  // namespace assay
