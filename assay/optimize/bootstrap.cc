#include "assay/optimize/bootstrap.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/base/nearest.h"
#include "assay/base/random.h"
#include "assay/optimize/stats.h"

namespace assay {
namespace {

using Demos = std::map<std::string, JsonList>;  // predictor path → demos

Json demo(const Json& inputs, const Json& outputs) {
  return JsonObject{{"inputs", recorded_value(inputs)}, {"outputs", recorded_value(outputs)}};
}

// Training rows in the order in which a candidate looks at them. With `balance`, values of that output come in turn.
std::vector<const Row*> draw_order(const Search& search, std::int64_t candidate, const std::string& balance) {
  std::vector<const Row*> rows;
  for (const Row& row : search.train) rows.push_back(&row);
  Random random({search.order_seed, "search", candidate, "order"});
  random.shuffle(rows);
  if (balance.empty()) return rows;
  std::vector<std::pair<Json, std::vector<const Row*>>> groups;
  for (const Row* row : rows) {
    const Json& value = row->example.labels().at(balance);
    auto at = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == value; });
    if (at == groups.end()) at = groups.insert(groups.end(), {value, {}});
    at->second.push_back(row);
  }
  std::vector<const Row*> out;
  for (std::size_t round = 0; out.size() < rows.size(); ++round) {  // ends: each round takes at least one row
    for (const auto& [value, members] : groups) {
      if (round < members.size()) out.push_back(members[round]);
    }
  }
  return out;
}

// The one predictor whose demos can be labelled rows, or "": its outputs are all in the rows.
std::string labelled_predictor(const Search& search) {
  const auto paths = search.student.predictor_paths();
  if (paths.size() != 1 || search.train.empty()) return "";
  const Signature& signature = search.student.predictor(paths[0]).signature;
  for (const Field& field : signature.outputs) {
    if (!search.train.front().example.labels().as_object().contains(field.name)) return "";
  }
  for (const Field& field : signature.inputs) {
    if (!search.train.front().example.inputs().as_object().contains(field.name)) return "";
  }
  return paths[0];
}

struct DemoPlan {
  std::int64_t bootstrapped = 0, labelled = 0;
};

Result<Demos> gather_demos(Search& search, const Context& node, const BootstrapConfig& config, std::int64_t candidate, DemoPlan plan) {
  Demos demos;
  std::int64_t taken = 0;
  std::vector<const Row*> rest;
  const std::string labelled = labelled_predictor(search);
  EvaluateOptions one;
  one.keep_steps = true;
  for (const Row* row : draw_order(search, candidate, config.balance)) {
    if (taken < plan.bootstrapped) {
      ASSAY_TRY(const Evaluation run, evaluate(node.at("bootstrap"), search.student, std::span(row, 1), search.metric, one));
      ++search.rollouts;
      if (run.rows[0].score >= config.metric_threshold && !run.rows[0].failed) {
        for (const auto& step : run.rows[0].steps) demos[step.predictor].push_back(demo(step.inputs, step.outputs));
        ++taken;
        continue;
      }
    }
    rest.push_back(row);
    if (taken >= plan.bootstrapped && static_cast<std::int64_t>(rest.size()) >= plan.labelled) break;
  }
  if (labelled.empty()) return demos;
  JsonList& list = demos[labelled];
  for (std::int64_t i = 0; i < plan.labelled && i < static_cast<std::int64_t>(rest.size()); ++i) {
    const Example& example = rest[static_cast<std::size_t>(i)]->example;
    list.push_back(demo(example.inputs(), example.labels()));
  }
  // Bootstrapped and labelled demos are mixed, so that the last ones, which weigh most, are not always of one sort.
  Random random({search.seed, "search", candidate, "demo"});
  random.shuffle(list);
  return demos;
}

Result<Candidate> make_candidate(Search& search, const BootstrapConfig& config, std::int64_t index, DemoPlan plan) {
  const std::string id = fmt::format("cand:{}", index);
  Candidate candidate{id, search.student, {}, "the program as it is"};
  if (plan.bootstrapped + plan.labelled == 0) return candidate;
  ASSAY_TRY(const Demos demos, gather_demos(search, search.context.at(id), config, index, plan));
  std::size_t count = 0;
  for (const auto& [path, list] : demos) {
    count += list.size();
    ASSAY_TRY(candidate.program, candidate.program.with_demos(path, list));
  }
  candidate.note = fmt::format("{} demos", count);
  return candidate;
}

DemoPlan draw_plan(const Search& search, const BootstrapConfig& config, std::int64_t index) {
  Random random({search.seed, "search", index, "size"});
  const auto between = [&](std::int64_t least, std::int64_t most) {
    return most <= least ? most : least + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(most - least + 1)));
  };
  DemoPlan plan;
  plan.bootstrapped = between(1, config.max_bootstrapped_demos);
  plan.labelled = std::max<std::int64_t>(0, between(config.min_demos, config.max_labeled_demos) - plan.bootstrapped);
  return plan;
}

Result<void> check_balance(const BootstrapConfig& config, const Program& program) {
  if (config.balance.empty() || program.signature().output(config.balance) != nullptr) return {};
  std::vector<std::string_view> known;
  for (const Field& field : program.signature().outputs) known.push_back(field.name);
  const std::string near = nearest(config.balance, known);
  return fail(ErrorCode::usage, fmt::format("balance names '{}', which is no output of the program", config.balance),
              near.empty() ? "name an output" : fmt::format("did you mean '{}'?", near), "optimizer.balance");
}

// Takes the front part of the validation set that the config asks for, and checks the rest of the config against the program.
Result<void> begin_search(Search& search, const BootstrapConfig& config) {
  if (config.val_rows > 0 && static_cast<std::size_t>(config.val_rows) < search.val.size()) {
    search.val = search.val.first(static_cast<std::size_t>(config.val_rows));
  }
  return check_balance(config, search.student);
}

std::unexpected<Error> refuse_parameter(const std::string& key, bool random_search) {
  const std::string place = "optimizer." + key;
  if (key == "metric_threshold") return fail(ErrorCode::malformed, "'metric_threshold' is a number", "", place);
  if (key == "balance") return fail(ErrorCode::malformed, "'balance' is the name of an output, a text", "", place);
  std::vector<std::string_view> known{"max_bootstrapped_demos", "max_labeled_demos", "val_rows", "metric_threshold", "balance"};
  if (random_search) known.insert(known.end(), {"min_demos", "num_candidates"});
  const std::string near = nearest(key, known);
  return fail(ErrorCode::malformed, fmt::format("unknown hyper-parameter '{}'", key),
              near.empty() ? "see docs/reference/optimizers.md" : fmt::format("did you mean '{}'?", near), place);
}

}  // namespace

Result<BootstrapConfig> BootstrapConfig::read(const JsonObject& config, bool random_search) {
  BootstrapConfig out;
  const auto count = [](const std::string& key, const Json& value, std::int64_t most, std::int64_t& into) -> Result<void> {
    if (!value.is_int() || value.as_int() < 0 || value.as_int() > most) {
      return fail(ErrorCode::malformed, fmt::format("'{}' is an integer from 0 to {}", key, most), "", "optimizer." + key);
    }
    into = value.as_int();
    return {};
  };
  for (const auto& [key, value] : config) {
    if (key == "max_bootstrapped_demos") ASSAY_CHECK(count(key, value, 64, out.max_bootstrapped_demos));
    else if (key == "max_labeled_demos") ASSAY_CHECK(count(key, value, 256, out.max_labeled_demos));
    else if (key == "min_demos" && random_search) ASSAY_CHECK(count(key, value, 256, out.min_demos));
    else if (key == "num_candidates" && random_search) ASSAY_CHECK(count(key, value, 1000, out.num_candidates));
    else if (key == "val_rows") ASSAY_CHECK(count(key, value, 1000000, out.val_rows));
    else if (key == "metric_threshold" && value.is_number()) out.metric_threshold = value.as_double();
    else if (key == "balance" && value.is_string()) out.balance = value.as_string();
    else return refuse_parameter(key, random_search);
  }
  const std::int64_t most = std::max(out.max_labeled_demos, out.max_bootstrapped_demos);
  if (config.contains("min_demos") && out.min_demos > most)
    return fail(ErrorCode::malformed, fmt::format("'min_demos' is {}, and no candidate has more than {} demos", out.min_demos, most),
                "raise max_labeled_demos, or lower min_demos", "optimizer.min_demos");
  return out;
}

JsonObject BootstrapConfig::to_json(bool random_search) const {
  JsonObject out{{"max_bootstrapped_demos", max_bootstrapped_demos},
                 {"max_labeled_demos", max_labeled_demos},
                 {"metric_threshold", metric_threshold},
                 {"val_rows", val_rows},
                 {"balance", balance}};
  if (random_search) {
    out.set("num_candidates", num_candidates);
    out.set("min_demos", min_demos);
  }
  return out;
}

Result<void> BootstrapFewShot::check(const Program& program) const { return check_balance(config_, program); }
Result<void> BootstrapFewShotWithRandomSearch::check(const Program& program) const { return check_balance(config_, program); }

Result<Candidate> BootstrapFewShot::compile(Search& search) const {
  ASSAY_CHECK(begin_search(search, config_));
  ASSAY_TRY(Candidate candidate, make_candidate(search, config_, 0, {config_.max_bootstrapped_demos, config_.max_labeled_demos}));
  ASSAY_TRY(search.best_scores, score_candidate(search, candidate));
  return candidate;
}

Result<Candidate> BootstrapFewShotWithRandomSearch::compile(Search& search) const {
  ASSAY_CHECK(begin_search(search, config_));
  std::optional<Candidate> best;
  double best_score = 0;
  for (std::int64_t index = 0; index <= config_.num_candidates; ++index) {
    DemoPlan plan;  // candidate 0 is the student as it is
    if (index == 1) plan = {0, config_.max_labeled_demos};
    else if (index == 2)
      plan = {config_.max_bootstrapped_demos, std::max<std::int64_t>(0, config_.max_labeled_demos - config_.max_bootstrapped_demos)};
    else if (index > 2) plan = draw_plan(search, config_, index);
    ASSAY_TRY(Candidate candidate, make_candidate(search, config_, index, plan));
    ASSAY_TRY(auto scores, score_candidate(search, candidate));
    if (!best || mean(scores) > best_score) {  // a tie keeps the earlier one
      best_score = mean(scores);
      search.best_scores = std::move(scores);
      best.emplace(std::move(candidate));
    }
  }
  return std::move(*best);
}

}  // namespace assay
