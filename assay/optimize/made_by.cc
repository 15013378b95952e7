#include "assay/optimize/made_by.h"

namespace assay {
namespace {

// A lane of the journal's first line as a manifest names it; null: there is none with that id.
Json lane_ref(const RunRecord& journal, const Json& lane_id) {
  const Json& lanes = journal.entries.front().data.at("lanes");
  for (const Json& lane : lanes.is_list() ? lanes.as_list() : JsonList{}) {
    if (const auto id = hash(lane); id && Json(*id) == lane_id) return JsonObject{{"lane_id", *id}, {"model", lane.at("model")}};
  }
  return {};
}

// The task's lane is the first that a journal names.
Json task_lane(const RunRecord& journal) {
  const Json& lanes = journal.entries.front().data.at("lanes");
  if (!lanes.is_list() || lanes.as_list().empty()) return {};
  const auto id = hash(lanes.as_list().front());
  return id ? Json(*id) : Json();
}

// The lane that was asked for proposals; where an optimizer asks elsewhere than under `propose:`, the one that the manifest says.
Json proposer_lane(const RunRecord& journal, const std::optional<LaneRef>& said) {
  for (const RecordEntry& entry : journal.entries) {
    if (entry.type == "lm_request" && entry.node.starts_with("search/propose:")) return entry.data.at("lane_id");
  }
  return said ? Json(said->lane_id) : task_lane(journal);
}

void set_lane(std::optional<LaneRef>& ref, const Json& named) {
  if (named.is_null()) return ref.reset();
  if (!ref) ref.emplace();
  ref->lane_id = named.at("lane_id").as_string();
  ref->model = named.at("model").is_string() ? named.at("model").as_string() : "";
}

// The provenance as the journal has it; what it does not have stays as the manifest says it.
Provenance provenance_of(const RunRecord& journal, const CompileResult& result, const RecordEntry& end, Provenance said) {
  const Json& totals = end.data.at("totals");
  const auto count = [&](std::string_view name) { return totals.at(name).is_int() ? totals.at(name).as_int() : 0; };
  said.journal_root = end.data.at("root_hash").is_string() ? end.data.at("root_hash").as_string() : "";
  said.usage.calls = count("calls");
  said.usage.cached_calls = count("cached_calls");
  said.usage.prompt_tokens = count("prompt_tokens");
  said.usage.completion_tokens = count("completion_tokens");
  said.cost_msats.reset();
  if (count("unpriced_calls") == 0) said.cost_msats = count("cost_msats");
  said.parent.reset();
  set_lane(said.task, lane_ref(journal, task_lane(journal)));
  set_lane(said.proposer, result.proposes ? lane_ref(journal, proposer_lane(journal, said.proposer)) : Json());
  return said;
}

// The first place at which two values differ.
std::optional<Divergence> first_difference(const std::string& place, const Json& said, const Json& made) {
  if (said == made) return std::nullopt;
  if (said.is_object() && made.is_object()) {
    for (const auto& [key, value] : made.as_object()) {
      if (auto differs = first_difference(place + "." + key, said.at(key), value)) return differs;
    }
  }
  return Divergence{"", place, canonical(said).value_or(""), canonical(made).value_or("")};
}

}  // namespace

bool is_end_of(const RecordEntry& end, const CompiledModuleManifest& made) {
  return end.type == "run_end" && made.provenance.journal_root && end.data.at("root_hash") == Json(*made.provenance.journal_root);
}

Result<std::optional<Divergence>> manifest_divergence(const RunRecord& journal, const RecordEntry& end, const CompilePlan& plan,
                                                      const CompileResult& result, const CompiledModuleManifest& made) {
  CompiledModuleManifest want = made;
  want.compiled_id = result.program.id();
  want.optimizer = plan.optimizer;
  want.optimizer_config = result.optimizer_config;
  want.trainset_id = plan.data.train_id();
  want.valset_id = result.valset_id;
  want.testset_id = plan.data.test_id();
  want.scorecard = result.scorecard;
  want.compatibility = plan.compatibility;
  want.provenance = provenance_of(journal, result, end, made.provenance);
  ASSAY_TRY(const Json said_json, to_json(made));
  ASSAY_TRY(const Json want_json, to_json(want));
  return first_difference("manifest", said_json, want_json);
}

}  // namespace assay
