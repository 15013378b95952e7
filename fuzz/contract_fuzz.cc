// What stands in files beside modules and records: trust, prices, keys as text, old hashes. Nothing crashes, and what is read is written
// to what reads the same.
//
//   ./x fuzz contract
#include "assay/base/bech32.h"
#include "assay/contract/encrypted_key.h"
#include "assay/contract/legacy_hash.h"
#include "assay/contract/trust.h"
#include "assay/nostr/nip19.h"
#include "assay/nostr/nip44.h"
#include "assay/trace/budget.h"
#include "assay/trace/price_book.h"
#include "fuzz/must.h"

namespace {

using namespace assay;

void read_trust(const Json& json) {
  const auto store = TrustStore::read(json);
  if (!store) return must(!store.error().message.empty(), "an error says what is wrong");
  const auto again = TrustStore::read(store->json());
  must(again.has_value() && again->json() == store->json(), "a trust file reads back to itself");
}

void read_prices(const Json& json) {
  const auto book = PriceBook::read(json);
  if (!book) return;
  const auto again = PriceBook::read(book->to_json());
  must(again.has_value(), "a price book reads back");
  must(again->id().value_or("a") == book->id().value_or("b"), "a price book keeps its id");
  for (const Price& price : book->prices()) {
    LmUsage usage;
    usage.prompt_tokens = json_integer_max;
    usage.completion_tokens = json_integer_max;
    const auto cost = book->cost(price.lane_kind, price.model, usage);
    must(cost && *cost >= 0 && *cost <= json_integer_max, "a cost is a count");
  }
}

void read_nip44(std::string_view text) {
  static const ConversationKey key = ConversationKey::of(Bytes32{1, 2, 3});
  (void)decrypt_nip44(text, key);
  if (text.empty() || text.size() > nip44_text_bytes_max) return;
  // Its own way back, and one byte changed is seen.
  Bytes32 nonce{};
  nonce[0] = static_cast<std::uint8_t>(text.size());
  std::string payload = encrypt_nip44_with_nonce(text, key, nonce).value();
  must(decrypt_nip44(payload, key).value_or("") == text, "what is encrypted is decrypted");
  char& touched = payload[static_cast<unsigned char>(text[0]) % payload.size()];
  touched = touched == 'A' ? 'B' : 'A';
  must(!decrypt_nip44(payload, key).has_value(), "an altered payload is refused");
}

void read_encrypted_key(std::string_view text) {
  (void)decrypt_key(text, "passphrase");
  // With a right checksum, so that what lies behind it is reached: version and cost come from the input. High costs are slow, not wrong.
  if (text.size() < 2 || static_cast<unsigned char>(text[1]) > 4) return;
  const std::string sealed = write_bech32({"ncryptsec", unpack_bytes(text)});
  (void)decrypt_key(sealed, "passphrase");
}

void read_bech(std::string_view text) {
  (void)read_public_key(text);
  (void)read_secret_key(text);
  if (const auto parts = read_bech32(text, 4096)) {
    const auto again = read_bech32(write_bech32(*parts), 4096);
    must(again && again->prefix == parts->prefix && again->groups == parts->groups, "bech32 reads back");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = text_of(data + 1, size - 1);
  switch (data[0] % 7) {
    case 0:
      if (const auto json = read_json(text)) read_trust(*json);
      break;
    case 1:
      if (const auto json = read_json(text)) read_prices(*json);
      break;
    case 2: read_encrypted_key(text); break;
    case 3: read_bech(text); break;
    case 4: read_nip44(text); break;
    case 5:
      if (const auto limits = BudgetLimits::parse(text)) (void)limits->to_json();
      break;
    default:
      if (const auto value = legacy_read(text)) {
        const std::string once = legacy_text(*value);
        const auto again = legacy_read(once);
        must(again.has_value() && legacy_text(*again) == once, "a legacy text is its own text");
      }
  }
  return 0;
}
