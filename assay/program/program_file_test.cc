#include "assay/program/program_file.h"

#include <gtest/gtest.h>

#include <array>

namespace assay {
namespace {

constexpr const char* good = R"(format = "assay.program/1"
[program]
name = "triage"
[signature.Triage]
text = "ticket -> urgency: Literal['low','high']"
[[step]]
id = "classify"
signature = "Triage"
[step.config]
max_tokens = 8
[data]
file = "rows.csv"
[metric]
name = "accuracy"
[optimizer]
name = "BootstrapFewShot"
max_labeled_demos = 4
[budget]
calls = 100
[lane]
kind = "local"
)";

Result<ProgramFile> parse(const std::string& text) { return parse_program_file(text, "P.toml", ".", Rewards::built_in()); }

std::string with(const std::string& from, const std::string& to) {
  std::string text = good;
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ProgramFile, ReadsItsParts) {
  const auto file = parse(good);
  ASSERT_TRUE(file) << file.error().text();
  EXPECT_EQ(file->program.artifact().program_name(), "triage");
  EXPECT_EQ(file->data.file, "rows.csv");
  EXPECT_EQ(file->optimizer.places.at("max_labeled_demos"), "P.toml:17:1");
  EXPECT_EQ(file->metric_place, "P.toml:14:1");
  EXPECT_EQ(file->budget.calls, 100);
}

struct Wrong {
  const char *from, *to;
  const char *place, *message, *remedy;
};

TEST(ProgramFile, NamesPlaceAndRemedyOfEachMistake) {
  const Wrong rows[] = {
      {"max_tokens = 8", "max_tokens = \"8\"", "P.toml:10:1", "'max_tokens' is an integer", ""},
      {"max_tokens = 8", "max_tokens = 0", "P.toml:10:1", "max_tokens is at least 1", "give as many as the longest answer needs, e.g. 16"},
      {"max_tokens = 8", "max_token = 8", "P.toml:10:1", "unknown key 'max_token' in [config]", "did you mean 'max_tokens'?"},
      {"max_tokens = 8", "temperature = -1", "P.toml:10:1", "a temperature is not negative", ""},
      {"max_tokens = 8", "seed_policy = \"fix\"", "P.toml:10:1", "unknown seed_policy 'fix'", "fixed, per_rollout or none"},
      {"kind = \"local\"", "kind = \"locl\"", "P.toml:21:1", "unknown lane 'locl'", "local, pylon or openai"},
      {"signature = \"Triage\"", "signature = \"Triag\"", "P.toml:8:1", "there is no signature 'Triag'", "did you mean 'Triage'?"},
      {"signature = \"Triage\"", "signature = \"Triage\"\nin = { ticket = \"input.ticket\" }", "P.toml:9:1",
       "a program of one step takes its signature's inputs as they are",
       "leave 'in' out, or give [program] a signature and 'out' to make it a flow"},
      {"name = \"triage\"", "name = \"triage\"\nsignature = \"Other\"", "P.toml:4:1",
       "the program's only step has the signature Triage, not Other", "leave [program] signature out, or give 'out' too to make it a flow"},
      {"calls = 100", "calls = -1", "P.toml:19:1", "a budget is not negative", ""},
  };
  for (const Wrong& row : rows) {
    const auto file = parse(with(row.from, row.to));
    ASSERT_FALSE(file) << row.to;
    EXPECT_EQ(file.error().path, row.place) << row.to;
    EXPECT_EQ(file.error().message, row.message);
    EXPECT_EQ(file.error().remedy, row.remedy);
  }
}

TEST(ProgramFile, NamesTheStepThatCanNeverWork) {
  const std::string flow = R"(format = "assay.program/1"
[program]
name = "recipe"
signature = "Recipe"
out = { vegan = "shop.vegan" }
[signature.Recipe]
text = "line -> vegan: bool"
[signature.Measure]
text = "line -> qty: int"
[signature.Shop]
text = "line, qty: int -> vegan: bool"
[[step]]
id = "measure"
signature = "Measure"
in = { line = "input.line" }
[[step]]
id = "shop"
signature = "Shop"
in = { line = "input.line", qty = "measure.qty" }
)";
  ASSERT_TRUE(parse(flow)) << parse(flow).error().text();
  struct Row {
    const char *from, *to, *place, *message;
  };
  for (const Row& row :
       {Row{"line -> qty: int", "line -> qty: str", "P.toml:19:1",
            "'qty' never takes what measure.qty is: their types have no value in common"},
        Row{", qty = \"measure.qty\"", "", "P.toml:19:1", "the step 'shop' needs 'qty', and nothing gives it"},
        Row{"in = { line = \"input.line\" }\n", "", "P.toml:13:1", "the step 'measure' needs 'line', and nothing gives it"},
        Row{"\"line -> vegan: bool", "\"line -> vegan: int", "P.toml:5:1",
            "'vegan' never takes what shop.vegan is: their types have no value in common"},
        Row{"measure.qty", "measure.size", "P.toml:19:1", "\"measure\" has no output \"size\""}}) {
    std::string text = flow;
    text.replace(text.find(row.from), std::string(row.from).size(), row.to);
    const auto file = parse(text);
    ASSERT_FALSE(file) << row.to;
    EXPECT_EQ(file.error().path, row.place) << row.to;
    EXPECT_EQ(file.error().message, row.message);
  }
  const std::array<const char*, 4> meant[] = {
      {"measure.qty", "measur.qty", "P.toml:19:1", "did you mean \"measure\"?"},
      {"measure.qty", "measure.qyt", "P.toml:19:1", "did you mean \"qty\"?"},
      {"input.line\", qty", "input.lin\", qty", "P.toml:19:1", "did you mean \"line\"?"},
      {"measure.qty", "shop.vegan", "P.toml:19:1", "list nodes after those they use; none uses its own outputs"}};
  for (const auto& [from, to, place, remedy] : meant) {
    std::string text = flow;
    text.replace(text.find(from), std::string(from).size(), to);
    const auto file = parse(text);
    ASSERT_FALSE(file) << to;
    EXPECT_EQ(file.error().path, place) << to;
    EXPECT_EQ(file.error().remedy, remedy) << to;
  }
  std::string dotted = flow;
  dotted.replace(dotted.find("id = \"measure\""), 14, "id = \"meas.ure\"");
  EXPECT_EQ(parse(dotted).error().path, "P.toml:13:1");
}

TEST(ProgramFile, KeepsForeignCharactersInTextsAndCommentsOnly) {
  EXPECT_TRUE(parse("\ufeff" + with("[data]", "# é\n[data]")));
  EXPECT_TRUE(parse(with("text = ", "instructions = \"\"\"\nnaïve \"quoted\" café\n\"\"\"\ntext = ")));
  EXPECT_TRUE(parse(with("text = ", "instructions = \"\"\"\\\n  ƨ؏\"\"\"\ntext = ")));  // after a line that goes on
  EXPECT_TRUE(parse(with("text = ", "instructions = 'é # \"'\ntext = ")));
  const std::pair<const char*, const char*> rows[] = {{"\u01e8\u060f\n[data]", "P.toml:11:1"},
                                                      {"é = 1\n[data]", "P.toml:11:1"},
                                                      {"x = \"a\\\"\" é\n[data]", "P.toml:11:11"},
                                                      {"x = 0\"ƨ؏\"\n[data]", "P.toml:11:6"},
                                                      {"x = \"\\ƨ\"\n[data]", "P.toml:11:7"}};
  for (const auto& [bad, place] : rows) {
    const auto file = parse(with("[data]", bad));
    ASSERT_FALSE(file) << bad;
    EXPECT_EQ(file.error().path, place) << bad << file.error().text();
  }
}

TEST(ProgramFile, RefusesWhatIsNoProgramAtAll) {
  for (const std::string& text :
       {std::string(), std::string("\xff"), std::string("= 3"), std::string("format = 1"), std::string(2 << 20, ' ')})
    EXPECT_FALSE(parse(text));
}

}  // namespace
}  // namespace assay
