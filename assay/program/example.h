#pragma once
/// @file
/// Example (a row with inputs and labels) and Prediction (what a module answered).
///
///     const Example row(JsonObject{{"description", "imap client"}}, JsonObject{{"section", "mail"}});
///     row.inputs().at("description");
///
/// Thread safety: values.

#include <string>
#include <utility>
#include <vector>

#include "assay/base/json.h"
#include "assay/trace/usage.h"

namespace assay {

class Example {
 public:
  Example() = default;
  explicit Example(Json inputs, Json labels = JsonObject{}) : inputs_(std::move(inputs)), labels_(std::move(labels)) {}
  const Json& inputs() const { return inputs_; }
  const Json& labels() const { return labels_; }

 private:
  Json inputs_ = JsonObject{};
  Json labels_ = JsonObject{};
};

struct Prediction {
  Json outputs = JsonObject{};
  std::vector<Json> completions;  ///< outputs of all n answers that could be read, in order of rollout
  Totals totals;                  ///< of this call and everything below it
  const Json& at(std::string_view field) const { return outputs.at(field); }
};

}  // namespace assay
