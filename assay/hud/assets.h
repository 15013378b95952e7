#pragma once
/// @file
/// The files of `web/`, embedded when the binary is built (cmake/resources.cmake). Nothing is read from disk at run time.
///
/// Thread safety: constants.

#include <span>
#include <string_view>

namespace assay {

struct Asset {
  std::string_view path;  ///< relative to web/: "views/run.js"
  std::string_view type;  ///< Content-Type
  std::string_view tag;   ///< of its bytes, for If-None-Match
  std::string_view bytes;
};

std::span<const Asset> hud_assets();
/// Null if there is none of that path.
const Asset* find_asset(std::string_view path);

}  // namespace assay
