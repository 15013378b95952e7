#include "assay/contract/store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/sha256.h"

namespace assay {
namespace {

namespace fs = std::filesystem;

// Names of the files NAME.json with 64 hex digits in a folder, ascending. A missing folder has none.
Result<std::vector<std::string>> hashes_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  if (!fs::exists(folder, error)) return out;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string stem = at->path().stem().string();
    if (at->path().extension() == ".json" && is_hex(stem, 64)) out.push_back(stem);
  }
  if (error) return fail(ErrorCode::io, fmt::format("the store cannot be read: {}", error.message()), "check permissions", folder);
  std::sort(out.begin(), out.end());
  return out;
}

// Files beside their place that a writer was killed over, before it could rename them (`write_file`).
Result<std::vector<std::string>> left_behind(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  if (!fs::exists(folder, error)) return out;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string file = at->path().filename().string();
    if (file.find(".json.") == 64 && is_hex(file.substr(0, 64), 64)) out.push_back(file);
  }
  if (error) return fail(ErrorCode::io, fmt::format("the store cannot be read: {}", error.message()), "check permissions", folder);
  std::sort(out.begin(), out.end());
  return out;
}

// A file whose name is its hash. What is there already is left alone: same name, same bytes.
Result<void> keep(const std::string& folder, const std::string& name, std::string_view text) {
  const std::string path = fmt::format("{}/{}.json", folder, name);
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    const auto there = sha256_file(path);
    // Young again, or a sweep might take it before a ref names it.
    if (there && *there == name && ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) == 0) return {};
  }
  ASSAY_CHECK(make_folders(folder));
  return write_file(path, text);
}

Result<std::string> fetch_text(const std::string& path, std::string_view name) {
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    return fail(ErrorCode::unavailable, "the store does not have it", "check the id; `assay store ls` lists what there is", path);
  ASSAY_TRY(std::string text, read_file(path));
  const std::string found = sha256_hex(text);
  if (found != name) {
    return fail(ErrorCode::mismatch, fmt::format("the file does not hold what its name says: want {}, found {}", name, found),
                "remove the file and put the module again", path);
  }
  return text;
}

struct StoredManifest {
  std::string hash;
  CompiledModuleManifest manifest;
};

// Newest first: by created_at, then by hash, so that the answer does not depend on the folder's order.
Result<std::vector<StoredManifest>> manifests_of(const std::string& folder, const std::string& id) {
  ASSAY_TRY(const std::vector<std::string> names, hashes_in(folder));
  std::vector<StoredManifest> out;
  for (const std::string& name : names) {
    const auto text = fetch_text(fmt::format("{}/{}.json", folder, name), name);
    const auto json = text ? read_json(*text) : Result<Json>(std::unexpected(text.error()));
    if (!json || json->at("compiled_id") != Json(id)) continue;  // a damaged neighbour does not hide this module
    if (auto manifest = read_manifest(*json)) out.push_back({name, *std::move(manifest)});  // nor does one that this build does not take
  }
  std::sort(out.begin(), out.end(), [](const StoredManifest& a, const StoredManifest& b) {
    return std::tie(a.manifest.created_at, a.hash) > std::tie(b.manifest.created_at, b.hash);
  });
  return out;
}

// Statements are no condition of anything: a file of them that is damaged is as none, and the next put writes it anew.
Json attestations_of(const std::string& folder, const std::string& manifest_hash) {
  const auto text = read_file(fmt::format("{}/{}.json", folder, manifest_hash));
  auto json = text ? read_json(*text) : Result<Json>();
  return json && json->is_list() ? *std::move(json) : Json();
}

// Nobody's statement goes because somebody put the module without it.
Json all_of(const Json& there, const Json& more) {
  JsonList out = there.is_list() ? there.as_list() : JsonList();
  for (const Json& one : more.as_list()) {
    if (std::find(out.begin(), out.end(), one) == out.end()) out.push_back(one);
  }
  return out;
}

Result<void> check_ref_name(std::string_view name) {
  if (is_path(name) && !name.ends_with(".lock")) return {};
  return fail(ErrorCode::usage, fmt::format("\"{}\" is no ref name", name),
              "use names joined by '/', like triage/prod, each of letters, digits, '_', '.' and '-', beginning with a letter or '_'");
}

// A ref is a file, so its name can be no folder of another's: with "triage/prod" there is none named "triage", nor the other way round.
Result<void> check_ref_free(const std::string& root, std::string_view name) {
  std::error_code ignored;
  if (fs::is_directory(fmt::format("{}/{}", root, name), ignored))
    return fail(ErrorCode::usage, fmt::format("there are refs below \"{0}\", such as {0}/…", name),
                "choose another name, or assay store unref them");
  for (std::size_t end = name.find('/'); end != std::string_view::npos; end = name.find('/', end + 1)) {
    if (fs::is_regular_file(fmt::format("{}/{}", root, name.substr(0, end)), ignored))
      return fail(ErrorCode::usage, fmt::format("\"{}\" is a ref itself: none can stand below it", name.substr(0, end)),
                  fmt::format("choose another name, or assay store unref {}", name.substr(0, end)));
  }
  return {};
}

Error no_such_ref(std::string_view name) {
  return {ErrorCode::unavailable, fmt::format("the store has no ref \"{}\"", name), "", "`assay store ls` lists them"};
}

}  // namespace

std::string default_store_folder() { return data_folder() + "/store"; }

Result<std::string> Store::put(const ModuleFile& module) {
  const ModuleVerdict verdict = verify_module(module);
  if (verdict.state == ModuleState::bad) return std::unexpected(check_runnable(verdict).error());
  ASSAY_TRY(const Json manifest, to_json(module.manifest));
  ASSAY_TRY(const std::string manifest_text, canonical(manifest));
  std::string manifest_hash = sha256_hex(manifest_text);
  const bool attested = module.attestations.is_list() && !module.attestations.as_list().empty();
  ASSAY_TRY(const Fd held, lock(attested));  // statements are added to those that are there
  // The artifact first: a manifest in the store always finds its artifact.
  ASSAY_CHECK(keep(folder_ + "/artifacts", module.id(), module.artifact.text()));
  if (attested) {
    const Json there = attestations_of(folder_ + "/attestations", manifest_hash);
    ASSAY_TRY(const std::string attestations, canonical(all_of(there, module.attestations)));
    ASSAY_CHECK(make_folders(folder_ + "/attestations"));
    ASSAY_CHECK(write_file(fmt::format("{}/attestations/{}.json", folder_, manifest_hash), attestations));
  }
  ASSAY_CHECK(keep(folder_ + "/manifests", manifest_hash, manifest_text));
  return manifest_hash;
}

Result<ModuleFile> Store::get(const CompiledId& id, const TrustStore& trust) const {
  ASSAY_TRY(ModuleFile module, find(id, trust));
  if (verify_module(module, trust).state == ModuleState::intact_trusted) return module;
  return fail(ErrorCode::refused, fmt::format("none of the manifests of {} is intact and of a trusted signer", id.hex()),
              fmt::format("assay trust add {} {}", module.manifest.signer.value_or("SIGNER"), module.artifact.program_name()));
}

Result<ModuleFile> Store::find(const CompiledId& id, const TrustStore& trust, std::string_view preferred_signer) const {
  const std::string name = id.hex();
  ASSAY_TRY(const std::string text, fetch_text(fmt::format("{}/artifacts/{}.json", folder_, name), name));
  ASSAY_TRY(const Artifact artifact, Artifact::parse(text));
  ASSAY_TRY(const std::vector<StoredManifest> all, manifests_of(folder_ + "/manifests", name));
  if (all.empty())
    return fail(ErrorCode::unavailable, fmt::format("the store has no manifest of {} that can be read", name), "put the module again");
  std::optional<ModuleFile> best;
  int best_rank = 0;  // trusted 4, preferred 3, intact 2, unsigned 1
  for (const StoredManifest& one : all) {
    ModuleFile module{artifact, one.manifest, attestations_of(folder_ + "/attestations", one.hash)};
    const ModuleVerdict verdict = verify_module(module, trust);
    const bool preferred = verdict.intact() && verdict.signer == preferred_signer;
    const int rank = verdict.state == ModuleState::intact_trusted ? 4
                     : preferred                                  ? 3
                     : verdict.intact()                           ? 2
                     : verdict.state == ModuleState::unsigned_    ? 1
                                                                  : 0;
    if (rank <= best_rank) continue;
    best = std::move(module);
    best_rank = rank;
  }
  if (best) return *std::move(best);
  return fail(ErrorCode::mismatch, fmt::format("none of the {} manifests of {} is intact", all.size(), name), "put the module again");
}

Result<std::vector<CompiledModuleManifest>> Store::manifests(const CompiledId& id) const {
  ASSAY_TRY(std::vector<StoredManifest> all, manifests_of(folder_ + "/manifests", id.hex()));
  std::vector<CompiledModuleManifest> out;
  for (StoredManifest& one : all) out.push_back(std::move(one.manifest));
  return out;
}

Result<std::vector<CompiledId>> Store::list() const {
  ASSAY_TRY(const std::vector<std::string> names, hashes_in(folder_ + "/artifacts"));
  std::vector<CompiledId> out;
  for (const std::string& name : names) {
    ASSAY_TRY(const CompiledId id, CompiledId::parse(name));
    out.push_back(id);
  }
  return out;
}

Result<void> Store::set_ref(std::string_view name, const CompiledId& id) {
  ASSAY_CHECK(check_ref_name(name));
  for (const char* ending : {".json", ".jsonl", ".toml"}) {
    if (name.ends_with(ending))
      return fail(ErrorCode::usage, fmt::format("\"{}\" would be taken for a file", name),
                  fmt::format("a name that does not end with {}", ending));
  }
  const std::string path = fmt::format("{}/refs/{}", folder_, name);
  // Written beside the refs: what a killed writer leaves must not look like one.
  const std::string fresh = fmt::format("{}/new-ref-{}", folder_, sha256_hex(name));
  ASSAY_TRY(const Fd held, lock(true));
  ASSAY_CHECK(check_ref_free(folder_ + "/refs", name));
  ASSAY_CHECK(make_folders(fs::path(path).parent_path().string()));
  ASSAY_CHECK(write_file(fresh, id.hex() + "\n"));
  std::error_code error;
  fs::rename(fresh, path, error);
  if (error) return fail(ErrorCode::io, fmt::format("the ref cannot be put in its place: {}", error.message()), "check permissions", path);
  return {};
}

Result<CompiledId> Store::ref(std::string_view name) const {
  ASSAY_CHECK(check_ref_name(name));
  const std::string path = fmt::format("{}/refs/{}", folder_, name);
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::unexpected(no_such_ref(name));
  ASSAY_TRY(std::string text, read_file(path, 4096));
  if (text.ends_with('\n')) text.pop_back();
  auto id = CompiledId::parse(text);
  if (!id) return fail(ErrorCode::malformed, "the ref holds no id: " + id.error().message, fmt::format("assay store unref {}", name), path);
  return id;
}

Result<std::vector<std::string>> Store::refs() const {
  std::vector<std::string> out;
  const std::string root = folder_ + "/refs";
  std::error_code error;
  if (!fs::exists(root, error)) return out;
  for (fs::recursive_directory_iterator at(root, error), end; !error && at != end; at.increment(error)) {
    if (at->is_regular_file(error)) out.push_back(fs::path(at->path()).lexically_relative(root).string());
  }
  if (error) return fail(ErrorCode::io, fmt::format("the refs cannot be read: {}", error.message()), "check permissions", root);
  std::erase_if(out, [](const std::string& name) { return !is_path(name); });
  std::sort(out.begin(), out.end());
  return out;
}

Result<void> Store::remove_ref(std::string_view name) {
  ASSAY_CHECK(check_ref_name(name));
  const std::string path = fmt::format("{}/refs/{}", folder_, name);
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::unexpected(no_such_ref(name));  // one that cannot be read goes too
  fs::remove(path, error);
  if (error)
    return fail(ErrorCode::io, fmt::format("the ref cannot be removed: {}", error.message()), "check permissions", std::string(name));
  // Its folders go with the last ref in them: their names are free again.
  for (fs::path above = fs::path(path).parent_path(); above != fs::path(folder_) / "refs" && fs::remove(above, error) && !error;)
    above = above.parent_path();
  return {};
}

namespace {

// Ids, all that their manifests descend from included.
Result<std::set<std::string>> with_lineage(const std::map<std::string, std::vector<std::string>>& parents,
                                           const std::set<std::string>& named) {
  std::set<std::string> reached;
  std::vector<std::string> open(named.begin(), named.end());
  while (!open.empty()) {  // ends: every id is entered once
    const std::string id = std::move(open.back());
    open.pop_back();
    if (!reached.insert(id).second) continue;
    if (const auto above = parents.find(id); above != parents.end()) open.insert(open.end(), above->second.begin(), above->second.end());
  }
  return reached;
}

class Sweep {
 public:
  Sweep(std::string folder, std::int64_t older_than) : folder_(std::move(folder)), older_than_(older_than) {}

  bool add(const std::string& file) {
    struct stat info{};
    if (::stat((folder_ + "/" + file).c_str(), &info) != 0 || info.st_mtim.tv_sec > older_than_) return false;
    out_.files.push_back(file);
    out_.bytes += info.st_size;
    return true;
  }
  Garbage out_;

 private:
  std::string folder_;
  std::int64_t older_than_;
};

}  // namespace

Result<Garbage> Store::garbage(const std::set<std::string>& also_named, std::int64_t now_unix_seconds, std::int64_t grace_seconds) const {
  std::set<std::string> named = also_named;
  ASSAY_TRY(const std::vector<std::string> names, refs());
  for (const std::string& name : names) {
    ASSAY_TRY(const CompiledId id, ref(name));  // a ref that cannot be read stops the sweep: better too much than too little
    named.insert(id.hex());
  }
  ASSAY_TRY(const std::vector<std::string> manifests, hashes_in(folder_ + "/manifests"));
  std::map<std::string, std::vector<std::string>> parents;
  std::map<std::string, std::string> id_of;  // manifest → artifact
  for (const std::string& hash : manifests) {
    ASSAY_TRY(const std::string text, read_file(fmt::format("{}/manifests/{}.json", folder_, hash)));
    const auto json = read_json(text);
    if (!json || !json->at("compiled_id").is_string()) continue;  // damaged: it names nothing, and is nobody's
    id_of[hash] = json->at("compiled_id").as_string();
    if (const Json& parent = json->at("provenance").at("parent"); parent.is_string()) parents[id_of[hash]].push_back(parent.as_string());
  }
  ASSAY_TRY(const std::set<std::string> kept, with_lineage(parents, named));
  Sweep sweep(folder_, now_unix_seconds - grace_seconds);
  std::set<std::string> young;  // artifacts that a manifest in its grace still needs
  for (const std::string& hash : manifests) {
    if (id_of.contains(hash) && kept.contains(id_of[hash])) continue;
    if (!sweep.add(fmt::format("manifests/{}.json", hash)) && id_of.contains(hash)) young.insert(id_of[hash]);
    else sweep.add(fmt::format("attestations/{}.json", hash));
  }
  ASSAY_TRY(const std::vector<std::string> artifacts, hashes_in(folder_ + "/artifacts"));
  for (const std::string& id : artifacts) {
    if (kept.contains(id) || young.contains(id)) continue;
    if (sweep.add(fmt::format("artifacts/{}.json", id))) sweep.out_.ids.push_back(id);
  }
  for (const char* part : {"artifacts", "manifests", "attestations"}) {
    ASSAY_TRY(const std::vector<std::string> left, left_behind(folder_ + "/" + part));
    for (const std::string& file : left) sweep.add(fmt::format("{}/{}", part, file));
  }
  std::error_code error;
  for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    if (const std::string file = at->path().filename().string(); file.starts_with("new-ref-")) sweep.add(file);
  }
  return std::move(sweep.out_);
}

Result<void> Store::remove(const Garbage& garbage) {
  for (const std::string& file : garbage.files) {
    std::error_code error;
    fs::remove(folder_ + "/" + file, error);
    if (error)
      return fail(ErrorCode::io, fmt::format("it cannot be removed: {}", error.message()), "check permissions", folder_ + "/" + file);
  }
  return {};
}

Result<void> Store::check_writable() {
  ASSAY_CHECK(check_writable_folder(folder_));
  ASSAY_TRY(const Fd held, lock(false));
  return {};
}

Result<Fd> Store::lock(bool alone) {
  ASSAY_CHECK(make_folders(folder_));
  const std::string path = folder_ + "/lock";
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!file.open()) {
    return fail(ErrorCode::io, fmt::format("the store cannot be written: {}", std::strerror(errno)), "check permissions and free space",
                folder_);
  }
  ASSAY_CHECK(lock_file(file, alone, path));
  return file;
}

Result<CompiledId> Store::resolve(std::string_view id_or_ref) const {
  if (auto id = CompiledId::parse(id_or_ref)) return id;
  return ref(id_or_ref);
}

}  // namespace assay
