#include "assay/trace/price_book.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

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
  return price;
}

Json price_json(const Price& price) {
  JsonObject out;
  out.set("lane_kind", price.lane_kind);
  out.set("model", price.model);
  out.set("prompt_msats_per_mtok", price.prompt_msats_per_mtok);
  out.set("completion_msats_per_mtok", price.completion_msats_per_mtok);
  out.set("source", price.source);
  out.set("date", price.date);
  return out;
}

}  // namespace

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
  for (const Price& price : prices_) list.push_back(price_json(price));
  JsonObject out;
  out.set("format", prices_format);
  out.set("prices", std::move(list));
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
