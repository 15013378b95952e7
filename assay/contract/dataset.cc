#include "assay/contract/dataset.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "assay/base/sha256.h"

namespace assay {
namespace {

// Optional: {"anyOf":[T,{"type":"null"}]}.
bool optional_field(const Json& field) {
  const Json& any = field.at("schema").at("anyOf");
  if (!any.is_list()) return false;
  const Json null_schema(JsonObject{{"type", "null"}});
  return std::find(any.as_list().begin(), any.as_list().end(), null_schema) != any.as_list().end();
}

}  // namespace

Result<Json> pick_fields(const Json& fields, const Json& values) {
  if (!fields.is_list()) return fail(ErrorCode::internal, "fields are a signature's list");
  if (!values.is_object()) return fail(ErrorCode::malformed, "the values of an example are an object");
  JsonObject out;
  for (const Json& field : fields.as_list()) {
    ASSAY_TRY(const std::string name, string_member(field, "name"));
    const Json* value = values.as_object().find(name);
    if (value == nullptr && !optional_field(field)) {
      return fail(ErrorCode::malformed, fmt::format("the field \"{}\" is missing", name),
                  "add it to the row, or make it Optional in the signature", name);
    }
    out.set(name, value != nullptr ? *value : Json());
  }
  return Json(std::move(out));
}

Result<std::string> input_hash(const Json& inputs) { return hash(JsonObject{{"inputs", inputs}}); }
Result<std::string> example_hash(const Json& inputs, const Json& outputs) {
  return hash(JsonObject{{"inputs", inputs}, {"outputs", outputs}});
}
Result<std::string> output_hash(const Json& outputs) { return hash(JsonObject{{"outputs", outputs}}); }

std::string set_id(std::vector<std::string> example_hashes) {
  std::sort(example_hashes.begin(), example_hashes.end());
  std::string text = "[";
  for (const std::string& one : example_hashes) {
    if (text.size() > 1) text += ',';
    append_json_string(text, one);
  }
  return sha256_hex(text + "]");
}

double split_unit(std::string_view input_hash_hex, std::string_view salt) {
  const Bytes32 digest = sha256(fmt::format("assay.split/1\n{}\n{}", salt, input_hash_hex));
  std::uint64_t x = 0;
  for (std::size_t i = 0; i < 8; ++i) x = x << 8 | digest[i];
  return static_cast<double>(x) / 0x1p64;
}

std::size_t split_of(std::string_view input_hash_hex, const SplitFractions& fractions, std::string_view salt) {
  const double u = split_unit(input_hash_hex, salt);
  if (u < fractions[0]) return 0;
  return u < fractions[0] + fractions[1] ? 1 : 2;
}

Result<void> check_fractions(const SplitFractions& fractions) {
  double sum = 0;
  for (const double fraction : fractions) {
    if (!(fraction >= 0 && fraction <= 1)) return fail(ErrorCode::usage, "a split's fraction is from 0 to 1");
    sum += fraction;
  }
  if (sum > 1 + 1e-9)
    return fail(ErrorCode::usage, fmt::format("the split's fractions add up to {}, more than 1", number_text(sum)), "lower one of them");
  return {};
}

std::vector<Overlap> find_overlaps(const std::vector<std::string>& train, const std::vector<std::string>& val,
                                   const std::vector<std::string>& test) {
  struct Named {
    const char* name;
    std::vector<std::string> hashes;
  };
  std::array<Named, 3> sets{{{"train", train}, {"val", val}, {"test", test}}};
  for (Named& set : sets) std::sort(set.hashes.begin(), set.hashes.end());
  std::vector<Overlap> out;
  for (std::size_t a = 0; a < sets.size(); ++a) {
    for (std::size_t b = a + 1; b < sets.size(); ++b) {
      std::vector<std::string> both;
      std::set_intersection(sets[a].hashes.begin(), sets[a].hashes.end(), sets[b].hashes.begin(), sets[b].hashes.end(),
                            std::back_inserter(both));
      both.erase(std::unique(both.begin(), both.end()), both.end());
      for (std::string& shared : both) out.push_back({std::move(shared), sets[a].name, sets[b].name});
    }
  }
  std::sort(out.begin(), out.end(), [](const Overlap& x, const Overlap& y) {
    return std::tie(x.input_hash, x.first, x.second) < std::tie(y.input_hash, y.first, y.second);
  });
  return out;
}

std::size_t inputs_of(const std::vector<Overlap>& overlaps) {
  std::set<std::string_view> inputs;
  for (const Overlap& overlap : overlaps) inputs.insert(overlap.input_hash);
  return inputs.size();
}

Result<void> check_no_overlap(const std::vector<std::string>& train, const std::vector<std::string>& val,
                              const std::vector<std::string>& test) {
  const std::vector<Overlap> overlaps = find_overlaps(train, val, test);
  if (overlaps.empty()) return {};
  std::string shown;
  for (std::size_t i = 0; i < std::min<std::size_t>(overlaps.size(), 3); ++i) {
    shown += fmt::format("; {} is in {} and {}", overlaps[i].input_hash, overlaps[i].first, overlaps[i].second);
  }
  const std::size_t inputs = inputs_of(overlaps);
  return fail(ErrorCode::refused,
              fmt::format("{} in more than one of train, val and test{}",
                          inputs == 1 ? "1 input occurs" : fmt::format("{} inputs occur", inputs), shown),
              "remove the repeated rows, or split by hash: equal inputs then fall into one set; allow_overlap = true in [data], or "
              "--allow-overlap, takes them all the same");
}

}  // namespace assay
