#include "assay/trace/budget.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace assay {
namespace {

constexpr std::string_view budget_example = "write it like calls=100,tokens=50000,msats=2000,seconds=60";

Result<std::int64_t> parse_count(std::string_view part, std::string_view text) {
  std::int64_t count = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (problem != std::errc{} || end != text.data() + text.size() || count < 0 || count > json_integer_max) {
    return fail(ErrorCode::usage, fmt::format("'{}' is not a whole number from 0 to 2^53-1", text), std::string(budget_example),
                fmt::format("budget.{}", part));
  }
  return count;
}

Result<double> parse_seconds(std::string_view text) {
  double seconds = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (problem != std::errc{} || end != text.data() + text.size() || !(seconds > 0 && seconds <= 1e9)) {
    return fail(ErrorCode::usage, fmt::format("'{}' is not a number of seconds above 0 and up to 1,000,000,000", text),
                std::string(budget_example), "budget.seconds");
  }
  return seconds;
}

Result<void> set_once(std::optional<std::int64_t>& limit, std::string_view name, std::string_view value) {
  if (limit) return fail(ErrorCode::usage, fmt::format("budget part '{}' is given twice", name), std::string(budget_example));
  ASSAY_TRY(limit, parse_count(name, value));
  return {};
}

Result<void> parse_part(BudgetLimits& limits, std::string_view part) {
  const std::size_t equals = part.find('=');
  if (equals == std::string_view::npos) {
    return fail(ErrorCode::usage, fmt::format("budget part '{}' has no '='", part), std::string(budget_example));
  }
  const std::string_view name = part.substr(0, equals), value = part.substr(equals + 1);
  if (name == "calls") return set_once(limits.calls, name, value);
  if (name == "tokens") return set_once(limits.tokens, name, value);
  if (name == "msats") return set_once(limits.msats, name, value);
  if (name != "seconds") {
    return fail(ErrorCode::usage, fmt::format("unknown budget part '{}'", name), "parts are calls, tokens, msats and seconds");
  }
  if (limits.seconds) return fail(ErrorCode::usage, "budget part 'seconds' is given twice", std::string(budget_example));
  ASSAY_TRY(limits.seconds, parse_seconds(value));
  return {};
}

Result<std::int64_t> amount_member(const Json& value, std::string_view name) {
  ASSAY_TRY(const std::int64_t count, int_member(value, name));
  if (count < 0) return fail(ErrorCode::malformed, fmt::format("{} is negative", name), {}, std::string(name));
  return count;
}

Json or_null(const std::optional<std::int64_t>& value) { return value ? Json(*value) : Json(); }

// No overflow: every addend is at most 2^53, held sums only grow by settled amounts, which are capped alike.
std::int64_t capped(std::int64_t sum) { return std::clamp<std::int64_t>(sum, 0, json_integer_max); }

struct Line {
  std::string_view what;
  const std::optional<std::int64_t>& limit;
  std::int64_t spent, reserved, asked;
};

Result<void> check_line(const Line& line) {
  if (line.asked < 0 || line.asked > json_integer_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("a call that may need {} {} cannot be reserved", line.asked, line.what),
                "lower max_tokens", fmt::format("budget.{}", line.what));
  }
  if (!line.limit || line.spent + line.reserved + line.asked <= *line.limit) return {};
  return fail(ErrorCode::over_budget,
              fmt::format("the next call may need {} {}: limit {}, spent {}, reserved by calls in flight {}", line.asked, line.what,
                          *line.limit, line.spent, line.reserved),
              fmt::format("raise the budget: --budget {}={} or more", line.what, line.spent + line.reserved + line.asked),
              fmt::format("budget.{}", line.what));
}

void add(Amount& sum, const Amount& amount) {
  sum.calls = capped(sum.calls + capped(amount.calls));
  sum.tokens = capped(sum.tokens + capped(amount.tokens));
  sum.msats = capped(sum.msats + capped(amount.msats));
}

void subtract(Amount& sum, const Amount& amount) {
  sum.calls -= amount.calls;
  sum.tokens -= amount.tokens;
  sum.msats -= amount.msats;
}

}  // namespace

Result<BudgetLimits> BudgetLimits::parse(std::string_view text) {
  BudgetLimits limits;
  while (true) {  // ends: every round takes a part off the text
    const std::size_t comma = text.find(',');
    ASSAY_CHECK(parse_part(limits, text.substr(0, comma)));
    if (comma == std::string_view::npos) return limits;
    text.remove_prefix(comma + 1);
  }
}

Json BudgetLimits::to_json() const {
  JsonObject out;
  out.set("calls", or_null(calls));
  out.set("tokens", or_null(tokens));
  out.set("msats", or_null(msats));
  out.set("seconds", seconds ? Json(*seconds) : Json());
  return out;
}

void add_amount(Amount& sum, const Amount& amount) { add(sum, amount); }

Json to_json(const Amount& amount) { return JsonObject{{"calls", amount.calls}, {"msats", amount.msats}, {"tokens", amount.tokens}}; }

Result<Amount> read_amount(const Json& value) {
  Amount amount;
  ASSAY_TRY(amount.calls, amount_member(value, "calls"));
  ASSAY_TRY(amount.tokens, amount_member(value, "tokens"));
  ASSAY_TRY(amount.msats, amount_member(value, "msats"));
  return amount;
}

Result<void> check_fits(const BudgetLimits& limits, const Amount& spent, const Amount& reserved, const Amount& asked) {
  ASSAY_CHECK(check_line({"calls", limits.calls, spent.calls, reserved.calls, asked.calls}));
  ASSAY_CHECK(check_line({"tokens", limits.tokens, spent.tokens, reserved.tokens, asked.tokens}));
  return check_line({"msats", limits.msats, spent.msats, reserved.msats, asked.msats});
}

Budget::Reservation::Reservation(Budget* budget, std::int64_t id, Amount amount)
    : budget_(budget), id_(id), amount_(amount), owner_(std::this_thread::get_id()) {
  const std::scoped_lock lock(budget_->flight_mutex_);
  budget_->in_flight_.push_back(owner_);
}

Budget::Reservation::Reservation(Reservation&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)), id_(other.id_), amount_(other.amount_), owner_(other.owner_) {}

Budget::Reservation::~Reservation() {
  if (budget_ != nullptr) budget_->finish(*this, {});
}

void Budget::Reservation::settle(const Amount& used) {
  if (budget_ != nullptr) std::exchange(budget_, nullptr)->finish(*this, used);
}

void Budget::finish(const Reservation& reservation, const Amount& used) {
  release(reservation.id_, reservation.amount_, used);
  const std::scoped_lock lock(flight_mutex_);
  const auto at = std::find(in_flight_.begin(), in_flight_.end(), reservation.owner_);
  *at = in_flight_.back();
  in_flight_.pop_back();
}

bool Budget::has_own_in_flight() const {
  const std::scoped_lock lock(flight_mutex_);
  return std::find(in_flight_.begin(), in_flight_.end(), std::this_thread::get_id()) != in_flight_.end();
}

Result<Budget::Reservation> Budget::reserve_in_turn(const Amount& worst_case, const Wait& wait, Clock& clock) {
  constexpr std::int64_t longest_look_ns = 20'000'000, patience_ns = 600'000'000'000;
  std::int64_t look_again_ns = 1'000'000, changed_ns = clock.steady_ns();
  std::string last;
  while (true) {  // ends: with a reservation, when what is spent leaves too little, when nothing changes any more, at the deadline
    auto reserved = reserve(worst_case);
    if (reserved || reserved.error().code != ErrorCode::over_budget) return reserved;
    if (!check_fits(limits(), spent(), {}, worst_case)) return reserve(worst_case);  // anew: the dead may have been found just now
    if (has_own_in_flight()) return reserved;  // within its own call it would wait for itself
    if (reserved.error().message != last) changed_ns = clock.steady_ns();  // it names what is spent and reserved
    last = reserved.error().message;
    if (clock.steady_ns() - changed_ns > patience_ns) return reserved;
    ASSAY_CHECK(wait.check(clock, "the wait for what calls in flight give back to the budget"));
    clock.sleep_until(clock.steady_ns() + look_again_ns, wait.stop);
    look_again_ns = std::min(2 * look_again_ns, longest_look_ns);
  }
}

Result<Budget::Reservation> Budget::reserve(const Amount& worst_case) {
  const std::scoped_lock lock(mutex_);
  ASSAY_CHECK(check_fits(limits_, spent_, reserved_, worst_case));
  reserved_.calls += worst_case.calls;
  reserved_.tokens += worst_case.tokens;
  reserved_.msats += worst_case.msats;
  return granted(0, worst_case);
}

void Budget::charge(const Amount& spent_before) {
  const std::scoped_lock lock(mutex_);
  add(spent_, spent_before);
}

Amount Budget::spent() const {
  const std::scoped_lock lock(mutex_);
  return spent_;
}

Amount Budget::reserved() const {
  const std::scoped_lock lock(mutex_);
  return reserved_;
}

void Budget::release(std::int64_t /*id*/, const Amount& reserved, const Amount& used) {
  const std::scoped_lock lock(mutex_);
  subtract(reserved_, reserved);
  add(spent_, used);
}

}  // namespace assay
