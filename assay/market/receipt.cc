#include "assay/market/receipt.h"

#include "assay/market/bolt11.h"

namespace assay {
namespace {

Result<std::string> hex_member(const Json& object, std::string_view key) {
  ASSAY_TRY(std::string text, string_member(object, key));
  if (!is_hex(text, 64)) return fail(ErrorCode::malformed, "expected 64 lowercase hex digits", {}, std::string(key));
  return text;
}

}  // namespace

Result<Json> make_payment_receipt(const PaymentFacts& facts, const SecretKey& buyer, Entropy& entropy, Clock& clock) {
  ASSAY_CHECK(check_preimage(facts.preimage, facts.payment_hash));
  JsonObject out{{"format", "assay.receipt/1"}, {"kind", "payment"}, {"request_id", facts.request_id}, {"result_id", facts.result_id}};
  out.set("job_type", facts.job_type);
  out.set("job_hash", facts.job_hash);
  out.set("payment_hash", facts.payment_hash);
  out.set("preimage", facts.preimage);
  out.set("amount_msats", facts.amount_msats);
  out.set("buyer", buyer.public_hex());
  out.set("provider", facts.provider);
  out.set("created_at", clock.unix_ns() / 1'000'000'000);
  return sign_object(Json(std::move(out)), buyer, entropy);
}

Result<PaymentFacts> verify_payment_receipt(const Json& receipt) {
  PaymentFacts out;
  ASSAY_TRY(const std::string format, string_member(receipt, "format"));
  ASSAY_TRY(const std::string kind, string_member(receipt, "kind"));
  if (format != "assay.receipt/1" || kind != "payment")
    return fail(ErrorCode::malformed, "expected an assay.receipt/1 of kind payment", {}, "format");
  ASSAY_CHECK(verify_object(receipt));
  ASSAY_TRY(const std::string buyer, hex_member(receipt, "buyer"));
  if (buyer != receipt.at("signer").as_string()) return fail(ErrorCode::mismatch, "the receipt is not signed by its buyer", {}, "signer");
  ASSAY_TRY(out.request_id, hex_member(receipt, "request_id"));
  ASSAY_TRY(out.result_id, hex_member(receipt, "result_id"));
  ASSAY_TRY(out.job_type, string_member(receipt, "job_type"));
  ASSAY_TRY(out.job_hash, hex_member(receipt, "job_hash"));
  ASSAY_TRY(out.payment_hash, hex_member(receipt, "payment_hash"));
  ASSAY_TRY(out.preimage, hex_member(receipt, "preimage"));
  ASSAY_TRY(out.provider, hex_member(receipt, "provider"));
  ASSAY_TRY(out.amount_msats, int_member(receipt, "amount_msats"));
  if (out.amount_msats <= 0) return fail(ErrorCode::malformed, "expected msats above zero", {}, "amount_msats");
  ASSAY_TRY(const std::int64_t created_at, int_member(receipt, "created_at"));
  if (created_at < 0) return fail(ErrorCode::malformed, "expected seconds from 0", {}, "created_at");
  ASSAY_CHECK(check_preimage(out.preimage, out.payment_hash));
  return out;
}

}  // namespace assay
