#pragma once
/// @file
/// Privacy modes: a run has one, a module and a lane have lists of those they allow. Membership, no order.
/// Source: docs/formats.md §3 (PrivacyMode).
///
///     ASSAY_CHECK(check_privacy(run_mode, module_modes, lane_modes, "lane gpt"));   // before anything leaves the process
///
/// Thread safety: values and pure functions.

#include <string>
#include <string_view>
#include <vector>

#include "assay/base/result.h"

namespace assay {

enum class PrivacyMode { PublicOk, NoPii, PrivateRepoRedacted, PrivateRepoAllowed };

/// The mode of a run that names none: only lanes inside the process accept it unless configured.
inline constexpr PrivacyMode default_privacy_mode = PrivacyMode::PrivateRepoAllowed;

/// "public_ok", "no_pii", "private_repo_redacted", "private_repo_allowed".
std::string_view privacy_name(PrivacyMode mode);
/// Inverse of `privacy_name`. Errors: `malformed`, listing the four.
Result<PrivacyMode> parse_privacy(std::string_view text);
/// All four, sorted by name: what a lane inside the process allows.
std::vector<PrivacyMode> all_privacy_modes();
/// Sorted by name, without duplicates, as formats.md wants sets.
std::vector<PrivacyMode> sorted_privacy(std::vector<PrivacyMode> modes);
bool allows(const std::vector<PrivacyMode>& modes, PrivacyMode mode);

/// The run's mode must be in the module's list and in the lane's; an empty list allows none.
/// Errors: `refused`, saying which list lacks it. `lane` names the lane in the message.
Result<void> check_privacy(PrivacyMode run, const std::vector<PrivacyMode>& module_modes, const std::vector<PrivacyMode>& lane_modes,
                           std::string_view lane);

}  // namespace assay
