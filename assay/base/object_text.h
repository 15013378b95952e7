#pragma once
/// @file
/// The canonical text of an object whose members are known, written without making the object first. For lines of which there are many.
///
///     ObjectText data(out, depth_max);
///     data.value("inputs", inputs);
///     data.text("name", "classify");
///     ASSAY_CHECK(data.finish());                // out has {"inputs":{…},"name":"classify"} behind what it had
///
/// Names are plain ASCII and come in their order: that is the caller's to keep, and of its tests to see.
/// Thread safety: belongs to one thread.

#include <optional>
#include <string>
#include <string_view>

#include "assay/base/json.h"

namespace assay {

class ObjectText {
 public:
  /// `depth_max` counts the containers inside the object. `out` outlives it.
  ObjectText(std::string& out, std::size_t depth_max) : out_(out), limits_{.depth_max = depth_max} { out_ += '{'; }
  void value(std::string_view name, const Json& value) {
    member(name);
    if (problem_) return;
    if (auto written = append_canonical(out_, value, limits_); !written) problem_ = std::move(written).error().in(name);
  }
  void text(std::string_view name, std::string_view value) {
    member(name);
    if (!valid_utf8(value) && !problem_) problem_ = Error{ErrorCode::malformed, "invalid UTF-8", std::string(name), {}};
    append_json_string(out_, value);
  }
  /// Canonical text of a value, as it is.
  void raw(std::string_view name, std::string_view canonical_text) { member(name) += canonical_text; }
  /// The name of a member whose value the caller writes to what is returned.
  std::string& member(std::string_view name) {
    out_ += first_ ? std::string_view("\"") : std::string_view(",\"");
    first_ = false;
    out_ += name;
    out_ += std::string_view("\":");
    return out_;
  }
  /// Errors: the first of `canonical` and of `text`.
  Result<void> finish() {
    out_ += '}';
    if (problem_) return std::unexpected(std::move(*problem_));
    return {};
  }

 private:
  std::string& out_;
  JsonLimits limits_;
  bool first_ = true;
  std::optional<Error> problem_;
};

}  // namespace assay
