#include "assay/hud/redact.h"

#include <algorithm>
#include <iterator>

namespace assay {
namespace {

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool is_secret_byte(char c) { return is_alnum(c) || c == '_' || c == '-' || c == '.' || c == '/' || c == '+' || c == '='; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool starts_with_lower(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) { return a == lower(b); });
}

// A prefix, and how many bytes must follow before it is taken for a secret and not for a word.
struct Shape {
  std::string_view prefix;
  std::size_t rest_bytes_min;
};
constexpr Shape shapes[] = {{"sk-", 16},   {"ghp_", 20}, {"gho_", 20}, {"ghs_", 20}, {"github_pat_", 20}, {"glpat-", 16}, {"xoxb-", 10},
                            {"xoxp-", 10}, {"AKIA", 16}, {"ASIA", 16}, {"AIza", 30}, {"hf_", 20},         {"nsec1", 40},  {"sk_live_", 16}};

std::size_t run_length(std::string_view text) {
  return static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_secret_byte) - text.begin());
}

std::size_t pem_length(std::string_view text) {
  if (!text.starts_with("-----BEGIN ")) return 0;
  const std::string_view label = text.substr(11, 40);
  const std::size_t close = label.find("-----");
  if (close == std::string_view::npos || !label.substr(0, close).ends_with("PRIVATE KEY")) return 0;
  const std::size_t end = text.find("-----END ");
  if (end == std::string_view::npos) return text.size();
  const std::size_t after = text.find("-----", end + 9);
  return after == std::string_view::npos ? text.size() : after + 5;
}

std::size_t web_token_length(std::string_view text) {
  if (!text.starts_with("eyJ")) return 0;
  const std::size_t length = run_length(text);
  return length >= 40 && std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length), '.') == 2 ? length : 0;
}

// Bytes at the start of `text` to keep, and after them bytes to hide; hide 0: no secret begins here.
struct Found {
  std::size_t keep = 0, hide = 0;
};
Found secret_at(std::string_view text) {
  if (const std::size_t length = pem_length(text)) return {0, length};
  if (const std::size_t length = web_token_length(text)) return {0, length};
  if (starts_with_lower(text, "bearer ")) {
    if (const std::size_t length = run_length(text.substr(7)); length >= 12) return {7, length};
  }
  for (const Shape& shape : shapes) {
    if (!text.starts_with(shape.prefix)) continue;
    const std::size_t length = run_length(text);
    if (length >= shape.prefix.size() + shape.rest_bytes_min) return {0, length};
  }
  return {};
}

bool is_secret_key(std::string_view key) {
  constexpr std::string_view names[] = {"token", "secret", "password", "api_key", "apikey", "authorization", "bearer"};
  return std::any_of(std::begin(names), std::end(names),
                     [&](std::string_view name) { return key.size() == name.size() && starts_with_lower(key, name); });
}

}  // namespace

std::string redact_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const bool at_word_start = i == 0 || !is_alnum(text[i - 1]);
    const Found found = at_word_start ? secret_at(text.substr(i)) : Found{};
    if (found.hide == 0) {
      out += text[i++];
      continue;
    }
    out.append(text.substr(i, found.keep)).append(redacted_mark);
    i += found.keep + found.hide;
  }
  return out;
}

Json redact_value(const Json& value) {
  if (value.is_string()) return Json(redact_text(value.as_string()));
  if (value.is_list()) {
    JsonList list;
    list.reserve(value.as_list().size());
    for (const Json& item : value.as_list()) list.push_back(redact_value(item));
    return Json(std::move(list));
  }
  if (!value.is_object()) return value;
  JsonObject object = value.as_object();
  for (auto& [key, member] : object) member = member.is_string() && is_secret_key(key) ? Json(redacted_mark) : redact_value(member);
  return Json(std::move(object));
}

}  // namespace assay
