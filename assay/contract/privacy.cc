#include "assay/contract/privacy.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace assay {
namespace {

struct Row {
  PrivacyMode mode;
  std::string_view name;
};
constexpr Row rows[] = {
    {PrivacyMode::PublicOk, "public_ok"},
    {PrivacyMode::NoPii, "no_pii"},
    {PrivacyMode::PrivateRepoRedacted, "private_repo_redacted"},
    {PrivacyMode::PrivateRepoAllowed, "private_repo_allowed"},
};

std::string names(const std::vector<PrivacyMode>& modes) {
  std::vector<std::string_view> out;
  for (const PrivacyMode mode : modes) out.push_back(privacy_name(mode));
  return out.empty() ? "none" : fmt::format("{}", fmt::join(out, ", "));
}

}  // namespace

std::string_view privacy_name(PrivacyMode mode) {
  for (const Row& row : rows) {
    if (row.mode == mode) return row.name;
  }
  return "unknown";
}

Result<PrivacyMode> parse_privacy(std::string_view text) {
  for (const Row& row : rows) {
    if (row.name == text) return row.mode;
  }
  return fail(ErrorCode::malformed, fmt::format("\"{}\" is no privacy mode", text),
              "use public_ok, no_pii, private_repo_redacted or private_repo_allowed");
}

std::vector<PrivacyMode> all_privacy_modes() {
  // Sorted by name; asked for at every call, so not sorted there.
  return {PrivacyMode::NoPii, PrivacyMode::PrivateRepoAllowed, PrivacyMode::PrivateRepoRedacted, PrivacyMode::PublicOk};
}

std::vector<PrivacyMode> sorted_privacy(std::vector<PrivacyMode> modes) {
  std::sort(modes.begin(), modes.end(), [](PrivacyMode a, PrivacyMode b) { return privacy_name(a) < privacy_name(b); });
  modes.erase(std::unique(modes.begin(), modes.end()), modes.end());
  return modes;
}

bool allows(const std::vector<PrivacyMode>& modes, PrivacyMode mode) { return std::find(modes.begin(), modes.end(), mode) != modes.end(); }

Result<void> check_privacy(PrivacyMode run, const std::vector<PrivacyMode>& module_modes, const std::vector<PrivacyMode>& lane_modes,
                           std::string_view lane) {
  if (!allows(module_modes, run)) {
    return fail(ErrorCode::refused,
                fmt::format("the module does not allow privacy mode {}, only: {}", privacy_name(run), names(module_modes)),
                "run it with --privacy MODE of that list, if your data permits");
  }
  if (!allows(lane_modes, run)) {
    return fail(ErrorCode::refused, fmt::format("{} does not accept privacy mode {}, only: {}", lane, privacy_name(run), names(lane_modes)),
                "use a lane inside the process, or --privacy with a mode that the lane accepts, if your data permits");
  }
  return {};
}

}  // namespace assay
