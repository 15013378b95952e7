#pragma once
/// @file
/// Bytes of JSON strings, looked at 16 at a time. Shared by the reader and the writer.
///
/// Thread safety: pure functions.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace assay {

inline constexpr std::size_t block_bytes = 16;

/// Length of the well-formed UTF-8 sequence at the front of `s` (not empty), or 0.
inline std::size_t utf8_sequence(std::string_view s) {
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

/// A byte that does not stand for itself in a JSON string: controls, '"', '\\', and all that is not ASCII, which is checked one by one.
inline bool is_special(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\';
}

// Bit i of a mask: byte i of the block is special.
#if defined(__SSE2__)
inline unsigned special_in(__m128i block) {
  const __m128i special = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))),
                                       _mm_cmplt_epi8(block, _mm_set1_epi8(0x20)));  // signed: bytes from 0x80 on are below too
  return static_cast<unsigned>(_mm_movemask_epi8(special));
}
inline unsigned special_in(const char* from) { return special_in(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))); }
inline unsigned put_block(char* to, __m128i block) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), block);
  return special_in(block);
}
inline unsigned copy_block(char* to, const char* from) { return put_block(to, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))); }
inline unsigned copy_words(char* to, std::uint64_t low, std::uint64_t high) {
  return put_block(to, _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low)));
}
#else
inline unsigned special_in(const char* from) {
  unsigned special = 0;
  for (std::size_t i = 0; i < block_bytes; ++i) special |= static_cast<unsigned>(is_special(from[i])) << i;
  return special;
}
inline unsigned copy_block(char* to, const char* from) {
  std::memcpy(to, from, block_bytes);
  return special_in(to);
}
inline unsigned copy_words(char* to, std::uint64_t low, std::uint64_t high) {
  const std::uint64_t words[] = {low, high};
  std::memcpy(to, words, block_bytes);
  return special_in(to);
}
#endif

/// The first special byte of [from, end), or end.
inline const char* plain_end(const char* from, const char* end) {
  while (static_cast<std::size_t>(end - from) >= block_bytes) {
    if (const unsigned special = special_in(from); special != 0) return from + std::countr_zero(special);
    from += block_bytes;
  }
  while (from != end && !is_special(*from)) ++from;
  return from;
}

}  // namespace assay
