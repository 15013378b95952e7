#include "assay/program/chat_template.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "assay/program/predictor.h"

namespace assay {
namespace {

Signature triage() {
  return Signature::parse("description -> section: Literal['games', 'mail', 'sound']", "PackageTriage",
                          "Choose the archive section that fits the package.")
      .value();
}

Json template_with(std::string assistant) {
  return JsonObject{
      {"renderer", "chat/1"},
      {"reader", "chat/1"},
      {"fallback", JsonList{}},
      {"slots",
       JsonObject{{"system", "{instructions}"}, {"user", "Description: {inputs.description}"}, {"assistant", std::move(assistant)}}}};
}

TEST(ChatTemplate, RendersTheWorkedCase) {  // docs/formats.md §2, the example of package triage
  const Signature s = triage();
  const auto chat = ChatTemplate::read(template_with("Section: {outputs.section}"), s);
  ASSERT_TRUE(chat);
  const JsonList demos{
      JsonObject{{"inputs", JsonObject{{"description", "chess game for the terminal"}}}, {"outputs", JsonObject{{"section", "games"}}}}};
  const auto messages = chat->render(s, demos, JsonObject{{"description", "imap client"}});
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 4u);
  EXPECT_EQ((*messages)[0].content, Json("Choose the archive section that fits the package."));
  EXPECT_EQ((*messages)[2].role, "assistant");
  EXPECT_EQ((*messages)[2].content, Json("Section: games"));
  EXPECT_EQ((*messages)[3].content, Json("Description: imap client"));
}

TEST(ChatTemplate, FillsSlotsInOnePass) {
  const Signature s = triage();
  const auto chat = ChatTemplate::read(template_with("{{x}} {outputs.section}"), s);
  ASSERT_TRUE(chat);
  const auto messages = chat->render(s, {}, JsonObject{{"description", "{instructions} {{ }"}});
  EXPECT_EQ(messages->back().content, Json("Description: {instructions} {{ }"));  // a value is never looked at again
}

TEST(ChatTemplate, RefusesSlotsItCannotReadBack) {
  const Signature s = triage();
  for (const char* bad : {"Section:", "{outputs.other}", "{outputs.section} {outputs.section}", "{inputs.description}{outputs.section}",
                          "{outputs.section", "} {outputs.section}"}) {
    EXPECT_FALSE(ChatTemplate::read(template_with(bad), s)) << bad;
  }
  Json unknown = template_with("{outputs.section}");
  unknown.set("renderer", "chat/2");
  EXPECT_EQ(ChatTemplate::read(unknown, s).error().code, ErrorCode::refused);
  // What would be left out in silence is refused: a slot that chat/1 does not have, a template to fall back to.
  Json more = template_with("{outputs.section}");
  Json slots = more.at("slots");
  slots.set("epilogue", "Be brief.");
  more.set("slots", slots);
  EXPECT_EQ(ChatTemplate::read(more, s).error().path, "slots.epilogue");
  Json other = template_with("{outputs.section}");
  other.set("fallback", JsonList{template_with("{outputs.section}")});
  EXPECT_EQ(ChatTemplate::read(other, s).error().code, ErrorCode::refused);
}

TEST(ChatTemplate, DemosFitTheirFields) {
  const Signature s = Signature::parse("q, n: Optional[int] -> score: float, kind: Literal['a','b']").value();
  const auto demo = [](Json inputs, Json outputs) { return JsonList{JsonObject{{"inputs", inputs}, {"outputs", outputs}}}; };
  EXPECT_TRUE(check_demos(s, demo(JsonObject{{"q", "x"}}, JsonObject{{"score", 0.5}, {"kind", "a"}})));
  EXPECT_TRUE(check_demos(s, demo(JsonObject{{"q", "x"}, {"n", Json()}}, JsonObject{{"score", JsonObject{{"$text", "a half"}}}})));
  EXPECT_EQ(check_demos(s, demo(JsonObject{{"q", 3}}, JsonObject{})).error().path, "demos[0].inputs.q");
  EXPECT_EQ(check_demos(s, demo(JsonObject{}, JsonObject{{"kind", "c"}})).error().path, "demos[0].outputs.kind");
  EXPECT_EQ(check_demos(s, demo(JsonObject{}, JsonObject{{"score", "much"}})).error().code, ErrorCode::malformed);
}

struct Reading {
  const char* text;
  const char* section;  // "" when it must be refused
  const char* repair;
};

TEST(ChatTemplate, ReadsAnswersAndSaysWhatItMended) {
  const Signature s = triage();
  const auto chat = ChatTemplate::read(template_with("Section: {outputs.section}"), s);
  for (const Reading& r : {Reading{"Section: mail", "mail", ""}, Reading{"  Section:   mail \n", "mail", ""},
                           Reading{"mail", "mail", "label"}, Reading{"Section: Mail", "mail", "case"},
                           Reading{"Section: 'mail'.", "mail", "full_stop"}, Reading{"", "", ""}, Reading{"Section: ", "", ""},
                           Reading{"Section: email", "", ""}, Reading{"Section: mail Section: games", "", ""}, Reading{"Sect", "", ""}}) {
    std::vector<Repair> repairs;
    const auto outputs = chat->read_answer(s, r.text, &repairs);
    if (*r.section == '\0') {
      ASSERT_FALSE(outputs) << r.text;
      EXPECT_EQ(outputs.error().code, ErrorCode::unreadable);
      EXPECT_EQ(outputs.error().path, "answer.section");
    } else {
      ASSERT_TRUE(outputs) << r.text;
      EXPECT_EQ(outputs->at("section"), Json(r.section)) << r.text;
      const bool named = std::any_of(repairs.begin(), repairs.end(), [&](const Repair& x) { return x.kind == r.repair; });
      EXPECT_EQ(named, *r.repair != '\0') << r.text;
    }
  }
}

TEST(ChatTemplate, SurvivesHostileAnswers) {
  const Signature s = Signature::parse("q -> reasoning, n: int").value();
  const auto chat = ChatTemplate::read(ChatTemplate::make(s), s);
  ASSERT_TRUE(chat);
  const std::string huge(10 * 1024 * 1024, 'x');
  EXPECT_FALSE(chat->read_answer(s, huge, nullptr));
  EXPECT_FALSE(chat->read_answer(s, std::string("Reasoning: ok\nN: 12\nN: 13\n"), nullptr));
  EXPECT_FALSE(chat->read_answer(s, "Reasoning: ok\nN: twelve", nullptr));
  std::vector<Repair> repairs;
  const auto outputs = chat->read_answer(s, "Reasoning: \xFF\xFE ok\nN: 12", &repairs);
  ASSERT_TRUE(outputs);
  EXPECT_EQ(outputs->at("n"), Json(12));
  EXPECT_EQ(repairs.at(0).kind, "utf8");
}

TEST(ChatTemplate, AnswerSchemaListsExactlyWhatTheReaderAccepts) {
  const Signature s = triage();
  const auto chat = ChatTemplate::read(template_with("Section: {outputs.section}"), s);
  const Json schema = chat->answer_schema(s);
  ASSERT_EQ(schema.at("enum").as_list().size(), 3u);
  for (const Json& answer : schema.at("enum").as_list()) {
    std::vector<Repair> repairs;
    EXPECT_TRUE(chat->read_answer(s, answer.as_string(), &repairs));
    EXPECT_TRUE(repairs.empty());
  }
  const Signature cot = Signature::parse("q -> reasoning, ok: Literal['yes','no']").value();
  const Json parts = ChatTemplate::read(ChatTemplate::make(cot), cot)->answer_schema(cot).at("x-parts");
  ASSERT_EQ(parts.as_list().size(), 4u);
  EXPECT_EQ(parts.as_list()[1].at("until"), Json("\nOk: "));
}

// A program whose constrained answers could not be read is refused when it is loaded, not paid for.
TEST(ChatTemplate, KnowsWhatNoConstrainedAnswerCanSay) {
  struct Case {
    const char* fields;
    const char* slot;  // "": the default
    const char* said;  // "": fine
  };
  const Case cases[] = {
      {"q -> z: Literal['N: b','c'], n: Literal['x','y']", "", "holds 'N:'"},
      {"q -> z: Literal['Next: b','c'], next: str", "", "holds 'Next:'"},
      {"q -> z: Literal[' a','b']", "", "white space at an end"},
      {"q -> z: Optional[Literal['a\t','b']]", "", "white space at an end"},
      {"q -> b: bool, n: int", "{outputs.b}e{outputs.n}", "holds 'e'"},
      {"q -> d: list[int], n: int", "{outputs.d}] {outputs.n}", "stands inside the JSON"},
      {"q -> d: dict[str, int], n: int", "{outputs.d}}} {outputs.n}", "stands inside the JSON"},
      {"q -> z: Literal['b N','c'], n: Literal['N: x','y']", "", ""},
      {"q -> b: bool, n: int", "{outputs.b} of {outputs.n}", ""},
      {"q -> d: list[int], n: int", "{outputs.d} N] {outputs.n}", ""},
      {"q -> r: str, d: list[str]", "", ""},
  };
  for (const Case& c : cases) {
    const Signature s = Signature::parse(c.fields).value();
    Json made = ChatTemplate::make(s);
    if (*c.slot != '\0') made.as_object().find("slots")->set("assistant", c.slot);
    const auto chat = ChatTemplate::read(made, s);
    ASSERT_TRUE(chat) << c.fields << chat.error().text();
    const auto fits = chat->check_constrained(s);
    EXPECT_EQ(fits.has_value(), *c.said == '\0') << c.fields << c.slot;
    EXPECT_NE((fits ? std::string() : fits.error().message).find(c.said), std::string::npos) << c.fields;
  }
}

// What a template wrote for a demo reads back to the demo: whatever Literal value, whatever text without the next marker.
RC_GTEST_PROP(ChatTemplateProperty, ReadsWhatItRenders, ()) {
  const Signature s = Signature::parse("q -> thought, section: Literal['games','mail','sound'], n: int").value();
  const auto chat = ChatTemplate::read(ChatTemplate::make(s), s);
  std::string thought = *rc::gen::container<std::string>(rc::gen::inRange('a', 'z'));
  const Json outputs = JsonObject{
      {"thought", thought}, {"section", *rc::gen::element<std::string>("games", "mail", "sound")}, {"n", *rc::gen::inRange(-1000, 1000)}};
  const JsonList demos{JsonObject{{"inputs", JsonObject{{"q", "x"}}}, {"outputs", outputs}}};
  const auto messages = chat->render(s, demos, JsonObject{{"q", "y"}});
  RC_ASSERT(messages.has_value());
  const auto read = chat->read_answer(s, (*messages)[2].content.as_string(), nullptr);
  RC_ASSERT(read.has_value());
  RC_ASSERT(*read == outputs);
}

}  // namespace
}  // namespace assay
