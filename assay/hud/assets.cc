#include "assay/hud/assets.h"

namespace assay {

const Asset* find_asset(std::string_view path) {
  for (const Asset& asset : hud_assets()) {
    if (asset.path == path) return &asset;
  }
  return nullptr;
}

}  // namespace assay
