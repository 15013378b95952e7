// The strict JSON reader. One pass over the bytes; UTF-8 is checked as strings are read.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "assay/base/json.h"

namespace assay {

class JsonReader {
 public:
  JsonReader(std::string_view text, const JsonLimits& limits) : text_(text), limits_(limits) {}

  Result<Json> read() {
    if (text_.size() > limits_.bytes_max) {
      return fail(ErrorCode::limit_exceeded, fmt::format("{} bytes of JSON, at most {} are read", text_.size(), limits_.bytes_max));
    }
    if (text_.starts_with("\xEF\xBB\xBF")) return error("a byte order mark is not JSON", "save the file without BOM");
    Json value;
    ASSAY_CHECK(read_value(value));
    skip_space();
    if (at_ != text_.size()) return error("expected the end, found more text after the value");
    return value;
  }

 private:
  std::unexpected<Error> error(std::string message, std::string remedy = {}, ErrorCode code = ErrorCode::malformed) {
    std::string pointer;
    for (const auto& token : path_) pointer += "/" + token;
    return fail(code, fmt::format("{} (byte {})", message, at_), std::move(remedy), std::move(pointer));
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }

  Result<void> read_value(Json& out) {
    skip_space();
    if (at_ == text_.size()) return error("expected a value, found the end");
    switch (text_[at_]) {
      case '{': return read_object(out);
      case '[': return read_list(out);
      case '"': {
        std::string s;
        ASSAY_CHECK(read_string(s));
        out = Json(std::move(s));
        return {};
      }
      case 't': return read_word("true", out, Json(true));
      case 'f': return read_word("false", out, Json(false));
      case 'n': return read_word("null", out, Json(nullptr));
      default: return read_number(out);
    }
  }

  Result<void> read_word(std::string_view word, Json& out, Json value) {
    if (text_.substr(at_, word.size()) != word) return error("expected a value");
    at_ += word.size();
    out = std::move(value);
    return {};
  }

  Result<void> open() {
    if (++depth_ > limits_.depth_max) {
      return error(fmt::format("more than {} open containers", limits_.depth_max), "nest less deeply", ErrorCode::limit_exceeded);
    }
    ++at_;
    return {};
  }

  Result<void> read_list(Json& out) {
    ASSAY_CHECK(open());
    JsonList list;
    skip_space();
    if (at_ < text_.size() && text_[at_] == ']') {
      ++at_;
    } else {
      while (true) {  // ends: every round consumes a value or returns
        path_.push_back(std::to_string(list.size()));
        ASSAY_CHECK(read_value(list.emplace_back()));
        path_.pop_back();
        skip_space();
        if (at_ == text_.size()) return error("the list is not closed");
        const char c = text_[at_];
        if (c != ',' && c != ']') return error("expected ',' or ']'");
        ++at_;
        if (c == ']') break;
      }
    }
    --depth_;
    out = Json(std::move(list));
    return {};
  }

  Result<void> read_object(Json& out) {
    ASSAY_CHECK(open());
    JsonObject object;
    skip_space();
    if (at_ < text_.size() && text_[at_] == '}') {
      ++at_;
    } else {
      bool sorted = true;
      while (true) {  // ends: every round consumes a member or returns
        skip_space();
        if (at_ == text_.size() || text_[at_] != '"') return error("expected a member name in quotes");
        auto& member = object.members_.emplace_back();
        ASSAY_CHECK(read_string(member.first));
        skip_space();
        if (at_ == text_.size() || text_[at_] != ':') return error("expected ':'");
        ++at_;
        path_.push_back(pointer_token(member.first));
        ASSAY_CHECK(read_value(member.second));
        path_.pop_back();
        const std::size_t n = object.members_.size();
        if (n > 1 && compare_utf16(object.members_[n - 2].first, object.members_[n - 1].first) >= 0) sorted = false;
        skip_space();
        if (at_ == text_.size()) return error("the object is not closed");
        const char c = text_[at_];
        if (c != ',' && c != '}') return error("expected ',' or '}'");
        ++at_;
        if (c == '}') break;
      }
      if (!sorted) ASSAY_CHECK(sort_members(object));
    }
    --depth_;
    out = Json(std::move(object));
    return {};
  }

  Result<void> sort_members(JsonObject& object) {
    std::sort(object.members_.begin(), object.members_.end(),
              [](const auto& a, const auto& b) { return compare_utf16(a.first, b.first) < 0; });
    for (std::size_t i = 1; i < object.members_.size(); ++i) {
      if (object.members_[i - 1].first == object.members_[i].first) {
        path_.push_back(pointer_token(object.members_[i].first));
        return error("the member occurs twice in one object", "keep one of them");
      }
    }
    return {};
  }

  Result<void> read_string(std::string& out) {
    ++at_;  // the opening quote
    while (true) {  // ends: every round consumes a byte or returns
      const std::size_t begin = at_;
      while (at_ < text_.size() && static_cast<unsigned char>(text_[at_]) >= 0x20 && static_cast<unsigned char>(text_[at_]) < 0x80 &&
             text_[at_] != '"' && text_[at_] != '\\') {
        ++at_;
      }
      out.append(text_.substr(begin, at_ - begin));
      if (at_ == text_.size()) return error("the string is not closed");
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') {
        ++at_;
        return {};
      }
      if (c == '\\') {
        ASSAY_CHECK(read_escape(out));
      } else if (c < 0x20) {
        return error(fmt::format("control character 0x{:02x} in a string", c), "write it as an escape");
      } else {
        ASSAY_CHECK(read_multibyte(out));
      }
    }
  }

  Result<void> read_multibyte(std::string& out) {
    const auto c = static_cast<unsigned char>(text_[at_]);
    const std::size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    const std::string_view bytes = text_.substr(at_, length);
    if (bytes.size() < length || !valid_utf8(bytes)) return error("invalid UTF-8");
    out.append(bytes);
    at_ += length;
    return {};
  }

  Result<unsigned> read_hex4() {
    if (at_ + 4 > text_.size()) return error("a \\u escape needs four hex digits");
    unsigned value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_ + static_cast<std::size_t>(i)];
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) return error("a \\u escape needs four hex digits");
      value = value * 16 + static_cast<unsigned>(digit);
    }
    at_ += 4;
    return value;
  }

  Result<void> read_escape(std::string& out) {
    ++at_;
    if (at_ == text_.size()) return error("the string is not closed");
    const char c = text_[at_++];
    switch (c) {
      case '"': out += '"'; return {};
      case '\\': out += '\\'; return {};
      case '/': out += '/'; return {};
      case 'b': out += '\b'; return {};
      case 'f': out += '\f'; return {};
      case 'n': out += '\n'; return {};
      case 'r': out += '\r'; return {};
      case 't': out += '\t'; return {};
      case 'u': break;
      default: --at_; return error("unknown escape");
    }
    ASSAY_TRY(unsigned code, read_hex4());
    if (code >= 0xDC00 && code <= 0xDFFF) return error("a lone low surrogate");
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (text_.substr(at_, 2) != "\\u") return error("a lone high surrogate");
      at_ += 2;
      ASSAY_TRY(const unsigned low, read_hex4());
      if (low < 0xDC00 || low > 0xDFFF) return error("a lone high surrogate");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
      out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
    return {};
  }

  static bool digit(char c) { return c >= '0' && c <= '9'; }
  char peek(std::size_t at) const { return at < text_.size() ? text_[at] : '\0'; }

  Result<void> read_number(Json& out) {
    const std::size_t begin = at_;
    std::size_t at = at_;
    if (peek(at) == '-') ++at;
    if (!digit(peek(at))) return error("expected a value");
    if (peek(at) == '0' && digit(peek(at + 1))) return error("a number has no leading zero");
    while (digit(peek(at))) ++at;
    const std::size_t whole_end = at;
    bool integer = true;
    if (peek(at) == '.') {
      integer = false;
      if (!digit(peek(++at))) return error("expected a digit after '.'");
      while (digit(peek(at))) ++at;
    }
    if (peek(at) == 'e' || peek(at) == 'E') {
      integer = false;
      ++at;
      if (peek(at) == '+' || peek(at) == '-') ++at;
      if (!digit(peek(at))) return error("expected a digit in the exponent");
      while (digit(peek(at))) ++at;
    }
    const std::string_view token = text_.substr(begin, at - begin);
    if (integer) {
      std::int64_t value = 0;
      const auto [end, ec] = std::from_chars(token.data(), token.data() + token.size(), value);
      if (ec != std::errc{} || value > json_integer_max || value < -json_integer_max) {
        return error("the integer lies beyond ±(2^53−1)", "write it as a string");
      }
      out = Json(value);
    } else {
      ASSAY_TRY(const double value, to_double(token, whole_end - begin));
      const double magnitude = value < 0 ? -value : value;
      if (magnitude >= 9007199254740992.0 && magnitude < 1e21) {
        return error("an integral number between 2^53 and 1e21 has no canonical form", "write it as a string");
      }
      out = Json(value == 0 ? 0.0 : value);
    }
    at_ = at;
    return {};
  }

  Result<double> to_double(std::string_view token, std::size_t whole_size) {
    double value = 0;
    const auto [end, ec] = std::from_chars(token.data(), token.data() + token.size(), value);
    if (ec == std::errc{}) return value;
    return decimal_exponent(token, whole_size) < 0 ? Result<double>(0.0) : Result<double>(error("the number overflows a double"));
  }

  // Decimal exponent of the leading non-zero digit; from_chars says only "out of range" for both ends.
  static std::int64_t decimal_exponent(std::string_view token, std::size_t whole_size) {
    const std::size_t e = std::min(token.find_first_of("eE"), token.size());
    std::int64_t exponent = 0;
    if (e < token.size()) {
      const std::size_t digits = e + 1 + (token[e + 1] == '+' ? 1 : 0);
      const auto [end, ec] = std::from_chars(token.data() + digits, token.data() + token.size(), exponent);
      if (ec != std::errc{}) exponent = token[e + 1] == '-' ? -4000000000 : 4000000000;
    }
    const std::size_t first = token.substr(0, e).find_first_of("123456789");
    if (first == std::string_view::npos) return -1;  // zero, whatever the exponent says
    const auto leading = static_cast<std::int64_t>(whole_size) - static_cast<std::int64_t>(first) - (first < whole_size ? 1 : 0);
    return exponent + leading;
  }

  std::string_view text_;
  JsonLimits limits_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::vector<std::string> path_;
};

Result<Json> read_json(std::string_view text, const JsonLimits& limits) { return JsonReader(text, limits).read(); }

}  // namespace assay
