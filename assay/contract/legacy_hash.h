#pragma once
/// @file
/// The hash of the OpenAgents Rust protocol crate, for old peers only. It is not RFC 8785: keys sort by UTF-8 bytes,
/// floats are marked (1.0), integers reach 2^64−1, f32 fields widen to f64, a repeated key keeps its last value.
/// Source: the behaviour of crates/protocol/src/hash.rs with serde_json; see docs/formats.md §1.
///
///     LegacyValue v = LegacyObject{{"x", legacy_f32(0.7)}, {"n", std::uint64_t{5}}};
///     legacy_hash(v);                                     // plain exponents: "1e16"
///     legacy_hash(v, LegacyExponent::plus);               // serde_json 1.0.149 and later: "1e+16"
///
/// Thread safety: values and pure functions.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "assay/base/json.h"

namespace assay {

enum class LegacyExponent { plain, plus };

class LegacyValue;
using LegacyList = std::vector<LegacyValue>;
using LegacyObject = std::map<std::string, LegacyValue>;  // std::string compares bytes as unsigned: the order wanted

/// null, bool, integers, double, string, list or object. Integer and float are different things here (1 and 1.0).
class LegacyValue {
 public:
  using Value = std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, LegacyList, LegacyObject>;
  LegacyValue() = default;
  LegacyValue(bool b) : value(b) {}
  LegacyValue(int i) : value(static_cast<std::int64_t>(i)) {}
  LegacyValue(std::int64_t i) : value(i) {}
  LegacyValue(std::uint64_t i) : value(i) {}
  LegacyValue(double d) : value(d) {}
  LegacyValue(const char* s) : value(std::string(s)) {}
  LegacyValue(std::string s) : value(std::move(s)) {}
  LegacyValue(LegacyList l) : value(std::move(l)) {}
  LegacyValue(LegacyObject o) : value(std::move(o)) {}
  template <class T>
  LegacyValue(const T*) = delete;
  Value value;
};

/// A field that is f32 over there: rounded to f32, then widened.
LegacyValue legacy_f32(double x);

/// The text that is hashed. Strings must be valid UTF-8 (invalid bytes become U+FFFD); NaN and infinities become null.
std::string legacy_text(const LegacyValue& value, LegacyExponent exponent = LegacyExponent::plain);
std::string legacy_hash(const LegacyValue& value, LegacyExponent exponent = LegacyExponent::plain);

/// Reads JSON as that crate does. Errors: `malformed` (lone surrogate, overflow to infinity, trailing text), `limit_exceeded`
/// (127 open containers). Doubles are read correctly rounded; the crate itself may be 1 ulp off beyond 15 digits.
Result<LegacyValue> legacy_read(std::string_view text);

/// Our value as a legacy one: numbers written without '.', 'e' are integers.
LegacyValue legacy_from(const Json& json);

/// compiled_id as Wave 3 computed it; `instruction` null when absent. Two different modules can share it.
std::string legacy_compiled_id(std::string_view signature_name, std::string_view optimizer, const std::string* instruction,
                               std::uint64_t demo_count, LegacyExponent exponent = LegacyExponent::plain);

}  // namespace assay
