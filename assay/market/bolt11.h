#pragma once
/// @file
/// Lightning invoices (BOLT11): read, check, write. Source: BOLT 11; BIP-173; docs/formats.md §7.
///
///     ASSAY_TRY(const Bolt11 invoice, read_bolt11(text));                 // checksum, fields and signature are good
///     ASSAY_CHECK(check_payable(invoice, {.network = Bolt11Network::regtest, .payee = node_id, .now = now, .most_msats = 500}));
///     ASSAY_CHECK(check_preimage(preimage_hex, invoice.payment_hash));
///
/// An invoice without a named payee proves nothing about who wrote it: recovery gives *some* key for any signature. So compare
/// `payee` with the node that is expected, or bind the invoice by its description hash, as check_payable does.
///
/// Amounts are msats in a signed 64-bit integer; more than 21 million BTC (2.1e18 msats) is refused before it is multiplied.
/// Thread safety: values and pure functions.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/keys.h"

namespace assay {

enum class Bolt11Network { mainnet, testnet, signet, regtest };
/// "bc", "tb", "tbs", "bcrt": what follows "ln".
std::string_view name(Bolt11Network network);

struct Bolt11Limits {
  std::size_t bytes_max = 4096;  ///< of the text
  std::size_t fields_max = 64;
};

struct Bolt11 {
  Bolt11Network network = Bolt11Network::regtest;
  std::optional<std::int64_t> amount_msats;  ///< absent: the payer chooses
  std::int64_t timestamp = 0;                ///< Unix seconds
  std::int64_t expiry_seconds = 3600;
  std::string payment_hash;                  ///< 64 hex digits
  std::string payment_secret;                ///< 64 hex digits
  std::optional<std::string> description;    ///< exactly one of the two
  std::optional<std::string> description_hash;
  std::int64_t min_final_cltv = 18;          ///< blocks
  std::optional<std::string> metadata;       ///< raw bytes
  std::vector<std::uint16_t> features;       ///< bits that are set, ascending
  std::vector<std::string> fallbacks;        ///< on-chain addresses as "version:hex"
  std::size_t routes = 0;                    ///< how many routing hints came along; they are not kept
  std::string payee;                         ///< node id, 33 bytes as 66 hex digits
  bool payee_named = false;                  ///< by a field of its own; otherwise recovered from the signature
  std::vector<std::string> skipped;          ///< fields of a wrong length, in words; check_payable refuses such an invoice

  std::int64_t expires_at() const { return timestamp + expiry_seconds; }
};

/// An optional "lightning:" prefix is dropped. Errors: `malformed`, `limit_exceeded`, `mismatch` (signature); the path names
/// the field.
Result<Bolt11> read_bolt11(std::string_view text, const Bolt11Limits& limits = {});

/// What a payer demands of an invoice before a msat moves.
struct PayableTerms {
  Bolt11Network network = Bolt11Network::regtest;
  std::string payee;                            ///< node id that must have signed; empty: any
  std::int64_t now = 0;                         ///< Unix seconds
  std::int64_t margin_seconds = 0;              ///< it must live at least that much longer
  std::int64_t most_msats = 0;                  ///< cap
  std::optional<std::int64_t> exact_msats;      ///< the quoted amount
  std::optional<std::string> description_hash;  ///< the commitment that is expected
};

/// Errors: `refused` (wrong network, amountless, expired, over the cap, fields of a wrong length, unknown even feature),
/// `mismatch` (amount, payee or commitment are not those expected). Each says expected and found.
Result<void> check_payable(const Bolt11& invoice, const PayableTerms& terms);

/// sha256(preimage) must be the payment hash. Errors: `malformed` (not 64 hex digits), `mismatch`. Never repeats the preimage.
Result<void> check_preimage(std::string_view preimage_hex, std::string_view payment_hash);

struct Bolt11Draft {
  Bolt11Network network = Bolt11Network::regtest;
  std::optional<std::int64_t> amount_msats;
  std::int64_t timestamp = 0;
  std::int64_t expiry_seconds = 3600;
  std::string payment_hash;
  std::string payment_secret;
  std::optional<std::string> description;       ///< at most 639 bytes of UTF-8
  std::optional<std::string> description_hash;
  bool name_payee = true;                       ///< with the `n` field: the signature is then checked against it
};

/// Signs with the node's key (ECDSA, deterministic by RFC 6979). The same draft and key give the same text.
/// Errors: `usage` (a draft that no reader would accept; the path names the member).
Result<std::string> write_bolt11(const Bolt11Draft& draft, const SecretKey& node);

/// The node's id: its compressed public key, 66 hex digits.
Result<std::string> node_id(const SecretKey& node);

}  // namespace assay
