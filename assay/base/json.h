#pragma once
/// @file
/// JSON values, the strict reader and the canonical writer (RFC 8785). Only these touch what is hashed.
/// Source: docs/formats.md §1.
///
///     ASSAY_TRY(const Json v, read_json(R"({"b":1,"a":[true,null]})"));
///     v.at("b").as_int();                       // 1
///     canonical(v);                             // Result: {"a":[true,null],"b":1}
///
/// Thread safety: values; reading from many threads is fine, writing needs a lock of yours.

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "assay/base/result.h"

namespace assay {

class Json;
struct JsonMember;
using JsonList = std::vector<Json>;

/// Three-way order of two UTF-8 strings by UTF-16 code units, as RFC 8785 sorts keys. Both must be valid UTF-8.
int compare_utf16(std::string_view a, std::string_view b);

/// Members sorted by UTF-16 code units, no duplicates. Look-up is a binary search; `set` replaces.
class JsonObject {
 public:
  using Member = std::pair<std::string, Json>;
  JsonObject() = default;
  /// `JsonObject{{"a", 1}, {"b", std::move(value)}}`: values are moved in; of two with one name the last stays.
  JsonObject(std::initializer_list<JsonMember> members);
  /// Null if absent. The pointer lives until the object is changed.
  const Json* find(std::string_view key) const;
  Json* find(std::string_view key);
  Json& set(std::string key, Json value);
  bool erase(std::string_view key);
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  std::size_t size() const;
  bool empty() const;
  std::vector<Member>::const_iterator begin() const;
  std::vector<Member>::const_iterator end() const;
  std::vector<Member>::iterator begin();  ///< change values through it, never keys
  std::vector<Member>::iterator end();
  bool operator==(const JsonObject& other) const;

 private:
  friend class JsonReader;
  std::vector<Member> members_;
};

/// null, bool, integer (|x| ≤ 2^53−1), double, string (UTF-8), list or object.
class Json {
 public:
  enum class Kind { null, boolean, integer, number, string, list, object };

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool b) : value_(b) {}
  Json(int i) : value_(static_cast<std::int64_t>(i)) {}
  Json(long i) : value_(static_cast<std::int64_t>(i)) {}
  Json(long long i) : value_(static_cast<std::int64_t>(i)) {}
  Json(unsigned i) : value_(static_cast<std::int64_t>(i)) {}
  Json(unsigned long i) : value_(static_cast<std::int64_t>(i)) {}  ///< the writer refuses what lies beyond 2^53−1
  Json(double d) : value_(d) {}
  Json(const char* s) : value_(std::string(s)) {}
  Json(std::string s) : value_(std::move(s)) {}
  Json(std::string_view s) : value_(std::string(s)) {}
  Json(JsonList l) : value_(std::move(l)) {}
  Json(JsonObject o) : value_(std::move(o)) {}
  template <class T>
  Json(const T*) = delete;  // a pointer is not a boolean

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is_null() const { return kind() == Kind::null; }
  bool is_bool() const { return kind() == Kind::boolean; }
  bool is_int() const { return kind() == Kind::integer; }  ///< lexical: a token without '.', 'e' or 'E'
  bool is_number() const { return kind() == Kind::integer || kind() == Kind::number; }
  bool is_string() const { return kind() == Kind::string; }
  bool is_list() const { return kind() == Kind::list; }
  bool is_object() const { return kind() == Kind::object; }

  // Unchecked access: the kind must be right (ask first), else behaviour is an abort by std::get's exception.
  bool as_bool() const { return std::get<bool>(value_); }
  std::int64_t as_int() const { return std::get<std::int64_t>(value_); }
  double as_double() const { return is_int() ? static_cast<double>(as_int()) : std::get<double>(value_); }
  const std::string& as_string() const { return std::get<std::string>(value_); }
  std::string& as_string() { return std::get<std::string>(value_); }
  const JsonList& as_list() const { return std::get<JsonList>(value_); }
  JsonList& as_list() { return std::get<JsonList>(value_); }
  const JsonObject& as_object() const { return std::get<JsonObject>(value_); }
  JsonObject& as_object() { return std::get<JsonObject>(value_); }

  /// Member of an object, or a null value when this is no object or lacks it.
  const Json& at(std::string_view key) const;
  /// Sets a member; a null value becomes an object first.
  Json& set(std::string key, Json value);
  /// Value at an RFC 6901 pointer, or nullptr.
  const Json* pointer(std::string_view pointer) const;

  /// Numbers compare by value: 1 == 1.0.
  friend bool operator==(const Json& a, const Json& b);

 private:
  friend class JsonReader;  // makes values where they stay
  std::variant<std::monostate, bool, std::int64_t, double, std::string, JsonList, JsonObject> value_;
};

/// A member as it stands in the braces of a JsonObject, which takes it from there.
struct JsonMember {
  mutable std::string key;
  mutable Json value;
};

// Here Json is complete: clang instantiates constexpr members of a vector as soon as it sees them used.
inline std::size_t JsonObject::size() const { return members_.size(); }
inline bool JsonObject::empty() const { return members_.empty(); }
inline std::vector<JsonObject::Member>::const_iterator JsonObject::begin() const { return members_.begin(); }
inline std::vector<JsonObject::Member>::const_iterator JsonObject::end() const { return members_.end(); }
inline std::vector<JsonObject::Member>::iterator JsonObject::begin() { return members_.begin(); }
inline std::vector<JsonObject::Member>::iterator JsonObject::end() { return members_.end(); }
inline bool JsonObject::operator==(const JsonObject& other) const { return members_ == other.members_; }

constexpr std::int64_t json_integer_max = 9007199254740991;  // 2^53 − 1

struct JsonLimits {
  std::size_t bytes_max = std::size_t{64} << 20;
  std::size_t depth_max = 128;  ///< open containers; an artifact: 96
  /// Reading: containers deeper than that are checked and come back empty. A member that occurs twice in one of them is no error there, but
  /// the text is not canonical then.
  std::size_t depth_kept = std::numeric_limits<std::size_t>::max();
  std::size_t depth_texts = std::numeric_limits<std::size_t>::max();  ///< the same for the texts in containers deeper than that
};

/// Strict reader. Refuses duplicate keys, lone surrogates, invalid UTF-8, a BOM, trailing text, too much depth, integers
/// beyond ±(2^53−1), overflowing numbers. Errors: `malformed` or `limit_exceeded`; the path is the RFC 6901 pointer
/// of the place, the message has the byte offset.
/// `*is_canonical`, if given, tells whether the text is exactly what `canonical` would make of the value.
Result<Json> read_json(std::string_view text, const JsonLimits& limits = {}, bool* is_canonical = nullptr);

/// RFC 8785 text. Errors: `malformed` (NaN, infinity, integral values with 2^53 ≤ |x| < 1e21, invalid UTF-8),
/// `limit_exceeded` (depth). The path is the pointer of the place.
Result<std::string> canonical(const Json& value, const JsonLimits& limits = {});
/// As `canonical`, behind what is in `out` already; after an error `out` is as it was.
Result<void> append_canonical(std::string& out, const Json& value, const JsonLimits& limits = {});

/// As ECMAScript prints a finite double (-0 gives "0"). NaN and infinities give "null"; `canonical` refuses them first.
std::string number_text(double x);

/// Hash of the canonical bytes: 64 lowercase hex digits.
Result<std::string> hash(const Json& value, const JsonLimits& limits = {});

/// True if the bytes are well-formed UTF-8 (no surrogates, no overlong forms).
bool valid_utf8(std::string_view bytes);
/// Invalid sequences replaced by U+FFFD; `*replaced` counts them.
std::string to_utf8(std::string_view bytes, std::size_t* replaced = nullptr);

/// Appends the JSON string literal of valid UTF-8 text, quotes included.
void append_json_string(std::string& out, std::string_view text);

/// Escapes one RFC 6901 token ("~" → "~0", "/" → "~1").
std::string pointer_token(std::string_view key);

// Typed reading of members, with errors that name the member.
Result<std::string> string_member(const Json& object, std::string_view key);
Result<std::int64_t> int_member(const Json& object, std::string_view key);
Result<double> number_member(const Json& object, std::string_view key);
Result<bool> bool_member(const Json& object, std::string_view key);
Result<const Json*> member(const Json& object, std::string_view key, Json::Kind kind);

}  // namespace assay
