// The canonical writer (RFC 8785) and UTF-8 checks.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <fmt/format.h>

#include "assay/base/json.h"
#include "assay/base/sha256.h"

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

// Bytes that grow, written without a check for each: `room` is asked for first.
class Buffer {
 public:
  explicit Buffer(std::size_t capacity) : bytes_(std::make_unique_for_overwrite<char[]>(capacity)), capacity_(capacity) {}
  char* room(std::size_t wanted) {
    if (capacity_ - size_ < wanted) grow(wanted);
    return bytes_.get() + size_;
  }
  void took(const char* end) { size_ = static_cast<std::size_t>(end - bytes_.get()); }
  void put(std::string_view text) {
    char* const at = room(text.size());
    std::memcpy(at, text.data(), text.size());
    size_ += text.size();
  }
  void put(char c) {
    *room(1) = c;
    ++size_;
  }
  std::size_t size() const { return size_; }
  std::string_view view() const { return {bytes_.get(), size_}; }
  void clear() { size_ = 0; }

 private:
  void grow(std::size_t wanted) {
    capacity_ = std::max(capacity_ * 2, size_ + wanted);
    auto larger = std::make_unique_for_overwrite<char[]>(capacity_);
    std::memcpy(larger.get(), bytes_.get(), size_);
    bytes_ = std::move(larger);
  }
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_, size_ = 0;
};

constexpr std::size_t block_bytes = 16;

// Says, bit by bit, which of 16 bytes do not stand for themselves in a JSON string: controls, '"', '\\', and all that is not ASCII, which
// is checked one by one. Writes the block as it is.
#if defined(__SSE2__)
inline unsigned put_block(char* to, __m128i block) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), block);
  const __m128i special = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))),
                                       _mm_cmplt_epi8(block, _mm_set1_epi8(0x20)));  // signed: bytes from 0x80 on are below too
  return static_cast<unsigned>(_mm_movemask_epi8(special));
}
inline unsigned copy_block(char* to, const char* from) { return put_block(to, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))); }
inline unsigned copy_words(char* to, std::uint64_t low, std::uint64_t high) {
  return put_block(to, _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low)));
}
#else
inline unsigned copy_block(char* to, const char* from) {
  std::memcpy(to, from, block_bytes);
  unsigned special = 0;
  for (std::size_t i = 0; i < block_bytes; ++i) {
    const auto c = static_cast<unsigned char>(from[i]);
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') special |= 1U << i;
  }
  return special;
}
inline unsigned copy_words(char* to, std::uint64_t low, std::uint64_t high) {
  const std::uint64_t words[] = {low, high};
  char block[block_bytes];
  std::memcpy(block, words, block_bytes);
  return copy_block(to, block);
}
#endif

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
      length = sequence_length({from, static_cast<std::size_t>(end - from)});
      if (length == 0) return false;
    }
    for (; length > 0; --length) *to++ = *from++;
  }
  *to++ = '"';
  out.took(to);
  return true;
}

constexpr std::size_t number_bytes_max = 32;

// What ECMAScript prints for a finite number (formats.md §1).
char* put_number(char* to, double x) {
  if (x == 0) {
    *to++ = '0';
    return to;
  }
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

// The way down to a value, for errors only: nothing is allocated while all is well.
struct Step {
  const Step* up = nullptr;
  const std::string* key = nullptr;  // null: a list's item
  std::size_t index = 0;
};

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
  bool put(const Json& value, const Step* step) {
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

  bool error(const Step* step, std::string message, std::string remedy = {}, ErrorCode code = ErrorCode::malformed) {
    std::string pointer;
    for (; step != nullptr; step = step->up)
      pointer.insert(0, "/" + (step->key != nullptr ? pointer_token(*step->key) : std::to_string(step->index)));
    failed_ = Error{code, std::move(message), std::move(pointer), std::move(remedy)};
    return false;
  }

  bool put_int(std::int64_t value, const Step* step) {
    if (value > json_integer_max || value < -json_integer_max)
      return error(step, "the integer lies beyond ±(2^53−1)", "write it as a string");
    char* const to = out_.room(number_bytes_max);
    out_.took(std::to_chars(to, to + number_bytes_max, value).ptr);
    return true;
  }

  bool put_double(double value, const Step* step) {
    if (!std::isfinite(value)) return error(step, "NaN and infinities are not JSON");
    const double magnitude = std::fabs(value);
    if (magnitude >= 9007199254740992.0 && magnitude < 1e21)
      return error(step, "an integral number between 2^53 and 1e21 has no canonical form", "write it as a string");
    out_.took(put_number(out_.room(number_bytes_max), value));
    return true;
  }

  bool put_text(std::string_view text, const Step* step) {
    return put_string(out_, text, true) || error(step, "invalid UTF-8", "wrap bytes as {\"$base64\": …}");
  }

  bool put_list(const JsonList& list, const Step* step) {
    if (++depth_ > limits_.depth_max) return too_deep(step);
    out_.put('[');
    Step here{step};
    for (; here.index < list.size(); ++here.index) {
      if (here.index > 0) out_.put(',');
      if (!put(list[here.index], &here)) return false;
    }
    out_.put(']');
    --depth_;
    return true;
  }

  bool put_object(const JsonObject& object, const Step* step) {
    if (++depth_ > limits_.depth_max) return too_deep(step);
    out_.put('{');
    Step here{step};
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

  bool too_deep(const Step* step) {
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

}  // namespace assay
