#include "assay/lm/local_engine.h"

#include <dlfcn.h>
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

// Filled once, under `starting`, before any handle exists.
Llama& functions() {
  static Llama value;
  return value;
}

// The one library in `folder` whose name begins so. It stays open: ggml's threads and tables live as long as the process.
Result<void*> open_library(const std::string& folder, std::string_view prefix) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(prefix) && name.find(".so") != std::string::npos) found.push_back(entry.path());
  }
  if (found.empty())
    return fail(ErrorCode::unavailable, fmt::format("there is no {}*.so*", prefix), "run scripts/fetch-llama again", folder);
  std::sort(found.begin(), found.end());
  void* const library = ::dlopen(found.front().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library != nullptr) return library;
  const char* const why = ::dlerror();
  return fail(ErrorCode::unavailable, fmt::format("libllama cannot be loaded: {}", why == nullptr ? "no reason given" : why),
              "run scripts/fetch-llama again", found.front());
}

template <class Function>
Result<void> find_function(void* library, const char* name, Function& into) {
  into = reinterpret_cast<Function>(::dlsym(library, name));
  if (into != nullptr) return {};
  return fail(ErrorCode::unavailable, fmt::format("libllama has no function {}", name), "run scripts/fetch-llama again");
}

// What libllama offers, and where ggml looks for its CPU variants.
Result<void> open_llama(const std::string& folder) {
  ASSAY_TRY(void* const library, open_library(folder, "libllama."));
#define ASSAY_LLAMA_FIND(name) ASSAY_CHECK(find_function(library, "llama_" #name, functions().name));
  ASSAY_LLAMA_FUNCTIONS(ASSAY_LLAMA_FIND)
#undef ASSAY_LLAMA_FIND
  ASSAY_TRY(void* const ggml, open_library(folder, "libggml."));
  decltype(&::ggml_backend_load_all_from_path) load_all = nullptr;
  ASSAY_CHECK(find_function(ggml, "ggml_backend_load_all_from_path", load_all));
  functions().log_set(keep_errors, nullptr);
  load_all(folder.c_str());
  functions().backend_init();
  return {};
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
  return fmt::format("libllama {} sha256 {} cpu {}", llama().version(), sha256_hex(digests).substr(0, 16), variant);
}

}  // namespace

const Llama& llama() { return functions(); }

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
  ASSAY_CHECK(open_llama(folder));
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
