#include "assay/contract/shape.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/base/sha256.h"

namespace assay {
namespace {

std::string_view kind_text(Json::Kind kind) {
  constexpr std::string_view texts[] = {"null", "a boolean", "an integer", "a number", "a string", "a list", "an object"};
  return texts[static_cast<int>(kind)];
}

bool plain(std::string_view key) { return !key.empty() && key.find_first_of(".[]\" /\n") == std::string_view::npos; }

}  // namespace

std::unexpected<Error> Spot::error(std::string message, std::string remedy) const {
  return fail(ErrorCode::malformed, std::move(message), std::move(remedy), path_);
}

Result<void> Spot::is(Json::Kind kind) const {
  if (value_->kind() == kind || (kind == Json::Kind::number && value_->is_int())) return {};
  return error(fmt::format("expected {}, found {}", kind_text(kind), kind_text(value_->kind())));
}

Spot Spot::member(std::string_view key, const Json& value) const {
  // Paths of predictors hold dots and slashes: those keys are bracketed, so that a path is read in one way only.
  if (plain(key)) return Spot(value, path_.empty() ? std::string(key) : path_ + "." + std::string(key));
  return Spot(value, fmt::format("{}[\"{}\"]", path_, key));
}

Spot Spot::item(std::size_t index) const { return Spot(value_->as_list()[index], fmt::format("{}[{}]", path_, index)); }

Result<Spot> Spot::get(std::string_view key) const {
  ASSAY_CHECK(is(Json::Kind::object));
  const Json* found = value_->as_object().find(key);
  if (found == nullptr) return error(fmt::format("member \"{}\" is missing", key), "every member is present, null when unused");
  return member(key, *found);
}

Result<Spot> Spot::get(std::string_view key, Json::Kind kind) const {
  ASSAY_TRY(Spot found, get(key));
  ASSAY_CHECK(found.is(kind));
  return found;
}

Result<std::optional<Spot>> Spot::get_or_null(std::string_view key, Json::Kind kind) const {
  ASSAY_TRY(Spot found, get(key));
  if (found.value().is_null()) return std::optional<Spot>();
  ASSAY_CHECK(found.is(kind));
  return std::optional<Spot>(std::move(found));
}

Result<std::optional<Spot>> Spot::get_if_set(std::string_view key, Json::Kind kind) const {
  ASSAY_CHECK(is(Json::Kind::object));
  const Json* found = value_->as_object().find(key);
  if (found == nullptr) return std::optional<Spot>();
  Spot spot = member(key, *found);
  if (found->is_null()) return spot.error("this member is never null", "leave it out");
  ASSAY_CHECK(spot.is(kind));
  return std::optional<Spot>(std::move(spot));
}

Result<std::string> Spot::text(std::string_view key) const {
  ASSAY_TRY(const Spot found, get(key, Json::Kind::string));
  return found.value().as_string();
}

Result<std::int64_t> Spot::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
  ASSAY_TRY(const Spot found, get(key, Json::Kind::integer));
  const std::int64_t value = found.value().as_int();
  if (value < least || value > most) return found.error(fmt::format("expected an integer from {} to {}, found {}", least, most, value));
  return value;
}

Result<double> Spot::number(std::string_view key) const {
  ASSAY_TRY(const Spot found, get(key, Json::Kind::number));
  return found.value().as_double();
}

Result<bool> Spot::boolean(std::string_view key) const {
  ASSAY_TRY(const Spot found, get(key, Json::Kind::boolean));
  return found.value().as_bool();
}

Result<std::string> Spot::hex_text(std::string_view key, std::size_t digits) const {
  ASSAY_TRY(const Spot found, get(key, Json::Kind::string));
  if (!is_hex(found.value().as_string(), digits)) {
    return found.error(fmt::format("expected {} lowercase hex digits, without a prefix", digits));
  }
  return found.value().as_string();
}

JsonObject Spot::others(std::initializer_list<std::string_view> known) const {
  JsonObject out;
  for (const auto& [key, value] : value_->as_object()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) out.set(key, value);
  }
  return out;
}

}  // namespace assay
