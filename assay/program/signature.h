#pragma once
/// @file
/// Signatures: typed inputs and outputs of an LM function, with instructions (docs/formats.md §2 SIGNATURE).
///
///     ASSAY_TRY(const Signature s, Signature::parse("ticket -> urgency: Literal['low','high'], team"));
///     s.inputs[0].name;                       // "ticket", a str
///     s.to_json();                            // SIGNATURE of the artifact
///
/// Thread safety: a value.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"

namespace assay {

struct Field {
  std::string name;
  std::string description;
  Json schema = JsonObject{{"type", "string"}};
  std::string label;  ///< a PrivacyMode; empty when unset
};

struct SignatureLimits {
  std::size_t text_bytes_max = 64 * 1024;
  std::size_t fields_max = 256;
};

struct Signature {
  std::string name;
  std::string instructions;
  std::vector<Field> inputs, outputs;

  /// "a, b: int -> c: Literal['x','y'], d". A missing type is str. Instructions name the fields when `instructions` is
  /// empty. Errors: `malformed` with the column; `limit_exceeded`.
  static Result<Signature> parse(std::string_view text, std::string name = "Signature", std::string instructions = {},
                                 const SignatureLimits& limits = {});
  static Result<Signature> read(const Json& value);
  Json to_json() const;

  const Field* input(std::string_view name) const;
  const Field* output(std::string_view name) const;

  /// Values typed by the signature: unknown fields are refused, an absent Optional becomes null, others must be there.
  Result<Json> check_inputs(const Json& values) const;
  Result<Json> check_outputs(const Json& values) const;
  /// The same without a copy: values with nulls for absent Optionals come in `filled`, and only if one is absent.
  Result<void> fit_inputs(const Json& values, std::optional<Json>& filled) const;
  /// The same in place.
  Result<void> fit_outputs(Json& values) const;
};

}  // namespace assay
