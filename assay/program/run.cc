#include "assay/program/run.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "assay/contract/dataset.h"
#include "assay/lm/recorded_answers.h"
#include "assay/program/call.h"

namespace assay {

JsonList lanes_of(const Program& program, const Settings& settings) {
  JsonList out;
  const auto add = [&out](const std::shared_ptr<LM>& lane) {
    if (lane == nullptr) return;
    Json json = lane->lane().to_json();
    if (std::find(out.begin(), out.end(), json) == out.end()) out.push_back(std::move(json));
  };
  add(settings.lm);
  for (const auto& [requirement, lane] : settings.lanes) add(lane);
  for (const auto& [path, lanes] : program.fallbacks()) {
    for (const auto& lane : lanes) add(lane);
  }
  return out;
}

namespace {

Result<RunStart> run_start(const Program& program, const RunWorld& world) {
  RunStart start;
  if (world.manifest != nullptr) start.compiled_id = program.id();
  start.settings = JsonObject{{"program", program.artifact().json().at("program")}};
  if (world.settings.config_override.is_object()) start.settings.set("config_override", world.settings.config_override);
  start.seed = world.effects.seed;
  if (world.effects.prices != nullptr) {
    ASSAY_TRY(start.price_book, world.effects.prices->id());
  }
  start.lanes = lanes_of(program, world.settings);
  start.privacy_mode = privacy_name(world.effects.privacy);
  start.traceparent = world.traceparent;
  start.assay_version = world.assay_version;
  start.assay_build = world.assay_build;
  return start;
}

// What a replay must derive again; times, costs and request ids are effects, which it is given.
bool is_derived(const RecordEntry& entry) {
  return entry.type == "node_start" || entry.type == "node_end" || entry.type == "attempt" || entry.type == "repair" ||
         entry.type == "score" || entry.type == "candidate" || entry.type == "decision" || entry.type == "override";
}

using Keyed = std::map<std::string, std::vector<const RecordEntry*>>;

std::string key_of(const RecordEntry& entry) {
  std::string key = entry.node + "\n" + entry.type;
  if (entry.type == "decision") key += "\n" + (entry.data.at("what").is_string() ? entry.data.at("what").as_string() : "");
  return key;
}

Keyed keyed(std::span<const RecordEntry> entries) {
  Keyed out;
  for (const RecordEntry& entry : entries) {
    if (is_derived(entry)) out[key_of(entry)].push_back(&entry);
  }
  return out;
}

// Null members on the recorded side were deleted or never known: the replay derives them, and that is no difference.
Json without_absent(const Json& replayed, const Json& recorded) {
  if (!replayed.is_object() || !recorded.is_object()) return replayed;
  JsonObject out;
  for (const auto& [key, value] : replayed.as_object()) {
    const Json* there = recorded.as_object().find(key);
    if (there == nullptr) continue;
    out.set(key, there->is_null() ? Json() : value);
  }
  return out;
}

std::string text_of(const Json& value) { return canonical(value).value_or("(not canonical)"); }

std::string what_of(const RecordEntry& entry) {
  if (entry.type == "node_end") return "outputs";
  if (entry.type == "node_start") return "inputs";
  if (entry.type == "decision" && entry.data.at("what").is_string()) return "decision " + entry.data.at("what").as_string();
  return entry.type;
}

}  // namespace

std::optional<Divergence> leftover_of(RecordedAnswers& answers) {
  const auto left = answers.leftover();
  if (!left) return std::nullopt;
  return Divergence{left->path, "lm_request", "", "", left->what};
}

Divergence divergence_of(const Error& error) { return {error.path, "lm_request", "", "", error.message}; }

std::vector<std::span<const RecordEntry>> passes_of(std::span<const RecordEntry> entries) {
  std::vector<std::span<const RecordEntry>> passes;
  std::size_t begin = entries.empty() ? 0 : 1;
  for (std::size_t i = begin; i < entries.size(); ++i) {
    if (entries[i].type != "resume") continue;
    passes.push_back(entries.subspan(begin, i - begin));
    begin = i + 1;
  }
  passes.push_back(entries.subspan(begin));
  return passes;
}

std::span<const RecordEntry> last_pass(std::span<const RecordEntry> entries) { return passes_of(entries).back(); }

std::optional<Divergence> compare_passes(std::span<const RecordEntry> recorded, std::span<const RecordEntry> replayed, bool partial) {
  const Keyed want = keyed(recorded), found = keyed(replayed);
  const bool ended = !partial && !recorded.empty() && recorded.back().type == "run_end";
  std::optional<Divergence> first;
  std::int64_t first_seq = INT64_MAX;
  const auto note = [&](std::int64_t seq, Divergence divergence) {
    if (seq < first_seq) {
      first_seq = seq;
      first = std::move(divergence);
    }
  };
  for (const auto& [key, entries] : want) {
    const auto at = found.find(key);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const RecordEntry& entry = *entries[i];
      if (at == found.end() || i >= at->second.size()) {
        if (!partial) note(entry.seq, {entry.node, what_of(entry), text_of(entry.data), ""});
        continue;
      }
      const Json replayed_data = without_absent(at->second[i]->data, entry.data);
      if (replayed_data != entry.data) note(entry.seq, {entry.node, what_of(entry), text_of(entry.data), text_of(replayed_data)});
    }
  }
  for (const auto& [key, entries] : found) {  // more than was recorded, at a node that was recorded
    const auto at = want.find(key);
    const std::size_t there = at == want.end() ? 0 : at->second.size();
    if (entries.size() <= there) continue;
    const RecordEntry& extra = *entries[there];
    // A whole line of these cannot be left out; the id is derived from the rest, so its own line may be missing.
    const bool must_stand =
        extra.type == "score" || extra.type == "candidate" || (extra.type == "decision" && extra.data.at("what") != Json("compiled_id"));
    if (at == want.end() && (!must_stand || !ended)) continue;
    // In a record that was cut, a node that had not ended may have been cut between two of its lines.
    if (!recorded.empty() && recorded.back().type != "run_end" && !want.contains(extra.node + "\nnode_end")) continue;
    note(at == want.end() ? INT64_MAX - 1 : at->second.back()->seq + 1, {extra.node, what_of(extra), "", text_of(extra.data)});
  }
  return first;
}

Result<RunOutcome> run_program(const Program& program, const Json& inputs, const RunWorld& world) {
  if (world.effects.clock == nullptr || world.effects.entropy == nullptr)
    return fail(ErrorCode::usage, "no clock or no entropy was given",
                "set RunWorld::effects, e.g. to &system_clock() and &system_entropy()");
  ASSAY_CHECK(program.check_lanes(world.settings, world.effects));
  ASSAY_TRY(RunStart start, run_start(program, world));
  RecorderOptions options;
  options.path = world.record_path;
  options.durability = world.record_path.empty() ? Durability::memory : world.durability;
  options.key = world.key;
  ASSAY_TRY(const auto recorder, RunRecorder::create(std::move(options), std::move(start), *world.effects.clock, *world.effects.entropy));
  Effects effects = world.effects;
  effects.recorder = recorder.get();
  Settings settings = world.settings;
  if (world.manifest != nullptr) settings.module_privacy = world.manifest->compatibility.privacy_modes_allowed;
  const Context context(effects, settings);
  ASSAY_CHECK(context.record("event", JsonObject{{"name", "inputs"}, {"data", recorded_value(inputs)}}));
  RunOutcome out{program.forward(context, inputs), recorder->run_id(), "", std::nullopt, {}, {}};
  if (out.prediction) {
    ASSAY_TRY(out.output_hash, output_hash(out.prediction->outputs));
  } else {
    ASSAY_CHECK(context.record("error", error_data(out.prediction.error())));
  }
  ASSAY_TRY(out.root_hash, recorder->finish(out.output_hash));
  out.totals = recorder->totals();
  out.graph = graph_of(recorder->entries());
  notify(context.callback(), [&](DspyCallback& c) { c.on_trace_complete(out.graph, world.manifest); });
  return out;
}

Result<ReplayReport> replay_run(const Program& program, const RunRecord& record) {
  if (record.entries.empty()) return fail(ErrorCode::malformed, "the record is empty");
  const Json& start = record.entries.front().data;
  ReplayReport report;
  report.complete = record.entries.back().type == "run_end";
  const std::string id = program.id();
  report.compiled_id = id;
  if (const Json& recorded_id = start.at("compiled_id"); recorded_id.is_string() && recorded_id != Json(id)) {
    report.divergence = Divergence{"", "compiled_id", recorded_id.as_string(), id};
    return report;
  }
  const auto pass = last_pass(record.entries);
  Json inputs;
  for (const RecordEntry& entry : pass) {
    if (entry.type == "event" && entry.data.at("name") == Json("inputs")) inputs = value_of_recorded(entry.data.at("data"));
    else if (inputs.is_null() && entry.type == "node_start") inputs = value_of_recorded(entry.data.at("inputs"));
  }
  ManualClock clock(0);
  FixedEntropy entropy(0);
  RunStart again;
  again.compiled_id = id;
  ASSAY_TRY(const auto recorder, RunRecorder::create({.durability = Durability::memory}, std::move(again), clock, entropy));
  Effects effects{.clock = &clock, .entropy = &entropy, .recorder = recorder.get()};
  ASSAY_TRY(effects.seed, int_member(start, "seed"));
  Settings settings;
  ASSAY_TRY(settings.answers, RecordedAnswers::of(record));
  if (const Json& override = start.at("settings").at("config_override"); override.is_object()) settings.config_override = override;
  const Context context(effects, settings);
  const auto prediction = program.forward(context, inputs);
  report.calls = recorder->totals().calls + recorder->totals().cached_calls;
  const bool cut_short = !prediction && prediction.error().code == ErrorCode::diverged;
  const auto replayed = recorder->entries();
  report.divergence = compare_passes(pass, last_pass(replayed), cut_short);
  const bool ends_here = cut_short && !report.complete && settings.answers->ran_out();
  if (cut_short && !ends_here && (!report.divergence || report.divergence->node == prediction.error().path))
    report.divergence = divergence_of(prediction.error());
  if (prediction) {
    ASSAY_TRY(report.output_hash, output_hash(prediction->outputs));
  }
  const RecordEntry& last = record.entries.back();
  if (!report.divergence && last.type == "run_end") {
    const std::string want = last.data.at("output_hash").is_string() ? last.data.at("output_hash").as_string() : "";
    if (report.output_hash.value_or("") != want) report.divergence = Divergence{"", "output_hash", want, report.output_hash.value_or("")};
  }
  const Json &named = start.at("settings").at("program"), own = program.artifact().json().at("program");
  if (!report.divergence && named.is_object() && named != own)
    report.divergence = Divergence{"", "program", canonical(named).value_or(""), canonical(own).value_or("")};
  // In a record that was interrupted, calls that were in flight beside the one it ends at are left over.
  if (!report.divergence && !ends_here) report.divergence = leftover_of(*settings.answers);
  report.identical = !report.divergence;
  return report;
}

}  // namespace assay
