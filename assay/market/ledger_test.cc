#include "assay/market/ledger.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "assay/contract/key_file.h"
#include "assay/market/issuer.h"
#include "assay/market/ledger_wallet.h"
#include "assay/net/http_client.h"
#include "assay/net/http_server.h"

namespace assay {
namespace {

using std::chrono::seconds;

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("assay-ledger-" + system_entropy().hex_bytes(8))) {}
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string str(std::string_view name = "") const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string key_of(char c) { return std::string(64, c); }

InvoiceTerms terms(std::int64_t msats, std::int64_t life = 600) { return {msats, std::string(64, 'd'), life}; }

class LedgerTest : public testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void reopen(std::function<void(std::string_view)> at_step = {}) {
    ledger_.reset();
    LedgerOptions options;
    options.folder = folder_.str();
    options.grant_msats = 1'000;
    options.supply_msats = 1'000'000;
    options.at_step = std::move(at_step);
    ledger_ = Ledger::open(options, clock_, system_entropy()).value();
  }
  std::int64_t held(char who) { return ledger_->balance(key_of(who)).value(); }

  Folder folder_;
  ManualClock clock_;
  std::unique_ptr<Ledger> ledger_;
};

TEST_F(LedgerTest, APaymentMovesExactlyItsAmountAndReleasesTheTruePreimage) {
  ASSERT_EQ(ledger_->open_account(key_of('a')).value().granted, 1'000);
  ASSERT_EQ(ledger_->open_account(key_of('b')).value().balance, 1'000);
  EXPECT_EQ(ledger_->open_account(key_of('a')).value().granted, 0);  // once
  const IssuedInvoice invoice = ledger_->make_invoice(key_of('b'), terms(300)).value();
  EXPECT_FALSE(ledger_->lookup(key_of('b'), invoice.payment_hash).value().settled);
  EXPECT_EQ(ledger_->lookup(key_of('b'), invoice.payment_hash).value().preimage, "");
  const Payment paid = ledger_->pay(key_of('a'), invoice.invoice, 300).value();
  EXPECT_TRUE(check_preimage(paid.preimage, invoice.payment_hash));
  EXPECT_EQ(held('a'), 700);
  EXPECT_EQ(held('b'), 1'300);
  EXPECT_TRUE(ledger_->lookup(key_of('b'), invoice.payment_hash).value().settled);
  // Again: the same answer, and nothing moves.
  const Payment again = ledger_->pay(key_of('a'), invoice.invoice, 300).value();
  EXPECT_TRUE(again.already);
  EXPECT_EQ(again.preimage, paid.preimage);
  EXPECT_EQ(held('a'), 700);
  EXPECT_EQ(ledger_->sum_of_balances().value(), 1'000'000);
}

TEST_F(LedgerTest, RefusesWhatIsNotOwedOrNotThere) {
  for (const char who : {'a', 'b', 'c'}) ASSERT_TRUE(ledger_->open_account(key_of(who)));
  const IssuedInvoice dear = ledger_->make_invoice(key_of('b'), terms(1'001)).value();
  const IssuedInvoice fair = ledger_->make_invoice(key_of('b'), terms(100)).value();
  EXPECT_EQ(ledger_->pay(key_of('a'), dear.invoice, 5'000).error().code, ErrorCode::over_budget);    // underfunded
  EXPECT_EQ(ledger_->pay(key_of('a'), fair.invoice, 99).error().code, ErrorCode::refused);           // over the payer's cap
  EXPECT_EQ(ledger_->pay(key_of('b'), fair.invoice, 100).error().code, ErrorCode::refused);          // to itself
  EXPECT_EQ(ledger_->pay(key_of('e'), fair.invoice, 100).error().code, ErrorCode::refused);          // no account
  EXPECT_EQ(ledger_->lookup(key_of('a'), fair.payment_hash).error().code, ErrorCode::refused);       // not the payee's question
  EXPECT_EQ(ledger_->make_invoice(key_of('b'), terms(0)).error().path, "amount_msats");
  EXPECT_EQ(ledger_->make_invoice(key_of('b'), terms(5, 86'401)).error().path, "expiry_seconds");
  ASSERT_TRUE(ledger_->pay(key_of('a'), fair.invoice, 100));
  EXPECT_EQ(ledger_->pay(key_of('c'), fair.invoice, 100).error().code, ErrorCode::refused);          // paid by someone else
  EXPECT_EQ(held('a') + held('b') + held('c'), 3'000);
}

TEST_F(LedgerTest, RefusesForeignExpiredAndAmountlessInvoices) {
  ASSERT_TRUE(ledger_->open_account(key_of('a')));
  ASSERT_TRUE(ledger_->open_account(key_of('b')));
  const SecretKey stranger = SecretKey::generate(system_entropy()).value();
  Bolt11Draft draft;
  draft.timestamp = clock_.unix_ns() / 1'000'000'000;
  draft.payment_hash = std::string(64, '1');
  draft.payment_secret = std::string(64, '2');
  draft.description_hash = std::string(64, 'd');
  EXPECT_EQ(ledger_->pay(key_of('a'), write_bolt11(draft, stranger).value(), 900).error().path, "amount");  // amountless
  draft.amount_msats = 10;
  EXPECT_EQ(ledger_->pay(key_of('a'), write_bolt11(draft, stranger).value(), 900).error().path, "payee");
  draft.network = Bolt11Network::mainnet;
  EXPECT_EQ(ledger_->pay(key_of('a'), write_bolt11(draft, stranger).value(), 900).error().path, "network");
  const IssuedInvoice invoice = ledger_->make_invoice(key_of('b'), terms(10, 60)).value();
  clock_.advance(seconds(60));
  EXPECT_EQ(ledger_->pay(key_of('a'), invoice.invoice, 900).error().path, "expiry");
  EXPECT_EQ(held('a'), 1'000);
}

// The process dies between any two steps of a payment: afterwards all of it is there or nothing.
TEST_F(LedgerTest, SurvivesDyingBetweenAnyTwoSteps) {
  ASSERT_TRUE(ledger_->open_account(key_of('a')));
  ASSERT_TRUE(ledger_->open_account(key_of('b')));
  std::int64_t paid = 0;
  for (const char* deadly : {"debited", "credited", "noted", "settled", "before commit", "after commit"}) {
    const IssuedInvoice invoice = ledger_->make_invoice(key_of('b'), terms(10)).value();
    ledger_.reset();
    const pid_t child = ::fork();
    if (child == 0) {
      reopen([deadly](std::string_view step) {
        if (step == deadly) ::kill(::getpid(), SIGKILL);
      });
      (void)ledger_->pay(key_of('a'), invoice.invoice, 10);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << deadly;
    reopen();  // refuses to open if the sum is wrong
    const bool settled = ledger_->lookup(key_of('b'), invoice.payment_hash).value().settled;
    EXPECT_EQ(settled, std::string_view(deadly) == "after commit") << deadly;
    if (settled) paid += 10;
    EXPECT_EQ(held('a'), 1'000 - paid) << deadly;
    EXPECT_EQ(held('b'), 1'000 + paid) << deadly;
    // The payer asks again, as it must: now it is paid, once.
    ASSERT_TRUE(ledger_->pay(key_of('a'), invoice.invoice, 10)) << deadly;
    if (!settled) paid += 10;
    EXPECT_EQ(held('a'), 1'000 - paid) << deadly;
  }
}

TEST_F(LedgerTest, DoesNotOpenAFileThatDoesNotAddUp) {
  ASSERT_TRUE(ledger_->open_account(key_of('a')));
  ledger_.reset();
  {
    Database file = Database::open(folder_.str("ledger.sqlite"), {}).value();
    ASSERT_TRUE(file.execute("UPDATE account SET balance = balance + 1 WHERE key LIKE 'aaaa%'"));
  }
  LedgerOptions options;
  options.folder = folder_.str();
  EXPECT_EQ(Ledger::open(options, clock_, system_entropy()).error().code, ErrorCode::refused);
}

// Signed requests: another's signature, another issuer, expired, replayed.
TEST_F(LedgerTest, TakesASignedRequestOnce) {
  const SecretKey key = SecretKey::generate(system_entropy()).value();
  const std::int64_t now = clock_.unix_ns() / 1'000'000'000;
  const auto request = [&](std::string_view op, std::int64_t expires) {
    JsonObject object{{"format", "assay.ledger/1"}, {"op", op}, {"params", JsonObject{}}, {"issuer", ledger_->node_public_hex()}};
    object.set("nonce", system_entropy().hex_bytes(16));
    object.set("expires", expires);
    return Json(std::move(object));
  };
  const auto sign = [&](Json object) { return sign_object(std::move(object), key, system_entropy()).value(); };
  const auto code = [&](const Json& sent) {
    const Json reply = ledger_->apply(sent).value();
    EXPECT_TRUE(verify_object(reply));
    EXPECT_EQ(reply.at("signer").as_string(), ledger_->node_public_hex());
    return reply.at("error").is_null() ? std::string("ok") : reply.at("error").at("path").as_string();
  };
  const Json open = sign(request("open", now + 60));
  EXPECT_EQ(code(open), "ok");
  EXPECT_EQ(ledger_->apply(open).value(), ledger_->apply(open).value());  // replayed: the same reply, word for word
  Json reused = request("balance", now + 60);
  reused.set("nonce", open.at("nonce"));
  EXPECT_EQ(code(sign(reused)), "nonce");
  EXPECT_EQ(code(sign(request("open", now))), "expires");
  EXPECT_EQ(code(sign(request("open", now + 121))), "expires");
  EXPECT_EQ(code(sign(request("steal", now + 60))), "op");
  Json altered = sign(request("open", now + 60));
  altered.set("op", "balance");
  EXPECT_EQ(code(altered), "signature");
  Json elsewhere = request("balance", now + 60);
  elsewhere.set("issuer", std::string(64, '0'));
  EXPECT_EQ(code(sign(elsewhere)), "issuer");
  EXPECT_EQ(ledger_->balance(key.public_hex()).value(), 1'000);
}

// Whatever is asked in whatever order, the sum stays the supply and no balance is negative.
RC_GTEST_PROP(LedgerProperty, TheSumOfBalancesIsConstant, ()) {
  Folder folder;
  ManualClock clock;
  LedgerOptions options;
  options.folder = folder.str();
  options.grant_msats = 500;
  options.supply_msats = 2'000;  // so that grants run out too
  const auto ledger = Ledger::open(options, clock, system_entropy()).value();
  const std::string keys[] = {key_of('a'), key_of('b'), key_of('c'), key_of('d'), key_of('e')};
  std::vector<std::string> invoices;
  const int steps = *rc::gen::inRange(1, 25);
  for (int i = 0; i < steps; ++i) {
    const std::string& who = keys[*rc::gen::inRange(0, 5)];
    switch (*rc::gen::inRange(0, 4)) {
      case 0: (void)ledger->open_account(who); break;
      case 1: {
        const auto made = ledger->make_invoice(who, terms(*rc::gen::inRange(-5, 700), *rc::gen::inRange(0, 100)));
        if (made) invoices.push_back(made->invoice);
        break;
      }
      case 2:
        if (!invoices.empty()) (void)ledger->pay(who, *rc::gen::elementOf(invoices), *rc::gen::inRange(0, 1'000));
        break;
      default: clock.advance(seconds(*rc::gen::inRange(0, 60)));
    }
  }
  RC_ASSERT(ledger->sum_of_balances().value() == 2'000);
  for (const std::string& key : keys) {
    const auto balance = ledger->balance(key);
    RC_ASSERT(!balance || *balance >= 0);
  }
}

// --- over HTTP, with wallets ---

class IssuerTest : public testing::Test {
 protected:
  void SetUp() override {
    IssuerOptions options;
    options.ledger.folder = folder_.str("issuer");
    options.ledger.grant_msats = 1'000;
    issuer_ = Issuer::start(options, clock_, system_entropy()).value();
  }
  Wait wait() { return {Deadline::after(clock_, seconds(20)), {}}; }
  Result<std::shared_ptr<LedgerWallet>> wallet(const SecretKey& key, std::string_view name, std::int64_t day_cap = 100'000) {
    LedgerWalletOptions options;
    options.issuer = {issuer_->url(), issuer_->node_id()};
    options.folder = folder_.str(name);
    options.day_cap_msats = day_cap;
    return LedgerWallet::connect(options, key, clock_, system_entropy(), wait());
  }

  Folder folder_;
  Clock& clock_ = system_clock();
  std::unique_ptr<Issuer> issuer_;
  SecretKey alice_ = SecretKey::generate(system_entropy()).value();
  SecretKey bob_ = SecretKey::generate(system_entropy()).value();
};

TEST_F(IssuerTest, WalletsPayEachOtherThroughTheIssuer) {
  const auto alice = wallet(alice_, "alice").value();
  const auto bob = wallet(bob_, "bob").value();
  EXPECT_EQ(alice->granted_msats(), 1'000);
  const IssuedInvoice invoice = bob->make_invoice(terms(250), wait()).value();
  const Payment paid = alice->pay(invoice.invoice, 250, wait()).value();
  EXPECT_TRUE(check_preimage(paid.preimage, invoice.payment_hash));
  EXPECT_TRUE(alice->pay(invoice.invoice, 250, wait()).value().already);
  EXPECT_EQ(alice->balance(wait()).value(), 750);
  EXPECT_EQ(bob->balance(wait()).value(), 1'250);
  EXPECT_EQ(bob->lookup(invoice.payment_hash, wait()).value().preimage, paid.preimage);
  EXPECT_EQ(alice->payments().find(invoice.payment_hash).value()->state, "settled");
  EXPECT_EQ(alice->payments().last_balance().value(), 750);
}

TEST_F(IssuerTest, AWalletKeepsItsCaps) {
  const auto alice = wallet(alice_, "alice", 300).value();
  const auto bob = wallet(bob_, "bob").value();
  const IssuedInvoice first = bob->make_invoice(terms(200), wait()).value();
  const IssuedInvoice second = bob->make_invoice(terms(101), wait()).value();
  EXPECT_EQ(alice->pay(first.invoice, 199, wait()).error().code, ErrorCode::refused);
  ASSERT_TRUE(alice->pay(first.invoice, 200, wait()));
  EXPECT_EQ(alice->pay(second.invoice, 500, wait()).error().code, ErrorCode::over_budget);  // 301 in a day
  EXPECT_EQ(alice->balance(wait()).value(), 800);
}

// The buyer dies after the money moved and before it heard of it: when it is back, it learns the preimage, and pays nothing again.
TEST_F(IssuerTest, AWalletFinishesWhatWasInFlight) {
  const auto bob = wallet(bob_, "bob").value();
  std::string hash;
  {
    const auto alice = wallet(alice_, "alice").value();
    const IssuedInvoice invoice = bob->make_invoice(terms(100), wait()).value();
    hash = invoice.payment_hash;
    ASSERT_TRUE(alice->payments().begin(invoice.invoice, hash, 100, 1, 100));
    ASSERT_TRUE(issuer_->ledger().pay(alice_.public_hex(), invoice.invoice, 100));  // the answer was lost
  }
  const auto alice = wallet(alice_, "alice").value();
  const StoredPayment payment = alice->payments().find(hash).value().value();
  EXPECT_EQ(payment.state, "settled");
  EXPECT_TRUE(check_preimage(payment.preimage, hash));
  EXPECT_EQ(alice->balance(wait()).value(), 900);
}

// What keeps the issuer's answer away is no word of the issuer: the payment is made, and the wallet does not call it off.
TEST_F(IssuerTest, AnAnswerThatDoesNotArriveLeavesThePaymentInFlight) {
  const auto bob = wallet(bob_, "bob").value();
  enum class Between { nothing, too_long, too_many_headers, other_body } between = Between::nothing;
  const auto proxy = HttpServer::start("127.0.0.1", 0, [&](const ServerRequest& request) {
                       auto answer =
                           http_send({request.method, issuer_->url() + request.path, {}, request.body}, {}, wait(), clock_).value();
                       ServerReply reply = ServerReply::text(answer.body, answer.status);
                       if (request.body.find("\"op\":\"pay\"") == std::string::npos) return reply;
                       if (between == Between::too_long) reply.body += std::string(100'000, ' ');
                       if (between == Between::too_many_headers) reply.headers.emplace_back("x", std::string(30'000, 'x'));
                       if (between == Between::other_body) reply.body = "<html>";
                       return reply;
                     }).value();
  LedgerWalletOptions options{.issuer = {"http://127.0.0.1:" + std::to_string(proxy->port()), issuer_->node_id()}};
  options.folder = folder_.str("alice");
  std::int64_t left = 1'000;
  for (const Between what : {Between::too_long, Between::too_many_headers, Between::other_body}) {
    between = what;
    const IssuedInvoice invoice = bob->make_invoice(terms(100), wait()).value();
    {
      const auto alice = LedgerWallet::connect(options, alice_, clock_, system_entropy(), wait()).value();
      const auto paid = alice->pay(invoice.invoice, 100, wait());
      ASSERT_FALSE(paid);
      EXPECT_EQ(paid.error().code, ErrorCode::unavailable) << paid.error().text();
      EXPECT_EQ(alice->payments().in_flight().value().size(), 1U) << "it may have been made";
    }
    EXPECT_EQ(issuer_->ledger().balance(alice_.public_hex()).value(), left -= 100);
    between = Between::nothing;
    const auto alice = LedgerWallet::connect(options, alice_, clock_, system_entropy(), wait()).value();
    EXPECT_EQ(alice->payments().find(invoice.payment_hash).value()->state, "settled");
    EXPECT_EQ(alice->balance(wait()).value(), left) << "paid once";
  }
}

// A proxy that sends each payment twice, or keeps the first one until it has expired: the refusal of a copy says nothing of the payment.
TEST_F(IssuerTest, ARequestThatComesTwiceIsPaidOnceAndKnownToBe) {
  const auto bob = wallet(bob_, "bob").value();
  enum class Between { twice, other_answer } between = Between::twice;
  int refusals = 0;
  const auto forward = [&](const ServerRequest& request) {
    return http_send({request.method, issuer_->url() + request.path, {}, request.body}, {}, wait(), clock_).value();
  };
  const auto proxy =
      HttpServer::start("127.0.0.1", 0, [&](const ServerRequest& request) {
        auto answer = forward(request);
        if (request.body.find("\"op\":\"pay\"") == std::string::npos) return ServerReply::text(answer.body, answer.status);
        if (between == Between::twice) answer = forward(request);
        if (between == Between::other_answer) {  // as the issuer would say it of a copy that comes when it has expired
          Json refused = read_json(answer.body).value();
          refused.set("taken", false);
          refused.set("result", Json());
          refused.set("error", JsonObject{{"code", "refused"}, {"message", "the request expired"}, {"path", "expires"}, {"remedy", ""}});
          const SecretKey node = load_or_create_key(folder_.str("issuer/keys"), "node", system_entropy()).value();
          answer.body = canonical(sign_object(refused, node, system_entropy()).value()).value();
          ++refusals;
        }
        return ServerReply::text(answer.body, answer.status);
      }).value();
  LedgerWalletOptions options{.issuer = {"http://127.0.0.1:" + std::to_string(proxy->port()), issuer_->node_id()}};
  options.folder = folder_.str("alice");
  const auto alice = LedgerWallet::connect(options, alice_, clock_, system_entropy(), wait()).value();
  const IssuedInvoice first = bob->make_invoice(terms(100), wait()).value();
  const auto paid = alice->pay(first.invoice, 100, wait());
  ASSERT_TRUE(paid) << paid.error().text();
  EXPECT_TRUE(check_preimage(paid->preimage, first.payment_hash));
  EXPECT_EQ(issuer_->ledger().balance(alice_.public_hex()).value(), 900);

  between = Between::other_answer;
  const IssuedInvoice second = bob->make_invoice(terms(100), wait()).value();
  EXPECT_EQ(alice->pay(second.invoice, 100, wait()).error().code, ErrorCode::unavailable);
  EXPECT_EQ(refusals, 3) << "it asks again, with a new nonce each time";
  EXPECT_EQ(alice->payments().in_flight().value().size(), 1U) << "it was made";
  EXPECT_EQ(issuer_->ledger().balance(alice_.public_hex()).value(), 800);
  between = Between::twice;
  EXPECT_TRUE(alice->pay(second.invoice, 1, wait()).value().already) << "no cap calls off what has been paid";
  EXPECT_EQ(issuer_->ledger().balance(alice_.public_hex()).value(), 800);
}

TEST_F(IssuerTest, AnotherProgramOnThePortIsNotBelieved) {
  LedgerWalletOptions options;
  options.issuer = {issuer_->url(), "02" + std::string(64, '1')};  // the node that this wallet knows
  options.folder = folder_.str("alice");
  EXPECT_EQ(LedgerWallet::connect(options, alice_, clock_, system_entropy(), wait()).error().code, ErrorCode::mismatch);
}

TEST_F(IssuerTest, UnreadableRequestsGetA400) {
  for (const char* body : {"", "[]", "{\"a\":1,\"a\":2}", "nonsense"}) {
    const auto answer = http_send({"POST", issuer_->url() + "/v1/request", {}, body}, {}, wait(), clock_);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 400) << body;
  }
}

}  // namespace
}  // namespace assay
