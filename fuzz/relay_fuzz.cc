// What clients send to a relay, buyers and sellers to each other and to the ledger: whole messages, without their sockets.
//
//   ./x fuzz relay
#include <memory>

#include "assay/base/sha256.h"
#include "assay/market/announcement.h"
#include "assay/market/job_event.h"
#include "assay/market/ledger.h"
#include "assay/market/receipt.h"
#include "assay/nostr/relay_parts.h"
#include "fuzz/must.h"

namespace {

using namespace assay;

// Keeps what the relay answers within sight.
class Peer final : public WebSocketPeer {
 public:
  bool send(std::shared_ptr<const std::string> text) override {
    must(read_json(*text).has_value(), "a relay answers in JSON");
    return true;
  }
  bool open() const override { return true; }
  std::size_t queued_bytes() const override { return 0; }
  void close(std::uint16_t, std::string_view) override {}
};

const SecretKey& key() {
  static const SecretKey value = SecretKey::parse(std::string(63, '0') + "7").value();
  return value;
}

ManualClock& clock_of() {
  static ManualClock clock;
  return clock;
}

// A relay with a few events, and one connection to it.
struct Town {
  RelayLimits limits;
  std::string folder = fuzz_folder("relay");
  std::unique_ptr<RelayStore> store = RelayStore::open(folder + "/events", false).value();
  relay::Hub hub;
  relay::Counters counters;
  relay::Writer writer{*store, hub, counters, 1000};
  relay::Shared shared{limits, *store, hub, writer, counters, clock_of()};
  std::shared_ptr<WebSocketSession> session;
  FixedEntropy entropy{4};
  std::unique_ptr<Ledger> ledger;

  Town() {
    must(store->begin().has_value(), "a batch begins");
    for (int i = 0; i < 5; ++i) {
      const auto event = sign_event({1'700'000'000 + i, 5050 + i, {{"t", "x"}, {"d", std::to_string(i)}}, "content"}, key(), entropy);
      must(event.has_value() && store->put(*event).has_value(), "an event is stored");
    }
    must(store->commit().has_value(), "a batch is committed");
    LedgerOptions options;
    options.folder = folder + "/ledger";
    options.open_invoices_max = 20;
    ledger = Ledger::open(options, clock_of(), entropy).value();
  }
};

Town& town() {
  static Town value;
  return value;
}

void speak(std::string_view text) {
  if (!valid_utf8(text)) return;  // the server below has checked that
  Town& place = town();
  place.session = relay::make_session(place.shared);
  place.session->on_open(std::make_shared<Peer>());
  while (!text.empty()) {  // several messages, a line each
    const std::size_t end = std::min(text.find('\n'), text.size());
    place.session->on_text(text.substr(0, end));
    place.session->on_drained();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  place.session->on_close();
}

void read_events(const Json& json) {
  const auto event = read_event(json);
  if (!event) return;
  (void)check_event_id(*event);
  if (const auto info = read_announcement(*event)) must(valid_utf8(info->name), "a provider's name can be shown");
  (void)is_for_provider(*event, key().public_hex(), 1'700'000'000);
  (void)read_job_request(*event, key(), {});
  if (const auto feedback = read_feedback(*event))
    must(printable_text(feedback->text) == printable_text(printable_text(feedback->text)), "printable stays so");
  (void)read_result_text(*event, key(), {});
}

void ask_ledger(const Json& json, bool sign) {
  Json request = json;
  if (sign && json.is_object()) {
    // Right in all that is checked before the operation, so that the input decides about that.
    static std::int64_t nonce = 0;
    request.set("format", "assay.ledger/1");
    request.set("issuer", town().ledger->node_public_hex());
    request.set("nonce", sha256_hex(std::to_string(++nonce)).substr(0, 32));
    request.set("expires", clock_of().unix_ns() / 1'000'000'000 + 60);
    auto sealed = sign_object(request.as_object(), key(), town().entropy);
    if (!sealed) return;
    request = *std::move(sealed);
  }
  if (const auto reply = town().ledger->apply(request)) must(canonical(*reply).has_value(), "a ledger answers in JSON");
  (void)verify_payment_receipt(json);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = text_of(data + 1, size - 1);
  if (data[0] % 4 == 0) {
    speak(text);
    return 0;
  }
  const auto json = read_json(text);
  if (!json) return 0;
  switch (data[0] % 4) {
    case 1: read_events(*json); break;
    case 2: ask_ledger(*json, false); break;
    default: ask_ledger(*json, true);
  }
  return 0;
}
