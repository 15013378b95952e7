// Files that another program may have left or altered: a cached answer, a ref and a module of the store, a budget ledger, a key file.
// Nothing crashes, and a damaged file never counts as a good one. Slower than the others: each input becomes a file.
//
//   ./x fuzz files
#include <filesystem>
#include <fstream>

#include "assay/contract/key_file.h"
#include "assay/contract/store.h"
#include "assay/lm/response_cache.h"
#include "assay/trace/budget_ledger.h"
#include "assay/trace/record.h"
#include "fuzz/must.h"

namespace {

using namespace assay;
namespace fs = std::filesystem;

const std::string& folder() {
  static const std::string value = fuzz_folder("files");
  return value;
}

void put(const std::string& path, std::string_view text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}

// The hash is right, whatever the response says: so the reader behind it is reached.
std::string sealed(std::string_view text, const std::string& key) {
  const auto body = read_json(text);
  const auto body_hash = body ? hash(*body) : Result<std::string>(std::unexpected(body.error()));
  if (!body_hash) return std::string(text);
  return canonical(JsonObject{{"format", "assay.response/1"}, {"key", key}, {"hash", *body_hash}, {"response", *body}})
      .value_or(std::string(text));
}

void read_cached(std::string_view text, bool seal) {
  const std::string key(64, 'a');
  put(folder() + "/cache/aa/" + key + ".json", seal ? sealed(text, key) : std::string(text));
  ResponseCache cache(folder() + "/cache");
  const LmResponse fresh{"fresh", "stop", {}};
  const auto found = cache.get_or_compute(key, {}, system_clock(), [&]() -> Result<LmResponse> { return fresh; });
  must(found.has_value(), "a damaged file is asked for again");
  must(found->hit || found->response.content == "fresh", "what is no hit was computed");
  must(found->response.usage.prompt_tokens >= 0 && found->response.usage.completion_tokens >= 0, "tokens are counts");
}

void read_ref(std::string_view text) {
  put(folder() + "/store/refs/name", text);
  const Store store(folder() + "/store");
  if (const auto id = store.ref("name")) must(store.resolve("name").has_value(), "a ref that is read resolves");
  (void)store.refs();
  (void)store.resolve(text.substr(0, 200));
  (void)store.garbage({}, 2'000'000'000, 0);
}

void read_ledger(std::string_view text) {
  const std::string path = folder() + "/team.ledger";
  for (const char* more : {"", "-journal", "-wal", "-shm"}) fs::remove(path + more);
  put(path, text);
  FixedEntropy entropy(1);
  const auto ledger = BudgetLedger::open(path, {.calls = 10, .tokens = {}, .msats = {}, .seconds = {}}, entropy);
  if (!ledger) return;
  if (auto reserved = (*ledger)->reserve({.calls = 1, .tokens = 0, .msats = 0})) reserved->settle({.calls = 1, .tokens = 0, .msats = 0});
  (void)(*ledger)->state();
}

void read_key(std::string_view text) {
  const std::string path = folder() + "/keys/k.key";
  put(path, text);
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  if (const auto key = load_key(folder() + "/keys", "k")) must(key->public_hex().size() == 64, "a key has a public key");
  (void)list_keys(folder() + "/keys");
}

void resume(std::string_view text) {
  const std::string path = folder() + "/a.run.jsonl";
  put(path, text);
  ManualClock clock;
  FixedEntropy entropy(2);
  const auto recorder = RunRecorder::resume({.path = path}, "fuzz", clock, entropy);
  if (!recorder) return;
  must((*recorder)->finish(std::nullopt).has_value(), "a record that was resumed is finished");
  must(read_record_file(path).has_value(), "and is intact");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = text_of(data + 1, size - 1);
  switch (data[0] % 6) {
    case 0: read_cached(text, true); break;
    case 1: read_cached(text, false); break;
    case 2: read_ref(text); break;
    case 3: read_ledger(text); break;
    case 4: read_key(text); break;
    default: resume(text);
  }
  return 0;
}
