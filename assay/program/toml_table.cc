#include "assay/program/toml_table.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "assay/base/nearest.h"

namespace assay {
namespace {

Result<Json> node_json(const toml::node& node) {
  if (const auto* s = node.as_string()) return Json(s->get());
  if (const auto* i = node.as_integer()) return Json(i->get());
  if (const auto* d = node.as_floating_point()) return Json(d->get());
  if (const auto* b = node.as_boolean()) return Json(b->get());
  if (const auto* list = node.as_array()) {
    JsonList out;
    for (const toml::node& item : *list) {
      ASSAY_TRY(Json value, node_json(item));
      out.push_back(std::move(value));
    }
    return Json(std::move(out));
  }
  if (const auto* table = node.as_table()) {
    JsonObject out;
    for (const auto& [key, item] : *table) {
      ASSAY_TRY(Json value, node_json(item));
      out.set(std::string(key.str()), std::move(value));
    }
    return Json(std::move(out));
  }
  return fail(ErrorCode::malformed, "dates and times have no place here", "write a text");
}

}  // namespace

std::string TomlTable::where(std::string_view key) const {
  toml::source_region region = table_->source();
  for (const auto& [name, node] : *table_) {
    if (name.str() == key) region = name.source().begin.line > 0 ? name.source() : node.source();
  }
  return fmt::format("{}:{}:{}", file_, region.begin.line, region.begin.column);
}

std::unexpected<Error> TomlTable::error(std::string_view key, std::string message, std::string remedy) const {
  return fail(ErrorCode::malformed, std::move(message), std::move(remedy), where(key));
}

Result<void> TomlTable::only(const std::vector<std::string_view>& known) const {
  for (const auto& [key, node] : *table_) {
    if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
    const std::string near = nearest(key.str(), known);
    std::string all;
    for (const std::string_view k : known) all += (all.empty() ? "" : ", ") + std::string(k);
    return error(key.str(), fmt::format("unknown key '{}' in {}", std::string(key.str()), place_),
                 near.empty() ? "known keys: " + all : fmt::format("did you mean '{}'?", near));
  }
  return {};
}

Result<void> TomlTable::text(std::string_view key, std::string& out) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) return {};
  const auto* value = node->as_string();
  if (value == nullptr) return error(key, fmt::format("'{}' is a text", key), "put it in quotes");
  out = value->get();
  return {};
}

Result<void> TomlTable::integer(std::string_view key, std::int64_t& out) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) return {};
  const auto* value = node->as_integer();
  if (value == nullptr) return error(key, fmt::format("'{}' is an integer", key));
  out = value->get();
  return {};
}

Result<void> TomlTable::number(std::string_view key, double& out) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) return {};
  if (const auto* i = node->as_integer()) out = static_cast<double>(i->get());
  else if (const auto* d = node->as_floating_point(); d != nullptr && std::isfinite(d->get())) out = d->get();
  else return error(key, fmt::format("'{}' must be a finite number", key));
  return {};
}

Result<void> TomlTable::boolean(std::string_view key, bool& out) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) return {};
  const auto* value = node->as_boolean();
  if (value == nullptr) return error(key, fmt::format("'{}' is true or false", key));
  out = value->get();
  return {};
}

Result<void> TomlTable::texts(std::string_view key, std::vector<std::string>& out) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) return {};
  const auto* list = node->as_array();
  if (list == nullptr) return error(key, fmt::format("'{}' is a list of texts", key), "write [\"…\"]");
  out.clear();
  for (const toml::node& item : *list) {
    const auto* value = item.as_string();
    if (value == nullptr) return error(key, fmt::format("'{}' is a list of texts", key), "put each in quotes");
    out.push_back(value->get());
  }
  return {};
}

Result<TomlTable> TomlTable::table(std::string_view key) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) return error(key, fmt::format("{} has no '{}'", place_, key), fmt::format("add [{}]", key));
  const auto* value = node->as_table();
  if (value == nullptr) return error(key, fmt::format("'{}' is a table", key));
  return TomlTable(*value, file_, fmt::format("[{}]", key));
}

Result<std::vector<TomlTable>> TomlTable::tables(std::string_view key) const {
  std::vector<TomlTable> out;
  const toml::node* node = table_->get(key);
  if (node == nullptr) return out;
  const auto* list = node->as_array();
  if (list == nullptr) return error(key, fmt::format("'{}' is written as [[{}]]", key, key));
  for (const toml::node& item : *list) {
    const auto* value = item.as_table();
    if (value == nullptr) return error(key, fmt::format("'{}' is written as [[{}]]", key, key));
    out.emplace_back(*value, file_, fmt::format("[[{}]]", key));
  }
  return out;
}

Result<Json> TomlTable::json(std::string_view key) const {
  const toml::node* node = table_->get(key);
  if (node == nullptr) return Json();
  auto value = node_json(*node);
  if (!value) return error(key, value.error().message, value.error().remedy);
  return value;
}

Result<Json> TomlTable::as_json() const { return node_json(*table_); }

std::vector<std::string> TomlTable::keys() const {
  std::vector<std::pair<toml::source_index, std::string>> placed;
  for (const auto& [key, node] : *table_) placed.emplace_back(key.source().begin.line, std::string(key.str()));
  std::sort(placed.begin(), placed.end());  // keys of one line: by name
  std::vector<std::string> out;
  for (auto& [line, key] : placed) out.push_back(std::move(key));
  return out;
}

}  // namespace assay
