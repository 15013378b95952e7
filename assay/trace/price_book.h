#pragma once
/// @file
/// What a call costs: integer msats per 1,000,000 tokens, by lane, with source and date (docs/formats.md §4).
///
///     const PriceBook book = PriceBook::built_in();
///     book.cost("local", "SmolLM2-135M-Instruct", usage);      // optional msats: empty when the lane has no price
///
/// Thread safety: a value.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/trace/usage.h"

namespace assay {

struct Price {
  std::string lane_kind;  ///< "local", "openai", …
  std::string model;      ///< exact name, or "*"
  std::int64_t prompt_msats_per_mtok = 0;
  std::int64_t completion_msats_per_mtok = 0;
  std::string source, date;

  bool operator==(const Price&) const = default;
  Json to_json() const;
};

/// A price that one book has otherwise than another: added (no `before`), gone (no `after`), or changed.
struct PriceChange {
  std::optional<Price> before, after;
};

class PriceBook {
 public:
  /// Ships with a visible, documented, non-zero CPU rate for the local lane (docs/prices.md).
  static PriceBook built_in();
  /// {"format":"assay.prices/1","prices":[…]}; unknown members are refused by name.
  static Result<PriceBook> read(const Json& value);
  /// Reads a book's file. Errors name the line: "FILE:LINE", with the member's place.
  static Result<PriceBook> load(const std::string& path);
  Json to_json() const;
  /// Puts a price in the place of the one for the same lane and model, or at the end. Errors: `usage` (negative, no lane or model).
  Result<void> set(Price price);
  /// In the order of lane and model.
  std::vector<PriceChange> changes_to(const PriceBook& after) const;
  Result<std::string> id() const;  ///< hash of to_json(): run_start's price_book
  /// ceil(Σ tokens · price / 10^6), once a call. Empty without a price.
  std::optional<std::int64_t> cost(const std::string& lane_kind, const std::string& model, const LmUsage& usage) const;
  std::optional<Price> find(const std::string& lane_kind, const std::string& model) const;
  const std::vector<Price>& prices() const { return prices_; }

 private:
  const Price* price_of(std::string_view lane_kind, std::string_view model) const;
  std::vector<Price> prices_;
};

}  // namespace assay
