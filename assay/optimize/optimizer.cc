#include "assay/optimize/optimizer.h"

#include <fmt/format.h>

#include "assay/base/nearest.h"
#include "assay/optimize/bootstrap.h"
#include "assay/optimize/copro.h"
#include "assay/optimize/stats.h"

namespace assay {

Optimizers Optimizers::built_in() {
  Optimizers out;
  out.add("BootstrapFewShot", [](const JsonObject& config) -> Result<std::unique_ptr<Optimizer>> {
    ASSAY_TRY(BootstrapConfig read, BootstrapConfig::read(config, false));
    return std::make_unique<BootstrapFewShot>(std::move(read));
  });
  const Make random_search = [](const JsonObject& config) -> Result<std::unique_ptr<Optimizer>> {
    ASSAY_TRY(BootstrapConfig read, BootstrapConfig::read(config, true));
    return std::make_unique<BootstrapFewShotWithRandomSearch>(std::move(read));
  };
  out.add("BootstrapFewShotWithRandomSearch", random_search);
  out.add("BootstrapRS", random_search);
  out.add("COPRO", [](const JsonObject& config) -> Result<std::unique_ptr<Optimizer>> {
    ASSAY_TRY(const CoproConfig read, CoproConfig::read(config));
    return std::make_unique<Copro>(read);
  });
  return out;
}

void Optimizers::add(std::string name, Make make) { makers_.insert_or_assign(std::move(name), std::move(make)); }

Result<std::unique_ptr<Optimizer>> Optimizers::make(const std::string& name, const JsonObject& config) const {
  if (const auto found = makers_.find(name); found != makers_.end()) return found->second(config);
  std::string known;
  std::vector<std::string_view> names;
  for (const auto& [key, maker] : makers_) {
    known += (known.empty() ? "" : ", ") + key;
    names.emplace_back(key);
  }
  const std::string near = nearest(name, names);
  return fail(ErrorCode::refused, fmt::format("unknown optimizer '{}'", name),
              near.empty() ? "known: " + known : fmt::format("did you mean '{}'?", near), "optimizer.name");
}

Result<std::vector<double>> score_candidate(Search& search, Candidate& candidate) {
  const Context node = search.context.at(candidate.id);
  ASSAY_TRY(const Evaluation evaluation, evaluate(node.at("val"), candidate.program, search.val, search.metric, search.evaluate));
  search.rollouts += static_cast<std::int64_t>(search.val.size());
  const auto scores = evaluation.scores();
  candidate.metrics[search.metric.ref.name] = mean(scores);
  Json metrics = JsonObject{};
  for (const auto& [name, value] : candidate.metrics) metrics.set(name, value);
  Json line = JsonObject{{"id", candidate.id}, {"compiled_id", candidate.program.id()}, {"metrics", metrics}};
  if (!candidate.parents.empty()) line.set("parents", JsonList(candidate.parents.begin(), candidate.parents.end()));
  ASSAY_CHECK(node.record("candidate", std::move(line)));
  notify(node.callback(), [&](DspyCallback& c) { c.on_optimizer_candidate(candidate.id, candidate.metrics); });
  search.tell(fmt::format("{}  {} {:.3f}  ({})", candidate.id, search.metric.ref.name, mean(scores), candidate.note));
  return scores;
}

Result<Evaluation> try_candidate(Search& search, const Candidate& candidate, std::string_view phase, std::span<const Row> rows) {
  EvaluateOptions options = search.evaluate;
  options.keep_steps = true;
  options.record_feedback = true;
  ASSAY_TRY(Evaluation out, evaluate(search.context.at(candidate.id).at(phase), candidate.program, rows, search.metric, options));
  search.rollouts += static_cast<std::int64_t>(rows.size());
  return out;
}

Result<void> record_decision(const Search& search, std::string_view what, Json value) {
  return search.context.record("decision", JsonObject{{"what", what}, {"value", std::move(value)}});
}

}  // namespace assay
