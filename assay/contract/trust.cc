#include "assay/contract/trust.h"

#include <filesystem>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/sha256.h"
#include "assay/contract/artifact.h"
#include "assay/contract/shape.h"

namespace assay {
namespace {

constexpr std::string_view trust_format = "assay.trust/1";

Result<TrustedSigner> read_signer(const Spot& spot) {
  TrustedSigner out;
  ASSAY_TRY(const auto note, spot.get_or_null("note", Json::Kind::string));
  if (note) out.note = note->value().as_string();
  ASSAY_TRY(const Spot programs, spot.get("programs", Json::Kind::list));
  for (std::size_t i = 0; i < programs.size(); ++i) {
    ASSAY_CHECK(programs.item(i).is(Json::Kind::string));
    out.programs.insert(programs.item(i).value().as_string());
  }
  return out;
}

}  // namespace

Result<TrustStore> TrustStore::read(const Json& json) {
  const Spot root(json, "");
  ASSAY_TRY(const std::string format, root.text("format"));
  if (format != trust_format) return root.error(fmt::format("expected format \"{}\", found \"{}\"", trust_format, format));
  ASSAY_TRY(const Spot signers, root.get("signers", Json::Kind::object));
  TrustStore out;
  for (const auto& [key, value] : signers.value().as_object()) {
    const Spot spot = signers.member(key, value);
    if (!is_hex(key, 64)) return spot.error("a signer is an x-only public key: 64 lowercase hex digits");
    ASSAY_TRY(TrustedSigner signer, read_signer(spot));
    out.signers_.emplace(key, std::move(signer));
  }
  return out;
}

Result<TrustStore> TrustStore::load(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored) && !ignored) return TrustStore();
  ASSAY_CHECK(check_owner(path));
  ASSAY_TRY(const std::string text, read_file(path, std::size_t{16} << 20));
  const auto json = read_json(text);
  auto store = json ? read(*json) : Result<TrustStore>(std::unexpected(json.error()));
  // A trust file that cannot be read must not pass for an empty one, nor be overwritten by the next `trust add`.
  if (store) return store;
  if (store.error().remedy.empty()) store.error().remedy = "mend the file, or move it away and give trust anew: assay trust add";
  return std::unexpected(std::move(store.error()).in(path));
}

Json TrustStore::json() const {
  JsonObject signers;
  for (const auto& [key, signer] : signers_) {
    signers.set(key, JsonObject{{"note", signer.note.empty() ? Json() : Json(signer.note)},
                                {"programs", Json(JsonList(signer.programs.begin(), signer.programs.end()))}});
  }
  return JsonObject{{"format", trust_format}, {"signers", std::move(signers)}};
}

Result<void> TrustStore::save(const std::string& path) const {
  ASSAY_CHECK(make_folders(std::filesystem::path(path).parent_path().string(), 0700));
  ASSAY_TRY(const std::string text, canonical(json()));
  return write_file(path, text + "\n", 0600);
}

Result<void> TrustStore::add(std::string_view signer, const std::vector<std::string>& programs, std::string_view note) {
  if (!is_hex(signer, 64))
    return fail(ErrorCode::malformed, "a signer is an x-only public key: 64 lowercase hex digits",
                "`assay verify` prints a module's signer");
  if (programs.empty())
    return fail(ErrorCode::usage, "no program is named: trust is given program by program", "name one or more programs");
  for (const std::string& program : programs) {
    if (!is_name(program)) return fail(ErrorCode::usage, fmt::format("\"{}\" is no program name", program), "names are exact: no patterns");
  }
  TrustedSigner& entry = signers_[std::string(signer)];
  entry.programs.insert(programs.begin(), programs.end());
  if (!note.empty()) entry.note = note;
  return {};
}

Result<void> TrustStore::remove(std::string_view signer, const std::vector<std::string>& programs) {
  const auto at = signers_.find(std::string(signer));
  if (at == signers_.end()) return fail(ErrorCode::usage, fmt::format("{} is not a trusted signer", signer), "`assay trust ls` lists them");
  for (const std::string& program : programs) {
    if (at->second.programs.erase(program) == 0) {
      return fail(ErrorCode::usage, fmt::format("{} is not trusted for program {}", signer, program), "`assay trust ls` lists them");
    }
  }
  if (programs.empty() || at->second.programs.empty()) signers_.erase(at);
  return {};
}

bool TrustStore::trusts(std::string_view signer, std::string_view program) const {
  if (own_.contains(std::string(signer))) return true;
  const auto at = signers_.find(std::string(signer));
  return at != signers_.end() && at->second.programs.contains(std::string(program));
}

std::string default_trust_path() { return config_folder() + "/trust.json"; }

}  // namespace assay
