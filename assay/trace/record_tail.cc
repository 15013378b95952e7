// What a torn last line may still become: a scan of a prefix of canonical JSON.
#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>

#include "assay/trace/record_line.h"

namespace assay {
namespace {

constexpr std::size_t depth_max = 128;

enum class Scan { whole, cut, bad };  // read to its end; the input ended first; not a prefix of canonical JSON

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_number_byte(char c) { return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'; }

bool canonical_number(const std::string& token) {
  const auto value = read_json(token);
  if (!value) return false;
  const auto text = canonical(*value);
  return text && *text == token;
}

// Whether an exponent of canonical text, of which `begun` stands there, makes the number whole. The digits that a double needs
// depend on its exponent, so all are tried.
bool some_exponent_fits(const std::string& mantissa, std::string_view begun) {
  for (int exponent = 7; exponent <= 324; ++exponent) {
    for (const char sign : {'+', '-'}) {
      const std::string text = fmt::format("e{}{}", sign, exponent);
      if (text.starts_with(begun) && canonical_number(mantissa + text)) return true;
    }
  }
  return false;
}

// A cut number is asked with the ends that numbers have: one of them must make it canonical.
bool may_become_number(std::string_view token) {
  if (token.size() > 32) return false;
  const std::string text(token);
  if (canonical_number(text) || text == "-0") return true;  // "-0.5"
  if (const std::size_t e = text.find('e'); e != std::string::npos) return some_exponent_fits(text.substr(0, e), token.substr(e));
  for (std::size_t zeros = 0; zeros <= 6; ++zeros) {
    for (char digit = '1'; digit <= '9'; ++digit) {
      if (canonical_number(text + std::string(zeros, '0') + digit)) return true;
    }
  }
  return some_exponent_fits(text, "");
}

bool continues_utf8(std::string_view cut) {  // a cut sequence that some bytes make whole
  for (const char last : {'\x80', '\x90', '\xA0', '\xBF'}) {
    std::string whole(cut);
    while (whole.size() < 4) {  // ends: it grows
      whole += last;
      if (valid_utf8(whole)) return true;
    }
  }
  return false;
}

class PrefixScanner {
 public:
  explicit PrefixScanner(std::string_view text) : text_(text) {}

  std::size_t at() const { return at_; }
  bool done() const { return at_ == text_.size(); }

  // A value; `at()` is behind it if whole.
  Scan value(std::size_t depth) {
    if (done()) return Scan::cut;
    const char c = text_[at_];
    if (c == '{' || c == '[') return depth == depth_max ? Scan::bad : container(depth + 1);
    if (c == '"') return string();
    if (c == '-' || is_digit(c)) return number();
    for (const std::string_view word : {"null", "true", "false"}) {
      if (c == word[0]) return literal(word);
    }
    return Scan::bad;
  }

  Scan literal(std::string_view word) {
    const std::string_view rest = text_.substr(at_, word.size());
    if (!word.starts_with(rest)) return Scan::bad;
    at_ += rest.size();
    return rest.size() == word.size() ? Scan::whole : Scan::cut;
  }

  // A key and its colon, behind `last_key` in canonical order, and not behind `bound` unless that is empty. `last_key` becomes this one.
  Scan key(std::string& last_key, bool first, std::string_view bound = {}) {
    if (done()) return Scan::cut;
    if (text_[at_] != '"') return Scan::bad;
    const std::size_t begin = at_;
    const Scan scan = string();
    if (scan == Scan::cut) return may_become_key(text_.substr(begin), first ? nullptr : &last_key, bound) ? Scan::cut : Scan::bad;
    if (scan == Scan::bad) return scan;
    const auto name = read_json(text_.substr(begin, at_ - begin));
    if (!name || (!first && compare_utf16(last_key, name->as_string()) >= 0)) return Scan::bad;
    last_key = name->as_string();
    if (!bound.empty() && compare_utf16(last_key, bound) > 0) return Scan::bad;
    return literal(":");
  }

  // The text between the quotes is canonical if reading and writing it gives it back.
  Scan string() {
    const std::size_t begin = at_++;
    while (!done()) {  // ends: every round takes a byte
      const char c = text_[at_++];
      if (c == '\\' && !done()) {
        ++at_;
      } else if (c == '"') {
        return canonical_string(text_.substr(begin, at_ - begin)) ? Scan::whole : Scan::bad;
      }
    }
    return cut_string(text_.substr(begin)) ? Scan::cut : Scan::bad;
  }

 private:
  static bool canonical_string(std::string_view token) {
    const auto value = read_json(token, {.bytes_max = token.size(), .depth_max = 1});
    if (!value) return false;
    std::string again;
    append_json_string(again, value->as_string());
    return again == token;
  }

  // Takes a cut escape or UTF-8 sequence off the end, sees whether it can be continued, and closes the rest.
  static bool cut_string(std::string_view token) {
    const std::size_t rest = unfinished(token);
    const std::string_view tail = token.substr(token.size() - rest);
    if (!tail.empty() && tail[0] == '\\' && !may_become_escape(tail)) return false;
    if (!tail.empty() && tail[0] != '\\' && !continues_utf8(tail)) return false;
    return canonical_string(std::string(token.substr(0, token.size() - rest)) + '"');
  }

  // Of a key that is cut, the least and the greatest that it can become: is there one between the key before and the bound?
  static bool may_become_key(std::string_view token, const std::string* after, std::string_view bound) {
    const std::size_t rest = unfinished(token);
    const auto begun = read_json(std::string(token.substr(0, token.size() - rest)) + '"');
    if (!begun) return false;
    std::string least = begun->as_string(), greatest = least;
    const std::string_view cut = token.substr(token.size() - rest);
    if (!cut.empty()) least += cut[0] == '\\' ? std::string(1, '\0') : std::string("\xC2\x80");  // one more at least
    if (cut.starts_with('\\')) greatest += cut.size() > 1 ? '\x1F' : '\\';                      // what is escaped: controls, '"', '\\'
    constexpr std::string_view highest = "\xEF\xBF\xBF";  // U+FFFF: one more of them than the key before can have
    for (std::size_t i = 0; after != nullptr && i <= after->size(); i += highest.size()) greatest += highest;
    if (after != nullptr && compare_utf16(greatest, *after) <= 0) return false;
    return bound.empty() || compare_utf16(least, bound) <= 0;
  }

  static bool may_become_escape(std::string_view tail) {
    for (unsigned code = 0; code < 0x20; ++code) {  // canonical text escapes these and no others with \u
      if (fmt::format("\\u{:04x}", code).starts_with(tail) &&
          std::string_view("\b\t\n\f\r").find(static_cast<char>(code)) == std::string_view::npos)
        return true;
    }
    return tail.size() == 1;
  }

  // Bytes at the end that are the start of an escape or of a UTF-8 sequence.
  static std::size_t unfinished(std::string_view token) {
    for (std::size_t back = 1; back <= 5 && back < token.size(); ++back) {
      const auto byte = static_cast<unsigned char>(token[token.size() - back]);
      if (byte == '\\') return starts_escape(token, back) ? back : 0;
      const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 0;
      if (length != 0) return back < length ? back : 0;
    }
    return 0;
  }

  // Is the backslash `back` bytes before the end an escape's first byte (an even run of backslashes before it), and is it cut?
  static bool starts_escape(std::string_view token, std::size_t back) {
    std::size_t run = 0;
    for (std::size_t i = token.size() - back; i > 0 && token[i - 1] == '\\'; --i) ++run;
    if (run % 2 != 0) return false;
    return back == 1 || (token[token.size() - back + 1] == 'u' && back < 6);
  }

  Scan number() {
    const std::size_t begin = at_;
    while (!done() && is_number_byte(text_[at_])) ++at_;
    const std::string_view token = text_.substr(begin, at_ - begin);
    if (done()) return may_become_number(token) ? Scan::cut : Scan::bad;
    return token.size() <= 32 && canonical_number(std::string(token)) ? Scan::whole : Scan::bad;
  }

  Scan container(std::size_t depth) {
    const bool is_object = text_[at_] == '{';
    const char close = is_object ? '}' : ']';
    ++at_;
    if (done()) return Scan::cut;
    if (text_[at_] == close) return ++at_, Scan::whole;
    std::string last_key;
    for (bool first = true;; first = false) {  // ends: every round takes a value or returns
      if (is_object) {
        if (const Scan key = this->key(last_key, first); key != Scan::whole) return key;
      }
      if (const Scan item = value(depth); item != Scan::whole) return item;
      if (done()) return Scan::cut;
      const char c = text_[at_++];
      if (c == close) return Scan::whole;
      if (c != ',') return Scan::bad;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// A member that a line must have, in canonical order; others may stand between them.
struct LineMember {
  std::string_view key;
  std::string must_be;  // its whole value, or ""
  char opens;           // first byte of its value, or 0 for a digit
};

bool value_starts_right(const LineMember& member, std::string_view rest) {
  if (rest.empty()) return true;
  const std::string_view value = rest.substr(0, rest.find(','));
  if (!member.must_be.empty()) return rest.size() == value.size() ? member.must_be.starts_with(value) : member.must_be == value;
  return member.opens == 0 ? std::all_of(value.begin(), value.end(), is_digit) : rest[0] == member.opens;
}

// A node's path in quotes, perhaps cut.
bool may_become_path(std::string_view token) {
  if (!token.starts_with('"')) return token.empty();
  token.remove_prefix(1);
  if (const std::size_t end = token.find('"'); end != std::string_view::npos) return is_record_path(token.substr(0, end));
  return is_record_path(token) || is_record_path(std::string(token) + 'a');
}

}  // namespace

bool may_become_line(std::string_view tail, std::int64_t seq, std::string_view prev, std::string_view type, std::size_t bytes_max) {
  if (tail.empty() || tail.size() > bytes_max) return false;
  if (const auto entry = read_record_line(tail, bytes_max)) return entry->seq == seq && entry->prev == prev;
  const std::array<LineMember, 6> members = {{{"data", "", '{'},
                                              {"node", "", '"'},
                                              {"prev", fmt::format("\"{}\"", prev), '"'},
                                              {"seq", fmt::format("{}", seq), 0},
                                              {"t", "", 0},
                                              {"type", type.empty() ? "" : fmt::format("\"{}\"", type), '"'}}};
  PrefixScanner scanner(tail);
  std::string key;
  std::size_t next = 0;  // of the members that must come
  for (bool first = true; scanner.literal(first ? "{" : ",") == Scan::whole;
       first = false) {  // ends: every round takes a member or returns
    const std::string_view bound = next < members.size() ? members[next].key : std::string_view();
    if (const Scan scan = scanner.key(key, first, bound); scan != Scan::whole) return scan == Scan::cut;
    const std::size_t begin = scanner.at();
    const bool wanted = next < members.size() && key == bound;
    if (wanted && !value_starts_right(members[next], tail.substr(begin))) return false;
    const Scan value = scanner.value(1);
    if (wanted && key == "data" && !type.empty() && value == Scan::whole) {
      const auto data = read_json(tail.substr(begin, scanner.at() - begin), {.bytes_max = bytes_max});
      if (!data || !check_record_data(type, *data)) return false;
    }
    if (wanted && key == "node" && !may_become_path(tail.substr(begin, scanner.at() - begin))) return false;
    if (value != Scan::whole) return value == Scan::cut;
    // With its type the line has all that says what its data must be.
    if (wanted && ++next == members.size() && !read_record_line(std::string(tail.substr(0, scanner.at())) + '}', bytes_max + 1))
      return false;
    if (scanner.done()) return true;
  }
  return false;
}

}  // namespace assay
