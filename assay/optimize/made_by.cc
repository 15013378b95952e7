#include "assay/optimize/made_by.h"

namespace assay {
namespace {

// The end of the pass that made the module: a journal that was gone on with has several. The last one if none has that root.
const RecordEntry* end_with_root(const RunRecord& journal, const std::optional<std::string>& root) {
  const RecordEntry* last = nullptr;
  for (const RecordEntry& entry : journal.entries) {
    if (entry.type != "run_end") continue;
    last = &entry;
    if (root && entry.data.at("root_hash") == Json(*root)) return last;
  }
  return last;
}

// A lane of the journal's first line with that id.
Json lane_named(const RunRecord& journal, const std::optional<LaneRef>& named) {
  const Json& lanes = journal.entries.front().data.at("lanes");
  for (const Json& lane : named&& lanes.is_list() ? lanes.as_list() : JsonList{}) {
    if (hash(lane) == named->lane_id) return JsonObject{{"lane_id", named->lane_id}, {"model", lane.at("model")}};
  }
  return {};
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
  const auto lane = [&](std::optional<LaneRef>& ref) {
    const Json there = lane_named(journal, ref);
    if (there.is_null()) ref.reset();
    else ref->model = there.at("model").is_string() ? there.at("model").as_string() : "";
  };
  lane(said.task);
  if (result.proposes) lane(said.proposer);
  else said.proposer.reset();
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

Result<std::optional<Divergence>> manifest_divergence(const RunRecord& journal, const CompilePlan& plan, const CompileResult& result,
                                                      const CompiledModuleManifest& made) {
  CompiledModuleManifest want = made;
  want.compiled_id = result.program.id();
  want.optimizer = plan.optimizer;
  want.optimizer_config = result.optimizer_config;
  want.trainset_id = plan.data.train_id();
  want.valset_id = result.valset_id;
  want.testset_id = plan.data.test_id();
  want.scorecard = result.scorecard;
  want.compatibility = plan.compatibility;
  const RecordEntry* const end = end_with_root(journal, made.provenance.journal_root);
  if (end == nullptr) return fail(ErrorCode::refused, "the journal has no end yet, so that it makes no module", "go on with the compile");
  want.provenance = provenance_of(journal, result, *end, made.provenance);
  ASSAY_TRY(const Json said_json, to_json(made));
  ASSAY_TRY(const Json want_json, to_json(want));
  return first_difference("manifest", said_json, want_json);
}

}  // namespace assay
