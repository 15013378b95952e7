#pragma once
/// @file
/// NIP-01 filters: read, write, match. AND over keys, OR within a list; an empty list matches nothing, `{}` everything.
///
///     ASSAY_TRY(const Filter filter, read_filter(json));
///     if (matches(filter, event)) …
///
/// Thread safety: values and pure functions.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "assay/nostr/event.h"

namespace assay {

struct Filter {
  std::optional<std::vector<std::string>> ids, authors;     ///< 64 hex digits each
  std::optional<std::vector<std::int64_t>> kinds;
  std::map<char, std::vector<std::string>> tags;            ///< 'e' for "#e"; only a tag's first value counts
  std::optional<std::int64_t> since, until;                 ///< both inclusive
  std::optional<std::int64_t> limit;                        ///< newest so many stored events; says nothing about live ones
  bool operator==(const Filter&) const = default;
};

struct FilterLimits {
  std::size_t items_max = 2000;  ///< over all lists of one filter
  std::size_t text_bytes_max = 1024;
};

/// Errors: `malformed` (types, hex, negative numbers), `limit_exceeded`, `refused` (a key that is not known here).
Result<Filter> read_filter(const Json& json, const FilterLimits& limits = {});
Json to_json(const Filter& filter);

bool matches(const Filter& filter, const Event& event);
bool matches_any(const std::vector<Filter>& filters, const Event& event);

}  // namespace assay
