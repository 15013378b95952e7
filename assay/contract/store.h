#pragma once
/// @file
/// The content-addressed store of modules: artifacts/ID.json, manifests/HASH.json, refs/NAME; every write is atomic.
/// Source: docs/formats.md §10.
///
///     Store store(default_store_folder());
///     ASSAY_TRY(const std::string manifest_hash, store.put(module));
///     ASSAY_TRY(const ModuleFile module, store.get(id, trust));
///     ASSAY_CHECK(store.set_ref("triage/prod", id));
///
/// Thread safety: many processes may use one folder; a reader sees a file whole or not at all.

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/files.h"
#include "assay/contract/module_file.h"

namespace assay {

/// Files that may go, as paths under the store's folder, ascending.
struct Garbage {
  std::vector<std::string> ids;  ///< of artifacts
  std::vector<std::string> files;
  std::int64_t bytes = 0;
};

class Store {
 public:
  explicit Store(std::string folder) : folder_(std::move(folder)) {}
  const std::string& folder() const { return folder_; }

  /// Can this store be written? Tries it without leaving anything. Errors: as `put`.
  Result<void> check_writable();
  /// Keeps artifact, manifest and attestations; returns the manifest's hash. What was there already counts as written now: a sweep leaves
  /// it alone for its grace. Errors: `mismatch` (a module that is bad), `io`, `unavailable` (a sweep held the store for half a minute).
  Result<std::string> put(const ModuleFile& module);
  /// The artifact with its newest manifest (created_at, then the greater hash) of a trusted signer. Every byte is verified.
  /// Errors: `unavailable` (no such artifact or no manifest), `refused` (manifests, but none of a trusted signer), `mismatch`.
  Result<ModuleFile> get(const CompiledId& id, const TrustStore& trust) const;
  /// What is there, whoever signed it: as `get`, else the newest manifest of `preferred_signer`, else the newest that is intact, an
  /// unsigned one last. For looking, and for who says which signer is let run. Errors: `unavailable`, `mismatch` (none is intact).
  Result<ModuleFile> find(const CompiledId& id, const TrustStore& trust, std::string_view preferred_signer = {}) const;
  /// All manifests of an artifact, newest first, trusted or not.
  Result<std::vector<CompiledModuleManifest>> manifests(const CompiledId& id) const;
  /// Ids of all artifacts, ascending.
  Result<std::vector<CompiledId>> list() const;

  /// A ref is a name with '/' allowed inside that points to an id. Setting replaces atomically.
  Result<void> set_ref(std::string_view name, const CompiledId& id);
  Result<CompiledId> ref(std::string_view name) const;
  Result<std::vector<std::string>> refs() const;
  /// An id (64 hex digits, "sha256:" allowed) or a ref's name.
  Result<CompiledId> resolve(std::string_view id_or_ref) const;
  Result<void> remove_ref(std::string_view name);

  /// What nothing names: neither a ref, nor `also_named` (ids in run records), nor the lineage (provenance.parent) of what they name.
  /// Files younger than `grace_seconds` are left out: another process may be about to name them.
  Result<Garbage> garbage(const std::set<std::string>& also_named, std::int64_t now_unix_seconds, std::int64_t grace_seconds = 3600) const;
  /// Deletes just those files, manifests before artifacts: a manifest that is there always finds its artifact.
  Result<void> remove(const Garbage& garbage);
  /// Held by a sweep over `garbage` and `remove`, alone: no module is put meanwhile, so nothing goes that has just come. `put` holds it
  /// shared. Let go with the Fd. Errors: `io`, `unavailable`.
  Result<Fd> lock(bool alone);

 private:
  std::string folder_;
};

/// data_folder()/store
std::string default_store_folder();

}  // namespace assay
