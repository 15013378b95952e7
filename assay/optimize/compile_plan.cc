// CompilePlan: to and from the journal.
#include <fmt/format.h>

#include "assay/optimize/compile.h"
#include "assay/program/run.h"

namespace assay {
namespace {

constexpr const char* plan_format = "assay.compile/1";

// "optimizer.num_candidate" → "PROGRAM.toml:20:1", where the file has it.
Error in_file(Error error, const OptimizerSpec& spec) {
  constexpr std::string_view prefix = "optimizer.";
  if (!error.path.starts_with(prefix)) return error;
  if (const auto place = spec.places.find(error.path.substr(prefix.size())); place != spec.places.end()) error.path = place->second;
  return error;
}

}  // namespace

Result<void> check_program_file(const ProgramFile& file, const Metrics& metrics, const Optimizers& optimizers) {
  if (auto metric = metrics.find(file.metric); !metric)
    return std::unexpected(std::move(metric).error().in(file.metric_place.empty() ? "metric.name" : file.metric_place));
  if (auto optimizer = optimizers.make(file.optimizer.name, file.optimizer.config); !optimizer)
    return std::unexpected(in_file(std::move(optimizer.error()), file.optimizer));
  return {};
}

Result<CompilePlan> CompilePlan::of(const ProgramFile& file, DataSets data, const Metrics& metrics, std::int64_t seed,
                                    const Optimizers& optimizers) {
  ASSAY_CHECK(check_program_file(file, metrics, optimizers));
  ASSAY_TRY(Metric metric, metrics.find(file.metric));
  ASSAY_TRY(const auto optimizer, optimizers.make(file.optimizer.name, file.optimizer.config));
  if (auto fits = optimizer->check(file.program); !fits) return std::unexpected(in_file(std::move(fits.error()), file.optimizer));
  const std::pair<const char*, const std::vector<Row>*> sets[] = {{"train", &data.train}, {"val", &data.val}, {"test", &data.test}};
  for (const auto& [name, rows] : sets) {
    if (rows->empty())
      return fail(ErrorCode::malformed, fmt::format("the {} set is empty", name), "give more rows, or another split", "data");
  }
  return CompilePlan{file.program, std::move(metric),  optimizer->name(), optimizer->config(), seed,
                     seed,         file.compatibility, std::move(data)};
}

Result<Json> CompilePlan::to_json() const {
  ASSAY_TRY(Json compatible, assay::to_json(compatibility));
  return Json(JsonObject{{"format", plan_format},
                         {"artifact", program.artifact().json()},
                         {"metric", metric.ref.to_json()},
                         {"optimizer", JsonObject{{"name", optimizer}, {"config", optimizer_config}}},
                         {"seed", seed},
                         {"order_seed", order_seed},
                         {"compatibility", std::move(compatible)},
                         {"data", JsonObject{{"train", data.train_id()}, {"val", data.val_id()}, {"test", data.test_id()}}}});
}

namespace {

// The rows of one set, as a pass recorded them; they must be those of the id.
Result<std::vector<Row>> rows_of_id(std::span<const RecordEntry> pass, const char* set, const Signature& signature, const Json& id) {
  ASSAY_TRY(std::vector<Row> rows, recorded_rows(pass, set, signature));
  const std::string found = DataSets::id(rows);
  if (id == Json(found)) return rows;
  return fail(ErrorCode::diverged, fmt::format("the rows of the {} set are not those that were compiled on (found {})", set, found),
              "the journal's rows were changed", fmt::format("data.{}", set));
}

}  // namespace

Result<void> CompilePlan::check_rows(std::span<const RecordEntry> pass) const {
  const std::pair<const char*, std::string> sets[] = {{"train", data.train_id()}, {"val", data.val_id()}, {"test", data.test_id()}};
  for (const auto& [set, id] : sets) {
    ASSAY_TRY([[maybe_unused]] const std::vector<Row> rows, rows_of_id(pass, set, program.signature(), Json(id)));
  }
  return {};
}

Result<CompilePlan> CompilePlan::read(const Json& json, std::span<const RecordEntry> pass, const Metrics& metrics, const Rewards& rewards) {
  if (json.at("format") != Json(plan_format)) return fail(ErrorCode::malformed, "the journal holds no compile", "", "program.format");
  ASSAY_TRY(const Json* artifact_json, member(json, "artifact", Json::Kind::object));
  ASSAY_TRY(Artifact artifact, Artifact::read(*artifact_json));
  ASSAY_TRY(Program program, Program::load(std::move(artifact), rewards));
  ASSAY_TRY(const Json* metric_json, member(json, "metric", Json::Kind::object));
  ASSAY_TRY(const CodeRef ref, CodeRef::read(*metric_json));
  ASSAY_TRY(Metric metric, metrics.find(ref));
  CompilePlan plan{std::move(program), std::move(metric), "", {}, 0, 0, {}, {}};
  ASSAY_TRY(plan.optimizer, string_member(json.at("optimizer"), "name"));
  ASSAY_TRY(const Json* config, member(json.at("optimizer"), "config", Json::Kind::object));
  plan.optimizer_config = config->as_object();
  ASSAY_TRY(plan.seed, int_member(json, "seed"));
  ASSAY_TRY(plan.order_seed, int_member(json, "order_seed"));
  ASSAY_TRY(plan.compatibility, read_compatibility(json.at("compatibility")));
  const std::pair<const char*, std::vector<Row>*> sets[] = {
      {"train", &plan.data.train}, {"val", &plan.data.val}, {"test", &plan.data.test}};
  for (const auto& [name, rows] : sets) {
    ASSAY_TRY(*rows, rows_of_id(pass, name, plan.program.signature(), json.at("data").at(name)));
  }
  return plan;
}

}  // namespace assay
