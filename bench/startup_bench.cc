// How long a user waits for the smallest commands: starting, loading the libraries, answering, ending. The program is the `assay` that was
// built beside this one; output goes to /dev/null. Goals: bench/goals.json.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

namespace {

std::string assay() { return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "assay"; }

// The exit code, or -1.
int run(const std::vector<std::string>& arguments) {
  const std::string program = assay();
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return -1;
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

void start_version(benchmark::State& state) {
  for (auto _ : state) {
    if (run({"--version"}) != 0) return state.SkipWithError("assay --version failed: is the program built?");
  }
}
BENCHMARK(start_version)->Unit(benchmark::kMillisecond)->UseRealTime();

void start_verify_module(benchmark::State& state) {
  const std::string module = std::string(ASSAY_SOURCE_DIR) + "/tests/golden/pipeline.module.json";
  for (auto _ : state) {
    if (run({"verify", module}) != 0) return state.SkipWithError("assay verify failed: is the program built?");
  }
}
BENCHMARK(start_verify_module)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
