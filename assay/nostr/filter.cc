#include "assay/nostr/filter.h"

#include <algorithm>

#include <fmt/format.h>

namespace assay {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

class FilterReader {
 public:
  explicit FilterReader(const FilterLimits& limits) : limits_(limits) {}

  Result<Filter> read(const Json& json) {
    if (!json.is_object()) return fail(ErrorCode::malformed, "a filter is a JSON object");
    for (const auto& [key, value] : json.as_object()) {
      if (auto taken = take(key, value); !taken) return std::unexpected(std::move(taken).error().in(key));
    }
    return std::move(filter_);
  }

 private:
  Result<void> take(const std::string& key, const Json& value) {
    if (key == "ids") return hex_list(value, filter_.ids.emplace());
    if (key == "authors") return hex_list(value, filter_.authors.emplace());
    if (key == "kinds") return kind_list(value);
    if (key == "since") return number(value, filter_.since);
    if (key == "until") return number(value, filter_.until);
    if (key == "limit") return number(value, filter_.limit);
    if (key.size() == 2 && key[0] == '#' && is_letter(key[1])) {
      std::vector<std::string>& list = filter_.tags[key[1]];
      return key[1] == 'e' || key[1] == 'p' ? hex_list(value, list) : text_list(value, list);
    }
    return fail(ErrorCode::refused, "filter contains unknown elements", "known are ids, authors, kinds, #x, since, until, limit");
  }

  Result<void> text_list(const Json& value, std::vector<std::string>& into) {
    if (!value.is_list()) return fail(ErrorCode::malformed, "expected a list");
    count_ += value.as_list().size();
    if (count_ > limits_.items_max)
      return fail(ErrorCode::limit_exceeded, fmt::format("more than {} values in one filter", limits_.items_max));
    for (const Json& item : value.as_list()) {
      if (!item.is_string()) return fail(ErrorCode::malformed, "expected strings");
      if (item.as_string().size() > limits_.text_bytes_max) return fail(ErrorCode::limit_exceeded, "a value is too long");
      into.push_back(item.as_string());
    }
    return {};
  }

  Result<void> hex_list(const Json& value, std::vector<std::string>& into) {
    ASSAY_CHECK(text_list(value, into));
    for (const std::string& item : into) {
      if (!is_hex(item, 64)) return fail(ErrorCode::malformed, "expected 64 lowercase hex digits (prefixes are not supported)");
    }
    return {};
  }

  Result<void> kind_list(const Json& value) {
    if (!value.is_list()) return fail(ErrorCode::malformed, "expected a list");
    count_ += value.as_list().size();
    if (count_ > limits_.items_max)
      return fail(ErrorCode::limit_exceeded, fmt::format("more than {} values in one filter", limits_.items_max));
    auto& kinds = filter_.kinds.emplace();
    for (const Json& item : value.as_list()) {
      if (!item.is_int() || item.as_int() < 0) return fail(ErrorCode::malformed, "kinds are integers from 0");
      kinds.push_back(item.as_int());
    }
    return {};
  }

  static Result<void> number(const Json& value, std::optional<std::int64_t>& into) {
    if (!value.is_int() || value.as_int() < 0) return fail(ErrorCode::malformed, "expected an integer from 0");
    into = value.as_int();
    return {};
  }

  const FilterLimits& limits_;
  Filter filter_;
  std::size_t count_ = 0;
};

JsonList list_of(const auto& values) {
  JsonList out;
  for (const auto& value : values) out.emplace_back(value);
  return out;
}

bool holds(const auto& list, const auto& value) { return std::find(list.begin(), list.end(), value) != list.end(); }

bool has_tag(const Event& event, char name, const std::vector<std::string>& wanted) {
  return std::any_of(event.tags.begin(), event.tags.end(), [&](const EventTag& tag) {
    return tag.front().size() == 1 && tag.front()[0] == name && tag.size() > 1 && holds(wanted, tag[1]);
  });
}

}  // namespace

Result<Filter> read_filter(const Json& json, const FilterLimits& limits) { return FilterReader(limits).read(json); }

Json to_json(const Filter& filter) {
  JsonObject out;
  if (filter.ids) out.set("ids", list_of(*filter.ids));
  if (filter.authors) out.set("authors", list_of(*filter.authors));
  if (filter.kinds) out.set("kinds", list_of(*filter.kinds));
  for (const auto& [name, values] : filter.tags) out.set(std::string("#") + name, list_of(values));
  if (filter.since) out.set("since", *filter.since);
  if (filter.until) out.set("until", *filter.until);
  if (filter.limit) out.set("limit", *filter.limit);
  return out;
}

bool matches(const Filter& filter, const Event& event) {
  if (filter.ids && !holds(*filter.ids, event.id)) return false;
  if (filter.authors && !holds(*filter.authors, event.pubkey)) return false;
  if (filter.kinds && !holds(*filter.kinds, event.kind)) return false;
  if (filter.since && event.created_at < *filter.since) return false;
  if (filter.until && event.created_at > *filter.until) return false;
  return std::all_of(filter.tags.begin(), filter.tags.end(), [&](const auto& entry) { return has_tag(event, entry.first, entry.second); });
}

bool matches_any(const std::vector<Filter>& filters, const Event& event) {
  return std::any_of(filters.begin(), filters.end(), [&](const Filter& filter) { return matches(filter, event); });
}

}  // namespace assay
