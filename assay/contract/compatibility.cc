#include "assay/contract/compatibility.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace assay {
namespace {

using Texts = std::vector<std::string>;

bool contains(const Texts& list, std::string_view text) { return std::find(list.begin(), list.end(), text) != list.end(); }

std::string joined(const Texts& list) { return list.empty() ? "none" : fmt::format("{}", fmt::join(list, ", ")); }

// Bare names come from manifests older than the prefixes; they named retrieval lanes.
std::string with_prefix(const std::string& lane) { return lane.find(':') == std::string::npos ? "retrieval:" + lane : lane; }

bool offers_lane(const Texts& offered, const std::string& required) {
  if (required.ends_with(":any")) {
    const std::string_view kind = std::string_view(required).substr(0, required.size() - 3);
    return std::any_of(offered.begin(), offered.end(), [&](const std::string& lane) { return with_prefix(lane).starts_with(kind); });
  }
  return std::any_of(offered.begin(), offered.end(), [&](const std::string& lane) { return with_prefix(lane) == required; });
}

// The N of "context:N"; -1 if the text is no such thing.
std::int64_t context_size(std::string_view text) {
  constexpr std::string_view prefix = "context:";
  if (!text.starts_with(prefix)) return -1;
  text.remove_prefix(prefix.size());
  std::int64_t size = -1;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), size);
  return ec == std::errc{} && end == text.data() + text.size() && size >= 0 ? size : -1;
}

bool offers_capability(const Texts& offered, const std::string& required) {
  const std::int64_t wanted = context_size(required);
  if (wanted < 0) return contains(offered, required);
  return std::any_of(offered.begin(), offered.end(), [&](const std::string& capability) { return context_size(capability) >= wanted; });
}

}  // namespace

std::vector<Unmet> check_compatibility(const Compatibility& needed, const Offered& offered) {
  std::vector<Unmet> unmet;
  for (const std::string& lane : needed.required_lanes) {
    const std::string required = with_prefix(lane);
    if (!offers_lane(offered.lanes, required)) unmet.push_back({"lane", required, joined(offered.lanes)});
  }
  for (const std::string& tool : needed.required_tools) {
    if (!contains(offered.tools, tool)) unmet.push_back({"tool", tool, joined(offered.tools)});
  }
  for (const std::string& capability : needed.capabilities) {
    if (!offers_capability(offered.capabilities, capability)) unmet.push_back({"capability", capability, joined(offered.capabilities)});
  }
  if (!allows(needed.privacy_modes_allowed, offered.privacy_mode)) {
    Texts allowed;
    for (const PrivacyMode mode : needed.privacy_modes_allowed) allowed.emplace_back(privacy_name(mode));
    unmet.push_back({"privacy_mode", joined(allowed), std::string(privacy_name(offered.privacy_mode))});
  }
  if (needed.min_provider_reputation && !(offered.provider_reputation && *offered.provider_reputation >= *needed.min_provider_reputation)) {
    unmet.push_back({"provider_reputation", "at least " + number_text(*needed.min_provider_reputation),
                     offered.provider_reputation ? number_text(*offered.provider_reputation) : "unknown"});
  }
  return unmet;
}

Result<void> require_compatible(const Compatibility& needed, const Offered& offered) {
  const std::vector<Unmet> unmet = check_compatibility(needed, offered);
  if (unmet.empty()) return {};
  Texts lines;
  for (const Unmet& one : unmet) lines.push_back(fmt::format("{}: required {}, found {}", one.what, one.required, one.found));
  return fail(ErrorCode::refused, fmt::format("the module needs what is not offered here: {}", fmt::join(lines, "; ")),
              "offer it (--lane, --privacy, tools), or run the module where it is offered");
}

}  // namespace assay
