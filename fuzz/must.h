#pragma once
// What every fuzzer needs: its input as text, and a way to say that something does not hold.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include <unistd.h>

inline void must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const char*>(data), size}; }

// A folder of this process, in memory where the machine has such.
inline std::string fuzz_folder(const char* name) {
  const char* const base = std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp";
  const std::string folder = std::string(base) + "/assay-fuzz-" + name + "-" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  static std::string made;  // of one fuzzer: removed when it ends
  made = folder;
  std::atexit([] { std::filesystem::remove_all(made); });
  return folder;
}
