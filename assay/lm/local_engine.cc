#include "assay/lm/local_engine.h"

#include <link.h>
#include <sched.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <vector>

#include <fmt/format.h>

#include "assay/base/sha256.h"

namespace assay::local {
namespace {

/// libllama's registry of back ends and its log are process-wide; this is the one place that holds them.
struct Engine {
  std::mutex lock;
  std::string folder;    // what was loaded; empty before the first start
  std::string identity;
  std::string error;     // last error line of the log

  static Engine& get() {
    static Engine engine;
    return engine;
  }
};

void keep_errors(ggml_log_level level, const char* text, void*) {
  if (level != GGML_LOG_LEVEL_ERROR || text == nullptr) return;
  Engine& engine = Engine::get();
  const std::scoped_lock guard(engine.lock);
  engine.error.assign(text, std::min<std::size_t>(std::char_traits<char>::length(text), 500));
  while (!engine.error.empty() && engine.error.back() == '\n') engine.error.pop_back();
}

int add_library(dl_phdr_info* info, std::size_t, void* into) {
  const std::string path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
  const std::string name = std::filesystem::path(path).filename();
  if (name.starts_with("libllama") || name.starts_with("libggml")) static_cast<std::vector<std::string>*>(into)->push_back(path);
  return 0;
}

/// Version, CPU variant and digest of the libraries that are mapped now.
Result<std::string> identity() {
  std::vector<std::string> paths;
  dl_iterate_phdr(add_library, &paths);
  std::sort(paths.begin(), paths.end(),
            [](const auto& a, const auto& b) { return std::filesystem::path(a).filename() < std::filesystem::path(b).filename(); });
  std::string variant;
  std::string digests;
  constexpr std::string_view cpu = "libggml-cpu-";
  for (const auto& path : paths) {
    const std::string name = std::filesystem::path(path).filename();
    if (name.starts_with(cpu)) variant = name.substr(cpu.size(), name.find(".so") - cpu.size());
    ASSAY_TRY(const std::string digest, sha256_file(path));
    digests += name + " " + digest + "\n";
  }
  if (variant.empty()) {
    return fail(ErrorCode::unavailable, "no CPU variant of ggml was loaded",
                "run scripts/fetch-llama again; the folder must hold libggml-cpu-*.so");
  }
  return fmt::format("libllama {} sha256 {} cpu {}", llama_version(), sha256_hex(digests).substr(0, 16), variant);
}

}  // namespace

Result<std::string> start_engine(const std::string& folder) {
  static std::mutex starting;  // not Engine::lock: loading logs
  const std::scoped_lock once(starting);
  Engine& engine = Engine::get();
  if (!engine.folder.empty()) {
    if (engine.folder != folder) {
      return fail(ErrorCode::usage,
                  fmt::format("the process already uses the libraries in {}, and {} was asked for", engine.folder, folder),
                  "use one folder of libraries in one process");
    }
    return engine.identity;
  }
  llama_log_set(keep_errors, nullptr);
  ggml_backend_load_all_from_path(folder.c_str());
  llama_backend_init();
  ASSAY_TRY(engine.identity, identity());
  engine.folder = folder;
  return engine.identity;
}

std::string take_engine_error() {
  Engine& engine = Engine::get();
  const std::scoped_lock guard(engine.lock);
  return std::exchange(engine.error, {});
}

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

int free_processors() {
  // /proc/loadavg: "0.20 0.18 0.12 RUNNING/ALL LAST"; this thread is one of those that run.
  std::ifstream file("/proc/loadavg");
  double minutes = 0;
  int running = 0;
  file >> minutes >> minutes >> minutes >> running;
  if (!file) return 1;
  return std::max(1, usable_processors() - std::max(0, running - 1));
}

int Crew::threads() const {
  if (most_ <= 1 || busy_ > 1) return 1;
  // ggml's threads spin at each of its hundreds of barriers a batch: one that has to wait for a processor stops all of them.
  return std::min(most_, free_processors());
}

}  // namespace assay::local
