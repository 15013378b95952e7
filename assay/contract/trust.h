#pragma once
/// @file
/// Whom we trust, and for which programs. Intact and trusted are two answers (docs/formats.md §3).
///
///     ASSAY_TRY(TrustStore trust, TrustStore::load(default_trust_path()));
///     trust.trust_own(key.public_hex());
///     ASSAY_CHECK(trust.add(signer, {"package-triage"}));
///     ASSAY_CHECK(trust.save(default_trust_path()));
///     trust.trusts(signer, "package-triage");          // true
///
/// The file: {"format":"assay.trust/1","signers":{KEY:{"note":text|null,"programs":[names, sorted]}}}.
/// Thread safety: a value; changing needs a lock of yours.

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"

namespace assay {

struct TrustedSigner {
  std::set<std::string> programs;  ///< exact names; a program that is not here is not trusted
  std::string note;
  bool operator==(const TrustedSigner&) const = default;
};

class TrustStore {
 public:
  /// A missing file is an empty store. Errors: `io`, `malformed` (with the file in the path).
  static Result<TrustStore> load(const std::string& path);
  static Result<TrustStore> read(const Json& json);
  Json json() const;
  /// Makes the folder, writes atomically, 0600.
  Result<void> save(const std::string& path) const;

  /// Adds programs to a signer's scope. Errors: `malformed` (no x-only key), `usage` (no program named).
  Result<void> add(std::string_view signer, const std::vector<std::string>& programs, std::string_view note = {});
  /// Takes programs off a signer's scope; none named: the signer goes. Errors: `usage` if nothing was there.
  Result<void> remove(std::string_view signer, const std::vector<std::string>& programs = {});
  const std::map<std::string, TrustedSigner>& signers() const { return signers_; }

  /// One's own key is trusted for every program; it is not written to the file.
  void trust_own(std::string public_hex) { own_.insert(std::move(public_hex)); }
  bool trusts(std::string_view signer, std::string_view program) const;

 private:
  std::map<std::string, TrustedSigner> signers_;
  std::set<std::string> own_;
};

/// config_folder()/trust.json
std::string default_trust_path();

}  // namespace assay
