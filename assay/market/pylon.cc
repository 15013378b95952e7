#include "assay/market/pylon.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <set>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/sandbox/probe.h"

namespace assay {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t announce_again_ns = 20LL * 60 * 1'000'000'000;
constexpr std::int64_t late_seconds = 30;       // a payment may be seen a little after its invoice has expired
constexpr std::int64_t back_seconds = 300;      // how far back requests are asked for after a (re)connect
constexpr milliseconds slow_most{10'000};

// A machine that cannot keep a job in must not take money for it.
Result<void> check_sandbox(Clock& clock) {
  const SandboxCapabilities can = probe_sandbox({Deadline::after(clock, std::chrono::seconds(20)), {}}, clock);
  if (can.available) return {};
  return fail(ErrorCode::unavailable, "no sandbox can be sold here: " + can.problem, can.remedy, "sandbox");
}

}  // namespace

struct Pylon::Impl {
  Impl(const PylonOptions& o, Clock& c, Entropy& e, std::unique_ptr<JobStore> s, Fd f)
      : options(o), clock(c), entropy(e), runner(o.work, o.key, c, e), folder(std::move(f)), store(std::move(s)) {}

  const PylonOptions options;
  Clock& clock;
  Entropy& entropy;
  const JobRunner runner;
  const Fd folder;  // of this pylon alone
  const std::unique_ptr<JobStore> store;

  std::int64_t announced_at = 0;  // of the thread that serves
  std::mutex relay_mutex;
  std::shared_ptr<RelayClient> relay;  // replaced when the connection is lost

  bool told_unpaid = false;  // of the watcher's thread
  std::mutex queue_mutex;
  std::condition_variable_any queue_filled;
  std::deque<std::string> queue;   // request ids that are paid
  std::set<std::string> queued;    // those in the queue or running

  std::int64_t now() const { return clock.unix_ns() / 1'000'000'000; }
  Wait brief(const std::stop_token& stop, seconds time = seconds(10)) { return {Deadline::after(clock, time), stop}; }
  void log(const std::string& line) const {
    if (options.log) options.log(printable_text(line));
  }

  std::shared_ptr<RelayClient> current_relay() {
    const std::scoped_lock lock(relay_mutex);
    return relay;
  }

  Result<void> connect(const Wait& wait) {
    ASSAY_TRY(std::unique_ptr<RelayClient> made, RelayClient::connect(options.relay_url, wait, clock));
    const std::scoped_lock lock(relay_mutex);
    relay = std::move(made);
    return {};
  }

  Result<void> announce(const Wait& wait) {
    ASSAY_TRY(ProviderInfo info, runner.info());
    info.name = options.name;
    info.network = options.wallet ? name(options.wallet->network()) : "";
    info.node_id = options.wallet ? options.wallet->node_id() : "";
    const std::int64_t begin = std::max(now(), announced_at + 1);  // a newer one takes the place of an older one
    for (std::int64_t at = begin;; ++at) {  // ends: with an answer, or five tries
      ASSAY_TRY(const VerifiedEvent event, sign_event(announcement_event(info, at), options.key, entropy));
      auto done = current_relay()->publish(event, wait);
      if (done) announced_at = at;
      // An end a moment ago took back what was announced up to a second that may not be over.
      if (done || done.error().code != ErrorCode::refused || at == begin + 4) return done ? Result<void>() : std::unexpected(done.error());
    }
  }

  // Who has stopped serving is not to be asked. What cannot be taken back now runs out within the hour.
  void withdraw() {
    const auto event = sign_event(withdrawal_event(options.key.public_hex(), std::max(now(), announced_at)), options.key, entropy);
    if (event && current_relay()->open()) (void)current_relay()->publish(*event, {Deadline::after(clock, seconds(3)), {}});
  }

  Result<std::string> signed_json(UnsignedEvent event) {
    ASSAY_TRY(const VerifiedEvent made, sign_event(std::move(event), options.key, entropy));
    return event_json(*made);
  }

  // Publishes a stored answer; what the relay does not take now is tried again by the watcher.
  void publish_answer(const std::string& request_id, const std::string& answer, const std::stop_token& stop) {
    if (answer.empty()) return;
    auto event = verify_event(answer, {.event_bytes_max = 256 * 1024});
    if (!event) return log(fmt::format("{} answer unreadable: {}", request_id, event.error().message));
    const auto done = current_relay()->publish(*event, brief(stop));
    if (done || done.error().code == ErrorCode::refused) {
      if (!done) log(fmt::format("{} the relay refuses the answer: {}", request_id, done.error().message));
      (void)store->mark_published(request_id);
    }
  }

  void refuse(const std::string& request_id, const std::string& buyer, const Error& why, std::optional<std::int64_t> price, JobState state,
              const std::stop_token& stop) {
    log(fmt::format("{} {} {}", request_id, name(state), why.message));
    // Whose fault it is decides what the buyer does next: too much is the job's.
    const std::string said = (why.code == ErrorCode::limit_exceeded ? "too much: " : "") + why.message;
    const JobFeedback feedback{"error", printable_text(said), price, ""};
    const auto answer = signed_json(feedback_event(request_id, buyer, feedback, options.relay_url, now()));
    const std::string text = answer.value_or("");
    if (auto kept = store->finish(request_id, state, text, now()); !kept) return log(kept.error().message);
    publish_answer(request_id, text, stop);
  }

  void enqueue(const std::string& request_id) {
    const std::scoped_lock lock(queue_mutex);
    if (!queued.insert(request_id).second) return;
    queue.push_back(request_id);
    queue_filled.notify_one();
  }

  // --- intake: a request comes in, a quote goes out ---

  Result<void> take_request(const Event& event, const std::stop_token& stop) {
    if (!is_for_provider(event, options.key.public_hex(), now())) return {};
    if (!options.open_requests && !tag_value(event, "p")) return {};
    ASSAY_TRY(const bool fresh, store->add(event.id, event_json(event), now()));
    if (!fresh) return {};  // seen before, perhaps before a restart
    return answer_request(event, stop);
  }

  Result<bool> has_room(const std::string& buyer) {
    ASSAY_TRY(const std::int64_t quoted, store->count(JobState::quoted));
    ASSAY_TRY(const std::int64_t waiting, store->count(JobState::paid));
    ASSAY_TRY(const JobStore::Standing standing, store->standing(buyer));
    const std::int64_t most = options.limits.quoted_max, quarter = most / 4;
    if (standing.quoted >= std::max<std::int64_t>(quarter, 2)) return false;
    return quoted < (standing.paid > 0 ? most : most - quarter) && waiting < options.limits.queued_max;
  }

  Result<void> answer_request(const Event& event, const std::stop_token& stop) {
    const auto request = read_job_request(event, options.key, options.work.limits);
    if (!request) {
      refuse(event.id, event.pubkey, request.error(), {}, JobState::failed, stop);
      return {};
    }
    ASSAY_TRY(const bool room, has_room(event.pubkey));
    if (!room) {
      refuse(event.id, event.pubkey, {ErrorCode::unavailable, "busy: ask again later", {}, {}}, {}, JobState::failed, stop);
      return {};
    }
    const auto price = runner.price(*request);
    if (!price) {
      refuse(event.id, event.pubkey, price.error(), {}, JobState::failed, stop);
      return {};
    }
    if (request->bid_msats && *price > *request->bid_msats) {
      const Error why{ErrorCode::refused, fmt::format("the price is {} msats, the bid {}", *price, *request->bid_msats), {}, {}};
      refuse(event.id, event.pubkey, why, *price, JobState::failed, stop);
      return {};
    }
    if (*price > 0) return send_quote(*request, *price, stop);
    ASSAY_CHECK(accept_free(event.id));
    tell_processing(*request, stop);  // it may wait for its turn: its buyer must know that somebody is there
    return {};
  }

  Result<void> accept_free(const std::string& request_id) {
    ASSAY_TRY(const bool mine, store->pay(request_id, now()));
    if (mine) enqueue(request_id);
    return {};
  }

  Result<void> send_quote(const JobRequest& request, std::int64_t price, const std::stop_token& stop) {
    ASSAY_TRY(const std::string commitment, quote_commitment(request.id, options.key.public_hex(), request.job.job_hash, price));
    const auto invoice = options.wallet->make_invoice({price, commitment, options.limits.quote_seconds}, brief(stop));
    if (!invoice) {
      refuse(request.id, request.buyer, {ErrorCode::unavailable, "no invoice can be made now", {}, {}}, {}, JobState::failed, stop);
      log(invoice.error().message);
      return {};
    }
    const JobFeedback feedback{"payment-required", "", price, invoice->invoice};
    ASSAY_TRY(const std::string answer, signed_json(feedback_event(request.id, request.buyer, feedback, options.relay_url, now())));
    ASSAY_CHECK(store->quote(request.id, price, invoice->payment_hash, invoice->expires_at, answer, now()));
    log(fmt::format("{} quoted {} msats", request.id, price));
    publish_answer(request.id, answer, stop);
    return {};
  }

  // --- watcher: invoices, and answers that still have to go out ---

  // The issuer itself says that it knows no such invoice: it was restored from an older copy, or is another one. Nobody can pay it there.
  static bool gone(const Error& error) { return error.code == ErrorCode::refused; }

  Result<void> watch_once(const std::stop_token& stop) {
    ASSAY_TRY(std::vector<StoredJob> quoted, store->in_state(JobState::quoted));
    if (!options.wallet && !quoted.empty()) {  // of a start with an issuer: perhaps paid, which only that issuer can tell
      if (!std::exchange(told_unpaid, true))
        log(fmt::format("{} quotes of an earlier start wait for the issuer that they are paid through: start with --issuer",
                        quoted.size()));
      quoted.clear();
    }
    for (const StoredJob& job : quoted) {
      if (stop.stop_requested()) return {};
      const auto status = options.wallet->lookup(job.payment_hash, brief(stop, seconds(5)));
      if (status && status->settled && status->amount_msats == job.amount_msats) {
        ASSAY_TRY(const bool mine, store->pay(job.request_id, now()));
        log(fmt::format("{} paid {} msats", job.request_id, job.amount_msats));
        if (mine) enqueue(job.request_id);
      } else if (now() > job.expires_at + late_seconds && (status || gone(status.error()))) {
        const auto event = verify_event(job.request, {.event_bytes_max = 256 * 1024});
        refuse(job.request_id, event ? (*event)->pubkey : "", {ErrorCode::timed_out, "the quote expired unpaid", {}, {}}, {},
               JobState::expired, stop);
      }
    }
    ASSAY_TRY(const std::vector<StoredJob> unsent, store->unpublished());
    for (const StoredJob& job : unsent) {
      if (stop.stop_requested() || !current_relay()->open()) return {};
      publish_answer(job.request_id, job.answer, stop);
    }
    return {};
  }

  void watch(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      if (auto done = watch_once(stop); !done) log(done.error().message);
      clock.sleep_until(clock.steady_ns() + options.limits.poll_ms * 1'000'000, stop);
    }
  }

  // --- workers: paid jobs are run ---

  std::optional<std::string> next_paid(const std::stop_token& stop) {
    std::unique_lock lock(queue_mutex);
    if (!queue_filled.wait(lock, stop, [this] { return !queue.empty(); })) return std::nullopt;
    std::string id = std::move(queue.front());
    queue.pop_front();
    return id;
  }

  void work(const std::stop_token& stop) {
    while (const auto id = next_paid(stop)) {  // ends: when stop is asked
      if (stop.stop_requested()) return;
      if (auto done = run_job(*id, stop); !done) log(fmt::format("{} {}", *id, done.error().message));
      const std::scoped_lock lock(queue_mutex);
      queued.erase(*id);
    }
  }

  Result<void> run_job(const std::string& request_id, const std::stop_token& stop) {
    ASSAY_TRY(const std::optional<StoredJob> job, store->find(request_id));
    if (!job || job->state != JobState::paid) return {};
    ASSAY_TRY(const VerifiedEvent event, verify_event(job->request, {.event_bytes_max = 256 * 1024}));
    ASSAY_TRY(const JobRequest request, read_job_request(*event, options.key, options.work.limits));
    tell_processing(request, stop);
    auto content = runner.run(request, {Deadline::never(), stop});
    // Where this process was stopped or the machine slept, a run's own time went by without it: what was paid for gets another.
    if (!content && content.error().code == ErrorCode::timed_out && job->amount_msats > 0 && !stop.stop_requested()) {
      log(fmt::format("{} again: {}", request_id, content.error().message));
      content = runner.run(request, {Deadline::never(), stop});
    }
    if (!content && stop.stop_requested()) return {};  // it stays paid, and runs after the restart
    if (!content && job->amount_msats > 0 && content.error().message.starts_with("unsupported")) {  // it was sold by a start that could
      log(fmt::format("{} stays paid: {}; start with what was sold", request_id, content.error().message));
      return {};
    }
    if (!content) {
      refuse(request_id, request.buyer, content.error(), {}, JobState::failed, stop);
      return {};
    }
    ASSAY_TRY(UnsignedEvent result,
              result_event(request, std::move(*content), job->amount_msats, options.relay_url, options.key, now(), entropy));
    ASSAY_TRY(const std::string answer, signed_json(std::move(result)));
    ASSAY_CHECK(store->finish(request_id, JobState::done, answer, now()));
    log(fmt::format("{} done", request_id));
    publish_answer(request_id, answer, stop);
    return {};
  }

  void tell_processing(const JobRequest& request, const std::stop_token& stop) {
    const auto made =
        sign_event(feedback_event(request.id, request.buyer, {"processing", "", {}, ""}, options.relay_url, now()), options.key, entropy);
    if (made) (void)current_relay()->publish(*made, brief(stop, seconds(5)));
  }

  // --- the whole ---

  // What a crash left: received requests are answered, paid ones run. Quotes and unsent answers are the watcher's.
  Result<void> pick_up(const std::stop_token& stop) {
    ASSAY_TRY(const std::vector<StoredJob> received, store->in_state(JobState::received));
    for (const StoredJob& job : received) {
      auto event = verify_event(job.request, {.event_bytes_max = 256 * 1024});
      if (!event) continue;
      ASSAY_CHECK(answer_request(**event, stop));
    }
    ASSAY_TRY(const std::vector<StoredJob> paid, store->in_state(JobState::paid));
    for (const StoredJob& job : paid) enqueue(job.request_id);
    return {};
  }

  // Until the connection ends (`unavailable`) or stop is asked.
  Result<void> read_requests(const std::stop_token& stop) {
    Filter filter;
    filter.kinds = {job_request_kind};
    filter.since = now() - back_seconds;
    ASSAY_TRY(const std::unique_ptr<Subscription> requests, current_relay()->subscribe({filter}, brief(stop)));
    std::int64_t announce_at = clock.steady_ns() + announce_again_ns;
    while (true) {  // ends: with the connection, or when stop is asked
      auto event = requests->next(brief(stop, seconds(5)));
      if (event) {
        ASSAY_CHECK(take_request(**event, stop));
      } else if (event.error().code != ErrorCode::timed_out) {
        return std::unexpected(event.error());
      }
      if (clock.steady_ns() > announce_at) {
        ASSAY_CHECK(announce(brief(stop)));
        announce_at = clock.steady_ns() + announce_again_ns;
      }
    }
  }

  Result<void> serve(const std::stop_token& stop) {
    ASSAY_CHECK(pick_up(stop));
    milliseconds pause{200};
    while (!stop.stop_requested()) {
      const std::int64_t began = clock.steady_ns();
      const auto ended = read_requests(stop);
      if (stop.stop_requested()) break;
      if (ended.error().code == ErrorCode::io || ended.error().code == ErrorCode::internal) return ended;
      log(fmt::format("relay: {}", ended.error().message));
      if (clock.steady_ns() - began > std::chrono::nanoseconds(seconds(60)).count()) pause = milliseconds(200);
      clock.sleep_until(clock.steady_ns() + std::chrono::nanoseconds(pause).count(), stop);
      pause = std::min(pause * 2, slow_most);
      if (auto again = connect(brief(stop)); again) (void)announce(brief(stop));
    }
    return {};
  }
};

Pylon::Pylon(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pylon::~Pylon() = default;

Result<std::unique_ptr<Pylon>> Pylon::open(const PylonOptions& options, Clock& clock, Entropy& entropy, const Wait& wait) {
  if (options.work.lanes.empty() && !options.work.sandbox)
    return fail(ErrorCode::usage, "a pylon with nothing to sell", "give it a lane or the sandbox");
  if (options.work.sandbox) ASSAY_CHECK(check_sandbox(clock));
  const MarketPrices& p = options.work.prices;
  const bool free =
      p.text_base + p.prompt_per_mtok + p.completion_per_mtok + p.sandbox_base + p.sandbox_command + p.sandbox_cpu_second == 0;
  if (!options.wallet && !free) return fail(ErrorCode::usage, "prices need a wallet", "give the issuer's address, or set all prices to 0");
  ASSAY_TRY(Fd folder, occupy_folder(options.folder));
  ASSAY_TRY(std::unique_ptr<JobStore> store, JobStore::open(options.folder, clock.unix_ns() / 1'000'000'000));
  auto impl = std::make_unique<Impl>(options, clock, entropy, std::move(store), std::move(folder));
  ASSAY_CHECK(impl->connect(wait));
  ASSAY_CHECK(impl->announce(wait));
  return std::unique_ptr<Pylon>(new Pylon(std::move(impl)));
}

const std::string& Pylon::pubkey() const { return impl_->options.key.public_hex(); }
JobStore& Pylon::jobs() { return *impl_->store; }

Result<void> Pylon::serve(const std::stop_token& stop) {
  std::vector<std::jthread> threads;
  std::stop_source end;  // also ends the threads when serve() returns early
  const std::stop_callback forward(stop, [&end] { end.request_stop(); });
  threads.emplace_back([this, token = end.get_token()] { impl_->watch(token); });
  for (unsigned i = 0; i < impl_->options.limits.running_max; ++i) {
    threads.emplace_back([this, token = end.get_token()] { impl_->work(token); });
  }
  auto served = impl_->serve(stop);
  end.request_stop();
  impl_->withdraw();
  return served;
}

}  // namespace assay
