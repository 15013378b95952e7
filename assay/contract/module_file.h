#pragma once
/// @file
/// A compiled module's file (`*.module.json`): artifact, manifest, attestations; and the check that a stranger can make.
/// Source: docs/formats.md §3.
///
///     const ModuleVerdict verdict = verify_module(text, trust);
///     if (verdict.state == ModuleState::bad) show(verdict.problems);
///     ASSAY_TRY(const std::string text, write_module(module));           // canonical, with a final newline
///
/// Thread safety: values and pure functions. No clock, no network, no LM.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "assay/contract/artifact.h"
#include "assay/contract/manifest.h"
#include "assay/contract/trust.h"

namespace assay {

inline constexpr std::string_view attestation_format = "assay.attestation/1";

struct ModuleFile {
  Artifact artifact;
  CompiledModuleManifest manifest;
  Json attestations;  ///< a list, or null when the file has none

  const std::string& id() const { return manifest.compiled_id; }
};

/// Reads any spelling; checks shapes only. A module that is to be run must pass `verify_module`.
/// Errors: `malformed`, `limit_exceeded`; the path says where ("manifest.scorecard.n_test").
Result<ModuleFile> read_module(std::string_view text);
/// Canonical bytes and a final newline.
Result<std::string> write_module(const ModuleFile& module);

/// Puts artifact and manifest together: sets compiled_id and signature_name from the artifact, then signs.
Result<ModuleFile> seal_module(Artifact artifact, CompiledModuleManifest manifest, const SecretKey& key, Entropy& entropy);
/// The same without a signer: signer and signature are null.
Result<ModuleFile> unsigned_module(Artifact artifact, CompiledModuleManifest manifest);

/// A third party's signed statement about a module, e.g. "re-scored on our data: 0.81".
Result<Json> attest(const ModuleFile& module, std::string statement, const SecretKey& key, Entropy& entropy);
/// An attestation by itself: its members and its signature; of which module it speaks is not looked at. Errors: `malformed`, `mismatch`.
Result<void> check_attestation(const Json& attestation);

enum class ModuleState { bad, unsigned_, intact_unknown_signer, intact_trusted };
/// "bad", "unsigned", "intact-unknown-signer", "intact-trusted".
std::string_view name(ModuleState state);

struct ModuleVerdict {
  ModuleState state = ModuleState::bad;
  std::string signer;       ///< "" if unsigned or unreadable
  std::string compiled_id;  ///< computed from the artifact as read; "" if it cannot be
  std::string program;      ///< the program's name; "" if unreadable
  std::vector<Error> problems;       ///< empty unless `bad`; each says which part is wrong, with want and found
  std::optional<ModuleFile> module;  ///< set unless its shape is wrong

  bool intact() const { return state == ModuleState::intact_unknown_signer || state == ModuleState::intact_trusted; }
  /// 0 for the intact states, 3 otherwise (docs/formats.md §3).
  int exit_code() const { return intact() ? 0 : 3; }
};

/// What others signed about the module: (signer, statement), in the file's order; whether they hold is for verify_module to say.
std::vector<std::pair<std::string, std::string>> attestations_of(const ModuleFile& module);

/// Checks text, shapes, compiled_id, signature_name, signature and attestations, and reports all that is wrong.
ModuleVerdict verify_module(std::string_view text, const TrustStore& trust = {});
/// The same for a module in memory.
ModuleVerdict verify_module(const ModuleFile& module, const TrustStore& trust = {});

/// What must hold before a module runs: not bad (`mismatch`), and signed by someone trusted, or by `allowed_signer`
/// (`refused`; the remedy names --allow-signer). An unsigned module needs `allow_unsigned`.
Result<void> check_runnable(const ModuleVerdict& verdict, std::string_view allowed_signer = {}, bool allow_unsigned = false);

}  // namespace assay
