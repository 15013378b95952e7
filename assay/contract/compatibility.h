#pragma once
/// @file
/// Can this module run here? All unmet requirements at once, before anything leaves the process.
/// Source: docs/formats.md §3 (Compatibility).
///
///     const auto unmet = check_compatibility(manifest.compatibility, offered);
///     ASSAY_CHECK(require_compatible(manifest.compatibility, offered));      // `refused`, naming all of them
///
/// Thread safety: pure functions.

#include <optional>
#include <string>
#include <vector>

#include "assay/contract/manifest.h"

namespace assay {

/// What the caller has. Lists need no order.
struct Offered {
  std::vector<std::string> tools;
  std::vector<std::string> lanes;         ///< "lm:local", "retrieval:bm25", "exec:native", "tool:search"
  std::vector<std::string> capabilities;  ///< "json_schema", "tools", "vision", "context:8192"
  PrivacyMode privacy_mode = default_privacy_mode;
  std::optional<double> provider_reputation;  ///< unknown does not meet a minimum
};

struct Unmet {
  std::string what;      ///< "lane", "tool", "capability", "privacy_mode", "provider_reputation"
  std::string required;  ///< "retrieval:bm25"
  std::string found;     ///< "lm:local", "none"
  bool operator==(const Unmet&) const = default;
};

/// `lm:any` is met by any `lm:` lane; a bare name reads as `retrieval:NAME`; `context:N` by a context of at least N.
std::vector<Unmet> check_compatibility(const Compatibility& needed, const Offered& offered);

/// Errors: `refused`; the message has a line for each unmet requirement.
Result<void> require_compatible(const Compatibility& needed, const Offered& offered);

}  // namespace assay
