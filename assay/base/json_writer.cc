// The canonical writer (RFC 8785) and UTF-8 checks.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#include <fmt/compile.h>
#include <fmt/format.h>

#include "assay/base/json.h"
#include "assay/base/json_bytes.h"
#include "assay/base/json_place.h"
#include "assay/base/sha256.h"

namespace assay {
namespace {

// Bytes that grow, written without a check for each: `room` is asked for first. Short texts never leave the stack.
class Buffer {
 public:
  explicit Buffer(std::size_t capacity) {
    if (capacity <= sizeof first_) return;
    grow(capacity);
  }
  char* room(std::size_t wanted) {
    if (static_cast<std::size_t>(end_ - at_) < wanted) grow(wanted);
    return at_;
  }
  void took(char* end) { at_ = end; }
  void put(std::string_view text) {
    char* const to = room(text.size());
    std::memcpy(to, text.data(), text.size());
    at_ += text.size();
  }
  void put(char c) {
    *room(1) = c;
    ++at_;
  }
  std::size_t size() const { return static_cast<std::size_t>(at_ - begin_); }
  std::string_view view() const { return {begin_, size()}; }
  void clear() { at_ = begin_; }

 private:
  void grow(std::size_t wanted) {
    const std::size_t used = size();
    const std::size_t capacity = std::max(static_cast<std::size_t>(end_ - begin_) * 2, used + wanted);
    auto larger = std::make_unique_for_overwrite<char[]>(capacity);
    std::memcpy(larger.get(), begin_, used);
    more_ = std::move(larger);
    begin_ = more_.get();
    at_ = begin_ + used;
    end_ = begin_ + capacity;
  }
  char first_[1024];
  std::unique_ptr<char[]> more_;
  char *begin_ = first_, *at_ = first_, *end_ = first_ + sizeof first_;
};

template <class Word>
std::uint64_t load(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// Fewer than 16 bytes as a block. Put together in registers: a block that was just stored in parts is slow to load. The bytes of a word
// stand in memory order, so shifts are those of a little-endian machine; others go byte by byte.
inline unsigned copy_short(char* to, const char* from, std::size_t length) {
  if constexpr (std::endian::native != std::endian::little) {
    char block[block_bytes] = {};
    std::memcpy(block, from, length);
    return copy_block(to, block);
  }
  if (length > 8) return copy_words(to, load<std::uint64_t>(from), load<std::uint64_t>(from + length - 8) >> (8 * (16 - length)));
  if (length >= 4) return copy_words(to, load<std::uint32_t>(from) | load<std::uint32_t>(from + length - 4) << (8 * (length - 4)), 0);
  std::uint64_t low = 0;
  for (std::size_t i = length; i-- > 0;) low = low << 8 | static_cast<unsigned char>(from[i]);
  return copy_words(to, low, 0);
}

char* put_escape(char* to, unsigned char c) {
  constexpr char digits[] = "0123456789abcdef";
  *to++ = '\\';
  switch (c) {
    case '"': *to++ = '"'; break;
    case '\\': *to++ = '\\'; break;
    case '\b': *to++ = 'b'; break;
    case '\f': *to++ = 'f'; break;
    case '\n': *to++ = 'n'; break;
    case '\r': *to++ = 'r'; break;
    case '\t': *to++ = 't'; break;
    default:
      for (const char next : {'u', '0', '0', digits[c >> 4], digits[c & 15]}) *to++ = next;
  }
  return to;
}

// A JSON string with its quotes. False at bytes that are no UTF-8, unless they are let through.
bool put_string(Buffer& out, std::string_view text, bool check) {
  char* to = out.room(text.size() * 6 + 2 + block_bytes);  // at most six bytes for one, and a whole block at the end
  const char* from = text.data();
  const char* const end = from + text.size();
  *to++ = '"';
  while (from < end) {  // ends: every round takes a byte at least
    unsigned special = 0;
    std::size_t here = block_bytes;
    if (const auto left = static_cast<std::size_t>(end - from); left >= block_bytes) {
      special = copy_block(to, from);
    } else {
      special = copy_short(to, from, left);
      here = left;
    }
    const std::size_t plain = std::min<std::size_t>(here, static_cast<std::size_t>(std::countr_zero(special | 1U << block_bytes)));
    to += plain;
    from += plain;
    if (plain == here) continue;
    const auto c = static_cast<unsigned char>(*from);
    if (c < 0x80) {
      to = put_escape(to, c);
      ++from;
      continue;
    }
    std::size_t length = 1;
    if (check) {
      length = utf8_sequence({from, static_cast<std::size_t>(end - from)});
      if (length == 0) return false;
    }
    for (; length > 0; --length) *to++ = *from++;
  }
  *to++ = '"';
  out.took(to);
  return true;
}

// Most strings are short and plain: those are written in one step. A std::string of this library has 16 bytes that can be read wherever it
// keeps its text, within itself or in a block of more than that. False: nothing was written.
bool put_short(Buffer& out, const std::string& text) {
#if defined(__GLIBCXX__)
  static_assert(sizeof(std::string) == 2 * block_bytes);
  if (text.size() > block_bytes) return false;
  char* to = out.room(2 * block_bytes);
  *to++ = '"';
  if ((copy_block(to, text.data()) & ((1U << text.size()) - 1)) != 0) return false;
  to += text.size();
  *to++ = '"';
  out.took(to);
  return true;
#else
  return false;
#endif
}

// A document does not fit the nearest cache: what comes next is asked for while this is written.
void fetch_ahead(const Json& value) {
  if (value.is_object()) __builtin_prefetch(std::to_address(value.as_object().begin()));
  else if (value.is_list()) __builtin_prefetch(value.as_list().data());
  else if (value.is_string()) __builtin_prefetch(value.as_string().data());
}

constexpr std::size_t number_bytes_max = 32;

// What ECMAScript prints for a finite number (formats.md §1).
char* put_number(char* to, double x) {
  if (x == 0) {
    *to++ = '0';
    return to;
  }
  // Where fmt writes no exponent, it writes what ECMAScript does, and in half the time of std::to_chars.
  if (const double magnitude = std::fabs(x); magnitude >= 1e-4 && magnitude < 1e15) return fmt::format_to(to, FMT_COMPILE("{}"), x);
  char shortest[32];
  const char* const end = std::to_chars(shortest, shortest + sizeof shortest, std::fabs(x), std::chars_format::scientific).ptr;
  char digits[24];
  int count = 0, exponent = 0;
  for (const char* at = shortest; at != end; ++at) {  // "d.ddde±xx" → digits and exponent
    if (*at == 'e') {
      std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, exponent);
      break;
    }
    if (*at != '.') digits[count++] = *at;
  }
  const auto put = [&](const char* from, int length) {
    std::memcpy(to, from, static_cast<std::size_t>(length));
    to += length;
  };
  const auto zeros = [&](int length) {
    std::memset(to, '0', static_cast<std::size_t>(length));
    to += length;
  };
  const int point = exponent + 1;  // position of the decimal point in the digits (ECMAScript's n)
  if (x < 0) *to++ = '-';
  if (count <= point && point <= 21) {
    put(digits, count);
    zeros(point - count);
  } else if (0 < point && point <= 21) {
    put(digits, point);
    *to++ = '.';
    put(digits + point, count - point);
  } else if (-6 < point && point <= 0) {
    put("0.", 2);
    zeros(-point);
    put(digits, count);
  } else {
    *to++ = digits[0];
    if (count > 1) {
      *to++ = '.';
      put(digits + 1, count - 1);
    }
    *to++ = 'e';
    *to++ = exponent < 0 ? '-' : '+';
    to = std::to_chars(to, to + 4, exponent < 0 ? -exponent : exponent).ptr;
  }
  return to;
}

constexpr std::size_t piece = std::size_t{1} << 14;

class Writer {
 public:
  /// With a digest, the text goes into it piece by piece and is never whole in memory.
  explicit Writer(const JsonLimits& limits, Sha256* digest = nullptr)
      : limits_(limits), out_(digest != nullptr ? 2 * piece : 256), digest_(digest) {}

  Result<void> write(const Json& value) {
    put(value, nullptr);
    if (failed_) return std::unexpected(std::move(*failed_));
    if (digest_ != nullptr) digest_->update(out_.view());
    return {};
  }
  std::string_view text() const { return out_.view(); }

 private:
  // False: `failed_` says why, and nothing more is written.
  bool put(const Json& value, const JsonPlace* step) {
    if (digest_ != nullptr && out_.size() >= piece) {
      digest_->update(out_.view());
      out_.clear();
    }
    switch (value.kind()) {
      case Json::Kind::null: out_.put("null"); return true;
      case Json::Kind::boolean: out_.put(value.as_bool() ? std::string_view("true") : std::string_view("false")); return true;
      case Json::Kind::integer: return put_int(value.as_int(), step);
      case Json::Kind::number: return put_double(value.as_double(), step);
      case Json::Kind::string: return put_text(value.as_string(), step);
      case Json::Kind::list: return put_list(value.as_list(), step);
      case Json::Kind::object: return put_object(value.as_object(), step);
    }
    return true;
  }

  bool error(const JsonPlace* step, std::string message, std::string remedy = {}, ErrorCode code = ErrorCode::malformed) {
    failed_ = Error{code, std::move(message), JsonPlace::pointer(step), std::move(remedy)};
    return false;
  }

  bool put_int(std::int64_t value, const JsonPlace* step) {
    if (value > json_integer_max || value < -json_integer_max)
      return error(step, "the integer lies beyond ±(2^53−1)", "write it as a string");
    char* const to = out_.room(number_bytes_max);
    out_.took(std::to_chars(to, to + number_bytes_max, value).ptr);
    return true;
  }

  bool put_double(double value, const JsonPlace* step) {
    if (!std::isfinite(value)) return error(step, "NaN and infinities are not JSON");
    const double magnitude = std::fabs(value);
    if (magnitude >= 9007199254740992.0 && magnitude < 1e21)
      return error(step, "an integral number between 2^53 and 1e21 has no canonical form", "write it as a string");
    out_.took(put_number(out_.room(number_bytes_max), value));
    return true;
  }

  bool put_text(const std::string& text, const JsonPlace* step) {
    return put_short(out_, text) || put_string(out_, text, true) || error(step, "invalid UTF-8", "wrap bytes as {\"$base64\": …}");
  }

  bool put_list(const JsonList& list, const JsonPlace* step) {
    if (++depth_ > limits_.depth_max) return too_deep(step);
    out_.put('[');
    JsonPlace here{step};
    for (; here.index < list.size(); ++here.index) {
      if (here.index > 0) out_.put(',');
      if (here.index + 1 < list.size()) fetch_ahead(list[here.index + 1]);
      if (!put(list[here.index], &here)) return false;
    }
    out_.put(']');
    --depth_;
    return true;
  }

  bool put_object(const JsonObject& object, const JsonPlace* step) {
    if (++depth_ > limits_.depth_max) return too_deep(step);
    out_.put('{');
    JsonPlace here{step};
    for (const auto& [key, value] : object) fetch_ahead(value);
    for (const auto& [key, value] : object) {
      if (here.key != nullptr) out_.put(',');
      here.key = &key;
      if (!put_text(key, &here)) return false;
      out_.put(':');
      if (!put(value, &here)) return false;
    }
    out_.put('}');
    --depth_;
    return true;
  }

  bool too_deep(const JsonPlace* step) {
    return error(step, fmt::format("more than {} open containers", limits_.depth_max), "nest less deeply", ErrorCode::limit_exceeded);
  }

  JsonLimits limits_;
  Buffer out_;
  Sha256* digest_;
  std::size_t depth_ = 0;
  std::optional<Error> failed_;
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
    const std::size_t length = utf8_sequence(bytes.substr(at));
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string to_utf8(std::string_view bytes, std::size_t* replaced) {
  if (valid_utf8(bytes)) {
    if (replaced != nullptr) *replaced = 0;
    return std::string(bytes);
  }
  std::string out;
  out.reserve(bytes.size());
  std::size_t bad = 0;
  while (!bytes.empty()) {
    const std::size_t length = utf8_sequence(bytes);
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
  if (const char* const end = text.data() + text.size(); plain_end(text.data(), end) == end) {
    out += '"';
    out += text;
    out += '"';
    return;
  }
  Buffer buffer(text.size() * 6 + 2 + block_bytes);
  put_string(buffer, text, false);
  out += buffer.view();
}

std::string number_text(double x) {
  if (!std::isfinite(x)) return "null";
  char text[number_bytes_max];
  return std::string(text, put_number(text, x));
}

Result<std::string> hash(const Json& value, const JsonLimits& limits) {
  Sha256 digest;
  Writer writer(limits, &digest);
  ASSAY_CHECK(writer.write(value));
  return hex(std::span<const std::uint8_t>(digest.finish()));
}

Result<std::string> canonical(const Json& value, const JsonLimits& limits) {
  Writer writer(limits);
  ASSAY_CHECK(writer.write(value));
  return std::string(writer.text());
}

Result<void> append_canonical(std::string& out, const Json& value, const JsonLimits& limits) {
  Writer writer(limits);
  ASSAY_CHECK(writer.write(value));
  out += writer.text();
  return {};
}

}  // namespace assay
