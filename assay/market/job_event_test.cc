#include "assay/market/job_event.h"

#include <gtest/gtest.h>

#include "assay/market/receipt.h"

namespace assay {
namespace {

constexpr std::int64_t now = 1790000000;

LmRequest sample_request() {
  LmRequest out;
  out.messages = {{"system", "Answer with one word."}, {"user", "Which section? \x7f \"mail\" or games?\n"}};
  out.config =
      JsonObject{{"temperature", 0.5}, {"top_p", 1}, {"max_tokens", 16}, {"stop", JsonList{"\n"}}, {"n", 1}, {"seed_policy", "fixed"}};
  out.seed = 7;
  out.schema = JsonObject{{"enum", JsonList{"mail", "games"}}, {"type", "string"}};
  return out;
}

class JobEventTest : public testing::Test {
 protected:
  Event publish(UnsignedEvent event, const SecretKey& by) { return sign_event(std::move(event), by, entropy_).value().event(); }
  Event ask(const JobEnvelope& job, bool encrypt) {
    RequestTerms terms;
    terms.provider = seller_.public_hex();
    terms.bid_msats = 500;
    terms.relay_url = "ws://127.0.0.1:1";
    terms.expires_at = now + 60;
    terms.encrypt = encrypt;
    return publish(request_event(job, terms, buyer_, now, entropy_).value(), buyer_);
  }

  FixedEntropy entropy_{1};
  SecretKey buyer_ = SecretKey::generate(entropy_).value();
  SecretKey seller_ = SecretKey::generate(entropy_).value();
};

TEST_F(JobEventTest, ATextJobArrivesAsItWasSent) {
  const JobEnvelope job = text_job(sample_request(), {"tiny", ""}).value();
  for (const bool encrypt : {false, true}) {
    const Event event = ask(job, encrypt);
    EXPECT_EQ(event.kind, 5050);
    EXPECT_TRUE(is_for_provider(event, seller_.public_hex(), now));
    const auto read = read_job_request(event, seller_, {});
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(read->job.job_hash, job.job_hash);
    EXPECT_EQ(read->bid_msats, 500);
    EXPECT_EQ(read->encrypted, encrypt);
    const TextJob text = read_text_job(read->job.payload).value();
    EXPECT_EQ(text.request.messages[1].content, sample_request().messages[1].content);
    EXPECT_EQ(text.request.config, sample_request().config);
    EXPECT_EQ(text.request.seed, 7);
    EXPECT_EQ(text.request.schema, sample_request().schema);
    EXPECT_EQ(text.model.id, "tiny");
    // Only the provider can read an encrypted job, and the words stand nowhere in the clear.
    if (encrypt) {
      EXPECT_EQ(event_json(event).find("section"), std::string::npos);
      EXPECT_FALSE(read_job_request(event, SecretKey::generate(entropy_).value(), {}));
    }
  }
}

TEST_F(JobEventTest, AskingTwiceIsTwoJobs) {
  const JobEnvelope job = text_job(sample_request(), {}).value();
  EXPECT_NE(ask(job, false).id, ask(job, false).id);
}

TEST_F(JobEventTest, APlainNip90RequestIsUnderstood) {
  UnsignedEvent event{.created_at = now, .kind = 5050};
  event.tags = {{"i", "Say hello", "prompt"}, {"param", "max_tokens", "9"}, {"param", "temperature", "0.25"},
                {"param", "top-p", "0.5"},    {"param", "stop_0", "END"},   {"bid", "12"}};
  const auto read = read_job_request(publish(event, buyer_), seller_, {});
  ASSERT_TRUE(read) << read.error().text();
  EXPECT_TRUE(read->plain);
  const TextJob job = read_text_job(read->job.payload).value();
  EXPECT_EQ(job.request.messages.at(0).content.as_string(), "Say hello");
  EXPECT_EQ(job.request.config.at("max_tokens").as_int(), 9);
  EXPECT_EQ(job.request.config.at("temperature").as_double(), 0.25);
  EXPECT_EQ(job.request.config.at("top_p").as_double(), 0.5);
  EXPECT_EQ(job.request.config.at("stop").as_list().at(0).as_string(), "END");
}

// Nothing is ignored: what is not honoured is refused, and named.
TEST_F(JobEventTest, WhatIsNotHonouredIsRefusedByName) {
  const Json payload = text_job(sample_request(), {}).value().payload;
  const std::string text = event_json_text(payload).value();
  const std::string good_hash = hash(payload).value();
  const EventTag input{"i", text, "text"};
  const EventTag type{"param", "job_type", std::string(text_job_type)};
  const EventTag job_hash{"param", "job_hash", good_hash};
  struct Case {
    EventTags tags;
    ErrorCode code;
    const char* says;
  };
  const Case cases[] = {
      {{{"i", "https://example.org", "url"}}, ErrorCode::refused, "unsupported: input type url"},
      {{{"i", "x", "text"}, {"i", "y", "text"}}, ErrorCode::refused, "unsupported: more than one input"},
      {{{"i", "x", "text"}, {"param", "top_k", "40"}}, ErrorCode::refused, "unsupported: param top_k"},
      {{{"i", "x", "text"}, {"param", "frequency_penalty", "1"}}, ErrorCode::refused, "unsupported: param frequency_penalty"},
      {{{"i", "x", "text"}, {"output", "image/png"}}, ErrorCode::refused, "unsupported: output image/png"},
      {{{"i", "x", "text"}, {"wish", "y"}}, ErrorCode::refused, "unsupported: tag wish"},
      {{input, {"param", "job_type", "oa.embeddings.v1"}, job_hash}, ErrorCode::refused, "unsupported: job_type oa.embeddings.v1"},
      {{input, type, job_hash, {"param", "schema_version", "2.0.0"}}, ErrorCode::refused, "unsupported: schema_version 2.0.0"},
      {{input, type, job_hash, {"param", "temperature", "1"}}, ErrorCode::refused, "unsupported: param temperature beside a job type"},
      {{input, type, job_hash, {"param", "profile", "small"}}, ErrorCode::refused, "unsupported: param profile of a text job"},
      {{input, type, {"param", "job_hash", std::string(64, '0')}}, ErrorCode::mismatch, "the payload's hash is"},
      {{input, type}, ErrorCode::malformed, "expected 64 lowercase hex digits"},
      {{{"bid", "1"}}, ErrorCode::malformed, "the request has no input"},
      {{{"i", "x", "text"}, {"bid", "-1"}}, ErrorCode::malformed, "expected a count"},
      {{{"i", "x", "text"}, {"bid", "1.5"}}, ErrorCode::malformed, "expected a count"},
      {{{"i", std::string(40 * 1024 + 1, 'x'), "text"}}, ErrorCode::limit_exceeded, "the input has"},
      {{{"i", "{\"a\":1,\"a\":1}", "text"}, type, job_hash}, ErrorCode::malformed, "occurs twice"},
  };
  for (const Case& c : cases) {
    const auto read = read_job_request(publish({.created_at = now, .kind = 5050, .tags = c.tags}, buyer_), seller_, {});
    ASSERT_FALSE(read) << c.says;
    EXPECT_EQ(read.error().code, c.code) << c.says << ": " << read.error().text();
    EXPECT_NE(read.error().message.find(c.says), std::string::npos) << read.error().message;
  }
}

TEST_F(JobEventTest, MembersOfATextJobAreRefusedByName) {
  const auto says = [](Json payload) {
    const auto read = read_text_job(payload);
    return read ? std::string("ok") : read.error().message;
  };
  Json payload = text_job(sample_request(), {}).value().payload;
  EXPECT_EQ(says(payload), "ok");
  const auto with = [&](std::string_view pointer_parent, const char* key, Json value) {
    Json copy = payload;
    Json* parent = pointer_parent.empty() ? &copy : copy.as_object().find(pointer_parent);
    parent->set(key, std::move(value));
    return says(copy);
  };
  EXPECT_EQ(with("config", "top_k", 3), "unsupported: config.top_k");
  EXPECT_EQ(with("config", "n", 2), "unsupported: config.n other than 1");
  EXPECT_EQ(with("", "tools", JsonObject{{"f", JsonObject{}}}), "unsupported: tools");
  EXPECT_EQ(with("", "logprobs", true), "unsupported: logprobs");
  EXPECT_EQ(with("", "messages", JsonList{JsonObject{{"role", "user"}, {"content", JsonList{}}}}),
            "unsupported: messages.content that is no text");
  EXPECT_EQ(with("", "messages", JsonList{JsonObject{{"role", "owner"}, {"content", ""}}}), "unsupported: messages.role=owner");
  EXPECT_NE(with("config", "max_tokens", 0), "ok");
  EXPECT_NE(with("config", "temperature", -1), "ok");
  EXPECT_NE(with("", "messages", JsonList{}), "ok");
}

TEST_F(JobEventTest, AProviderPassesOverWhatIsNotForIt) {
  const std::string me = seller_.public_hex();
  const auto event = [&](EventTags tags, std::int64_t at = now, std::int64_t kind = 5050) {
    return publish({.created_at = at, .kind = kind, .tags = std::move(tags)}, buyer_);
  };
  EXPECT_TRUE(is_for_provider(event({{"i", "x"}}), me, now));
  EXPECT_TRUE(is_for_provider(event({{"p", me}}), me, now));
  EXPECT_FALSE(is_for_provider(event({{"p", std::string(64, '1')}}), me, now));              // another's
  EXPECT_FALSE(is_for_provider(event({{"p", buyer_.public_hex()}}), me, now));               // a trace: addressed to itself
  EXPECT_FALSE(is_for_provider(event({{"t", "assay-trace"}}), me, now));
  EXPECT_FALSE(is_for_provider(event({{"expiration", std::to_string(now)}}), me, now));
  EXPECT_FALSE(is_for_provider(event({}, now - 301), me, now));                              // an old one, replayed
  EXPECT_FALSE(is_for_provider(event({}, now + 61), me, now));
  EXPECT_FALSE(is_for_provider(event({}, now, 6050), me, now));
  EXPECT_FALSE(is_for_provider(publish({.created_at = now, .kind = 5050}, seller_), me, now));  // its own
}

TEST_F(JobEventTest, FeedbackAndResultsRoundTrip) {
  const Event quote =
      publish(feedback_event(std::string(64, 'e'), buyer_.public_hex(), {"payment-required", "", 150, "lnbcrt…"}, "", now), seller_);
  const JobFeedback read = read_feedback(quote).value();
  EXPECT_EQ(read.status, "payment-required");
  EXPECT_EQ(read.amount_msats, 150);
  EXPECT_EQ(read.invoice, "lnbcrt…");
  EXPECT_TRUE(check_answers(quote, std::string(64, 'e'), buyer_.public_hex()));
  EXPECT_EQ(check_answers(quote, std::string(64, 'f'), buyer_.public_hex()).error().path, "e");
  EXPECT_EQ(check_answers(quote, std::string(64, 'e'), std::string(64, '1')).error().path, "p");

  JobRequest request;
  request.id = std::string(64, 'e');
  request.buyer = buyer_.public_hex();
  request.encrypted = true;
  const Event result = publish(result_event(request, "secret words", 150, "", seller_, now, entropy_).value(), seller_);
  EXPECT_EQ(result.content.find("secret"), std::string::npos);
  EXPECT_EQ(read_result_text(result, buyer_, {}).value(), "secret words");
  EXPECT_EQ(read_result_text(result, buyer_, {.result_bytes_max = 11}).error().code, ErrorCode::limit_exceeded);
}

TEST_F(JobEventTest, AQuoteCommitsToRequestProviderJobAndPrice) {
  const auto commitment = [](char id, char provider, char job, std::int64_t price) {
    return quote_commitment(std::string(64, id), std::string(64, provider), std::string(64, job), price).value();
  };
  const std::string one = commitment('a', 'b', 'c', 5);
  EXPECT_EQ(one, commitment('a', 'b', 'c', 5));
  for (const std::string& other :
       {commitment('0', 'b', 'c', 5), commitment('a', '0', 'c', 5), commitment('a', 'b', '0', 5), commitment('a', 'b', 'c', 6)})
    EXPECT_NE(one, other);
}

TEST_F(JobEventTest, APaymentReceiptIsProof) {
  ManualClock clock;
  PaymentFacts facts;
  facts.request_id = facts.result_id = facts.job_hash = std::string(64, 'a');
  facts.provider = seller_.public_hex();
  facts.job_type = text_job_type;
  facts.preimage = std::string(64, '0');
  facts.payment_hash = sha256_hex(std::string(32, '\0'));
  facts.amount_msats = 9;
  const Json receipt = make_payment_receipt(facts, buyer_, entropy_, clock).value();
  EXPECT_EQ(verify_payment_receipt(receipt).value().amount_msats, 9);
  for (const char* member : {"request_id", "result_id", "job_hash", "payment_hash", "preimage", "provider", "buyer"}) {
    Json altered = receipt;
    altered.set(member, std::string(64, 'b'));
    EXPECT_FALSE(verify_payment_receipt(altered)) << member;
  }
  Json cheaper = receipt;
  cheaper.set("amount_msats", 8);
  EXPECT_FALSE(verify_payment_receipt(cheaper));
  facts.preimage = std::string(64, '1');
  EXPECT_EQ(make_payment_receipt(facts, buyer_, entropy_, clock).error().code, ErrorCode::mismatch);
}

}  // namespace
}  // namespace assay
