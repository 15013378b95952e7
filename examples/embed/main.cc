// A typed LM function inside a C++ program: no Python, no server. Needs a model: scripts/fetch-model.
#include <fmt/format.h>

#include "assay/lm/local_lane.h"
#include "assay/program/module.h"
#include "assay/program/run.h"

using namespace assay;

Result<std::string> urgency_of(std::string_view ticket) {
  ASSAY_TRY(const std::string model, find_model("smollm2-135m-instruct"));
  ASSAY_TRY(const std::shared_ptr<LM> lane, LocalLane::open({.name = "", .model = {.path = model}}, system_clock()));
  ASSAY_TRY(const Signature signature, Signature::parse("ticket -> urgency: Literal['low','high']", "Triage"));
  const auto classify = Predict("classify", signature).with_config("constrain", true);
  ASSAY_TRY(const Program program, program_of("triage", "1", classify, Rewards::built_in()));

  const PriceBook prices = PriceBook::built_in();
  RunWorld world;
  world.effects = {.clock = &system_clock(), .entropy = &system_entropy(), .prices = &prices};
  world.settings.lm = lane;
  world.record_path = fmt::format("triage-{}.run.jsonl", system_clock().unix_ns());  // every call, its price and its answer
  ASSAY_TRY(const RunOutcome run, run_program(program, JsonObject{{"ticket", ticket}}, world));
  ASSAY_TRY(const Prediction answer, run.prediction);
  ASSAY_TRY(const RunRecord record, read_record_file(world.record_path));
  ASSAY_TRY(const ReplayReport again, replay_run(program, record));  // the same once more, from the record: no model
  if (!again.identical) return fail(ErrorCode::diverged, "the replay differs", "", world.record_path);
  return answer.at("urgency").as_string();
}

int main() {
  const Result<std::string> urgency = urgency_of("Nobody in our office can log in since this morning");
  if (!urgency) return fmt::print(stderr, "error: {}\n", urgency.error().text()), exit_code(urgency.error().code);
  fmt::print("urgency: {}\n", *urgency);
}
