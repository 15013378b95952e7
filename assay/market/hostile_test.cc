// Providers and wallets that cheat. A row an attack: the exact error, what the buyer has left, and whether it ever pays again.
#include "assay/market/town_test.h"

namespace assay {
namespace {

// A provider that does whatever its script says with each request and with each payment.
class Cheat {
 public:
  struct Hands {
    RelayClient& relay;
    LedgerWallet& wallet;
    const SecretKey& key;
    Clock& clock;
    Wait wait;

    std::int64_t now() const { return clock.unix_ns() / 1'000'000'000; }
    void publish(UnsignedEvent event, const SecretKey& by) const {
      (void)relay.publish(sign_event(std::move(event), by, system_entropy()).value(), wait);
    }
    void quote(const JobRequest& request, std::int64_t says, const std::string& invoice) const {
      publish(feedback_event(request.id, request.buyer, {"payment-required", "", says, invoice}, "", now()), key);
    }
    std::string invoice(const JobRequest& request, std::int64_t msats, std::int64_t life = 120) const {
      const std::string h = quote_commitment(request.id, key.public_hex(), request.job.job_hash, msats).value();
      return wallet.make_invoice({msats, h, life}, wait).value().invoice;
    }
    Json answer(const JobRequest& request, const std::string& text) const {
      LmUsage usage;
      usage.prompt_tokens = 3;
      usage.completion_tokens = 1;
      const TextAnswer made{text, "stop", usage, JsonObject{{"output_sha256", sha256_hex(text)}}};
      return to_json(JobEnvelope{request.job.job_type, "1.0.0", request.job.job_hash, to_json(made)});
    }
    void result(const JobRequest& request, const Json& envelope, std::int64_t msats, const SecretKey& by) const {
      publish(result_event(request, canonical(envelope).value(), msats, "", by, now(), system_entropy()).value(), by);
    }
  };
  using Script = std::function<void(const Hands&, const JobRequest&)>;

  Cheat(const std::string& relay_url, std::shared_ptr<LedgerWallet> wallet, const SecretKey& key, Clock& clock, Script on_request,
        Script on_paid)
      : thread_([=, &clock](const std::stop_token& stop) {
          const Wait wait{Deadline::after(clock, seconds(60)), stop};
          const auto relay = RelayClient::connect(relay_url, wait, clock).value();
          const Hands hands{*relay, *wallet, key, clock, wait};
          const auto requests = relay->subscribe({{.kinds = {{5050}}}}, wait).value();
          const std::int64_t before = wallet->balance(wait).value();
          const auto event = requests->next(wait);
          if (!event) return;
          const JobRequest request = read_job_request(**event, key, {}).value();
          on_request(hands, request);
          while (!stop.stop_requested()) {  // ends: with a payment, or when the test is over
            if (wallet->balance(wait).value_or(before) > before) {
              on_paid(hands, request);
              break;
            }
            clock.sleep_until(clock.steady_ns() + 30'000'000, stop);
          }
        }) {}

 private:
  std::jthread thread_;
};

constexpr std::int64_t fair = 200;

void quote_fairly(const Cheat::Hands& h, const JobRequest& r) { h.quote(r, fair, h.invoice(r, fair)); }
void nothing(const Cheat::Hands&, const JobRequest&) {}

struct Attack {
  const char* name;
  Cheat::Script on_request;
  Cheat::Script on_paid;
  ErrorCode want;
  const char* says;         // must be part of the message
  std::int64_t spent;       // of the buyer's money
  bool trusted_after;
  std::optional<std::int64_t> announced_msats = {};
};

void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }

class HostileProvider : public Town, public testing::WithParamInterface<Attack> {};

TEST_P(HostileProvider, IsFoundOut) {
  const Attack& attack = GetParam();
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money);
  const Cheat cheat(relay_->url(), wallet(seller_key_, "cheat"), seller_key_, clock_, attack.on_request, attack.on_paid);
  Order order = hello_order();
  order.announced_msats = attack.announced_msats;
  if (order.announced_msats) order.bid_msats = *order.announced_msats;
  const auto got = shop->request(order, wait(milliseconds(3500)));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, attack.want) << got.error().text();
  EXPECT_NE(got.error().message.find(attack.says), std::string::npos) << got.error().text();
  EXPECT_EQ(held(buyer_key_), 100'000 - attack.spent);
  EXPECT_EQ(shop->store().spent_msats().value(), attack.spent);
  EXPECT_EQ(shop->check_reputation(seller_key_.public_hex()).has_value(), attack.trusted_after);
  EXPECT_TRUE(shop->store().receipts().value().empty());
  if (attack.trusted_after) {  // but others are asked first for a while
    EXPECT_TRUE(shop->store().silent_since(seller_key_.public_hex(), clock_.unix_ns() / 1'000'000'000 - 60).value());
  }
  if (!attack.trusted_after) {  // not paid again: nothing is even sent
    const std::uint64_t stored = relay_->counts().stored;
    Order another = hello_order();
    LmRequest other = hello();
    other.rollout = 1;
    another.job = text_job(other, {}).value();
    EXPECT_EQ(shop->request(another, wait()).error().code, ErrorCode::refused);
    EXPECT_EQ(relay_->counts().stored, stored);
    // The very same job again waits for what was paid already, and pays nothing.
    const auto again = shop->request(hello_order(), wait(milliseconds(300)));
    ASSERT_FALSE(again);
    EXPECT_TRUE(again.error().code == ErrorCode::refused || again.error().message.starts_with("paid")) << again.error().text();
    EXPECT_EQ(held(buyer_key_), 100'000 - attack.spent);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Attacks, HostileProvider,
    testing::Values(
        Attack{"InvoiceAsksMoreThanTheQuote", [](auto& h, auto& r) { h.quote(r, fair, h.invoice(r, 900)); }, nothing, ErrorCode::mismatch,
               "the invoice asks 900 msats, the quote was 200", 0, false},
        Attack{"QuoteAboveTheBid", [](auto& h, auto& r) { h.quote(r, 1'001, h.invoice(r, 1'001)); }, nothing, ErrorCode::refused,
               "is 1001 msats, the bid 1000", 0, true},
        Attack{"QuoteAboveTheAnnouncement", [](auto& h, auto& r) { h.quote(r, 501, h.invoice(r, 501)); }, nothing, ErrorCode::mismatch,
               "it asks 501 msats, and announced 500 at most", 0, false, 500},
        Attack{"SaysProcessingForEver",
               [](auto& h, auto& r) { h.publish(feedback_event(r.id, r.buyer, {"processing", "", {}, ""}, "", h.now()), h.key); }, nothing,
               ErrorCode::timed_out, "has not come to an answer", 0, true, 500},
        Attack{"SaysNo", [](auto& h, auto& r) { h.publish(feedback_event(r.id, r.buyer, {"error", "no", {}, ""}, "", h.now()), h.key); },
               nothing, ErrorCode::unavailable, "the provider says: no", 0, true},
        Attack{"InvoiceForAnotherRequest",
               [](auto& h, auto& r) {
                 JobRequest other = r;
                 other.id = std::string(64, '7');
                 h.quote(r, fair, h.invoice(other, fair));
               },
               nothing, ErrorCode::mismatch, "does not commit to this request", 0, false},
        Attack{"InvoiceOfAnotherNode",
               [](auto& h, auto& r) {
                 Bolt11Draft draft;
                 draft.amount_msats = fair;
                 draft.timestamp = h.now();
                 draft.payment_hash = draft.payment_secret = std::string(64, '5');
                 draft.description_hash = quote_commitment(r.id, h.key.public_hex(), r.job.job_hash, fair).value();
                 h.quote(r, fair, write_bolt11(draft, h.key).value());
               },
               nothing, ErrorCode::mismatch, "signed by node", 0, false},
        Attack{"InvoiceWithoutAmount",
               [](auto& h, auto& r) {
                 Bolt11Draft draft;
                 draft.timestamp = h.now();
                 draft.payment_hash = draft.payment_secret = std::string(64, '5');
                 draft.description_hash = std::string(64, 'd');
                 h.quote(r, fair, write_bolt11(draft, h.key).value());
               },
               nothing, ErrorCode::refused, "names no amount", 0, false},
        Attack{"InvoiceOfAnotherNetwork",
               [](auto& h, auto& r) {
                 Bolt11Draft draft;
                 draft.network = Bolt11Network::mainnet;
                 draft.amount_msats = fair;
                 draft.timestamp = h.now();
                 draft.payment_hash = draft.payment_secret = std::string(64, '5');
                 draft.description_hash = std::string(64, 'd');
                 h.quote(r, fair, write_bolt11(draft, h.key).value());
               },
               nothing, ErrorCode::refused, "for network bc", 0, false},
        Attack{"InvoiceAboutToExpire", [](auto& h, auto& r) { h.quote(r, fair, h.invoice(r, fair, 5)); }, nothing, ErrorCode::refused,
               "expires at", 0, false},
        Attack{"InvoiceThatIsNone", [](auto& h, auto& r) { h.quote(r, fair, "lnbcrt1qqqq"); }, nothing, ErrorCode::malformed, "", 0, false},
        Attack{"QuoteWithoutInvoice", [](auto& h, auto& r) { h.quote(r, fair, ""); }, nothing, ErrorCode::mismatch,
               "without amount and invoice", 0, false},
        Attack{"TakesTheMoneyAndIsSilent", quote_fairly, nothing, ErrorCode::timed_out, "paid, and no result yet", fair, false},
        Attack{"RaisesThePriceAfterPayment", quote_fairly, [](auto& h, auto& r) { h.quote(r, 900, h.invoice(r, 900)); },
               ErrorCode::timed_out, "paid", fair, false},
        Attack{"SaysErrorAfterPayment", quote_fairly,
               [](auto& h, auto& r) { h.publish(feedback_event(r.id, r.buyer, {"error", "sorry", {}, ""}, "", h.now()), h.key); },
               ErrorCode::unavailable, "the provider says: sorry", fair, false},
        Attack{"ResultByAnotherKey", quote_fairly,
               [](auto& h, auto& r) { h.result(r, h.answer(r, "stolen"), fair, SecretKey::generate(system_entropy()).value()); },
               ErrorCode::timed_out, "paid", fair, false},
        Attack{"ResultForAnotherJob", quote_fairly,
               [](auto& h, auto& r) {
                 Json other = h.answer(r, "x");
                 other.set("job_hash", std::string(64, '9'));
                 h.result(r, other, fair, h.key);
               },
               ErrorCode::mismatch, "the result is for job 9999", fair, false},
        Attack{"ResultToSomeoneElse", quote_fairly,
               [](auto& h, auto& r) {
                 JobRequest other = r;
                 other.buyer = h.key.public_hex();
                 h.result(other, h.answer(r, "x"), fair, h.key);
               },
               ErrorCode::mismatch, "to someone else", fair, false},
        Attack{"ResultInTheClear", quote_fairly,
               [](auto& h, auto& r) {
                 JobRequest plain = r;
                 plain.encrypted = false;
                 h.result(plain, h.answer(r, "x"), fair, h.key);
               },
               ErrorCode::mismatch, "the request was encrypted, the result is not", fair, false},
        Attack{"ResultWithAnotherHash", quote_fairly,
               [](auto& h, auto& r) {
                 Json altered = h.answer(r, "x");
                 altered.as_object().find("payload")->set("content", "y");
                 h.result(r, altered, fair, h.key);
               },
               ErrorCode::mismatch, "does not have the hash", fair, false},
        Attack{"ResultThatIsNoJson", quote_fairly, [](auto& h, auto& r) { h.result(r, Json("prose"), fair, h.key); }, ErrorCode::malformed,
               "job envelope", fair, false},
        Attack{"ResultClaimsMoreTokensThanAsked", quote_fairly,
               [](auto& h, auto& r) {
                 Json altered = h.answer(r, "x");
                 altered.as_object().find("payload")->as_object().find("usage")->set("completion_tokens", 17);
                 h.result(r, altered, fair, h.key);
               },
               ErrorCode::mismatch, "17 tokens are claimed", fair, false},
        Attack{"ResultNamesAnotherPrice", quote_fairly, [](auto& h, auto& r) { h.result(r, h.answer(r, "x"), 900, h.key); },
               ErrorCode::mismatch, "the result names 900 msats", fair, false},
        Attack{"ResultOfTenMegabytes", quote_fairly,
               [](auto& h, auto& r) { h.result(r, h.answer(r, std::string(41 * 1024, 'x')), fair, h.key); }, ErrorCode::limit_exceeded,
               "at most", fair, false},
        Attack{"ResultBeforePaymentAsBait", [](auto& h, auto& r) { h.result(r, h.answer(r, "bait"), fair, h.key); }, nothing,
               ErrorCode::timed_out, "", 0, true}),
    [](const auto& info) { return std::string(info.param.name); });

// A wallet that says it has paid and shows a preimage that is none. (For this test only.)
class ForgingWallet final : public Wallet {
 public:
  explicit ForgingWallet(std::shared_ptr<Wallet> real) : real_(std::move(real)) {}
  Bolt11Network network() const override { return real_->network(); }
  std::string node_id() const override { return real_->node_id(); }
  Result<Payment> pay(const std::string& invoice, std::int64_t, const Wait&) override {
    const Bolt11 read = read_bolt11(invoice).value();
    return Payment{read.payment_hash, std::string(64, '4'), *read.amount_msats, false};
  }
  Result<IssuedInvoice> make_invoice(const InvoiceTerms& terms, const Wait& wait) override { return real_->make_invoice(terms, wait); }
  Result<InvoiceStatus> lookup(const std::string& hash, const Wait& wait) override { return real_->lookup(hash, wait); }
  Result<std::int64_t> balance(const Wait& wait) override { return real_->balance(wait); }

 private:
  std::shared_ptr<Wallet> real_;
};

class HostileWallet : public Town {};

TEST_F(HostileWallet, AFalsePreimageIsNoPayment) {
  const auto shop = buyer(std::make_shared<ForgingWallet>(wallet(buyer_key_, "buyer")));
  const Cheat honest(relay_->url(), wallet(seller_key_, "seller"), seller_key_, clock_, quote_fairly, nothing);
  const auto got = shop->request(hello_order(), wait(seconds(3)));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::mismatch);
  EXPECT_EQ(got.error().path, "preimage");
  EXPECT_EQ(shop->unfinished().value().at(0).state, PurchaseState::paying);  // not paid, and never called paid
}

// Two sellers answer an open request: the one whose invoice cheats is passed over, the other is paid.
TEST_F(HostileWallet, AnHonestSellerIsFoundAmongCheats) {
  const auto money = wallet(buyer_key_, "buyer");
  const auto shop = buyer(money);
  const SecretKey liar = SecretKey::generate(entropy_).value();
  const Cheat cheat(
      relay_->url(), wallet(liar, "liar"), liar, clock_, [](auto& h, auto& r) { h.quote(r, fair, h.invoice(r, 900)); }, nothing);
  const Cheat honest(
      relay_->url(), wallet(seller_key_, "seller"), seller_key_, clock_,
      [](auto& h, auto& r) {
        h.clock.sleep_until(h.clock.steady_ns() + 400'000'000, {});  // the liar is first
        quote_fairly(h, r);
      },
      [](auto& h, auto& r) { h.result(r, h.answer(r, "honest"), fair, h.key); });
  Order order = hello_order();
  order.provider.reset();
  const auto got = shop->request(order, wait(seconds(8)));
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(got->provider, seller_key_.public_hex());
  EXPECT_EQ(read_text_answer(got->payload).value().content, "honest");
  EXPECT_FALSE(shop->check_reputation(liar.public_hex()));
  EXPECT_EQ(held(buyer_key_), 100'000 - fair);
}

}  // namespace
}  // namespace assay
