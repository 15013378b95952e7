#pragma once
/// @file
/// Checking the shape of JSON with errors that name the place: a value together with its path. For readers of formats.
///
///     const Spot root{json, ""};
///     ASSAY_TRY(const Spot inputs, root.get("inputs", Json::Kind::list));   // "inputs: expected a list, found null"
///     for (std::size_t i = 0; i < inputs.size(); ++i) ASSAY_CHECK(check_field(inputs.item(i)));
///
/// A Spot refers to the value and must not outlive it. Thread safety: values.

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "assay/base/json.h"

namespace assay {

class Spot {
 public:
  Spot(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const Json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  std::unexpected<Error> error(std::string message, std::string remedy = {}) const;

  /// This value must be of the kind (`number` takes integers too).
  Result<void> is(Json::Kind kind) const;
  /// A member that must be there.
  Result<Spot> get(std::string_view key) const;
  Result<Spot> get(std::string_view key, Json::Kind kind) const;
  /// A member that must be there; nullopt when it is null.
  Result<std::optional<Spot>> get_or_null(std::string_view key, Json::Kind kind) const;
  /// A member that may be absent, and then is nullopt; null is refused.
  Result<std::optional<Spot>> get_if_set(std::string_view key, Json::Kind kind) const;

  Result<std::string> text(std::string_view key) const;
  Result<std::int64_t> integer(std::string_view key, std::int64_t least = -json_integer_max, std::int64_t most = json_integer_max) const;
  Result<double> number(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  /// Lowercase hex of exactly that many digits.
  Result<std::string> hex_text(std::string_view key, std::size_t digits = 64) const;

  std::size_t size() const { return value_->as_list().size(); }      ///< lists only
  Spot item(std::size_t index) const;                                ///< lists only
  Spot member(std::string_view key, const Json& value) const;        ///< while walking an object
  /// Members that are none of `known`, for the `extra` of a typed struct.
  JsonObject others(std::initializer_list<std::string_view> known) const;

 private:
  const Json* value_;
  std::string path_;
};

}  // namespace assay
