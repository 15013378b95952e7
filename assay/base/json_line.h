#pragma once
/// @file
/// Where in a JSON text a value stands: for errors about files that people write by hand.
///
///     const std::size_t line = line_of_place(text, "/prices/3/model");      // from 1
///
/// Thread safety: a pure function.

#include <cstddef>
#include <string_view>

namespace assay {

/// The line of the value that an RFC 6901 pointer names; of the nearest container around it if there is no such value. `text` must be
/// JSON that `read_json` takes; otherwise the line at which it stops being so.
std::size_t line_of_place(std::string_view text, std::string_view pointer);

}  // namespace assay
