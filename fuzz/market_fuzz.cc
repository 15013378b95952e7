// What relays, buyers and sellers send: events, filters, job envelopes, invoices. Nothing crashes; what is accepted reads back.
//
//   ./x fuzz market
#include "assay/market/bolt11.h"
#include "assay/market/job.h"
#include "assay/nostr/event.h"
#include "assay/nostr/filter.h"
#include "assay/nostr/nip19.h"
#include "assay/sandbox/request.h"
#include "fuzz/must.h"

namespace {

void read_value(const assay::Json& json) {
  if (const auto event = assay::read_event(json)) must(assay::read_event(assay::to_json(*event)).has_value(), "an event reads back");
  (void)assay::read_filter(json);
  if (const auto envelope = assay::read_envelope(json)) {
    (void)assay::read_text_job(envelope->payload);
    (void)assay::completed_request(*envelope);
  }
  if (const auto request = assay::read_sandbox_request(json)) {
    const auto again = assay::read_sandbox_request(assay::to_json(*request));
    const auto before = assay::job_hash(*request);
    if (again && before) must(assay::job_hash(*again).value_or("") == *before, "writing the defaults out keeps the hash");
  }
  (void)assay::read_sandbox_response(json);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      if (const auto json = assay::read_json(text)) read_value(*json);
      break;
    case 1: (void)assay::read_bolt11(text); break;
    default:
      (void)assay::read_public_key(text);
      (void)assay::read_event_id(text);
      (void)assay::read_secret_key(text);
  }
  return 0;
}
