#include "assay/sandbox/profile.h"

#include <fmt/format.h>

#include "assay/base/json.h"

namespace assay {

Result<SandboxProfile> sandbox_profile(std::string_view name) {
  if (name == "small" || name == "Small") return SandboxProfile::Small;
  if (name == "medium" || name == "Medium") return SandboxProfile::Medium;
  if (name == "large" || name == "Large") return SandboxProfile::Large;
  return fail(ErrorCode::usage, fmt::format("no sandbox profile is named '{}'", to_utf8(name.substr(0, 64))), "use small, medium or large");
}

}  // namespace assay
