#include "assay/market/deal.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "assay/market/receipt.h"
#include "assay/sandbox/receipt.h"

namespace assay {
namespace {

std::string whole_path(const std::string& path) {
  std::error_code ignored;
  const auto whole = std::filesystem::absolute(path, ignored);
  return ignored ? path : whole.string();
}

}  // namespace

Deal::Deal(DealParts parts, JobEnvelope job, Purchase purchase, DealTerms terms, DealNews news)
    : parts_(std::move(parts)),
      job_(std::move(job)),
      purchase_(std::move(purchase)),
      terms_(terms),
      named_(!purchase_.provider.empty()),
      resumed_(purchase_.state != PurchaseState::requested),
      news_(std::move(news)) {}

Json to_json(const Bought& bought) {
  return JsonObject{{"request_id", bought.request_id},
                    {"result_id", bought.result_id},
                    {"provider", bought.provider},
                    {"payload", bought.payload},
                    {"provider_receipt", bought.provider_receipt},
                    {"paid_msats", bought.paid_msats},
                    {"receipt", bought.receipt}};
}

Result<Bought> read_kept(const Json& value) {
  const Json &request = value.at("request_id"), &result = value.at("result_id"), &provider = value.at("provider"),
             &paid = value.at("paid_msats");
  if (!request.is_string() || !result.is_string() || !provider.is_string() || !paid.is_int())
    return fail(ErrorCode::malformed, "not a result that was kept");
  return Bought{request.as_string(),          result.as_string(), provider.as_string(), value.at("payload"),
                value.at("provider_receipt"), paid.as_int(),      value.at("receipt"),  true};
}

void Deal::tell(const std::string& what) const {
  if (news_.progress) news_.progress(what);
}

std::string Deal::resume_command() const {
  const std::string issuer = parts_.options.wallet ? parts_.options.wallet->address() : "";
  return fmt::format("assay pylon resume {} --relay {}{}", purchase_.request_id, parts_.options.relay_url,
                     issuer.empty() ? "" : " --issuer " + issuer);
}

namespace {

// Does a whole line of that record name the payment?
bool record_names(const std::string& record, const std::string& payment_hash) {
  std::ifstream file(record, std::ios::binary);
  const std::string type = "\"type\":\"payment\"", named = fmt::format("\"payment_hash\":\"{}\"", payment_hash);
  std::string line;
  while (std::getline(file, line) && !file.eof()) {  // ends: with the file; a line without an end is cut at the next resume
    if (line.find(named) != std::string::npos && line.find(type) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

// A kill came between the record's line and our note of it, or before both: the record says which.
Result<void> Deal::find_told() {
  if (purchase_.told || purchase_.telling.empty() || !record_names(purchase_.telling, purchase_.payment_hash)) return {};
  purchase_.told = true;
  return parts_.store.told(purchase_.request_id);
}

// A payment counts in one record only: told again, its amount is 0.
Result<void> Deal::tell_payment(std::string_view state) {
  if (!news_.on_paid) return {};
  if (!purchase_.told && !news_.record.empty()) ASSAY_CHECK(parts_.store.telling(purchase_.request_id, whole_path(news_.record)));
  const bool recorded = news_.on_paid(JsonObject{{"payment_hash", purchase_.payment_hash},
                                                 {"amount_msats", purchase_.told ? 0 : purchase_.amount_msats},
                                                 {"state", state},
                                                 {"provider", purchase_.provider},
                                                 {"job_id", purchase_.request_id},
                                                 {"job_type", job_.job_type},
                                                 {"job_hash", job_.job_hash}});
  return recorded && !purchase_.told ? parts_.store.told(purchase_.request_id) : Result<void>();
}

Result<bool> Deal::told_before() {
  ASSAY_CHECK(find_told());
  ASSAY_CHECK(tell_payment("settled"));
  return purchase_.told;
}

Filter Deal::filter() const {
  Filter out;
  out.kinds = {job_feedback_kind, job_result_kind};
  out.tags['e'] = {purchase_.request_id};
  if (!purchase_.provider.empty()) out.authors = {purchase_.provider};
  return out;
}

Result<void> Deal::pick_up(const Wait& wait) {
  ASSAY_CHECK(find_told());
  if (purchase_.state != PurchaseState::paying) return tell_payment("settled");
  if (parts_.options.wallet) return pay(wait);
  return fail(ErrorCode::usage, "whether this purchase was paid is not known, and there is no issuer to ask",
              "name its issuer: --issuer URL", "issuer");
}

void Deal::listening(bool can_hear) {
  if (can_hear && !listening_) listening_since_ns_ = parts_.clock.steady_ns();
  listening_ = can_hear;
}

Result<std::optional<Bought>> Deal::take(const Event& event, const Wait& wait) {
  if (!purchase_.provider.empty() && event.pubkey != purchase_.provider) return std::nullopt;
  if (auto about = check_answers(event, purchase_.request_id, parts_.options.key.public_hex()); !about) {
    // Of anyone it proves nothing; of the one we paid it is the answer that we get.
    if (event.kind == job_result_kind && purchase_.state == PurchaseState::paid) return failed_check(event.pubkey, about.error());
    return std::nullopt;
  }
  if (is_word(event)) {
    if (!heard_) ASSAY_CHECK(parts_.store.note_heard(event.pubkey));
    heard_ = true;
  }
  return event.kind == job_result_kind ? take_result(event) : take_feedback(event, wait);
}

// Where something is to be paid, only a quote or a no brings the deal on: who says "processing" for ever has said nothing.
bool Deal::is_word(const Event& event) const {
  if (terms_.bid_msats == 0) return true;
  const auto feedback = event.kind == job_feedback_kind ? read_feedback(event) : Result<JobFeedback>(fail(ErrorCode::malformed, ""));
  return feedback && (feedback->status == "payment-required" || feedback->status == "error");
}

Result<std::optional<Bought>> Deal::take_feedback(const Event& event, const Wait& wait) {
  const auto feedback = read_feedback(event);
  if (!feedback) return std::nullopt;
  if (feedback->status == "payment-required") {
    if (purchase_.state == PurchaseState::requested) {
      ASSAY_CHECK(take_quote(event, *feedback, wait));
    } else if (feedback->invoice != purchase_.invoice) {
      tell(fmt::format("ignored a second quote of {} msats", feedback->amount_msats.value_or(0)));  // the first is final
    }
    return std::nullopt;
  }
  if (feedback->status != "error") {
    tell(feedback->status);
    return std::nullopt;
  }
  if (purchase_.provider.empty()) return std::nullopt;  // another provider may still say yes
  const std::string said = fmt::format("the provider says: {}", feedback->text);
  if (purchase_.state == PurchaseState::paid)
    return failed_check(event.pubkey, {ErrorCode::unavailable, said, {}, "the money is spent: choose another provider"});
  over_ = true;
  ASSAY_CHECK(parts_.store.failed(purchase_.request_id, now()));
  if (feedback->text.starts_with("too much: ")) {  // as a lane of one's own says of a prompt that is too long
    return fail(ErrorCode::limit_exceeded, fmt::format("provider {}: {}", event.pubkey, said), "nothing was paid. Ask for less");
  }
  ASSAY_CHECK(parts_.store.note_silent(event.pubkey, now()));  // others are asked first for a while
  const bool dear = feedback->text.starts_with("the price"), no = dear || feedback->text.starts_with("unsupported");
  if (dear)
    return fail(ErrorCode::refused, fmt::format("provider {}: {}", event.pubkey, said),
                "nothing was paid. Bid more (--bid), or name another provider");
  return fail(no ? ErrorCode::refused : ErrorCode::unavailable, fmt::format("provider {}: {}", event.pubkey, said),
              "nothing was paid. Change the job, or ask again: another provider is asked first for ten minutes; --provider names one");
}

// Everything that must hold before a msat moves. Returns the payment hash.
Result<std::string> Deal::check_quote(const Event& event, const JobFeedback& quote) const {
  if (!quote.amount_msats || *quote.amount_msats <= 0 || quote.invoice.empty()) {
    return fail(ErrorCode::mismatch, "a quote without amount and invoice", "nothing was paid: choose another provider", "amount");
  }
  ASSAY_TRY(const Bolt11 invoice, read_bolt11(quote.invoice));
  PayableTerms terms;
  terms.network = parts_.options.wallet->network();
  terms.payee = parts_.options.wallet->node_id();
  terms.now = now();
  terms.margin_seconds = parts_.options.margin_seconds;
  terms.most_msats = terms_.bid_msats;
  terms.exact_msats = quote.amount_msats;
  ASSAY_TRY(terms.description_hash, quote_commitment(purchase_.request_id, event.pubkey, job_.job_hash, *quote.amount_msats));
  ASSAY_CHECK(check_payable(invoice, terms));
  return invoice.payment_hash;
}

// Who asks more than it announced was chosen for a price that is none: that is a failed check. Else the bid was too low.
Result<void> Deal::refuse_price(const std::string& provider, std::int64_t asked_msats) {
  tell(fmt::format("refused a quote of {} msats: the bid is {}", asked_msats, terms_.bid_msats));
  if (!named_) return {};
  if (terms_.announced_msats && asked_msats > *terms_.announced_msats) {
    return failed_check(provider, {ErrorCode::mismatch,
                                   fmt::format("it asks {} msats, and announced {} at most", asked_msats, *terms_.announced_msats),
                                   {},
                                   "choose another provider: this one is passed over from now on"});
  }
  over_ = true;
  ASSAY_CHECK(parts_.store.failed(purchase_.request_id, now()));
  ASSAY_CHECK(parts_.store.note_silent(provider, now()));
  return fail(ErrorCode::refused, fmt::format("the price of provider {} is {} msats, the bid {}", provider, asked_msats, terms_.bid_msats),
              "bid more, or choose another provider (--provider)");
}

Result<void> Deal::take_quote(const Event& event, const JobFeedback& quote, const Wait& wait) {
  if (auto good = parts_.check_reputation(event.pubkey); !good) return named_ ? good : Result<void>();
  if (quote.amount_msats.value_or(0) > terms_.bid_msats) return refuse_price(event.pubkey, *quote.amount_msats);
  if (!parts_.options.wallet)
    return fail(ErrorCode::usage, "this provider wants to be paid, and there is no wallet", "give the issuer's address");
  const auto payment_hash = check_quote(event, quote);
  if (!payment_hash) {
    auto failed = failed_check(event.pubkey, payment_hash.error());
    if (named_) return failed;
    over_ = false;
    return {};
  }
  Purchase quoted = purchase_;
  quoted.provider = event.pubkey;
  quoted.invoice = quote.invoice;
  quoted.payment_hash = *payment_hash;
  quoted.amount_msats = *quote.amount_msats;
  auto accepted = parts_.store.accept(quoted, {parts_.options.day_msats, parts_.options.provider_day_msats}, now());
  if (!accepted && accepted.error().code == ErrorCode::over_budget) {  // other processes bought meanwhile: no fault of the provider's
    over_ = true;
    ASSAY_CHECK(parts_.store.failed(purchase_.request_id, now()));
    return std::unexpected(std::move(accepted.error()));
  }
  if (!accepted) return failed_check(event.pubkey, accepted.error());
  if (!*accepted) return {};
  purchase_ = std::move(quoted);
  purchase_.state = PurchaseState::paying;
  tell(fmt::format("quoted {} msats", purchase_.amount_msats));
  return pay(wait);
}

Result<void> Deal::pay(const Wait& wait) {
  auto paid = parts_.options.wallet->pay(purchase_.invoice, purchase_.amount_msats, wait);
  if (!paid) {
    over_ = true;
    // Refused by wallet or issuer: nothing moved. Anything else is in flight, and `resume` asks again.
    const bool nothing_moved = paid.error().code == ErrorCode::refused || paid.error().code == ErrorCode::over_budget ||
                               paid.error().code == ErrorCode::limit_exceeded;
    Error error = std::move(paid).error();
    if (nothing_moved) {
      ASSAY_CHECK(parts_.store.failed(purchase_.request_id, now()));
      // An invoice that cannot be paid, such as one that somebody else has paid: anyone can do that to a seller, so others come first, no
      // more.
      if (error.code == ErrorCode::refused) ASSAY_CHECK(parts_.store.note_silent(purchase_.provider, now()));
    } else {
      ASSAY_CHECK(tell_payment("unknown"));
      error.message = "the payment may still be made: " + error.message;
      error.remedy = fmt::format("ask the same provider for the same again (--provider {}), which pays nothing twice, or: {}",
                                 purchase_.provider, resume_command());
    }
    return std::unexpected(std::move(error).in("payment"));
  }
  ASSAY_CHECK(check_preimage(paid->preimage, purchase_.payment_hash));
  ASSAY_CHECK(parts_.store.paid(purchase_.request_id, paid->preimage, now()));
  purchase_.preimage = paid->preimage;
  purchase_.state = PurchaseState::paid;
  paid_ns_ = parts_.clock.steady_ns();
  tell("paid");
  return tell_payment("settled");
}

Result<std::optional<Bought>> Deal::take_result(const Event& event) {
  if (purchase_.state == PurchaseState::requested) {
    // A gift is taken from a provider that was chosen, or when nothing was offered; anything else is bait and waits for nobody.
    const auto amount = tag_value(event, "amount");
    if ((amount && *amount != "0") || (!named_ && terms_.bid_msats > 0)) return std::nullopt;
    purchase_.provider = event.pubkey;
  } else if (purchase_.state != PurchaseState::paid) {
    return std::nullopt;
  }
  auto bought = check_result(event);
  if (!bought) return failed_check(event.pubkey, bought.error());
  if (bought->paid_msats > 0) {
    const PaymentFacts facts{purchase_.request_id,   event.id,           job_.job_type, job_.job_hash,
                             purchase_.payment_hash, purchase_.preimage, event.pubkey,  purchase_.amount_msats};
    ASSAY_TRY(bought->receipt, make_payment_receipt(facts, parts_.options.key, parts_.entropy, parts_.clock));
  }
  const bool keep = terms_.keep_result && bought->paid_msats > 0;
  ASSAY_TRY(const bool first, parts_.store.done(purchase_.request_id, bought->receipt, keep ? to_json(*bought) : Json(), now()));
  if (resumed_) ASSAY_CHECK(parts_.store.take_back_failure(event.pubkey, purchase_.request_id));
  if (first) ASSAY_CHECK(parts_.store.note_completed(event.pubkey, now()));
  return std::optional(std::move(*bought));
}

Result<Bought> Deal::check_result(const Event& event) const {
  const auto amount = tag_value(event, "amount");
  if (amount && *amount != std::to_string(purchase_.amount_msats)) {
    return fail(ErrorCode::mismatch, fmt::format("the result names {} msats, paid were {}", amount->substr(0, 20), purchase_.amount_msats),
                {}, "amount");
  }
  if (purchase_.encrypted && !tag_value(event, "encrypted"))
    return fail(ErrorCode::mismatch, "the request was encrypted, the result is not", {}, "encrypted");
  ASSAY_TRY(const std::string text, read_result_text(event, parts_.options.key, parts_.options.limits));
  ASSAY_TRY(const Json json, read_json(text, {.bytes_max = parts_.options.limits.result_bytes_max}));
  ASSAY_TRY(const JobEnvelope response, read_envelope(json));
  if (response.job_type != job_.job_type) return fail(ErrorCode::mismatch, "the result is of another job type", {}, "job_type");
  if (response.job_hash != job_.job_hash) {
    return fail(ErrorCode::mismatch, fmt::format("the result is for job {}, asked was {}", response.job_hash, job_.job_hash), {},
                "job_hash");
  }
  Bought out{purchase_.request_id,   event.id, event.pubkey,  response.payload, json.at("receipt"),
             purchase_.amount_msats, {},       purchase_.told};
  ASSAY_CHECK(check_payload(response, out.provider_receipt));
  return out;
}

Result<void> Deal::check_payload(const JobEnvelope& response, const Json& provider_receipt) const {
  if (job_.job_type == text_job_type) {
    ASSAY_TRY(const TextAnswer answer, read_text_answer(response.payload));
    const Json& most = job_.payload.at("config").at("max_tokens");
    if (most.is_int() && answer.usage.completion_tokens > most.as_int()) {
      return fail(ErrorCode::mismatch,
                  fmt::format("{} tokens are claimed, at most {} were asked", answer.usage.completion_tokens, most.as_int()), {}, "usage");
    }
    return {};
  }
  if (job_.job_type != sandbox_job_type) return {};
  ASSAY_TRY(const SandboxRunRequest request, read_sandbox_request(job_.payload));
  ASSAY_TRY(const SandboxRunResponse run, read_sandbox_response(response.payload));
  if (run.job_hash != job_.job_hash) return fail(ErrorCode::mismatch, "the sandbox result is for another job", {}, "payload.job_hash");
  ASSAY_CHECK(verify_receipt(provider_receipt, request, run));
  if (!provider_receipt.at("signer").is_string() || provider_receipt.at("signer").as_string() != purchase_.provider) {
    return fail(ErrorCode::mismatch, "the sandbox receipt is not signed by the provider", {}, "receipt.signer");
  }
  return {};
}

std::unexpected<Error> Deal::failed_check(const std::string& provider, Error error) {
  over_ = true;
  const bool was_paid = purchase_.state == PurchaseState::paid;
  (void)parts_.store.note_failed(provider, error.message.substr(0, 300), now());
  if (named_ || was_paid) (void)parts_.store.failed(purchase_.request_id, now());
  tell("failed a check: " + error.message);
  error.message = fmt::format("{}provider {}: {}", was_paid ? "paid, and no good result: " : "not paid: ", provider, error.message);
  if (error.remedy.empty()) error.remedy = "choose another provider: this one is not paid again";
  return std::unexpected(std::move(error));
}

std::unexpected<Error> Deal::nobody_there() {
  over_ = true;
  (void)parts_.store.note_silent(purchase_.provider, now());
  (void)parts_.store.failed(purchase_.request_id, now());
  return fail(ErrorCode::unavailable,
              fmt::format("provider {} has not answered within {} s", purchase_.provider, parts_.options.answer_seconds),
              "nothing was paid. Ask again: another provider is asked first for ten minutes; --provider names one");
}

std::unexpected<Error> Deal::ended(Error error) {
  if (over_) return std::unexpected(std::move(error));
  if (purchase_.state == PurchaseState::paid) {
    // A stop is ours, and so are a short deadline and a relay that we do not reach; a long one is theirs: they had the money and the time.
    const std::int64_t had_ns = listening_ ? parts_.clock.steady_ns() - std::max(paid_ns_, listening_since_ns_) : 0;
    if (error.code == ErrorCode::timed_out && !resumed_ && had_ns >= parts_.options.fair_seconds * 1'000'000'000)
      (void)parts_.store.note_failed(purchase_.provider, "took payment and sent no result in time", now(), purchase_.request_id);
    error.message = "paid, and no result yet: " + error.message;
    error.remedy = "ask for the same again, or fetch it once it is there: " + resume_command();
  } else if (purchase_.state == PurchaseState::requested) {
    (void)parts_.store.failed(purchase_.request_id, now());
    if (named_ && error.code == ErrorCode::timed_out) {
      (void)parts_.store.note_silent(purchase_.provider, now());
      error.message = fmt::format("provider {} has not come to an answer: {}", purchase_.provider, error.message);
      error.remedy = "nothing was paid. Ask again: another provider is asked first for ten minutes; --provider names one";
    }
  }
  return std::unexpected(std::move(error));
}

}  // namespace assay
