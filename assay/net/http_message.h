#pragma once
/// @file
/// What HTTP requests and responses have in common, without any library type.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace assay {

/// In order of sending; names compare without case and may repeat.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// The first value of that name.
std::optional<std::string> find_header(const HttpHeaders& headers, std::string_view name);

/// True if name and value may stand in a header: a token, and a value without control characters (no header injection).
bool valid_header(std::string_view name, std::string_view value);

}  // namespace assay
