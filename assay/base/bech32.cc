#include "assay/base/bech32.h"

#include <array>

#include <fmt/format.h>

namespace assay {
namespace {

constexpr std::string_view alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
constexpr std::size_t checksum_groups = 6;

// The checksum is a BCH code over GF(32): the remainder after dividing by the generator; 1 means intact.
class Polymod {
 public:
  void add(std::uint8_t value) {
    constexpr std::array<std::uint32_t, 5> generator{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
    const std::uint32_t top = rest_ >> 25;
    rest_ = (rest_ & 0x1ffffff) << 5 ^ value;
    for (std::size_t bit = 0; bit < generator.size(); ++bit) {
      if ((top >> bit & 1) != 0) rest_ ^= generator[bit];
    }
  }
  void add_prefix(std::string_view prefix) {
    for (const char c : prefix) add(static_cast<std::uint8_t>(c) >> 5);
    add(0);
    for (const char c : prefix) add(static_cast<std::uint8_t>(c) & 31);
  }
  std::uint32_t rest() const { return rest_; }

 private:
  std::uint32_t rest_ = 1;
};

bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool lower(char c) { return c >= 'a' && c <= 'z'; }

Result<std::string> one_case(std::string_view text) {
  bool has_upper = false;
  bool has_lower = false;
  std::string out(text);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] < 33 || out[i] > 126)
      return fail(ErrorCode::malformed, "a character that is not printable ASCII", {}, fmt::format("column {}", i));
    has_upper = has_upper || upper(out[i]);
    has_lower = has_lower || lower(out[i]);
    if (upper(out[i])) out[i] = static_cast<char>(out[i] - 'A' + 'a');
  }
  if (has_upper && has_lower) return fail(ErrorCode::malformed, "upper and lower case are mixed", "copy the text again, whole");
  return out;
}

}  // namespace

Result<Bech32> read_bech32(std::string_view text, std::size_t bytes_max) {
  if (text.size() > bytes_max)
    return fail(ErrorCode::limit_exceeded, fmt::format("{} characters, at most {} are read", text.size(), bytes_max));
  ASSAY_TRY(const std::string plain, one_case(text));
  const std::size_t separator = plain.rfind('1');
  if (separator == std::string::npos || separator == 0) return fail(ErrorCode::malformed, "no separator '1' behind a prefix");
  if (plain.size() - separator - 1 < checksum_groups) return fail(ErrorCode::malformed, "too short for a checksum");
  Bech32 out;
  out.prefix = plain.substr(0, separator);
  Polymod check;
  check.add_prefix(out.prefix);
  out.groups.reserve(plain.size() - separator);
  for (std::size_t i = separator + 1; i < plain.size(); ++i) {
    const std::size_t value = alphabet.find(plain[i]);
    if (value == std::string_view::npos) {
      return fail(ErrorCode::malformed, fmt::format("'{}' is not in the alphabet", plain[i]), {}, fmt::format("column {}", i));
    }
    check.add(static_cast<std::uint8_t>(value));
    out.groups.push_back(static_cast<std::uint8_t>(value));
  }
  if (check.rest() != 1)
    return fail(ErrorCode::malformed, "the checksum does not match", "a character was changed or lost: copy the text again, whole");
  out.groups.resize(out.groups.size() - checksum_groups);
  return out;
}

std::string write_bech32(const Bech32& parts) {
  Polymod check;
  check.add_prefix(parts.prefix);
  std::string out = parts.prefix + "1";
  for (const std::uint8_t value : parts.groups) {
    check.add(value);
    out.push_back(alphabet[value & 31]);
  }
  for (std::size_t i = 0; i < checksum_groups; ++i) check.add(0);
  const std::uint32_t rest = check.rest() ^ 1;
  for (std::size_t i = 0; i < checksum_groups; ++i) out.push_back(alphabet[rest >> (5 * (checksum_groups - 1 - i)) & 31]);
  return out;
}

Result<std::string> pack_groups(std::span<const std::uint8_t> groups, bool strict) {
  std::string out;
  out.reserve(groups.size() * 5 / 8 + 1);
  std::uint32_t buffer = 0;
  unsigned bits = 0;
  for (const std::uint8_t group : groups) {
    buffer = (buffer << 5 | (group & 31U)) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<char>(buffer >> bits & 0xff));
    }
  }
  const std::uint32_t rest = buffer & ((1U << bits) - 1);
  if (strict && (bits >= 5 || rest != 0)) return fail(ErrorCode::malformed, "the padding bits are not zero");
  if (!strict && bits > 0) out.push_back(static_cast<char>(rest << (8 - bits) & 0xff));
  return out;
}

std::vector<std::uint8_t> unpack_bytes(std::string_view bytes) {
  std::vector<std::uint8_t> out;
  out.reserve(bytes.size() * 8 / 5 + 1);
  std::uint32_t buffer = 0;
  unsigned bits = 0;
  for (const char c : bytes) {
    buffer = (buffer << 8 | static_cast<std::uint8_t>(c)) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out.push_back(static_cast<std::uint8_t>(buffer >> bits & 31));
    }
  }
  if (bits > 0) out.push_back(static_cast<std::uint8_t>(buffer << (5 - bits) & 31));
  return out;
}

}  // namespace assay
