// The canonical writer (RFC 8785) and UTF-8 checks.
#include <charconv>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "assay/base/json.h"

namespace assay {
namespace {

// Length of the well-formed sequence at the front, or 0.
std::size_t sequence_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const auto tail = [&](std::size_t i) { return i < s.size() && (byte(i) & 0xC0) == 0x80; };
  const unsigned char c = byte(0);
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c <= 0xDF) return tail(1) ? 2 : 0;
  if (c >= 0xE0 && c <= 0xEF) {
    if (!tail(1) || !tail(2)) return 0;
    if (c == 0xE0 && byte(1) < 0xA0) return 0;
    if (c == 0xED && byte(1) > 0x9F) return 0;
    return 3;
  }
  if (c >= 0xF0 && c <= 0xF4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    if (c == 0xF0 && byte(1) < 0x90) return 0;
    if (c == 0xF4 && byte(1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

class Writer {
 public:
  explicit Writer(const JsonLimits& limits) : limits_(limits) {}

  Result<void> write(const Json& value) {
    switch (value.kind()) {
      case Json::Kind::null: out += "null"; return {};
      case Json::Kind::boolean: out += value.as_bool() ? "true" : "false"; return {};
      case Json::Kind::integer: return write_int(value.as_int());
      case Json::Kind::number: return write_double(value.as_double());
      case Json::Kind::string: return write_string(value.as_string());
      case Json::Kind::list: return write_list(value.as_list());
      case Json::Kind::object: return write_object(value.as_object());
    }
    return {};
  }

  std::string out;

 private:
  std::unexpected<Error> error(std::string message, std::string remedy = {}, ErrorCode code = ErrorCode::malformed) const {
    std::string pointer;
    for (const auto& token : path_) pointer += "/" + pointer_token(token);
    return fail(code, std::move(message), std::move(remedy), std::move(pointer));
  }

  Result<void> write_int(std::int64_t value) {
    if (value > json_integer_max || value < -json_integer_max) return error("the integer lies beyond ±(2^53−1)", "write it as a string");
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out.append(digits, end);
    return {};
  }

  Result<void> write_double(double value) {
    if (!std::isfinite(value)) return error("NaN and infinities are not JSON");
    const double magnitude = std::fabs(value);
    if (magnitude >= 9007199254740992.0 && magnitude < 1e21) {
      return error("an integral number between 2^53 and 1e21 has no canonical form", "write it as a string");
    }
    out += number_text(value);
    return {};
  }

  Result<void> write_string(std::string_view text) {
    if (!valid_utf8(text)) return error("invalid UTF-8", "wrap bytes as {\"$base64\": …}");
    append_json_string(out, text);
    return {};
  }

  Result<void> write_list(const JsonList& list) {
    if (++depth_ > limits_.depth_max) return too_deep();
    out += '[';
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (i > 0) out += ',';
      path_.push_back(std::to_string(i));
      ASSAY_CHECK(write(list[i]));
      path_.pop_back();
    }
    out += ']';
    --depth_;
    return {};
  }

  Result<void> write_object(const JsonObject& object) {
    if (++depth_ > limits_.depth_max) return too_deep();
    out += '{';
    bool first = true;
    for (const auto& [key, value] : object) {
      if (!first) out += ',';
      first = false;
      path_.push_back(key);
      ASSAY_CHECK(write_string(key));
      out += ':';
      ASSAY_CHECK(write(value));
      path_.pop_back();
    }
    out += '}';
    --depth_;
    return {};
  }

  std::unexpected<Error> too_deep() const {
    return error(fmt::format("more than {} open containers", limits_.depth_max), "nest less deeply", ErrorCode::limit_exceeded);
  }

  JsonLimits limits_;
  std::size_t depth_ = 0;
  std::vector<std::string> path_;
};

}  // namespace

bool valid_utf8(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    if (static_cast<unsigned char>(bytes[at]) < 0x80) {  // most text is ASCII: eight bytes at a time
      std::uint64_t word = 0;
      if (at + 8 <= bytes.size() && (std::memcpy(&word, bytes.data() + at, 8), (word & 0x8080808080808080ULL) == 0)) {
        at += 8;
        continue;
      }
      ++at;
      continue;
    }
    const std::size_t length = sequence_length(bytes.substr(at));
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string to_utf8(std::string_view bytes, std::size_t* replaced) {
  std::string out;
  out.reserve(bytes.size());
  std::size_t bad = 0;
  while (!bytes.empty()) {
    const std::size_t length = sequence_length(bytes);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
      ++bad;
      bytes.remove_prefix(1);
    } else {
      out.append(bytes.substr(0, length));
      bytes.remove_prefix(length);
    }
  }
  if (replaced != nullptr) *replaced = bad;
  return out;
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text.substr(begin, i - begin));
    begin = i + 1;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default: out += fmt::format("\\u{:04x}", c);
    }
  }
  out.append(text.substr(begin));
  out += '"';
}

std::string number_text(double x) {
  if (!std::isfinite(x)) return "null";
  if (x == 0) return "0";
  char shortest[32];
  const auto end = std::to_chars(shortest, shortest + sizeof shortest, std::fabs(x), std::chars_format::scientific).ptr;
  std::string digits;
  int exponent = 0;
  for (const char* at = shortest; at != end; ++at) {  // "d.ddde±xx" → digits and exponent
    if (*at == 'e') {
      std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, exponent);
      break;
    }
    if (*at != '.') digits += *at;
  }
  const int count = static_cast<int>(digits.size());
  const int point = exponent + 1;  // position of the decimal point in the digits (ECMAScript's n)
  std::string out = x < 0 ? "-" : "";
  if (count <= point && point <= 21) {
    out += digits + std::string(static_cast<std::size_t>(point - count), '0');
  } else if (0 < point && point <= 21) {
    out += digits.substr(0, static_cast<std::size_t>(point)) + "." + digits.substr(static_cast<std::size_t>(point));
  } else if (-6 < point && point <= 0) {
    out += "0." + std::string(static_cast<std::size_t>(-point), '0') + digits;
  } else {
    out += digits.substr(0, 1);
    if (count > 1) out += "." + digits.substr(1);
    out += fmt::format("e{}{}", exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
  }
  return out;
}

Result<std::string> canonical(const Json& value, const JsonLimits& limits) {
  Writer writer(limits);
  ASSAY_CHECK(writer.write(value));
  return std::move(writer.out);
}

}  // namespace assay
