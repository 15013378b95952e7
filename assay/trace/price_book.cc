#include "assay/trace/price_book.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <map>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/base/json_line.h"

namespace assay {
namespace {

constexpr std::string_view prices_format = "assay.prices/1";
constexpr std::int64_t prices_max = 10000;

Result<void> refuse_unknown(const Json& value, std::initializer_list<std::string_view> known) {
  for (const auto& [key, unused] : value.as_object()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return fail(ErrorCode::malformed, fmt::format("unknown member '{}'", key), fmt::format("known members: {}", fmt::join(known, ", ")),
                  "/" + pointer_token(key));
    }
  }
  return {};
}

Result<std::int64_t> rate(const Json& value, std::string_view key) {
  ASSAY_TRY(const std::int64_t msats, int_member(value, key));
  if (msats < 0) return fail(ErrorCode::malformed, "a price is negative", "prices are integer msats from 0", std::string(key));
  return msats;
}

// A day of the calendar as YYYY-MM-DD, or nothing.
bool is_date(const std::string& text) {
  if (text.empty()) return true;
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  int parts[3] = {};
  const std::size_t begins[] = {0, 5, 8}, lengths[] = {4, 2, 2};
  for (int i = 0; i < 3; ++i) {
    const char* const from = text.data() + begins[i];
    const auto [end, problem] = std::from_chars(from, from + lengths[i], parts[i]);
    if (problem != std::errc{} || end != from + lengths[i] || parts[i] < 0) return false;
  }
  return std::chrono::year_month_day(std::chrono::year(parts[0]), std::chrono::month(static_cast<unsigned>(parts[1])),
                                     std::chrono::day(static_cast<unsigned>(parts[2])))
      .ok();
}

Result<Price> read_price(const Json& value) {
  if (!value.is_object()) return fail(ErrorCode::malformed, "a price is not an object", "see docs/prices.md");
  ASSAY_CHECK(refuse_unknown(value, {"lane_kind", "model", "prompt_msats_per_mtok", "completion_msats_per_mtok", "source", "date"}));
  Price price;
  ASSAY_TRY(price.lane_kind, string_member(value, "lane_kind"));
  ASSAY_TRY(price.model, string_member(value, "model"));
  ASSAY_TRY(price.prompt_msats_per_mtok, rate(value, "prompt_msats_per_mtok"));
  ASSAY_TRY(price.completion_msats_per_mtok, rate(value, "completion_msats_per_mtok"));
  ASSAY_TRY(price.source, string_member(value, "source"));
  ASSAY_TRY(price.date, string_member(value, "date"));
  if (!is_date(price.date)) return fail(ErrorCode::malformed, fmt::format("'{}' is no day", price.date), "write it as 2026-01-31", "date");
  return price;
}

// The pointer of an error of `read`, whose last member may follow a dot: "/prices/3.model".
std::string pointer_of(std::string place) {
  if (!place.starts_with('/')) place.insert(0, "/");
  if (place.starts_with("/prices/")) std::replace(place.begin(), place.end(), '.', '/');
  return place;
}

}  // namespace

Json Price::to_json() const {
  JsonObject out;
  out.set("lane_kind", lane_kind);
  out.set("model", model);
  out.set("prompt_msats_per_mtok", prompt_msats_per_mtok);
  out.set("completion_msats_per_mtok", completion_msats_per_mtok);
  out.set("source", source);
  out.set("date", date);
  return out;
}

PriceBook PriceBook::built_in() {
  PriceBook book;
  book.prices_.push_back(
      {"local", "*", 125000, 250000, "docs/prices.md: rented vCPU time over measured tokens per CPU second", "2026-10-01"});
  return book;
}

Result<PriceBook> PriceBook::read(const Json& value) {
  ASSAY_TRY(const std::string format, string_member(value, "format"));
  if (format != prices_format) {
    return fail(ErrorCode::malformed, fmt::format("format is '{}'", format), fmt::format("expected '{}'", prices_format), "/format");
  }
  ASSAY_CHECK(refuse_unknown(value, {"format", "prices"}));
  ASSAY_TRY(const Json* list, member(value, "prices", Json::Kind::list));
  if (static_cast<std::int64_t>(list->as_list().size()) > prices_max) {
    return fail(ErrorCode::limit_exceeded, fmt::format("more than {} prices", prices_max), "keep the lanes that are used", "/prices");
  }
  PriceBook book;
  for (const Json& item : list->as_list()) {
    auto price = read_price(item);
    if (!price) return std::unexpected(std::move(price).error().in(fmt::format("/prices/{}", book.prices_.size())));
    const bool twice = std::any_of(book.prices_.begin(), book.prices_.end(),
                                   [&](const Price& other) { return other.lane_kind == price->lane_kind && other.model == price->model; });
    if (twice) {
      return fail(ErrorCode::malformed, fmt::format("two prices for lane '{}', model '{}'", price->lane_kind, price->model), "keep one",
                  fmt::format("/prices/{}", book.prices_.size()));
    }
    book.prices_.push_back(*std::move(price));
  }
  return book;
}

Json PriceBook::to_json() const {
  JsonList list;
  for (const Price& price : prices_) list.push_back(price.to_json());
  JsonObject out;
  out.set("format", prices_format);
  out.set("prices", std::move(list));
  return out;
}

Result<PriceBook> PriceBook::load(const std::string& path) {
  ASSAY_TRY(const std::string text, read_file(path, std::size_t{4} << 20));
  auto value = read_json(text);
  if (!value) return std::unexpected(std::move(value.error()).in(path));
  auto book = read(*value);
  if (book) return book;
  Error& error = book.error();
  const std::string place = pointer_of(error.path);
  error.path = fmt::format("{}:{} {}", path, line_of_place(text, place), place);
  return book;
}

Result<void> PriceBook::set(Price price) {
  if (price.lane_kind.empty() || price.model.empty()) {
    return fail(ErrorCode::usage, "a price is of a lane and a model", "--lane openai --model NAME, or '*' for any model");
  }
  for (const std::int64_t msats : {price.prompt_msats_per_mtok, price.completion_msats_per_mtok}) {
    if (msats < 0 || msats > json_integer_max)
      return fail(ErrorCode::usage, fmt::format("{} is no price", msats), "integer msats per 1,000,000 tokens, from 0");
  }
  if (!is_date(price.date)) return fail(ErrorCode::usage, fmt::format("'{}' is no day", price.date), "write it as 2026-01-31", "date");
  const auto at = std::find_if(prices_.begin(), prices_.end(),
                               [&](const Price& other) { return other.lane_kind == price.lane_kind && other.model == price.model; });
  if (at != prices_.end()) *at = std::move(price);
  else prices_.push_back(std::move(price));
  return {};
}

std::vector<PriceChange> PriceBook::changes_to(const PriceBook& after) const {
  std::map<std::pair<std::string, std::string>, PriceChange> all;
  for (const Price& price : prices_) all[{price.lane_kind, price.model}].before = price;
  for (const Price& price : after.prices_) all[{price.lane_kind, price.model}].after = price;
  std::vector<PriceChange> out;
  for (auto& [key, change] : all) {
    if (change.before != change.after) out.push_back(std::move(change));
  }
  return out;
}

Result<std::string> PriceBook::id() const { return hash(to_json()); }

const Price* PriceBook::price_of(std::string_view lane_kind, std::string_view model) const {
  const Price* any_model = nullptr;
  for (const Price& price : prices_) {
    if (price.lane_kind != lane_kind) continue;
    if (price.model == model) return &price;
    if (price.model == "*") any_model = &price;
  }
  return any_model;
}

std::optional<Price> PriceBook::find(const std::string& lane_kind, const std::string& model) const {
  const Price* const price = price_of(lane_kind, model);
  return price != nullptr ? std::optional(*price) : std::nullopt;
}

std::optional<std::int64_t> PriceBook::cost(const std::string& lane_kind, const std::string& model, const LmUsage& usage) const {
  const Price* const price = price_of(lane_kind, model);
  if (price == nullptr) return std::nullopt;
  __extension__ using Wide = __int128;  // tokens and rates may each be near 2^53
  const Wide sum =
      Wide{usage.prompt_tokens} * price->prompt_msats_per_mtok + Wide{usage.completion_tokens} * price->completion_msats_per_mtok;
  const Wide msats = (sum + 999999) / 1000000;
  return msats > json_integer_max ? json_integer_max : static_cast<std::int64_t>(msats);
}

}  // namespace assay
