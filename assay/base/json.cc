#include "assay/base/json.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "assay/base/sha256.h"

namespace assay {
namespace {

const Json null_json;

// Lead bytes of astral characters (UTF-16 surrogates, D800…) sort before U+E000…U+FFFF (lead bytes EE, EF).
int utf16_rank(unsigned char byte) {
  if (byte >= 0xF0) return byte - 0xF0 + 0xEE;
  if (byte >= 0xEE) return byte + 0x10;
  return byte;
}

std::string_view kind_name(Json::Kind kind) {
  constexpr std::string_view names[] = {"null", "a boolean", "an integer", "a number", "a string", "a list", "an object"};
  return names[static_cast<int>(kind)];
}

}  // namespace

int compare_utf16(std::string_view a, std::string_view b) {
  const std::size_t common = std::min(a.size(), b.size());
  std::size_t at = 0;
  if constexpr (std::endian::native == std::endian::little) {
    for (; at + 8 <= common; at += 8) {  // eight bytes at a time to the first that differs
      std::uint64_t x = 0, y = 0;
      std::memcpy(&x, a.data() + at, 8);
      std::memcpy(&y, b.data() + at, 8);
      if (x == y) continue;
      at += static_cast<std::size_t>(std::countr_zero(x ^ y)) / 8;
      return utf16_rank(static_cast<unsigned char>(a[at])) - utf16_rank(static_cast<unsigned char>(b[at]));
    }
  }
  while (at < common && a[at] == b[at]) ++at;
  if (at == common) return a.size() == b.size() ? 0 : (a.size() < b.size() ? -1 : 1);
  return utf16_rank(static_cast<unsigned char>(a[at])) - utf16_rank(static_cast<unsigned char>(b[at]));
}

JsonObject::JsonObject(std::initializer_list<JsonMember> members) {
  members_.reserve(members.size());
  for (const JsonMember& member : members) {
    const bool last = members_.empty() || compare_utf16(members_.back().first, member.key) < 0;
    if (last) members_.emplace_back(std::move(member.key), std::move(member.value));
    else set(std::move(member.key), std::move(member.value));
  }
}

namespace {
template <class Members>
auto lower(Members& members, std::string_view key) {
  return std::lower_bound(members.begin(), members.end(), key,
                          [](const auto& m, std::string_view k) { return compare_utf16(m.first, k) < 0; });
}

// Few keys are found sooner by looking at each: most differ in their length or their first byte.
template <class Members>
auto* find_in(Members& members, std::string_view key) {
  constexpr std::size_t few = 16;
  if (members.size() > few) {
    const auto at = lower(members, key);
    return at != members.end() && at->first == key ? &at->second : nullptr;
  }
  for (auto& [name, value] : members) {
    if (name.size() == key.size() && (key.empty() || (name[0] == key[0] && std::memcmp(name.data(), key.data(), key.size()) == 0)))
      return &value;
  }
  return static_cast<decltype(&members[0].second)>(nullptr);
}
}  // namespace

const Json* JsonObject::find(std::string_view key) const { return find_in(members_, key); }

Json* JsonObject::find(std::string_view key) { return find_in(members_, key); }

Json& JsonObject::set(std::string key, Json value) {
  if (members_.empty() || compare_utf16(members_.back().first, key) < 0)  // in order, as most are set
    return members_.emplace_back(std::move(key), std::move(value)).second;
  auto at = lower(members_, key);
  if (at != members_.end() && at->first == key) {
    at->second = std::move(value);
    return at->second;
  }
  return members_.emplace(at, std::move(key), std::move(value))->second;
}

bool JsonObject::erase(std::string_view key) {
  const auto at = lower(members_, key);
  if (at == members_.end() || at->first != key) return false;
  members_.erase(at);
  return true;
}

const Json& Json::at(std::string_view key) const {
  if (!is_object()) return null_json;
  const Json* found = as_object().find(key);
  return found != nullptr ? *found : null_json;
}

Json& Json::set(std::string key, Json value) {
  if (!is_object()) value_ = JsonObject{};
  return as_object().set(std::move(key), std::move(value));
}

const Json* Json::pointer(std::string_view pointer) const {
  const Json* at = this;
  while (!pointer.empty()) {  // ends: every round takes one token off the pointer
    if (pointer.front() != '/') return nullptr;
    pointer.remove_prefix(1);
    const std::size_t end = std::min(pointer.find('/'), pointer.size());
    std::string token;
    for (std::size_t i = 0; i < end; ++i) {
      if (pointer[i] == '~' && i + 1 < end && (pointer[i + 1] == '0' || pointer[i + 1] == '1')) {
        token += pointer[++i] == '0' ? '~' : '/';
      } else {
        token += pointer[i];
      }
    }
    pointer.remove_prefix(end);
    if (at->is_object()) {
      at = at->as_object().find(token);
    } else if (at->is_list()) {
      if (token.empty() || token.size() > 9 || token.find_first_not_of("0123456789") != std::string::npos) return nullptr;
      const std::size_t index = std::stoul(token);
      at = index < at->as_list().size() ? &at->as_list()[index] : nullptr;
    } else {
      return nullptr;
    }
    if (at == nullptr) return nullptr;
  }
  return at;
}

bool operator==(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_int() && b.is_int()) return a.as_int() == b.as_int();
    return a.as_double() == b.as_double();
  }
  return a.value_ == b.value_;
}

std::string pointer_token(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~') out += "~0";
    else if (c == '/') out += "~1";
    else out += c;
  }
  return out;
}

Result<const Json*> member(const Json& object, std::string_view key, Json::Kind kind) {
  if (!object.is_object()) return fail(ErrorCode::malformed, "expected an object, found " + std::string(kind_name(object.kind())));
  const Json* found = object.as_object().find(key);
  if (found == nullptr) {
    return fail(ErrorCode::malformed, fmt::format("member \"{}\" is missing", key), "", std::string(key));
  }
  const bool fits = found->kind() == kind || (kind == Json::Kind::number && found->is_int());
  if (!fits) {
    return fail(ErrorCode::malformed, fmt::format("expected {}, found {}", kind_name(kind), kind_name(found->kind())), "",
                std::string(key));
  }
  return found;
}

Result<std::string> string_member(const Json& object, std::string_view key) {
  ASSAY_TRY(const Json* found, member(object, key, Json::Kind::string));
  return found->as_string();
}
Result<std::int64_t> int_member(const Json& object, std::string_view key) {
  ASSAY_TRY(const Json* found, member(object, key, Json::Kind::integer));
  return found->as_int();
}
Result<double> number_member(const Json& object, std::string_view key) {
  ASSAY_TRY(const Json* found, member(object, key, Json::Kind::number));
  return found->as_double();
}
Result<bool> bool_member(const Json& object, std::string_view key) {
  ASSAY_TRY(const Json* found, member(object, key, Json::Kind::boolean));
  return found->as_bool();
}

}  // namespace assay
