#include "assay/market/ledger_client.h"

#include <fmt/format.h>

#include "assay/net/http_client.h"

namespace assay {
namespace {

constexpr std::int64_t request_seconds = 60;
const HttpLimits limits{.header_bytes_max = 16 * 1024, .body_bytes_max = 64 * 1024, .ca_file = {}};

// The issuer speaks our error names; one that is not known here is a refusal.
ErrorCode code_of(std::string_view text) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) {
    if (name(static_cast<ErrorCode>(i)) == text) return static_cast<ErrorCode>(i);
  }
  return ErrorCode::refused;
}

std::string text_of(const Json& value) { return value.is_string() ? value.as_string() : std::string(); }

Error error_of(const Json& error) {
  return Error{code_of(text_of(error.at("code"))), "the issuer says: " + text_of(error.at("message")), text_of(error.at("path")),
               text_of(error.at("remedy"))};
}

Result<Json> read_answer(const HttpResponse& response) {
  auto body = read_json(response.body, {.bytes_max = limits.body_bytes_max, .depth_max = 8});
  if (!body || !body->is_object()) {
    return fail(ErrorCode::unavailable, fmt::format("the issuer's address answers with status {} and no object", response.status),
                "check the issuer's URL");
  }
  if (response.status != 200) {
    // Not signed: anyone on the port could say it. It says nothing of what became of a payment.
    Error error = error_of(body->at("error"));
    error.code = ErrorCode::unavailable;
    return std::unexpected(std::move(error));
  }
  return std::move(*body);
}

// Whatever keeps an answer away (too large, cut, no HTTP at all) is no word of the issuer: a payment may have been made all the same.
Error no_answer(Error error) {
  if (error.code != ErrorCode::timed_out && error.code != ErrorCode::cancelled) error.code = ErrorCode::unavailable;
  return error;
}

Result<void> check_signer(const Json& answer, std::string_view node_id) {
  ASSAY_CHECK(verify_object(answer));
  if (text_of(answer.at("signer")) != node_id.substr(2)) {
    return fail(ErrorCode::mismatch, "the answer is signed by another node than the issuer's",
                "another program may hold the port: check the issuer", "signer");
  }
  return {};
}

}  // namespace

Result<LedgerInfo> LedgerClient::connect(const Wait& wait) {
  ASSAY_TRY(const HttpResponse response, http_send({"GET", address_.url + "/v1/info", {}, {}}, limits, wait, clock_));
  ASSAY_TRY(const Json answer, read_answer(response));
  LedgerInfo out;
  ASSAY_TRY(out.node_id, string_member(answer, "node_id"));
  if (!is_hex(out.node_id, 66)) return fail(ErrorCode::malformed, "expected a node id of 66 hex digits", {}, "node_id");
  if (!address_.node_id.empty() && address_.node_id != out.node_id) {
    return fail(ErrorCode::mismatch, fmt::format("the issuer is node {}, expected {}", out.node_id, address_.node_id),
                "check the issuer's URL", "node_id");
  }
  ASSAY_CHECK(check_signer(answer, out.node_id));
  ASSAY_TRY(const std::string network, string_member(answer, "network"));
  if (network != name(Bolt11Network::regtest)) return fail(ErrorCode::refused, "a ledger must be on the regtest network", {}, "network");
  ASSAY_TRY(out.grant_msats, int_member(answer, "grant_msats"));
  address_.node_id = out.node_id;
  return out;
}

Result<Json> LedgerClient::send(std::string_view op, JsonObject params, const Wait& wait) {
  if (address_.node_id.size() != 66) return fail(ErrorCode::usage, "the issuer is not known yet", "call connect first");
  JsonObject request{{"format", "assay.ledger/1"}, {"op", op}, {"params", std::move(params)}, {"issuer", address_.node_id.substr(2)}};
  request.set("nonce", entropy_.hex_bytes(16));
  request.set("expires", clock_.unix_ns() / 1'000'000'000 + request_seconds);
  ASSAY_TRY(const Json signed_request, sign_object(Json(std::move(request)), key_, entropy_));
  ASSAY_TRY(const std::string body, canonical(signed_request));
  const auto response =
      http_send({"POST", address_.url + "/v1/request", {{"content-type", "application/json"}}, body}, limits, wait, clock_);
  if (!response) return std::unexpected(no_answer(response.error()));
  ASSAY_TRY(const Json answer, read_answer(*response));
  ASSAY_CHECK(check_signer(answer, address_.node_id));
  if (text_of(answer.at("request")) != sha256_hex(body)) {
    return fail(ErrorCode::mismatch, "the answer is to another request", "another program may stand between: check the issuer", "request");
  }
  if (answer.at("error").is_object()) {
    Error error = error_of(answer.at("error"));
    // It speaks of this copy of the request only: another copy may have been carried out.
    if (answer.at("taken") != Json(true)) error.code = ErrorCode::unavailable;
    return std::unexpected(std::move(error));
  }
  if (!answer.at("result").is_object()) return fail(ErrorCode::malformed, "expected a result object", {}, "result");
  return answer.at("result");
}

Result<LedgerAccount> LedgerClient::open(const Wait& wait) {
  ASSAY_TRY(const Json result, send("open", {}, wait));
  LedgerAccount out;
  ASSAY_TRY(out.balance_msats, int_member(result, "balance"));
  ASSAY_TRY(out.granted_msats, int_member(result, "granted"));
  return out;
}

Result<std::int64_t> LedgerClient::balance(const Wait& wait) {
  ASSAY_TRY(const Json result, send("balance", {}, wait));
  return int_member(result, "balance");
}

Result<IssuedInvoice> LedgerClient::make_invoice(const InvoiceTerms& terms, const Wait& wait) {
  JsonObject params{
      {"amount_msats", terms.amount_msats}, {"description_hash", terms.description_hash}, {"expiry_seconds", terms.expiry_seconds}};
  ASSAY_TRY(const Json result, send("invoice", std::move(params), wait));
  IssuedInvoice out;
  ASSAY_TRY(out.invoice, string_member(result, "invoice"));
  ASSAY_TRY(out.payment_hash, string_member(result, "payment_hash"));
  ASSAY_TRY(out.expires_at, int_member(result, "expires_at"));
  // A seller must not hand on what its buyer will refuse.
  ASSAY_TRY(const Bolt11 invoice, read_bolt11(out.invoice));
  PayableTerms expected;
  expected.payee = address_.node_id;
  expected.now = clock_.unix_ns() / 1'000'000'000;
  expected.most_msats = terms.amount_msats;
  expected.exact_msats = terms.amount_msats;
  expected.description_hash = terms.description_hash;
  ASSAY_CHECK(check_payable(invoice, expected));
  if (invoice.payment_hash != out.payment_hash)
    return fail(ErrorCode::mismatch, "the issuer names another payment hash than its invoice", {}, "payment_hash");
  return out;
}

Result<Payment> LedgerClient::pay(const std::string& invoice, std::int64_t cap_msats, const Wait& wait) {
  ASSAY_TRY(const Json result, send("pay", JsonObject{{"invoice", invoice}, {"cap_msats", cap_msats}}, wait));
  Payment out;
  ASSAY_TRY(out.payment_hash, string_member(result, "payment_hash"));
  ASSAY_TRY(out.preimage, string_member(result, "preimage"));
  ASSAY_TRY(out.amount_msats, int_member(result, "amount_msats"));
  ASSAY_TRY(out.already, bool_member(result, "already"));
  ASSAY_TRY(const Bolt11 read, read_bolt11(invoice));
  ASSAY_CHECK(check_preimage(out.preimage, read.payment_hash));
  if (out.payment_hash != read.payment_hash || out.amount_msats != read.amount_msats) {
    return fail(ErrorCode::mismatch, "the issuer speaks of another payment than the invoice", "do not use this issuer");
  }
  return out;
}

Result<InvoiceStatus> LedgerClient::lookup(const std::string& payment_hash, const Wait& wait) {
  ASSAY_TRY(const Json result, send("lookup", JsonObject{{"payment_hash", payment_hash}}, wait));
  InvoiceStatus out;
  ASSAY_TRY(out.settled, bool_member(result, "settled"));
  ASSAY_TRY(out.amount_msats, int_member(result, "amount_msats"));
  ASSAY_TRY(out.expires_at, int_member(result, "expires_at"));
  if (!out.settled) return out;
  ASSAY_TRY(out.settled_at, int_member(result, "settled_at"));
  ASSAY_TRY(out.preimage, string_member(result, "preimage"));
  ASSAY_CHECK(check_preimage(out.preimage, payment_hash));
  return out;
}

}  // namespace assay
