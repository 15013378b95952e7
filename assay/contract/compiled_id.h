#pragma once
/// @file
/// The name of a compiled module: `compiled_id = SHA-256(canonical(artifact))`.
/// Source: docs/formats.md §2; canonical JSON is RFC 8785. This is the only place where the id is computed.

#include <compare>
#include <string>
#include <string_view>

#include "assay/base/json.h"
#include "assay/base/sha256.h"

namespace assay {

class Artifact;

/// A 32-byte hash, written as 64 lowercase hex digits. A value: copy it, compare it, use it as a key.
///
///     const auto id = compiled_id(artifact);              // Result<CompiledId>
///     if (id && *id == expected) store.open(*id);
class CompiledId {
 public:
  CompiledId() = default;  ///< 32 zero bytes
  explicit CompiledId(const Bytes32& bytes) : bytes_(bytes) {}
  /// Inverse of `hex()`. One leading "sha256:" is dropped, so that ids written by other tools compare; it is never written.
  /// Errors: `malformed` (not 64 characters, or one outside 0-9a-f; the path names the column).
  static Result<CompiledId> parse(std::string_view hex);
  std::string hex() const;
  const Bytes32& bytes() const { return bytes_; }
  auto operator<=>(const CompiledId&) const = default;

 private:
  Bytes32 bytes_{};
};

/// Hashes every byte that can change what the LM is sent or how its answer is read, and nothing else.
/// @param artifact  read, not kept; at most 16 MiB as canonical JSON.    @return  the same id on any machine and compiler.
/// Errors: `malformed` (NaN, lone surrogate, integer beyond ±(2^53−1): the path names the field), `limit_exceeded`.
/// Thread safety: pure, any number of threads. Cost: one pass, no I/O.
Result<CompiledId> compiled_id(const Artifact& artifact);

/// The same for an artifact's JSON whose shape was not checked (verify names an id even for a module that it refuses).
Result<CompiledId> compiled_id_of_json(const Json& artifact);

}  // namespace assay
