#pragma once
/// @file
/// The way down to a JSON value, for errors of the reader and the writer only: nothing is allocated while all is well.
///
/// Thread safety: values on one thread's stack.

#include <string>
#include <vector>

#include "assay/base/json.h"

namespace assay {

/// One step down: a member (by its key) or an item (by its index).
struct JsonPlace {
  const JsonPlace* up = nullptr;
  const std::string* key = nullptr;  ///< null: a list's item
  std::size_t index = 0;

  /// RFC 6901 pointer of `place` (null: the whole value), shortened in its middle when it is very long.
  static std::string pointer(const JsonPlace* place) {
    std::vector<std::string> tokens;
    for (; place != nullptr; place = place->up)
      tokens.push_back(place->key != nullptr ? pointer_token(*place->key) : std::to_string(place->index));
    std::string out;
    for (auto token = tokens.rbegin(); token != tokens.rend(); ++token) out += "/" + *token;
    return short_place(std::move(out));
  }
};

}  // namespace assay
