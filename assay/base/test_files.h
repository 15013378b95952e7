#pragma once
/// @file
/// For tests only: files of the source tree, files of the shared design folder when it is there, and a folder to write in.
///
///     if (const auto text = shared_text("design/examples/artifact_A.json")) …       // nullopt: not on this machine
///
/// The shared folder is $ASSAY_SHARED, or `shared` beside the source tree.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "assay/base/files.h"

namespace assay {

inline std::string source_text(const std::string& path) {
  const auto text = read_file(std::string(ASSAY_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(text) << path;
  return text.value_or("");
}

inline std::optional<std::string> shared_text(const std::string& path) {
  const char* set = std::getenv("ASSAY_SHARED");
  const std::string folder = set != nullptr ? set : std::string(ASSAY_SOURCE_DIR) + "/../shared";
  const auto text = read_file(folder + "/" + path);
  return text ? std::optional<std::string>(*text) : std::nullopt;
}

/// A folder that goes away with the object.
class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "assay-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no folder to write in";
    path_ = name;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace assay
