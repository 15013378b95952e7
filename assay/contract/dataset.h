#pragma once
/// @file
/// Names of examples and data sets, and the split by hash: a row more or less moves no other row.
/// Source: docs/formats.md §3 (Data).
///
///     ASSAY_TRY(const Json inputs, pick_fields(signature.at("inputs"), row));
///     ASSAY_TRY(const std::string ih, input_hash(inputs));
///     split_of(ih, {0.5, 0.2, 0.3});                     // 0 train, 1 val, 2 test
///
/// Values must be typed by the program's signature before they come here. Thread safety: pure functions.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"

namespace assay {

/// The members of `values` that `fields` (a signature's "inputs" or "outputs") names; an absent Optional becomes null.
/// Errors: `malformed` naming a field that is absent and not Optional.
Result<Json> pick_fields(const Json& fields, const Json& values);

/// hash({"inputs":…}) and hash({"inputs":…,"outputs":…}). Both arguments are objects of signature fields only.
Result<std::string> input_hash(const Json& inputs);
Result<std::string> example_hash(const Json& inputs, const Json& outputs);
/// hash({"outputs":…}), as run_end has it.
Result<std::string> output_hash(const Json& outputs);

/// Hash of the list of example hashes in ascending order, duplicates kept. Order of the argument does not matter.
std::string set_id(std::vector<std::string> example_hashes);

/// Fractions of train, val and test. The last takes the rest, so its own figure is not looked at.
using SplitFractions = std::array<double, 3>;
/// `assay.split/1`: the place of an input in [0, 1), by its hash and a salt.
double split_unit(std::string_view input_hash_hex, std::string_view salt = {});
/// 0 train, 1 val, 2 test.
std::size_t split_of(std::string_view input_hash_hex, const SplitFractions& fractions, std::string_view salt = {});
/// Errors: `usage` (negative, NaN, or a sum beyond 1 by more than 1e-9).
Result<void> check_fractions(const SplitFractions& fractions);

struct Overlap {
  std::string input_hash;
  std::string first, second;  ///< names of the two sets: "train", "val", "test"
  bool operator==(const Overlap&) const = default;
};
/// Inputs that occur in more than one set, ascending by hash; one that is in all three stands there three times, once a pair. Each
/// argument: input hashes of one set.
std::vector<Overlap> find_overlaps(const std::vector<std::string>& train, const std::vector<std::string>& val,
                                   const std::vector<std::string>& test);
/// How many inputs these are, each counted once.
std::size_t inputs_of(const std::vector<Overlap>& overlaps);
/// Errors: `refused` with the count of inputs and the first overlaps.
Result<void> check_no_overlap(const std::vector<std::string>& train, const std::vector<std::string>& val,
                              const std::vector<std::string>& test);

}  // namespace assay
