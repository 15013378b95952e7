// The strict JSON reader. One pass over the bytes; UTF-8 is checked as strings are read, and whether the text is canonical is noted on
// the way, so that nobody has to write it again to find out.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "assay/base/json.h"
#include "assay/base/json_bytes.h"
#include "assay/base/json_place.h"

namespace assay {

constexpr const char* lone_remedy = "write the other half of the pair too, or leave the character out";

class JsonReader {
 public:
  JsonReader(std::string_view text, const JsonLimits& limits, bool watch_form) : text_(text), limits_(limits), canonical_(watch_form) {}

  Result<Json> read() {
    if (text_.size() > limits_.bytes_max) {
      return fail(ErrorCode::limit_exceeded, fmt::format("{} bytes of JSON, at most {} are read", text_.size(), limits_.bytes_max));
    }
    Json value;
    if (text_.starts_with("\xEF\xBB\xBF")) error(nullptr, "a byte order mark is not JSON", "save the file without BOM");
    else if (read_value(value, nullptr)) {
      skip_space();
      if (at_ == text_.size()) return value;
      error(nullptr, "expected the end, found more text after the value");
    }
    return std::unexpected(std::move(*failed_));
  }
  bool canonical() const { return canonical_; }

 private:
  // Always false: `failed_` says why, and nothing more is read.
  bool error(const JsonPlace* place, std::string_view message, std::string remedy = {}, ErrorCode code = ErrorCode::malformed) {
    failed_ = Error{code, fmt::format("{} (byte {})", message, at_), JsonPlace::pointer(place), std::move(remedy)};
    return false;
  }

  char peek(std::size_t at) const { return at < text_.size() ? text_[at] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) {
      ++at_;
      canonical_ = false;
    }
  }

  bool read_value(Json& out, const JsonPlace* place) {
    skip_space();
    if (at_ == text_.size()) return error(place, "expected a value, found the end");
    switch (text_[at_]) {
      case '{': {
        auto& members = out.value_.emplace<JsonObject>().members_;
        return depth_ < limits_.depth_kept ? read_object(members, place) : skip_object(place);
      }
      case '[': {
        auto& list = out.value_.emplace<JsonList>();
        return depth_ < limits_.depth_kept ? read_list(list, place) : skip_list(place);
      }
      case '"': {
        auto& text = out.value_.emplace<std::string>();
        return depth_ > limits_.depth_texts ? (scratch_.clear(), read_string(scratch_, place)) : read_string(text, place);
      }
      case 't': return read_word("true", out, Json(true), place);
      case 'f': return read_word("false", out, Json(false), place);
      case 'n': return read_word("null", out, Json(nullptr), place);
      default: return read_number(out, place);
    }
  }

  bool read_word(std::string_view word, Json& out, Json value, const JsonPlace* place) {
    if (text_.substr(at_, word.size()) != word) return error(place, "expected a value");
    at_ += word.size();
    out = std::move(value);
    return true;
  }

  bool open(const JsonPlace* place) {
    if (++depth_ > limits_.depth_max) {
      return error(place, fmt::format("more than {} open containers", limits_.depth_max), "nest less deeply", ErrorCode::limit_exceeded);
    }
    ++at_;
    skip_space();
    return true;
  }

  // Values are made where they stay. Containers at one depth are mostly alike: room is made for as many as the last one there had, for the
  // first one for a few.
  template <class Element>
  std::size_t* make_room(std::vector<Element>& elements, std::size_t* sizes) {
    std::size_t* const last = sizes + std::min(depth_, sizes_kept - 1);
    constexpr bool is_member = sizeof(Element) > sizeof(Json);
    constexpr std::size_t bytes_min = is_member ? 5 : 2, first = is_member ? 8 : 4;  // `"":0,` or `0,`
    elements.reserve(std::min({*last > 0 ? *last : first, room_max, 1 + (text_.size() - at_) / bytes_min}));
    return last;
  }

  template <class Element>
  static void close(std::vector<Element>& elements, std::size_t* last) {
    if (elements.capacity() > 2 * elements.size()) elements.shrink_to_fit();
    *last = elements.size();
  }

  bool read_list(JsonList& list, const JsonPlace* place) {
    if (!open(place)) return false;
    if (peek(at_) == ']') {
      ++at_;
    } else {
      std::size_t* const last = make_room(list, list_sizes_);
      JsonPlace here{place};
      for (;; ++here.index) {  // ends: every round consumes a value or returns
        if (!read_value(list.emplace_back(), &here)) return false;
        skip_space();
        if (at_ == text_.size()) return error(place, "the list is not closed");
        const char c = text_[at_];
        if (c != ',' && c != ']') return error(place, "expected ',' or ']'");
        ++at_;
        if (c == ']') break;
      }
      close(list, last);
    }
    --depth_;
    return true;
  }

  bool read_object(std::vector<JsonObject::Member>& members, const JsonPlace* place) {
    if (!open(place)) return false;
    if (peek(at_) == '}') {
      ++at_;
    } else {
      std::size_t* const last = make_room(members, object_sizes_);
      bool sorted = true;
      while (true) {  // ends: every round consumes a member or returns
        auto& [name, value] = members.emplace_back();
        if (!read_name(name, place)) return false;
        if (const std::size_t count = members.size(); count > 1 && compare_utf16(members[count - 2].first, name) >= 0) sorted = false;
        const JsonPlace here{place, &name};
        if (!read_value(value, &here)) return false;
        skip_space();
        if (at_ == text_.size()) return error(place, "the object is not closed");
        const char c = text_[at_];
        if (c != ',' && c != '}') return error(place, "expected ',' or '}'");
        ++at_;
        if (c == '}') break;
      }
      close(members, last);
      if (!sorted && !sort_members(members, place)) return false;
    }
    --depth_;
    return true;
  }

  // --- containers that nobody keeps: checked like the others, and nothing is made of them ---

  bool skip_value(const JsonPlace* place) {
    skip_space();
    const char c = peek(at_);
    if (c == '{') return skip_object(place);
    if (c == '[') return skip_list(place);
    if (c == '"') return scratch_.clear(), read_string(scratch_, place);
    Json ignored;
    return read_value(ignored, place);
  }

  bool skip_list(const JsonPlace* place) {
    if (!open(place)) return false;
    JsonPlace here{place};
    for (bool more = peek(at_) != ']'; more; ++here.index) {  // ends: every round consumes a value or returns
      if (!skip_value(&here)) return false;
      skip_space();
      if (at_ == text_.size()) return error(place, "the list is not closed");
      if (text_[at_] == ']') break;
      if (text_[at_++] != ',') return --at_, error(place, "expected ',' or ']'");
    }
    ++at_;
    --depth_;
    return true;
  }

  bool skip_object(const JsonPlace* place) {
    if (!open(place)) return false;
    std::string last, key;
    bool first = true;
    for (bool more = peek(at_) != '}'; more; first = false) {  // ends: every round consumes a member or returns
      key.clear();
      if (!read_name(key, place)) return false;
      if (!first && compare_utf16(last, key) >= 0) canonical_ = false;
      last.swap(key);
      const JsonPlace here{place, &last};
      if (!skip_value(&here)) return false;
      skip_space();
      if (at_ == text_.size()) return error(place, "the object is not closed");
      if (text_[at_] == '}') break;
      if (text_[at_++] != ',') return --at_, error(place, "expected ',' or '}'");
    }
    ++at_;
    --depth_;
    return true;
  }

  // A member's name and the colon behind it.
  bool read_name(std::string& name, const JsonPlace* place) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != '"') return error(place, "expected a member name in quotes");
    if (!read_string(name, place)) return false;
    skip_space();
    if (at_ == text_.size() || text_[at_] != ':') return error(place, "expected ':'");
    ++at_;
    return true;
  }

  bool sort_members(std::vector<JsonObject::Member>& members, const JsonPlace* place) {
    canonical_ = false;
    std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return compare_utf16(a.first, b.first) < 0; });
    for (std::size_t i = 1; i < members.size(); ++i) {
      if (members[i - 1].first != members[i].first) continue;
      const JsonPlace here{place, &members[i].first};
      return error(&here, "the member occurs twice in one object", "keep one of them");
    }
    return true;
  }

  bool read_string(std::string& out, const JsonPlace* place) {
    std::size_t begin = ++at_;  // behind the opening quote; what lies from here to at_ is not in `out` yet
    const char* const end = text_.data() + text_.size();
    while (true) {  // ends: every round consumes a byte or returns
      at_ = static_cast<std::size_t>(plain_end(text_.data() + at_, end) - text_.data());
      if (at_ == text_.size()) return error(place, "the string is not closed");
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c == '"') {
        out.append(text_.data() + begin, at_ - begin);
        ++at_;
        return true;
      }
      if (c == '\\') {
        out.append(text_.data() + begin, at_ - begin);
        if (!read_escape(out, place)) return false;
        begin = at_;
      } else if (c < 0x20) {
        return error(place, fmt::format("control character 0x{:02x} in a string", c), "write it as an escape");
      } else {
        const std::size_t length = utf8_sequence(text_.substr(at_, 4));
        if (length == 0) return error(place, "invalid UTF-8", "save the text as UTF-8");
        at_ += length;
      }
    }
  }

  bool read_hex4(unsigned& value, const JsonPlace* place) {
    if (at_ + 4 > text_.size()) return error(place, "a \\u escape needs four hex digits");
    value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const char c = text_[at_ + i];
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) return error(place, "a \\u escape needs four hex digits");
      if (c >= 'A' && c <= 'F') canonical_ = false;
      value = value * 16 + static_cast<unsigned>(digit);
    }
    at_ += 4;
    return true;
  }

  bool read_escape(std::string& out, const JsonPlace* place) {
    ++at_;
    if (at_ == text_.size()) return error(place, "the string is not closed");
    const char c = text_[at_++];
    switch (c) {
      case '"': out += '"'; return true;
      case '\\': out += '\\'; return true;
      case '/':
        out += '/';
        canonical_ = false;
        return true;
      case 'b': out += '\b'; return true;
      case 'f': out += '\f'; return true;
      case 'n': out += '\n'; return true;
      case 'r': out += '\r'; return true;
      case 't': out += '\t'; return true;
      case 'u': break;
      default: --at_; return error(place, "unknown escape");
    }
    unsigned code = 0;
    if (!read_hex4(code, place)) return false;
    if (code >= 0xDC00 && code <= 0xDFFF) return error(place, "a lone low surrogate", lone_remedy);
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (text_.substr(at_, 2) != "\\u") return error(place, "a lone high surrogate", lone_remedy);
      at_ += 2;
      unsigned low = 0;
      if (!read_hex4(low, place)) return false;
      if (low < 0xDC00 || low > 0xDFFF) return error(place, "a lone high surrogate", lone_remedy);
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    // Only controls that have no letter of their own are written with \u.
    if (code >= 0x20 || (code >= 0x08 && code <= 0x0D && code != 0x0B)) canonical_ = false;
    append_utf8(out, code);
    return true;
  }

  static void append_utf8(std::string& out, unsigned code) {
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
  }

  static bool digit(char c) { return c >= '0' && c <= '9'; }

  // A number's token: [begin, end), its digits before '.' and 'e' end at `whole_end`.
  struct Token {
    std::size_t end = 0, whole_end = 0;
    bool integer = true;
  };

  bool scan_number(Token& token, const JsonPlace* place) {
    std::size_t at = at_;
    if (peek(at) == '-') ++at;
    if (!digit(peek(at))) return error(place, "expected a value");
    if (peek(at) == '0' && digit(peek(at + 1))) return error(place, "a number has no leading zero");
    while (digit(peek(at))) ++at;
    token.whole_end = at;
    if (peek(at) == '.') {
      token.integer = false;
      if (!digit(peek(++at))) return error(place, "expected a digit after '.'");
      while (digit(peek(at))) ++at;
    }
    if (peek(at) == 'e' || peek(at) == 'E') {
      token.integer = false;
      ++at;
      if (peek(at) == '+' || peek(at) == '-') ++at;
      if (!digit(peek(at))) return error(place, "expected a digit in the exponent");
      while (digit(peek(at))) ++at;
    }
    token.end = at;
    return true;
  }

  bool read_number(Json& out, const JsonPlace* place) {
    Token found;
    if (!scan_number(found, place)) return false;
    const std::string_view token = text_.substr(at_, found.end - at_);
    if (found.integer) {
      std::int64_t value = 0;
      const auto [end, ec] = std::from_chars(token.data(), token.data() + token.size(), value);
      if (ec != std::errc{} || value > json_integer_max || value < -json_integer_max) {
        return error(place, "the integer lies beyond ±(2^53−1)", "write it as a string");
      }
      if (value == 0 && token.front() == '-') canonical_ = false;
      out.value_.emplace<std::int64_t>(value);
    } else {
      double value = 0;
      if (!to_double(value, token, found.whole_end - at_, place)) return false;
      const double magnitude = value < 0 ? -value : value;
      if (magnitude >= 9007199254740992.0 && magnitude < 1e21) {
        return error(place, "an integral number between 2^53 and 1e21 has no canonical form", "write it as a string");
      }
      out.value_.emplace<double>(value == 0 ? 0.0 : value);
      if (canonical_ && number_text(value) != token) canonical_ = false;
    }
    at_ = found.end;
    return true;
  }

  bool to_double(double& value, std::string_view token, std::size_t whole_size, const JsonPlace* place) {
    const auto [end, ec] = std::from_chars(token.data(), token.data() + token.size(), value);
    if (ec == std::errc{}) return true;
    value = 0;
    return decimal_exponent(token, whole_size) < 0 || error(place, "the number overflows a double", "write it as a string");
  }

  // Decimal exponent of the leading non-zero digit; from_chars says only "out of range" for both ends.
  static std::int64_t decimal_exponent(std::string_view token, std::size_t whole_size) {
    const std::size_t e = std::min(token.find_first_of("eE"), token.size());
    std::int64_t exponent = 0;
    if (e < token.size()) {
      const std::size_t digits = e + 1 + (token[e + 1] == '+' ? 1 : 0);
      const auto [end, ec] = std::from_chars(token.data() + digits, token.data() + token.size(), exponent);
      constexpr std::int64_t most = 1'000'000'000'000'000'000;  // no text has so many digits that they would make up for it
      exponent = ec == std::errc{} ? std::clamp(exponent, -most, most) : token[e + 1] == '-' ? -most : most;
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
  bool canonical_;  // so far; false from the start when nobody asks
  static constexpr std::size_t sizes_kept = 16, room_max = 64;
  std::size_t list_sizes_[sizes_kept] = {}, object_sizes_[sizes_kept] = {};  // by depth
  std::string scratch_;  // of strings that nobody keeps
  std::optional<Error> failed_;
};

Result<Json> read_json(std::string_view text, const JsonLimits& limits, bool* is_canonical) {
  JsonReader reader(text, limits, is_canonical != nullptr);
  auto value = reader.read();
  if (is_canonical != nullptr) *is_canonical = value.has_value() && reader.canonical();
  return value;
}

}  // namespace assay
