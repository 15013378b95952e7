#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "assay/base/bech32.h"
#include "assay/market/bolt11.h"
#include "assay/market/bolt11_signature.h"

namespace assay {
namespace {

using Groups = std::span<const std::uint8_t>;

constexpr std::size_t timestamp_groups = 7;
constexpr std::size_t signature_groups = 104;
constexpr std::size_t hash_groups = 52;
constexpr std::size_t key_groups = 53;
constexpr std::size_t hop_bytes = 51;
constexpr std::size_t description_bytes_max = 639;
constexpr std::int64_t msats_max = 2'100'000'000'000'000'000;  // 21 million BTC
constexpr std::array<std::uint16_t, 6> even_features_known{8, 14, 16, 24, 36, 48};

// Longest first: "bcrt" begins with "bc", "tbs" with "tb".
constexpr std::array networks{Bolt11Network::regtest, Bolt11Network::signet, Bolt11Network::mainnet, Bolt11Network::testnet};

std::int64_t number(Groups groups) {
  std::int64_t out = 0;
  for (const std::uint8_t group : groups) out = out << 5 | group;
  return out;
}

Result<std::int64_t> read_digits(std::string_view digits) {
  if (digits.empty() || digits.size() > 18 || !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return fail(ErrorCode::malformed, "expected an amount of at most 18 digits", {}, "amount");
  }
  std::int64_t out = 0;
  for (const char c : digits) out = out * 10 + (c - '0');
  if (out == 0) return fail(ErrorCode::malformed, "the amount is zero", {}, "amount");
  return out;
}

// msats of one unit; pico is a tenth of a msat and handled apart.
std::optional<std::int64_t> msats_per_unit(char multiplier) {
  switch (multiplier) {
    case 'm': return 100'000'000;
    case 'u': return 100'000;
    case 'n': return 100;
    default: return std::nullopt;
  }
}

Result<std::int64_t> read_amount(std::string_view text) {
  const char last = text.back();
  if (last == 'p') {
    ASSAY_TRY(const std::int64_t tenths, read_digits(text.substr(0, text.size() - 1)));
    if (tenths % 10 != 0) return fail(ErrorCode::malformed, "an amount finer than one msat", {}, "amount");
    return tenths / 10;
  }
  const bool plain = last >= '0' && last <= '9';
  const std::optional<std::int64_t> unit = plain ? 100'000'000'000 : msats_per_unit(last);
  if (!unit) return fail(ErrorCode::malformed, fmt::format("unknown multiplier '{}'", last), "known are m, u, n and p", "amount");
  ASSAY_TRY(const std::int64_t units, read_digits(plain ? text : text.substr(0, text.size() - 1)));
  if (units > msats_max / *unit) return fail(ErrorCode::limit_exceeded, "more than there will ever be", {}, "amount");
  return units * *unit;
}

Result<void> read_prefix(std::string_view prefix, Bolt11& out) {
  if (!prefix.starts_with("ln")) return fail(ErrorCode::malformed, "no invoice: it does not begin with 'ln'", {}, "prefix");
  prefix.remove_prefix(2);
  for (const Bolt11Network network : networks) {
    if (!prefix.starts_with(name(network))) continue;
    const std::string_view amount = prefix.substr(name(network).size());
    if (!amount.empty() && (amount.front() < '0' || amount.front() > '9')) continue;
    out.network = network;
    if (amount.empty()) return {};
    ASSAY_TRY(const std::int64_t msats, read_amount(amount));
    out.amount_msats = msats;
    return {};
  }
  return fail(ErrorCode::malformed, "unknown network", "known are bc, tb, tbs and bcrt", "prefix");
}

// The tagged fields. Of a repeated field the first counts.
class FieldReader {
 public:
  explicit FieldReader(Bolt11& out) : out_(out) {}

  Result<void> read(Groups groups, std::size_t fields_max) {
    std::size_t at = 0;
    std::size_t count = 0;
    while (at < groups.size()) {  // ends: every round takes at least three groups or returns
      if (++count > fields_max) return fail(ErrorCode::limit_exceeded, "too many fields");
      if (groups.size() - at < 3) return fail(ErrorCode::malformed, "a field is cut short", {}, fmt::format("field {}", count));
      const char tag = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"[groups[at]];
      const auto length = static_cast<std::size_t>(number(groups.subspan(at + 1, 2)));
      at += 3;
      if (length > groups.size() - at) return fail(ErrorCode::malformed, "a field is longer than the invoice", {}, std::string(1, tag));
      if (auto done = field(tag, groups.subspan(at, length)); !done)
        return std::unexpected(std::move(done).error().in(std::string(1, tag)));
      at += length;
    }
    return complete();
  }

 private:
  Result<void> field(char tag, Groups data) {
    switch (tag) {
      case 'p': return bytes_of(data, hash_groups, out_.payment_hash, tag);
      case 's': return bytes_of(data, hash_groups, out_.payment_secret, tag);
      case 'h': return description_hash(data);
      case 'n': return payee(data);
      case 'd': return description(data);
      case 'm': return metadata(data);
      case 'x': return minimal(data, out_.expiry_seconds, has_expiry_);
      case 'c': return minimal(data, out_.min_final_cltv, has_cltv_);
      case '9': return features(data);
      case 'f': return fallback(data);
      case 'r': return route(data);
      default: return {};
    }
  }

  Result<void> bytes_of(Groups data, std::size_t length, std::string& into, char tag) {
    if (data.size() != length) {
      out_.skipped.push_back(fmt::format("{}: expected {} groups, found {}", tag, length, data.size()));
      return {};
    }
    if (!into.empty()) return {};
    ASSAY_TRY(const std::string bytes, pack_groups(data, true));
    into = hex(bytes);
    return {};
  }

  Result<void> description_hash(Groups data) {
    std::string found;
    ASSAY_CHECK(bytes_of(data, hash_groups, found, 'h'));
    if (!found.empty() && !out_.description_hash) out_.description_hash = std::move(found);
    return {};
  }

  Result<void> payee(Groups data) {
    ASSAY_CHECK(bytes_of(data, key_groups, out_.payee, 'n'));
    out_.payee_named = !out_.payee.empty();
    return {};
  }

  Result<void> description(Groups data) {
    ASSAY_TRY(std::string text, pack_groups(data, true));
    if (text.size() > description_bytes_max) return fail(ErrorCode::limit_exceeded, "longer than 639 bytes");
    if (!valid_utf8(text)) return fail(ErrorCode::malformed, "not UTF-8");
    if (!out_.description) out_.description = std::move(text);
    return {};
  }

  Result<void> metadata(Groups data) {
    ASSAY_TRY(std::string bytes, pack_groups(data, true));
    if (!out_.metadata) out_.metadata = std::move(bytes);
    return {};
  }

  Result<void> minimal(Groups data, std::int64_t& into, bool& seen) {
    if (data.empty() || data.size() > 10) return fail(ErrorCode::malformed, "expected one to ten groups");
    if (data.front() == 0) return fail(ErrorCode::malformed, "a number with leading zeros");
    if (!seen) into = number(data);
    seen = true;
    return {};
  }

  Result<void> features(Groups data) {
    if (has_features_) return {};
    has_features_ = true;
    if (!data.empty() && data.front() == 0) return fail(ErrorCode::malformed, "feature bits with leading zeros");
    for (std::size_t bit = 0; bit < data.size() * 5; ++bit) {
      if ((data[data.size() - 1 - bit / 5] >> (bit % 5) & 1) == 0) continue;
      const auto feature = static_cast<std::uint16_t>(bit);
      if (bit % 2 == 0 && std::find(even_features_known.begin(), even_features_known.end(), feature) == even_features_known.end()) {
        return fail(ErrorCode::refused, fmt::format("feature {} is demanded and not known here", bit), "ask the payee for a plain invoice");
      }
      out_.features.push_back(feature);
    }
    return {};
  }

  Result<void> fallback(Groups data) {
    if (data.empty() || data.front() > 18) return {};  // a version of the future: skipped, as the specification asks
    ASSAY_TRY(const std::string program, pack_groups(data.subspan(1), true));
    const unsigned version = data.front();
    if (version >= 17 && program.size() != 20) return {};
    if (version == 0 && program.size() != 20 && program.size() != 32) return {};
    out_.fallbacks.push_back(fmt::format("{}:{}", version, hex(program)));
    return {};
  }

  Result<void> route(Groups data) {
    ASSAY_TRY(const std::string bytes, pack_groups(data, true));
    if (bytes.empty() || bytes.size() % hop_bytes != 0) return fail(ErrorCode::malformed, "not a whole number of hops");
    ++out_.routes;
    return {};
  }

  Result<void> complete() const {
    if (out_.payment_hash.empty()) return fail(ErrorCode::malformed, "no payment hash", {}, "p");
    if (out_.payment_secret.empty()) return fail(ErrorCode::malformed, "no payment secret", {}, "s");
    if (out_.description.has_value() == out_.description_hash.has_value()) {
      return fail(ErrorCode::malformed, "expected either a description or its hash", {}, "d");
    }
    return {};
  }

  Bolt11& out_;
  bool has_expiry_ = false;
  bool has_cltv_ = false;
  bool has_features_ = false;
};

}  // namespace

Result<Bolt11> read_bolt11(std::string_view text, const Bolt11Limits& limits) {
  for (const std::string_view scheme : {"lightning:", "LIGHTNING:"}) {
    if (text.starts_with(scheme)) text.remove_prefix(scheme.size());
  }
  ASSAY_TRY(const Bech32 parts, read_bech32(text, limits.bytes_max));
  Bolt11 out;
  ASSAY_CHECK(read_prefix(parts.prefix, out));
  if (parts.groups.size() < timestamp_groups + signature_groups) return fail(ErrorCode::malformed, "too short for a time and a signature");
  const Groups all(parts.groups);
  const Groups signed_groups = all.first(all.size() - signature_groups);
  out.timestamp = number(all.first(timestamp_groups));
  ASSAY_CHECK(FieldReader(out).read(signed_groups.subspan(timestamp_groups), limits.fields_max));

  // The groups are hashed as they came, never written anew.
  ASSAY_TRY(const std::string packed, pack_groups(signed_groups, false));
  ASSAY_TRY(const std::string signature_bytes, pack_groups(all.last(signature_groups), true));
  const Bytes32 digest = sha256(parts.prefix + packed);
  const std::span<const std::uint8_t, 65> signature(reinterpret_cast<const std::uint8_t*>(signature_bytes.data()), 65);
  if (out.payee_named) {
    ASSAY_CHECK(verify_with_key(digest, signature, out.payee));
  } else {
    ASSAY_TRY(out.payee, recover_key(digest, signature));
  }
  return out;
}

}  // namespace assay
