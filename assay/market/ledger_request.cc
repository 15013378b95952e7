// Ledger: signed requests in, signed replies out.
#include <fmt/format.h>

#include "assay/market/ledger.h"

namespace assay {
namespace {

constexpr std::string_view request_format = "assay.ledger/1";

Json to_json(const IssuedInvoice& invoice) {
  return JsonObject{{"invoice", invoice.invoice}, {"payment_hash", invoice.payment_hash}, {"expires_at", invoice.expires_at}};
}

Json to_json(const Payment& payment) {
  return JsonObject{{"payment_hash", payment.payment_hash},
                    {"preimage", payment.preimage},
                    {"amount_msats", payment.amount_msats},
                    {"already", payment.already}};
}

Json to_json(const InvoiceStatus& status) {
  JsonObject out{{"settled", status.settled}, {"amount_msats", status.amount_msats}, {"expires_at", status.expires_at}};
  out.set("preimage", status.settled ? Json(status.preimage) : Json());
  out.set("settled_at", status.settled ? Json(status.settled_at) : Json());
  return out;
}

Result<InvoiceTerms> read_terms(const Json& params) {
  InvoiceTerms out;
  ASSAY_TRY(out.amount_msats, int_member(params, "amount_msats"));
  ASSAY_TRY(out.description_hash, string_member(params, "description_hash"));
  ASSAY_TRY(out.expiry_seconds, int_member(params, "expiry_seconds"));
  return out;
}

Json error_json(const Error& error) {
  return JsonObject{{"code", name(error.code)}, {"message", error.message}, {"path", error.path}, {"remedy", error.remedy}};
}

}  // namespace

Result<Json> Ledger::info() const {
  JsonObject out{{"format", "assay.ledger.info/1"}, {"node_id", node_id_}, {"network", name(Bolt11Network::regtest)}};
  out.set("grant_msats", options_.grant_msats);
  out.set("supply_msats", options_.supply_msats);
  out.set("request_seconds_max", options_.request_seconds_max);
  return sign_object(Json(std::move(out)), node_, entropy_);
}

// Cheap checks first; the signature last.
Result<void> Ledger::check_request(const Json& request) const {
  ASSAY_TRY(const std::string format, string_member(request, "format"));
  if (format != request_format) return fail(ErrorCode::malformed, fmt::format("expected format {}", request_format), {}, "format");
  ASSAY_TRY(const std::string issuer, string_member(request, "issuer"));
  if (issuer != node_public_hex())
    return fail(ErrorCode::refused, "the request is meant for another issuer", "check the issuer's address", "issuer");
  ASSAY_TRY(const std::string nonce, string_member(request, "nonce"));
  if (!is_hex(nonce, 32)) return fail(ErrorCode::malformed, "expected 32 hex digits", {}, "nonce");
  ASSAY_TRY(const std::int64_t expires, int_member(request, "expires"));
  if (expires <= now())
    return fail(ErrorCode::refused, fmt::format("the request expired at {}, it is {}", expires, now()), "check the clocks", "expires");
  if (expires > now() + options_.request_seconds_max) {
    return fail(ErrorCode::refused, fmt::format("expected at most {} seconds ahead", options_.request_seconds_max),
                "check the clocks: yours is ahead of the issuer's", "expires");
  }
  ASSAY_CHECK(member(request, "params", Json::Kind::object));
  return verify_object(request);
}

// What this account was answered under this nonce, unless that request has expired since.
Result<std::optional<Json>> Ledger::answered(const std::string& account, const std::string& nonce) {
  ASSAY_TRY(Statement old, database_.prepare("DELETE FROM reply WHERE expires <= ?"));
  ASSAY_CHECK(old.bind(1, now()).run());
  ASSAY_TRY(Statement find, database_.prepare("SELECT text FROM reply WHERE account = ? AND nonce = ?"));
  ASSAY_TRY(const bool found, find.bind(1, account).bind(2, nonce).step());
  if (!found) return std::optional<Json>();
  ASSAY_TRY(Json reply, read_json(find.text(0)));
  return std::optional<Json>(std::move(reply));
}

Result<Json> Ledger::reply(const std::string& request_hash, bool taken, const Result<Json>& result) const {
  JsonObject out{{"format", "assay.ledger.reply/1"}, {"request", request_hash}, {"taken", taken}};
  out.set("result", result ? *result : Json());
  out.set("error", result ? Json() : error_json(result.error()));
  return sign_object(Json(std::move(out)), node_, entropy_);
}

Result<Json> Ledger::dispatch(const Json& request) {
  const std::string account = request.at("signer").as_string();
  const Json& params = request.at("params");
  ASSAY_TRY(const std::string op, string_member(request, "op"));
  if (op == "open") {
    ASSAY_TRY(const Opened opened, do_open(account));
    return Json(JsonObject{{"balance", opened.balance}, {"granted", opened.granted}});
  }
  if (op == "balance") {
    ASSAY_TRY(const std::int64_t held, balance_of(account));
    return Json(JsonObject{{"balance", held}});
  }
  if (op == "invoice") {
    ASSAY_TRY(const InvoiceTerms terms, read_terms(params));
    ASSAY_TRY(const IssuedInvoice made, do_invoice(account, terms));
    return to_json(made);
  }
  if (op == "pay") {
    ASSAY_TRY(const std::string invoice, string_member(params, "invoice"));
    ASSAY_TRY(const std::int64_t cap, int_member(params, "cap_msats"));
    ASSAY_TRY(const Payment paid, do_pay(account, invoice, cap));
    return to_json(paid);
  }
  if (op == "lookup") {
    ASSAY_TRY(const std::string payment_hash, string_member(params, "payment_hash"));
    ASSAY_TRY(const InvoiceStatus status, do_lookup(account, payment_hash));
    return to_json(status);
  }
  return fail(ErrorCode::usage, "unknown operation", "known are open, balance, invoice, pay and lookup", "op");
}

// A refused operation undoes itself but uses its nonce up: what was refused now cannot be sent again by someone else later. A request that
// comes twice (a proxy that tries again, somebody in between) is carried out once and answered twice.
Result<Json> Ledger::apply(const Json& request) {
  if (!request.is_object()) return fail(ErrorCode::malformed, "expected a request object");
  ASSAY_TRY(const std::string request_hash, hash(request));
  if (const auto fits = check_request(request); !fits) return reply(request_hash, false, std::unexpected(fits.error()));
  const std::string& account = request.at("signer").as_string();
  const std::string& nonce = request.at("nonce").as_string();

  const std::scoped_lock lock(mutex_);
  ASSAY_TRY(Transaction transaction, Transaction::begin(database_));
  ASSAY_TRY(std::optional<Json> before, answered(account, nonce));
  if (before && before->at("request") == Json(request_hash)) return std::move(*before);
  if (before)
    return reply(request_hash, false, fail(ErrorCode::refused, "another request has used this nonce before", "sign a new one", "nonce"));
  ASSAY_CHECK(database_.execute("SAVEPOINT operation"));
  const auto result = dispatch(request);
  ASSAY_CHECK(database_.execute(result ? "RELEASE operation" : "ROLLBACK TO operation; RELEASE operation"));
  ASSAY_TRY(Json answer, reply(request_hash, true, result));
  ASSAY_TRY(const std::string text, canonical(answer));
  ASSAY_TRY(Statement add, database_.prepare("INSERT INTO reply(account, nonce, expires, text) VALUES(?, ?, ?, ?)"));
  ASSAY_CHECK(add.bind(1, account).bind(2, nonce).bind(3, request.at("expires").as_int()).bind(4, text).run());
  step("before commit");
  ASSAY_CHECK(transaction.commit());
  step("after commit");
  return answer;
}

}  // namespace assay
