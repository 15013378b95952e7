#include "assay/contract/legacy_hash.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "assay/base/sha256.h"

namespace assay {
namespace {

// Shortest digits, always marked as a float: positional for exponents of the leading digit from −5 to 15, else d.ddde±X.
std::string float_text(double x, LegacyExponent style) {
  if (!std::isfinite(x)) return "null";
  if (x == 0) return std::signbit(x) ? "-0.0" : "0.0";
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(x), std::chars_format::scientific).ptr;
  std::string digits;
  int exponent = 0;
  for (const char* at = buffer; at != end; ++at) {
    if (*at == 'e') {
      std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, exponent);
      break;
    }
    if (*at != '.') digits += *at;
  }
  std::string out = std::signbit(x) ? "-" : "";
  const auto point = static_cast<std::size_t>(exponent < 0 ? 0 : exponent + 1);
  if (exponent >= -5 && exponent < 0) return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  if (exponent >= 0 && exponent <= 15) {
    if (digits.size() <= point) return out + digits + std::string(point - digits.size(), '0') + ".0";
    return out + digits.substr(0, point) + "." + digits.substr(point);
  }
  out += digits.substr(0, 1);
  if (digits.size() > 1) out += "." + digits.substr(1);
  return out + "e" + (exponent > 0 && style == LegacyExponent::plus ? "+" : "") + std::to_string(exponent);
}

class LegacyWriter {
 public:
  explicit LegacyWriter(LegacyExponent exponent) : exponent_(exponent) {}
  std::string out;

  void write(const LegacyValue& value) {
    std::visit([this](const auto& v) { put(v); }, value.value);
  }

 private:
  void put(std::monostate) { out += "null"; }
  void put(bool b) { out += b ? "true" : "false"; }
  void put(std::int64_t i) { out += std::to_string(i); }
  void put(std::uint64_t i) { out += std::to_string(i); }
  void put(double d) { out += float_text(d, exponent_); }
  void put(const std::string& s) { append_json_string(out, to_utf8(s)); }
  void put(const LegacyList& list) {
    out += '[';
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (i > 0) out += ',';
      write(list[i]);
    }
    out += ']';
  }
  void put(const LegacyObject& object) {
    out += '{';
    bool first = true;
    for (const auto& [key, value] : object) {
      if (!first) out += ',';
      first = false;
      append_json_string(out, to_utf8(key));
      out += ':';
      write(value);
    }
    out += '}';
  }
  LegacyExponent exponent_;
};

// A reader of its own: the strict one refuses what this dialect accepts (repeated keys, integers up to 2^64−1, -0).
class LegacyReader {
 public:
  explicit LegacyReader(std::string_view text) : text_(text) {}

  Result<LegacyValue> read() {
    LegacyValue value;
    ASSAY_CHECK(read_value(value));
    space();
    if (at_ != text_.size()) return error("expected the end");
    return value;
  }

 private:
  std::unexpected<Error> error(std::string_view message) const {
    return fail(ErrorCode::malformed, fmt::format("{} (byte {})", message, at_));
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  bool take(char c) {
    space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  Result<void> word(std::string_view w, LegacyValue& out, LegacyValue value) {
    if (text_.substr(at_, w.size()) != w) return error("expected a value");
    at_ += w.size();
    out = std::move(value);
    return {};
  }

  Result<void> read_value(LegacyValue& out) {
    space();
    if (at_ == text_.size()) return error("expected a value, found the end");
    switch (text_[at_]) {
      case '{': return read_object(out);
      case '[': return read_list(out);
      case '"': {
        ASSAY_TRY(std::string s, read_string());
        out = LegacyValue(std::move(s));
        return {};
      }
      case 't': return word("true", out, LegacyValue(true));
      case 'f': return word("false", out, LegacyValue(false));
      case 'n': return word("null", out, LegacyValue());
      default: return read_number(out);
    }
  }

  Result<void> open() {
    if (++depth_ > 127) return fail(ErrorCode::limit_exceeded, "more than 127 open containers");
    ++at_;
    return {};
  }

  Result<void> read_list(LegacyValue& out) {
    ASSAY_CHECK(open());
    LegacyList list;
    if (!take(']')) {
      while (true) {  // ends: every round consumes a value or returns
        ASSAY_CHECK(read_value(list.emplace_back()));
        if (take(']')) break;
        if (!take(',')) return error("expected ',' or ']'");
      }
    }
    --depth_;
    out = LegacyValue(std::move(list));
    return {};
  }

  Result<void> read_object(LegacyValue& out) {
    ASSAY_CHECK(open());
    LegacyObject object;
    if (!take('}')) {
      while (true) {  // ends: every round consumes a member or returns
        space();
        if (at_ == text_.size() || text_[at_] != '"') return error("expected a member name in quotes");
        ASSAY_TRY(std::string key, read_string());
        if (!take(':')) return error("expected ':'");
        LegacyValue value;
        ASSAY_CHECK(read_value(value));
        object.insert_or_assign(std::move(key), std::move(value));  // the last value of a repeated key wins
        if (take('}')) break;
        if (!take(',')) return error("expected ',' or '}'");
      }
    }
    --depth_;
    out = LegacyValue(std::move(object));
    return {};
  }

  // Strings have the same grammar in both dialects, so the strict reader reads the token.
  Result<std::string> read_string() {
    std::size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != '"') end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return error("the string is not closed");
    const auto token = read_json(text_.substr(at_, end + 1 - at_));
    if (!token) return error(token.error().message);
    at_ = end + 1;
    return token->as_string();
  }

  static bool digit(char c) { return c >= '0' && c <= '9'; }
  char peek(std::size_t at) const { return at < text_.size() ? text_[at] : '\0'; }

  Result<void> read_number(LegacyValue& out) {
    std::size_t end = at_ + (peek(at_) == '-' ? 1 : 0);
    if (!digit(peek(end))) return error("expected a value");
    if (peek(end) == '0' && digit(peek(end + 1))) return error("a number has no leading zero");
    while (digit(peek(end))) ++end;
    bool integer = true;
    if (peek(end) == '.') {
      integer = false;
      if (!digit(peek(++end))) return error("expected a digit after '.'");
      while (digit(peek(end))) ++end;
    }
    if (peek(end) == 'e' || peek(end) == 'E') {
      integer = false;
      ++end;
      if (peek(end) == '+' || peek(end) == '-') ++end;
      if (!digit(peek(end))) return error("expected a digit in the exponent");
      while (digit(peek(end))) ++end;
    }
    ASSAY_CHECK(number_from(std::string(text_.substr(at_, end - at_)), integer, out));
    at_ = end;
    return {};
  }

  // i64, else u64, else a double; -0 is the double -0.0.
  Result<void> number_from(const std::string& token, bool integer, LegacyValue& out) {
    const char* end = token.data() + token.size();
    if (integer && token != "-0") {
      std::int64_t small = 0;
      if (std::from_chars(token.data(), end, small).ec == std::errc{}) {
        out = LegacyValue(small);
        return {};
      }
      std::uint64_t large = 0;
      if (token[0] != '-' && std::from_chars(token.data(), end, large).ec == std::errc{}) {
        out = LegacyValue(large);
        return {};
      }
    }
    double value = 0;
    const auto [at, ec] = std::from_chars(token.data(), end, value);
    if (ec == std::errc::result_out_of_range) value = std::strtod(token.c_str(), nullptr);  // tells overflow from underflow
    if (!std::isfinite(value)) return error("the number overflows a double");
    out = LegacyValue(value);
    return {};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
};

}  // namespace

LegacyValue legacy_f32(double x) { return LegacyValue(static_cast<double>(static_cast<float>(x))); }

std::string legacy_text(const LegacyValue& value, LegacyExponent exponent) {
  LegacyWriter writer(exponent);
  writer.write(value);
  return std::move(writer.out);
}

std::string legacy_hash(const LegacyValue& value, LegacyExponent exponent) { return sha256_hex(legacy_text(value, exponent)); }

Result<LegacyValue> legacy_read(std::string_view text) { return LegacyReader(text).read(); }

LegacyValue legacy_from(const Json& json) {
  switch (json.kind()) {
    case Json::Kind::null: return {};
    case Json::Kind::boolean: return json.as_bool();
    case Json::Kind::integer: return json.as_int();
    case Json::Kind::number: return json.as_double();
    case Json::Kind::string: return json.as_string();
    case Json::Kind::list: {
      LegacyList out;
      for (const Json& item : json.as_list()) out.push_back(legacy_from(item));
      return out;
    }
    case Json::Kind::object: {
      LegacyObject out;
      for (const auto& [key, value] : json.as_object()) out.insert_or_assign(key, legacy_from(value));
      return out;
    }
  }
  return {};
}

std::string legacy_compiled_id(std::string_view signature_name, std::string_view optimizer, const std::string* instruction,
                               std::uint64_t demo_count, LegacyExponent exponent) {
  return legacy_hash(LegacyObject{{"signature_name", std::string(signature_name)},
                                  {"optimizer", std::string(optimizer)},
                                  {"instruction", instruction != nullptr ? LegacyValue(*instruction) : LegacyValue()},
                                  {"demo_count", demo_count}},
                     exponent);
}

}  // namespace assay
