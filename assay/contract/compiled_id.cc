#include "assay/contract/compiled_id.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/contract/artifact.h"

namespace assay {

Result<CompiledId> CompiledId::parse(std::string_view text) {
  constexpr std::string_view prefix = "sha256:";
  const std::size_t skipped = text.starts_with(prefix) ? prefix.size() : 0;
  const std::string_view digits = text.substr(skipped);
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const char c = digits[i];
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) continue;
    return fail(ErrorCode::malformed, "an id has the digits 0-9 and a-f only", c >= 'A' && c <= 'F' ? "write it in lower case" : "",
                fmt::format("column {}", skipped + i + 1));
  }
  if (digits.size() != 64) {
    return fail(ErrorCode::malformed, fmt::format("an id has 64 digits, found {}", digits.size()), "give the whole id",
                fmt::format("column {}", skipped + std::min<std::size_t>(digits.size(), 64) + 1));
  }
  ASSAY_TRY(const Bytes32 bytes, bytes32_from_hex(digits));
  return CompiledId(bytes);
}

std::string CompiledId::hex() const { return assay::hex(std::span<const std::uint8_t>(bytes_)); }

Result<CompiledId> compiled_id_of_json(const Json& artifact) {
  ASSAY_TRY(const std::string text, canonical(artifact, artifact_limits));
  if (text.size() > artifact_limits.bytes_max) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("the artifact has {} bytes, at most {} are allowed", text.size(), artifact_limits.bytes_max));
  }
  return CompiledId(sha256(text));
}

Result<CompiledId> compiled_id(const Artifact& artifact) { return compiled_id_of_json(artifact.json()); }

}  // namespace assay
