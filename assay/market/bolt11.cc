#include "assay/market/bolt11.h"

#include <fmt/format.h>

#include "assay/base/bech32.h"
#include "assay/market/bolt11_signature.h"

namespace assay {
namespace {

using Groups = std::vector<std::uint8_t>;

constexpr std::int64_t timestamp_max = (std::int64_t{1} << 35) - 1;
constexpr std::int64_t msats_max = 2'100'000'000'000'000'000;
constexpr std::uint8_t tag_payment = 1, tag_secret = 16, tag_description = 13, tag_description_hash = 23, tag_payee = 19, tag_expiry = 6,
                       tag_features = 5;
constexpr std::array<std::uint8_t, 3> features_8_and_14{16, 8, 0};  // var_onion and payment_secret: bits 14 and 8

void put_field(Groups& out, std::uint8_t tag, const Groups& data) {
  out.push_back(tag);
  out.push_back(static_cast<std::uint8_t>(data.size() >> 5));
  out.push_back(static_cast<std::uint8_t>(data.size() & 31));
  out.insert(out.end(), data.begin(), data.end());
}

Result<void> put_hex(Groups& out, std::uint8_t tag, std::string_view text, std::size_t digits, std::string_view member) {
  if (!is_hex(text, digits)) return fail(ErrorCode::usage, fmt::format("expected {} hex digits", digits), {}, std::string(member));
  ASSAY_TRY(const std::string bytes, from_hex(text));
  put_field(out, tag, unpack_bytes(bytes));
  return {};
}

Groups number_groups(std::int64_t value) {
  Groups out;
  for (int shift = 60; shift >= 0; shift -= 5) {
    const auto group = static_cast<std::uint8_t>(value >> shift & 31);
    if (!out.empty() || group != 0) out.push_back(group);
  }
  return out;
}

// The largest multiplier that gives a whole number: the shortest text, as the specification asks of writers.
std::string amount_text(std::int64_t msats) {
  if (msats % 100'000'000'000 == 0) return std::to_string(msats / 100'000'000'000);
  if (msats % 100'000'000 == 0) return std::to_string(msats / 100'000'000) + "m";
  if (msats % 100'000 == 0) return std::to_string(msats / 100'000) + "u";
  if (msats % 100 == 0) return std::to_string(msats / 100) + "n";
  return std::to_string(msats) + "0p";
}

Result<void> put_description(Groups& out, const Bolt11Draft& draft) {
  if (draft.description.has_value() == draft.description_hash.has_value()) {
    return fail(ErrorCode::usage, "expected either a description or its hash", {}, "description");
  }
  if (draft.description_hash) return put_hex(out, tag_description_hash, *draft.description_hash, 64, "description_hash");
  if (draft.description->size() > 639 || !valid_utf8(*draft.description)) {
    return fail(ErrorCode::usage, "expected at most 639 bytes of UTF-8", "give its hash instead", "description");
  }
  put_field(out, tag_description, unpack_bytes(*draft.description));
  return {};
}

Result<void> check_times(const Bolt11Draft& draft) {
  if (draft.timestamp < 0 || draft.timestamp > timestamp_max) return fail(ErrorCode::usage, "outside 35 bits", {}, "timestamp");
  if (draft.expiry_seconds <= 0 || draft.expiry_seconds > timestamp_max)
    return fail(ErrorCode::usage, "expected seconds above zero", {}, "expiry_seconds");
  if (draft.amount_msats && (*draft.amount_msats <= 0 || *draft.amount_msats > msats_max)) {
    return fail(ErrorCode::usage, "expected msats above zero and at most 2.1e18", {}, "amount_msats");
  }
  return {};
}

}  // namespace

std::string_view name(Bolt11Network network) {
  switch (network) {
    case Bolt11Network::mainnet: return "bc";
    case Bolt11Network::testnet: return "tb";
    case Bolt11Network::signet: return "tbs";
    case Bolt11Network::regtest: return "bcrt";
  }
  return "";
}

Result<std::string> node_id(const SecretKey& node) { return compressed_key(node); }

Result<std::string> write_bolt11(const Bolt11Draft& draft, const SecretKey& node) {
  ASSAY_CHECK(check_times(draft));
  Bech32 parts;
  parts.prefix = fmt::format("ln{}{}", name(draft.network), draft.amount_msats ? amount_text(*draft.amount_msats) : "");
  for (int shift = 30; shift >= 0; shift -= 5) parts.groups.push_back(static_cast<std::uint8_t>(draft.timestamp >> shift & 31));
  ASSAY_CHECK(put_hex(parts.groups, tag_payment, draft.payment_hash, 64, "payment_hash"));
  ASSAY_CHECK(put_hex(parts.groups, tag_secret, draft.payment_secret, 64, "payment_secret"));
  ASSAY_CHECK(put_description(parts.groups, draft));
  if (draft.name_payee) {
    ASSAY_TRY(const std::string id, node_id(node));
    ASSAY_CHECK(put_hex(parts.groups, tag_payee, id, 66, "payee"));
  }
  put_field(parts.groups, tag_expiry, number_groups(draft.expiry_seconds));
  put_field(parts.groups, tag_features, Groups(features_8_and_14.begin(), features_8_and_14.end()));

  ASSAY_TRY(const std::string packed, pack_groups(parts.groups, false));
  ASSAY_TRY(const RecoverableSignature signature, sign_recoverable(sha256(parts.prefix + packed), node));
  const Groups signature_groups = unpack_bytes(std::string_view(reinterpret_cast<const char*>(signature.data()), signature.size()));
  parts.groups.insert(parts.groups.end(), signature_groups.begin(), signature_groups.end());
  return write_bech32(parts);
}

Result<void> check_payable(const Bolt11& invoice, const PayableTerms& terms) {
  if (invoice.network != terms.network) {
    return fail(ErrorCode::refused,
                fmt::format("the invoice is for network {}, the wallet's is {}", name(invoice.network), name(terms.network)),
                "ask for an invoice of the wallet's network", "network");
  }
  if (!invoice.skipped.empty()) {
    return fail(ErrorCode::refused, fmt::format("a field of a wrong length: {}", invoice.skipped.front()), "ask for another invoice");
  }
  if (!invoice.amount_msats)
    return fail(ErrorCode::refused, "the invoice names no amount", "ask for an invoice with the quoted amount", "amount");
  const std::int64_t amount = *invoice.amount_msats;
  if (terms.exact_msats && amount != *terms.exact_msats) {
    return fail(ErrorCode::mismatch, fmt::format("the invoice asks {} msats, the quote was {}", amount, *terms.exact_msats), "do not pay",
                "amount");
  }
  if (amount > terms.most_msats) {
    return fail(ErrorCode::refused, fmt::format("the invoice asks {} msats, the cap is {}", amount, terms.most_msats),
                "raise the cap, or ask elsewhere", "amount");
  }
  if (invoice.expires_at() <= terms.now + terms.margin_seconds) {
    return fail(ErrorCode::refused,
                fmt::format("the invoice expires at {}, needed is after {}", invoice.expires_at(), terms.now + terms.margin_seconds),
                "ask for a new invoice", "expiry");
  }
  if (!terms.payee.empty() && invoice.payee != terms.payee) {
    return fail(ErrorCode::mismatch, fmt::format("the invoice is signed by node {}, expected {}", invoice.payee, terms.payee), "do not pay",
                "payee");
  }
  if (terms.description_hash && invoice.description_hash != terms.description_hash) {
    return fail(ErrorCode::mismatch, "the invoice does not commit to this request and provider", "do not pay: it was made for another job",
                "h");
  }
  return {};
}

Result<void> check_preimage(std::string_view preimage_hex, std::string_view payment_hash) {
  if (!is_hex(preimage_hex, 64)) return fail(ErrorCode::malformed, "a preimage is 64 lowercase hex digits", {}, "preimage");
  ASSAY_TRY(const std::string bytes, from_hex(preimage_hex));
  if (sha256_hex(bytes) != payment_hash)
    return fail(ErrorCode::mismatch, "the preimage is not that of the payment hash", "the payment is not proven", "preimage");
  return {};
}

}  // namespace assay
