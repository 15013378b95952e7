#include "assay/contract/module_file.h"

#include <fmt/format.h>

#include "assay/base/keys.h"
#include "assay/contract/shape.h"

namespace assay {
namespace {

// The three parts of a module's text, as JSON, before any part is looked into.
struct Parts {
  Json artifact;
  Json manifest;
  Json attestations;  // null: none
};

Result<Parts> read_parts(std::string_view text) {
  ASSAY_TRY(const Json value, read_json(text));
  const Spot root(value, "");
  ASSAY_CHECK(root.is(Json::Kind::object));
  ASSAY_TRY(const Spot artifact, root.get("artifact", Json::Kind::object));
  ASSAY_TRY(const Spot manifest, root.get("manifest", Json::Kind::object));
  ASSAY_TRY(const auto attestations, root.get_if_set("attestations", Json::Kind::list));
  // No signature covers the object around the parts: what is not known there may be anything, a part whose name was damaged too.
  if (const JsonObject others = root.others({"artifact", "manifest", "attestations"}); !others.empty()) {
    const auto& [name, value] = *others.begin();
    return root.member(name, value).error("a module file has no such member", "it has artifact, manifest and perhaps attestations");
  }
  return Parts{artifact.value(), manifest.value(), attestations ? attestations->value() : Json()};
}

Result<Json> module_json(const ModuleFile& module) {
  JsonObject out;
  ASSAY_TRY(Json manifest, to_json(module.manifest));
  out.set("artifact", module.artifact.json());
  out.set("manifest", std::move(manifest));
  if (!module.attestations.is_null()) out.set("attestations", module.attestations);
  return Json(std::move(out));
}

Error different(std::string path, std::string_view what, std::string_view want, std::string_view found, std::string remedy) {
  return {ErrorCode::mismatch, fmt::format("{}: want {}, found {}", what, want, found), std::move(path), std::move(remedy)};
}

constexpr const char* edited = "the file was edited after it was signed: get it again, or compile to name the new one";

Result<void> check_shape(const Spot& attestation) {
  ASSAY_TRY(const std::string format, attestation.text("format"));
  if (format != attestation_format)
    return attestation.error(fmt::format("expected format \"{}\", found \"{}\"", attestation_format, format));
  ASSAY_CHECK(attestation.get("statement"));
  ASSAY_CHECK(attestation.hex_text("compiled_id"));
  ASSAY_CHECK(attestation.hex_text("manifest_hash"));
  return {};
}

// Everything but the shape: id, name, signature, attestations. Adds to `problems`.
class Checker {
 public:
  explicit Checker(ModuleVerdict& verdict) : verdict_(verdict) {}

  void check(const ModuleFile& module, const Json& manifest) {
    check_id(module);
    check_name(module);
    if (module.manifest.signature) {
      if (auto good = verify_object(manifest); !good) add(std::move(good.error()), "manifest");
    }
    if (module.attestations.is_list()) check_attestations(module, manifest);
  }

 private:
  void add(Error error, std::string_view outer) { verdict_.problems.push_back(std::move(error).in(outer)); }

  void check_id(const ModuleFile& module) {
    const auto id = module.artifact.id();
    if (!id) return add(id.error(), "artifact");
    verdict_.compiled_id = id->hex();
    if (module.manifest.compiled_id == id->hex()) return;
    add(different("compiled_id", "compiled_id does not match the artifact", module.manifest.compiled_id, id->hex(), edited), "manifest");
  }

  void check_name(const ModuleFile& module) {
    const Json& name = module.artifact.signature().at("name");
    if (!name.is_string() || name.as_string() == module.manifest.signature_name) return;
    add(different("signature_name", "signature_name is not that of the program's signature", name.as_string(),
                  module.manifest.signature_name, edited),
        "manifest");
  }

  void check_attestations(const ModuleFile& module, const Json& manifest) {
    const auto manifest_hash = hash(manifest);
    for (std::size_t i = 0; i < module.attestations.as_list().size(); ++i) {
      const Spot spot(module.attestations.as_list()[i], fmt::format("attestations[{}]", i));
      if (auto good = check_one(spot, module.manifest.compiled_id, manifest_hash.value_or("")); !good) {
        verdict_.problems.push_back(std::move(good.error()));
      }
    }
  }

  static Result<void> check_one(const Spot& spot, const std::string& id, const std::string& manifest_hash) {
    ASSAY_CHECK(check_shape(spot));
    ASSAY_TRY(const std::string about, spot.hex_text("compiled_id"));
    if (about != id)
      return std::unexpected(different(spot.path() + ".compiled_id", "the attestation is about another module", id, about, "take it out"));
    ASSAY_TRY(const std::string of, spot.hex_text("manifest_hash"));
    if (of != manifest_hash) {
      return std::unexpected(
          different(spot.path() + ".manifest_hash", "the attestation is about another manifest", manifest_hash, of, "take it out"));
    }
    auto good = verify_object(spot.value());
    if (!good) return std::unexpected(std::move(good.error()).in(spot.path()));
    return {};
  }

  ModuleVerdict& verdict_;
};

// State from problems, signature and trust, in that order.
void settle(ModuleVerdict& verdict, const TrustStore& trust) {
  if (!verdict.problems.empty() || !verdict.module) {
    verdict.state = ModuleState::bad;
    return;
  }
  if (!verdict.module->manifest.signature) {
    verdict.state = ModuleState::unsigned_;
    return;
  }
  verdict.signer = *verdict.module->manifest.signer;
  verdict.state = trust.trusts(verdict.signer, verdict.program) ? ModuleState::intact_trusted : ModuleState::intact_unknown_signer;
}

void verify_parts(const Parts& parts, ModuleVerdict& verdict) {
  if (const auto id = compiled_id_of_json(parts.artifact)) verdict.compiled_id = id->hex();
  auto artifact = Artifact::read(parts.artifact);
  auto manifest = read_manifest(parts.manifest);
  if (!artifact) verdict.problems.push_back(std::move(artifact.error()).in("artifact"));
  if (!manifest) verdict.problems.push_back(std::move(manifest.error()).in("manifest"));
  if (artifact) verdict.program = artifact->program_name();
  if (!artifact || !manifest) return;
  verdict.module = ModuleFile{std::move(*artifact), std::move(*manifest), parts.attestations};
  Checker(verdict).check(*verdict.module, parts.manifest);
}

}  // namespace

Result<void> check_attestation(const Json& attestation) {
  ASSAY_CHECK(check_shape(Spot(attestation, "")));
  return verify_object(attestation);
}

Result<ModuleFile> read_module(std::string_view text) {
  ASSAY_TRY(Parts parts, read_parts(text));
  auto artifact = Artifact::read(parts.artifact);
  if (!artifact) return std::unexpected(std::move(artifact.error()).in("artifact"));
  auto manifest = read_manifest(parts.manifest);
  if (!manifest) return std::unexpected(std::move(manifest.error()).in("manifest"));
  return ModuleFile{std::move(*artifact), std::move(*manifest), std::move(parts.attestations)};
}

Result<std::string> write_module(const ModuleFile& module) {
  ASSAY_TRY(const Json json, module_json(module));
  ASSAY_TRY(std::string text, canonical(json));
  return text + "\n";
}

Result<ModuleFile> unsigned_module(Artifact artifact, CompiledModuleManifest manifest) {
  ASSAY_TRY(const CompiledId id, artifact.id());
  manifest.compiled_id = id.hex();
  ASSAY_TRY(manifest.signature_name, string_member(artifact.signature(), "name"));
  manifest.signer.reset();
  manifest.signature.reset();
  for (const char* key : {"seed", "order_seed"}) {
    if (!manifest.optimizer_config.contains(key)) manifest.optimizer_config.set(key, Json());
  }
  if (manifest.trainset_id.empty()) manifest.trainset_id = empty_set_id();
  ASSAY_TRY(const Json json, to_json(manifest));
  ASSAY_TRY(manifest, read_manifest(json));  // what is written must be readable: the caller hears of it now, not the user later
  return ModuleFile{std::move(artifact), std::move(manifest), Json()};
}

Result<ModuleFile> seal_module(Artifact artifact, CompiledModuleManifest manifest, const SecretKey& key, Entropy& entropy) {
  ASSAY_TRY(ModuleFile module, unsigned_module(std::move(artifact), std::move(manifest)));
  ASSAY_TRY(module.manifest, sign_manifest(std::move(module.manifest), key, entropy));
  return module;
}

Result<Json> attest(const ModuleFile& module, std::string statement, const SecretKey& key, Entropy& entropy) {
  ASSAY_TRY(std::string manifest_hash, canonical_hash(module.manifest));
  return sign_object(JsonObject{{"format", attestation_format},
                                {"compiled_id", module.manifest.compiled_id},
                                {"manifest_hash", std::move(manifest_hash)},
                                {"statement", std::move(statement)}},
                     key, entropy);
}

std::string_view name(ModuleState state) {
  constexpr std::string_view names[] = {"bad", "unsigned", "intact-unknown-signer", "intact-trusted"};
  return names[static_cast<int>(state)];
}

ModuleVerdict verify_module(std::string_view text, const TrustStore& trust) {
  ModuleVerdict verdict;
  const auto parts = read_parts(text);
  if (!parts) {
    verdict.problems.push_back(parts.error());
  } else {
    verify_parts(*parts, verdict);
  }
  settle(verdict, trust);
  return verdict;
}

ModuleVerdict verify_module(const ModuleFile& module, const TrustStore& trust) {
  ModuleVerdict verdict;
  verdict.program = module.artifact.program_name();
  verdict.module = module;
  const auto manifest = to_json(module.manifest);
  if (manifest) {
    Checker(verdict).check(module, *manifest);
  } else {
    verdict.problems.push_back(Error(manifest.error()).in("manifest"));
  }
  settle(verdict, trust);
  return verdict;
}

Result<void> check_runnable(const ModuleVerdict& verdict, std::string_view allowed_signer, bool allow_unsigned) {
  switch (verdict.state) {
    case ModuleState::bad: {
      if (verdict.problems.empty()) return fail(ErrorCode::internal, "a bad module without a problem");
      Error first = verdict.problems.front();
      first.message = fmt::format("a bad module is not run: {}", first.message);
      // How to write it right helps nobody who did not write it.
      const bool for_writers = first.code == ErrorCode::malformed;
      first.code = ErrorCode::mismatch;
      if (first.remedy.empty() || for_writers)
        first.remedy = "get the file again from where it came; assay verify lists all that is wrong with it";
      return std::unexpected(std::move(first));
    }
    case ModuleState::unsigned_:
      if (allow_unsigned) return {};
      return fail(ErrorCode::refused, "the module is not signed", "sign it, or run it with --allow-unsigned if you made it");
    case ModuleState::intact_unknown_signer:
      if (!allowed_signer.empty() && verdict.signer == allowed_signer) return {};
      return fail(
          ErrorCode::refused, fmt::format("the module's signer {} is not trusted for program {}", verdict.signer, verdict.program),
          fmt::format("assay trust add {} {}, or run it once with --allow-signer {}", verdict.signer, verdict.program, verdict.signer));
    case ModuleState::intact_trusted: return {};
  }
  return fail(ErrorCode::internal, "unknown module state");
}

std::vector<std::pair<std::string, std::string>> attestations_of(const ModuleFile& module) {
  std::vector<std::pair<std::string, std::string>> out;
  if (!module.attestations.is_list()) return out;
  for (const Json& one : module.attestations.as_list()) {
    const Json &signer = one.at("signer"), &statement = one.at("statement");
    if (!signer.is_string()) continue;
    out.emplace_back(signer.as_string(), statement.is_string() ? statement.as_string() : canonical(statement).value_or("?"));
  }
  return out;
}

}  // namespace assay
