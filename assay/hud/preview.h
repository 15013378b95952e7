#pragma once
/// @file
/// The beginning of a text, for a line of live events. Thread safety: pure.

#include <string>

#include "assay/base/json.h"

namespace assay {

/// At most 200 bytes of a text, cut between characters and marked with an ellipsis; "" for what is not a text.
std::string preview(const Json& content);

}  // namespace assay
