#pragma once
// A small task for tests of whole compiles, and a world without a network to compile it in.
#include <gtest/gtest.h>

#include "assay/base/test_files.h"
#include "assay/lm/scripted_lane.h"
#include "assay/optimize/compile.h"
#include "assay/program/module.h"

namespace assay::colours {

// A task that demos help with: the lane knows an item's answer only if a demo shows the same colour. Without demos it says "a".
inline std::string colour_of(const std::string& text) { return text.substr(0, text.find(' ')); }

inline Result<LmResponse> answer_by_demos(const LmRequest& request) {
  const std::string question = request.messages.back().content.as_string();
  const std::string colour = colour_of(question.substr(question.find(": ") + 2));
  for (std::size_t i = 1; i + 1 < request.messages.size(); i += 2) {
    const std::string demo = request.messages[i].content.as_string();
    if (colour_of(demo.substr(demo.find(": ") + 2)) == colour) return ScriptedLM::answer(request.messages[i + 1].content.as_string());
  }
  return ScriptedLM::answer("Label: a");
}

inline Program student() {
  const Signature s = Signature::parse("item -> label: Literal['a','b','c']", "Colours").value();
  return program_of("colours", "1", Predict("classify", s), Rewards::built_in()).value();
}

inline std::vector<Row> rows(const Program& program, int begin, int end) {
  const std::pair<const char*, const char*> colours[] = {{"red", "a"}, {"green", "b"}, {"blue", "c"}};
  std::vector<Row> out;
  for (int i = begin; i < end; ++i) {
    const auto& [colour, label] = colours[i % 3];
    out.push_back(make_row(program.signature(), JsonObject{{"item", std::string(colour) + " thing " + std::to_string(i)}},
                           JsonObject{{"label", label}})
                      .value());
  }
  order_rows(out);
  return out;
}

inline CompilePlan plan() {
  Program program = student();
  DataSets data{rows(program, 0, 30), rows(program, 30, 60), rows(program, 60, 120)};
  return CompilePlan{program,
                     Metrics::built_in().find("accuracy").value(),
                     "BootstrapFewShotWithRandomSearch",
                     {{"max_bootstrapped_demos", 2}, {"max_labeled_demos", 6}, {"num_candidates", 4}},
                     7,
                     7,
                     {},
                     std::move(data)};
}

struct Bench : testing::Test {
  ManualClock clock;
  FixedEntropy entropy{3};
  SecretKey key = SecretKey::parse(std::string(63, '0') + "3").value();
  PriceBook prices = PriceBook::built_in();
  TestFolder folder;
  std::string journal = folder.path("journal.run.jsonl");
  std::vector<std::string> candidates;

  CompileWorld world(std::shared_ptr<LM> lane) {
    CompileWorld out;
    out.effects = {.clock = &clock, .entropy = &entropy, .prices = &prices};
    out.settings.lm = std::move(lane);
    out.journal_path = journal;
    out.key = &key;
    out.assay_version = "test";
    out.assay_build = "test";
    out.hooks.open_test = [](const std::string&, const std::string&) -> Result<std::int64_t> { return 1; };
    return out;
  }
};

}  // namespace assay::colours
