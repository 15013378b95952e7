#include "assay/market/buyer.h"

#include <tuple>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/market/deal.h"
#include "assay/market/held_purchases.h"
#include "assay/market/receipt.h"

namespace assay {
namespace {

constexpr std::int64_t day_seconds = 86'400;
constexpr std::int64_t silence_seconds = 600;
constexpr std::size_t event_bytes_max = 64 * 1024;  // what relays take
constexpr std::int64_t look_again_ns = 50'000'000;  // at what others hold
constexpr std::size_t collected_max = 64;           // of the purchases that wait, when a buyer is opened

}  // namespace

struct Buyer::Impl {
  Impl(const BuyerOptions& o, Clock& c, Entropy& e, std::unique_ptr<PurchaseStore> s)
      : options(o), clock(c), entropy(e), store(std::move(s)), held(o.folder + "/held") {}

  const BuyerOptions options;
  Clock& clock;
  Entropy& entropy;
  const std::unique_ptr<PurchaseStore> store;

  std::mutex relay_mutex;
  std::shared_ptr<RelayClient> relay;
  std::mutex budget_mutex;
  std::int64_t reserved = 0;  // bids of requests that have not paid yet
  HeldPurchases held;

  std::int64_t now() const { return clock.unix_ns() / 1'000'000'000; }

  Result<std::shared_ptr<RelayClient>> connected(const Wait& wait) {
    const std::scoped_lock lock(relay_mutex);
    if (!relay || !relay->open()) {
      ASSAY_TRY(std::unique_ptr<RelayClient> made, RelayClient::connect(options.relay_url, wait, clock));
      relay = std::move(made);
    }
    return relay;
  }

  // What a provider that is late, and nothing worse, still owes: going on with that pays nothing.
  Result<std::vector<Purchase>> owed_by(const std::string& provider) {
    ASSAY_TRY(const Reputation reputation, store->reputation(provider));
    ASSAY_TRY(std::vector<Purchase> late, store->late(provider));
    std::erase_if(late, [&](const Purchase& purchase) { return !may_go_on(purchase); });
    if (static_cast<std::int64_t>(late.size()) < reputation.failed_checks) late.clear();
    return late;
  }

  Result<void> check_reputation(const std::string& provider) {
    ASSAY_TRY(const Reputation reputation, store->reputation(provider));
    if (!reputation.trusted()) {
      ASSAY_TRY(const std::vector<Purchase> owed, owed_by(provider));
      const std::string fetch =
          owed.empty() ? "" : fmt::format(", fetch what it owes: assay pylon resume {} --relay {}", owed[0].request_id, options.relay_url);
      return fail(ErrorCode::refused, fmt::format("provider {} failed a check before: {}", provider, reputation.last_reason),
                  fmt::format("choose another provider{}, or: assay pylon forgive {}", fetch, provider));
    }
    if (options.min_reputation && reputation.score().value_or(-1) < *options.min_reputation) {
      return fail(ErrorCode::refused,
                  fmt::format("provider {} has a reputation of {}, needed is {}", provider,
                              reputation.score() ? fmt::format("{:.2f}", *reputation.score()) : "none", *options.min_reputation),
                  "choose another provider");
    }
    return {};
  }

  Result<void> check_order(const Order& order) {
    if (order.bid_msats < 0) return fail(ErrorCode::usage, "a bid is at least 0 msats");
    if (order.bid_msats > 0 && !options.wallet)
      return fail(ErrorCode::usage, "a bid needs a wallet", "give the issuer's address, or bid 0");
    if (!order.provider) return {};
    if (!is_hex(*order.provider, 64)) return fail(ErrorCode::usage, "a provider is a public key of 64 hex digits");
    ASSAY_CHECK(check_reputation(*order.provider));
    ASSAY_TRY(const std::int64_t spent, store->spent_msats(now() - day_seconds, *order.provider));
    if (spent + order.bid_msats > options.provider_day_msats) {
      return fail(ErrorCode::over_budget,
                  fmt::format("{} msats went, or may have gone, to this provider in 24 hours and {} are bid, the cap is {}", spent,
                              order.bid_msats, options.provider_day_msats),
                  "wait, or raise the cap: --day-cap MSATS");
    }
    return {};
  }

  // The worst case is set aside before anything is sent, so that concurrent requests cannot overshoot together.
  Result<void> reserve(std::int64_t bid) {
    const std::scoped_lock lock(budget_mutex);
    ASSAY_TRY(const std::int64_t spent, store->spent_msats(now() - day_seconds));
    if (bid > options.day_msats - spent - reserved) {
      return fail(ErrorCode::over_budget,
                  fmt::format("{} msats were spent in 24 hours, {} are set aside and {} bid, the cap is {}", spent, reserved, bid,
                              options.day_msats),
                  "wait, bid less, or raise the cap: --day-cap MSATS");
    }
    reserved += bid;
    return {};
  }

  void release(std::int64_t bid) {
    const std::scoped_lock lock(budget_mutex);
    reserved -= bid;
  }

  // What others have left behind: old locks, and payments that the wallet knows to have come to nothing.
  Result<void> tidy() {
    ASSAY_CHECK(held.tidy(now() - result_kept_seconds));
    if (!options.wallet) return {};
    ASSAY_TRY(const std::vector<Purchase> open, store->unfinished());
    for (const Purchase& purchase : open) {
      if (purchase.state != PurchaseState::paying) continue;
      ASSAY_TRY(const bool nothing, options.wallet->came_to_nothing(purchase.payment_hash));
      if (nothing) ASSAY_CHECK(store->failed(purchase.request_id, now()));
    }
    return {};
  }

  bool is_mine(const Purchase& purchase) const { return purchase.buyer.empty() || purchase.buyer == options.key.public_hex(); }

  bool may_go_on(const Purchase& purchase) const { return is_mine(purchase) && now() - purchase.at < purchase_pick_up_seconds; }

  // Purchases of the same job that were paid, or may have been, and brought nothing yet.
  Result<std::vector<Purchase>> same_job(const Order& order) {
    ASSAY_TRY(const std::string job, canonical(to_json(order.job)));
    ASSAY_TRY(std::vector<Purchase> open, store->unfinished());
    std::erase_if(open, [&](const Purchase& one) { return one.job != job || one.encrypted != order.encrypt || !may_go_on(one); });
    return open;
  }

  // One that is not to be had: does somebody fetch it, for whoever orders it?
  Result<bool> take_or_see(const std::string& request_id, bool& fetched) {
    ASSAY_TRY(const bool mine, held.take(request_id, HeldPurchases::For::order));
    if (mine) return true;
    ASSAY_TRY(const bool seen, held.is_being_fetched(request_id));
    fetched = fetched || seen;
    return false;
  }

  // One of those, from the order's provider if it names one; not one in hand here.
  Result<std::optional<Purchase>> left_over(const Order& order, bool& fetched) {
    if (order.bid_msats == 0) return std::optional<Purchase>();
    ASSAY_TRY(const std::vector<Purchase> open, same_job(order));
    for (const Purchase& purchase : open) {
      if (order.provider && purchase.provider != *order.provider) continue;
      ASSAY_TRY(const bool mine, take_or_see(purchase.request_id, fetched));
      if (!mine) continue;
      ASSAY_TRY(const std::optional<Purchase> still,
                store->find(purchase.request_id));  // who held it until now may have brought it to an end
      if (still && (still->state == PurchaseState::paying || still->state == PurchaseState::paid)) return still;
      held.let_go(purchase.request_id);
    }
    return std::optional<Purchase>();
  }

  // A purchase of the same job that brought its result to nobody: what fetched it is gone.
  Result<std::optional<Bought>> kept(const Order& order, bool& fetched) {
    if (order.bid_msats == 0) return std::optional<Bought>();
    ASSAY_TRY(const std::string job, canonical(to_json(order.job)));
    ASSAY_TRY(const std::vector<PurchaseStore::Kept> all, store->kept(job, order.provider.value_or(""), now() - result_kept_seconds));
    for (const PurchaseStore::Kept& one : all) {
      auto bought = read_kept(one.result);
      if (!bought || !is_mine(one.purchase)) continue;
      ASSAY_TRY(const bool mine, take_or_see(one.purchase.request_id, fetched));
      if (!mine) continue;
      ASSAY_TRY(const bool still, store->is_kept(one.purchase.request_id));  // who held it until now may have taken it
      ASSAY_TRY(const std::optional<Purchase> purchase, store->find(one.purchase.request_id));
      if (!still || !purchase) {
        held.let_go(one.purchase.request_id);
        continue;
      }
      Deal deal(parts(), order.job, *purchase, {order.bid_msats, std::nullopt}, news_of(order));
      auto told = deal.told_before();
      if (!told) {
        held.let_go(purchase->request_id);
        return std::unexpected(std::move(told.error()));
      }
      bought->resumed = *told;
      return std::optional(std::move(*bought));
    }
    return std::optional<Bought>();
  }

  Result<Bought> request(const Order& order, const Wait& wait) {
    auto out = request_and_keep(order, wait);
    if (!out) return out;
    if (!order.keep_result) ASSAY_CHECK(taken(out->request_id));
    return out;
  }

  Result<void> taken(const std::string& request_id) {
    ASSAY_CHECK(store->taken(request_id));
    held.let_go(request_id);
    return {};
  }

  // What an earlier purchase of this job brought, or brings now: nothing is paid. A result stays in hand until it is taken.
  Result<std::optional<Bought>> bought_before(const Order& order, const Wait& wait) {
    std::optional<Purchase> earlier;
    while (true) {  // ends: with what there is, or when nobody fetches it any more, who has a deadline
      bool fetched = false;
      ASSAY_TRY(std::optional<Bought> had, kept(order, fetched));
      if (!had) {
        ASSAY_TRY(earlier, left_over(order, fetched));
        if (earlier) break;
        ASSAY_TRY(had, kept(order, fetched));  // one that had no result then and waits for none now got it in between
      }
      if (had) {
        if (order.progress) order.progress("an earlier purchase of this job has its result: nothing is paid twice");
        return had;
      }
      if (!fetched) return std::optional<Bought>();
      ASSAY_CHECK(wait.check(clock, "the wait for a result that another process fetches"));
      clock.sleep_until(clock.steady_ns() + look_again_ns, wait.stop);
    }
    if (order.progress) order.progress("going on with an earlier purchase of this job: nothing is paid twice");
    auto out = resume(earlier->request_id, wait, news_of(order), order.keep_result);
    if (out) return std::optional(std::move(*out));
    held.let_go(earlier->request_id);
    return std::unexpected(std::move(out.error()));
  }

  // Before a provider that is late is paid again, what it owes is fetched, for the order that paid for it. True: it owes nothing.
  Result<bool> settle(const Order& order, const Wait& wait) {
    if (!order.provider) return true;
    ASSAY_TRY(const std::vector<Purchase> owed, owed_by(*order.provider));
    if (owed.empty()) return true;
    for (const Purchase& purchase : owed) {
      ASSAY_TRY(const bool mine, held.take(purchase.request_id, HeldPurchases::For::fetch));
      if (!mine) continue;
      if (order.progress) order.progress("waiting for what this provider owes from an earlier job");
      const Wait fair{wait.deadline.sooner(Deadline::after(clock, std::chrono::seconds(options.fair_seconds))), wait.stop};
      const auto out = resume(purchase.request_id, fair, {}, true);
      held.let_go(purchase.request_id);
      // One whose end another process saw meanwhile is `usage`.
      if (out || out.error().code == ErrorCode::usage) return false;
      if (out.error().code == ErrorCode::cancelled) return std::unexpected(out.error());
      return fail(ErrorCode::refused,
                  fmt::format("provider {} owes the result of an earlier job: {}", purchase.provider, out.error().message),
                  fmt::format("choose another provider, {}, or: assay pylon forgive {}", out.error().remedy, purchase.provider));
    }
    ASSAY_CHECK(wait.check(clock, "the wait for what the provider owes"));  // others wait for it: with them
    clock.sleep_until(clock.steady_ns() + look_again_ns, wait.stop);
    return false;
  }

  Result<Bought> request_and_keep(const Order& order, const Wait& wait) {
    for (bool settled = false; !settled;) {  // ends: each round ends a purchase that is owed, or waits for one that has a deadline
      ASSAY_TRY(std::optional<Bought> before, bought_before(order, wait));
      if (before) return std::move(*before);
      ASSAY_TRY(settled, settle(order, wait));
    }
    ASSAY_CHECK(check_order(order));
    ASSAY_CHECK(reserve(order.bid_msats));
    auto out = send(order, wait);
    release(order.bid_msats);
    return out;
  }

  Result<Bought> send(const Order& order, const Wait& wait) {
    RequestTerms terms;
    terms.provider = order.provider;
    terms.bid_msats = order.bid_msats;
    terms.relay_url = options.relay_url;
    terms.expires_at = now() + std::max<std::int64_t>(1, std::min<std::int64_t>(wait.deadline.left(clock).count() / 1'000'000'000, 3600));
    terms.encrypt = order.encrypt;
    terms.sandbox_profile = order.sandbox_profile;
    ASSAY_TRY(UnsignedEvent unsigned_request, request_event(order.job, terms, options.key, now(), entropy));
    ASSAY_TRY(const VerifiedEvent event, sign_event(std::move(unsigned_request), options.key, entropy));
    if (event_json(*event).size() > event_bytes_max)
      return fail(ErrorCode::limit_exceeded, "the job does not fit an event of 64 KiB", "send less");

    Purchase purchase;
    purchase.request_id = event->id;
    ASSAY_TRY(purchase.job, canonical(to_json(order.job)));
    purchase.encrypted = terms.encrypt && terms.provider.has_value();
    purchase.provider = order.provider.value_or("");
    purchase.at = now();
    purchase.buyer = options.key.public_hex();
    ASSAY_TRY(const bool mine, held.take(purchase.request_id, HeldPurchases::For::order));
    if (!mine) return fail(ErrorCode::internal, "a new request is held by another process");
    if (auto added = store->add(purchase); !added) {
      held.let_go(purchase.request_id);
      return std::unexpected(std::move(added.error()));
    }
    auto out = trade(Deal(parts(), order.job, purchase, {order.bid_msats, order.announced_msats, order.keep_result}, news_of(order)),
                     &event, wait);
    if (!out) held.let_go(purchase.request_id);
    return out;
  }

  static DealNews news_of(const Order& order) { return {order.progress, order.on_paid, order.record}; }

  DealParts parts() {
    return {options, *store, clock, entropy, [this](const std::string& provider) { return check_reputation(provider); }};
  }

  // Listens, sends the request if there is one to send, and hands each answer to the deal until it ends.
  Result<Bought> trade(Deal deal, const VerifiedEvent* request, const Wait& wait) {
    const Deadline first = Deadline::after(clock, std::chrono::seconds(options.answer_seconds));
    while (true) {  // ends: with a result, an error of the deal, at the deadline or on a stop
      auto turn = trade_on_one_connection(deal, request, first, wait);
      if (turn) return turn;
      if (turn.error().code != ErrorCode::unavailable || deal.over()) return last_look(deal, std::move(turn.error()), wait);
      deal.listening(false);
      if (auto left = wait.check(clock, "result"); !left) return last_look(deal, std::move(left.error()), wait);
      clock.sleep_until(clock.steady_ns() + 300'000'000, wait.stop);  // the relay went away: dial again
    }
  }

  // Late is what has not come when this process looks, not when its deadline was: it may have been stopped in between.
  Result<Bought> last_look(Deal& deal, Error why, const Wait& wait) {
    if (why.code != ErrorCode::timed_out || deal.over() || !deal.is_paid()) return deal.ended(std::move(why));
    const auto found = stored_result(deal, {Deadline::after(clock, std::chrono::seconds(2)), wait.stop});
    if (found && *found) return **found;
    if (!found && deal.over()) return std::unexpected(found.error());
    return deal.ended(std::move(why));
  }

  // What the relay has for this deal, if a result is among it.
  Result<std::optional<Bought>> stored_result(Deal& deal, const Wait& wait) {
    ASSAY_TRY(const std::shared_ptr<RelayClient> client, connected(wait));
    ASSAY_TRY(const std::vector<VerifiedEvent> stored, client->fetch({deal.filter()}, wait));
    for (const VerifiedEvent& event : stored) {
      ASSAY_TRY(std::optional<Bought> bought, deal.take(*event, wait));
      if (bought) return bought;
    }
    return std::optional<Bought>();
  }

  Result<Bought> trade_on_one_connection(Deal& deal, const VerifiedEvent* request, const Deadline& first, const Wait& wait) {
    ASSAY_TRY(const std::shared_ptr<RelayClient> client, connected(wait));
    ASSAY_TRY(const std::unique_ptr<Subscription> answers, client->subscribe({deal.filter()}, wait));
    deal.listening(true);
    if (request != nullptr) ASSAY_CHECK(client->publish(*request, wait));  // sent again after a lost connection, it is a duplicate
    while (true) {  // ends: with a result or an error
      const bool unheard = request != nullptr && deal.unheard();
      auto event = answers->next(unheard ? Wait{wait.deadline.sooner(first), wait.stop} : wait);
      if (!event && unheard && event.error().code == ErrorCode::timed_out && wait.check(clock, "an answer")) return deal.nobody_there();
      if (!event) return std::unexpected(std::move(event).error());
      ASSAY_TRY(std::optional<Bought> bought, deal.take(**event, wait));
      if (bought) return std::move(*bought);
    }
  }

  Result<Bought> resume(const std::string& request_id, const Wait& wait, DealNews news, bool keep_result) {
    ASSAY_TRY(const std::optional<Purchase> purchase, store->find(request_id));
    if (!purchase) return fail(ErrorCode::usage, "no purchase of that request id here");
    if (!is_mine(*purchase))
      return fail(ErrorCode::usage, fmt::format("this was bought with the key {}", purchase->buyer), "use that key: --key NAME", "key");
    if (purchase->state == PurchaseState::done) {  // fetched before, and nobody is known to have used it
      ASSAY_TRY(const std::vector<PurchaseStore::Kept> all, store->kept(purchase->job, purchase->provider, 0));
      for (const PurchaseStore::Kept& one : all) {
        if (one.purchase.request_id == request_id) return read_kept(one.result);
      }
    }
    if (purchase->state != PurchaseState::paying && purchase->state != PurchaseState::paid) {
      return fail(ErrorCode::usage, fmt::format("this purchase is {}: there is nothing to wait for", name(purchase->state)));
    }
    ASSAY_TRY(Deal deal, deal_of(*purchase, std::move(news), keep_result));
    ASSAY_CHECK(deal.pick_up(wait));
    return trade(std::move(deal), nullptr, wait);
  }

  Result<Deal> deal_of(const Purchase& purchase, DealNews news, bool keep_result) {
    ASSAY_TRY(const Json job_json, read_json(purchase.job));
    ASSAY_TRY(JobEnvelope job, read_envelope(job_json));
    return Deal(parts(), std::move(job), purchase, {purchase.amount_msats, std::nullopt, keep_result}, std::move(news));
  }

  // Results that came to the relay while nobody here listened: kept for the same order, and no failure of who sent them.
  Result<void> collect(const Wait& wait) {
    ASSAY_TRY(const std::vector<Purchase> open, store->unfinished());
    std::size_t asked = 0;
    for (const Purchase& purchase : open) {
      if (purchase.state != PurchaseState::paid || !may_go_on(purchase) || asked == collected_max) continue;
      ASSAY_TRY(const bool mine, held.take(purchase.request_id, HeldPurchases::For::fetch));
      if (!mine) continue;
      ++asked;
      const auto done = collect_one(purchase.request_id, wait);
      held.let_go(purchase.request_id);
      ASSAY_CHECK(done);
    }
    return {};
  }

  Result<void> collect_one(const std::string& request_id, const Wait& wait) {
    ASSAY_TRY(const std::optional<Purchase> purchase, store->find(request_id));
    if (!purchase || purchase->state != PurchaseState::paid) return {};
    ASSAY_TRY(Deal deal, deal_of(*purchase, {}, true));
    const auto found = stored_result(deal, wait);
    return found || deal.over() ? Result<void>() : std::unexpected(found.error());  // what failed a check is noted
  }
};

Buyer::Buyer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Buyer::~Buyer() = default;

Result<std::unique_ptr<Buyer>> Buyer::open(const BuyerOptions& options, Clock& clock, Entropy& entropy, const Wait& wait) {
  ASSAY_TRY(std::unique_ptr<PurchaseStore> store, PurchaseStore::open(options.folder));
  auto impl = std::make_unique<Impl>(options, clock, entropy, std::move(store));
  ASSAY_CHECK(impl->tidy());
  ASSAY_CHECK(impl->connected(wait));
  ASSAY_CHECK(impl->collect(wait));
  return std::unique_ptr<Buyer>(new Buyer(std::move(impl)));
}

Result<Bought> Buyer::request(const Order& order, const Wait& wait) { return impl_->request(order, wait); }
Result<std::optional<Bought>> Buyer::bought_before(const Order& order, const Wait& wait) { return impl_->bought_before(order, wait); }
Result<void> Buyer::tell_waiting(const Order& order) {
  if (!order.progress) return {};
  ASSAY_TRY(const std::vector<Purchase> open, impl_->same_job(order));
  for (const Purchase& purchase : open) {
    if (purchase.provider == order.provider) continue;
    order.progress(
        fmt::format("{} msats went, or may have gone, to {} for this job, and its result has not come: assay pylon resume {} --relay {}",
                    purchase.amount_msats, purchase.provider, purchase.request_id, impl_->options.relay_url));
  }
  return {};
}
Result<std::vector<Purchase>> Buyer::unfinished() { return impl_->store->unfinished(); }
Result<Bought> Buyer::resume(const std::string& request_id, const Wait& wait) {
  ASSAY_TRY(const bool mine, impl_->held.take(request_id, HeldPurchases::For::fetch));
  if (!mine) return fail(ErrorCode::unavailable, "another process waits for this purchase's result", "let it, or end it", request_id);
  auto out = impl_->resume(request_id, wait, {}, true);
  impl_->held.let_go(request_id);
  return out;
}
Result<void> Buyer::taken(const std::string& request_id) { return impl_->taken(request_id); }
Result<void> Buyer::check_reputation(const std::string& provider) { return impl_->check_reputation(provider); }
PurchaseStore& Buyer::store() { return *impl_->store; }
const std::string& Buyer::pubkey() const { return impl_->options.key.public_hex(); }

Result<std::vector<ProviderInfo>> Buyer::providers(const ProviderQuery& query, const Wait& wait) {
  ASSAY_TRY(const std::shared_ptr<RelayClient> client, impl_->connected(wait));
  return find_providers(*client, query, impl_->clock, wait);
}

Result<ProviderInfo> Buyer::choose(const ProviderQuery& query, const std::function<Result<std::int64_t>(const ProviderInfo&)>& price,
                                   const Wait& wait) {
  if (!query.pubkey.empty() && !is_hex(query.pubkey, 64))
    return fail(ErrorCode::usage, "a provider is a public key of 64 hex digits", "assay pylon ls lists them", "provider");
  ASSAY_TRY(std::vector<ProviderInfo> all, providers(query, wait));
  std::optional<ProviderInfo> best;
  std::tuple<bool, bool, std::int64_t> best_rank;  // late, silent, price
  std::optional<Error> refused;
  std::string unpayable;
  for (ProviderInfo& info : all) {
    ASSAY_TRY(const std::vector<Purchase> owed, impl_->owed_by(info.pubkey));
    if (auto good = impl_->check_reputation(info.pubkey); !good && owed.empty()) {
      refused = std::move(good.error());
      continue;
    }
    if (impl_->options.wallet && !info.node_id.empty() && info.node_id != impl_->options.wallet->node_id()) {
      refused = Error{ErrorCode::refused, fmt::format("provider {} is paid through another issuer", info.pubkey), "--issuer",
                      "choose another provider, or name the issuer that it is paid through: --issuer http://…"};
      continue;
    }
    const auto asked = price(info);
    if (!asked) continue;
    if (!impl_->options.wallet && *asked > 0) {
      unpayable = fmt::format("provider {} asks {} msats, and there is no issuer to pay from", info.pubkey, *asked);
      continue;
    }
    ASSAY_TRY(const bool silent, impl_->store->silent_since(info.pubkey, impl_->now() - silence_seconds));
    const std::tuple rank(!owed.empty(), silent, *asked);
    if (best && rank >= best_rank) continue;
    best = std::move(info);
    best_rank = rank;
  }
  if (best) return std::move(*best);
  if (!unpayable.empty()) return fail(ErrorCode::usage, unpayable, "--issuer http://…", "--lane pylon");
  if (refused) {
    if (query.pubkey.empty())
      refused->message =
          fmt::format("no provider on {} that sells {} is taken: {}", impl_->options.relay_url, query.job_type, refused->message);
    return std::unexpected(std::move(*refused));
  }
  if (!query.pubkey.empty() || !query.model.empty()) {
    const std::string who = query.pubkey.empty() ? "no provider" : "provider " + query.pubkey;
    return fail(ErrorCode::unavailable,
                fmt::format("{} {} on {}: {}{}", who, query.pubkey.empty() ? "sells this" : "does not sell this", impl_->options.relay_url,
                            query.job_type, query.model.empty() ? "" : ", model " + query.model),
                "assay pylon ls lists who sells what");
  }
  return fail(ErrorCode::unavailable, fmt::format("no provider on {} sells {}", impl_->options.relay_url, query.job_type),
              "start one with `assay pylon serve`");
}

}  // namespace assay
