#include "assay/lm/gbnf.h"

#include <gtest/gtest.h>

namespace assay {
namespace {

AnswerPart literal(std::string text) { return {.kind = AnswerPart::Kind::literal, .literal = std::move(text), .values = {}, .until = {}}; }
AnswerPart free_text(std::string until) { return {.kind = AnswerPart::Kind::text, .literal = {}, .values = {}, .until = std::move(until)}; }

TEST(Gbnf, ChoicesAreTheirTexts) {
  const AnswerPart choice{.kind = AnswerPart::Kind::choice, .literal = {}, .values = {"mail", "a \"b\"\n"}, .until = {}};
  EXPECT_EQ(gbnf_of({literal("Section: "), choice}), "root ::= \"Section: \" (\"mail\" | \"a \\x22b\\x22\\x0A\")\n");
}

TEST(Gbnf, EscapesWhatIsNotPlain) {
  EXPECT_EQ(gbnf_text("é[^]\\"), "\"\\xE9\\x5B\\x5E\\x5D\\x5C\"");
  EXPECT_EQ(gbnf_text("–😀"), "\"\\u2013\\U0001F600\"");
}

// The automaton of "aab": after "aa" another a stays at "aa".
TEST(Gbnf, FreeTextEndsBeforeItsMark) {
  EXPECT_EQ(gbnf_of({free_text("aab"), literal("aab")}),
            "root ::= text0-0\n"
            "text0-0 ::= [^ab] text0-0 | \"a\" text0-1 | \"b\" text0-0\n"
            "text0-1 ::= [^ab] text0-0 | \"a\" text0-2 | \"b\" text0-0\n"
            "text0-2 ::= [^ab] text0-0 | \"a\" text0-2 | \"b\"\n");
  EXPECT_EQ(gbnf_of({literal("A: "), free_text("")}), "root ::= \"A: \" [^\\x00]*\n");
}

// What a text stands at by its definition: its longest end that is a beginning of the word.
std::size_t longest(const std::string& text, const std::string& word) {
  std::size_t length = std::min(text.size(), word.size());
  while (!word.starts_with(text.substr(text.size() - length))) --length;
  return length;
}

TEST(Gbnf, EveryRuleStandsWhereTheTextDoes) {
  const std::string letters = "abc";
  for (int number = 1; number < 3 * 3 * 3 * 3 * 3 * 3 * 3; ++number) {
    std::string word;
    for (int rest = number; rest > 0; rest /= 3) word += letters[static_cast<std::size_t>(rest % 3)];
    std::string rules = "root ::= text0-0\n", known;
    for (const char c : letters) {
      if (word.find(c) != std::string::npos) known += c;
    }
    for (std::size_t state = 0; state < word.size(); ++state) {
      rules += "text0-" + std::to_string(state) + " ::= [^" + known + "] text0-0";
      for (const char c : known) {
        const std::size_t next = longest(word.substr(0, state) + c, word);
        rules += std::string(" | \"") + c + "\"" + (next < word.size() ? " text0-" + std::to_string(next) : "");
      }
      rules += "\n";
    }
    ASSERT_EQ(gbnf_of({free_text(word), literal(word)}), rules) << word;
  }
}

// A reader splits at the marker, whatever white space stands before it.
TEST(Gbnf, FreeTextEndsAtTheMarkerWithoutItsWhiteSpace) {
  EXPECT_EQ(gbnf_of({free_text("\nB: "), literal("\nB: "), free_text("")}),
            "root ::= text0-0 \" \" [^\\x00]*\n"
            "text0-0 ::= [^:B] text0-0 | \":\" text0-0 | \"B\" text0-1\n"
            "text0-1 ::= [^:B] text0-0 | \":\" | \"B\" text0-1\n");
}

TEST(Gbnf, AValueIsOneRuleANode) {
  AnswerPart part{.kind = AnswerPart::Kind::json, .literal = {}, .values = {}, .until = {}};
  part.shape = JsonShape::of(read_json(R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}},
      "b":{"anyOf":[{"type":"string"},{"type":"null"}]},"c":{"type":"object","additionalProperties":{"type":"boolean"}}},"required":["b"]})")
                                 .value())
                   .value();
  const std::string grammar = gbnf_of({literal("A: "), part});
  EXPECT_TRUE(grammar.starts_with("root ::= \"A: \" json1-0\n")) << grammar;
  EXPECT_TRUE(grammar.ends_with(R"(json1-0 ::= "{" json1-0-first0 "}"
json1-0-first0 ::= "\x22a\x22" json-colon json1-1 json1-0-next1 | json1-0-first1
json1-0-next0 ::= json-comma "\x22a\x22" json-colon json1-1 json1-0-next1 | json1-0-next1
json1-0-first1 ::= "\x22b\x22" json-colon json1-3 json1-0-next2
json1-0-next1 ::= json-comma "\x22b\x22" json-colon json1-3 json1-0-next2
json1-0-first2 ::= ("\x22c\x22" json-colon json1-4)?
json1-0-next2 ::= (json-comma "\x22c\x22" json-colon json1-4)?
json1-1 ::= "[" (json1-2 (json-comma json1-2)*)? "]"
json1-2 ::= json-integer
json1-3 ::= json-string | "null"
json1-4 ::= "{" (json-key json-colon json1-5 (json-comma json-key json-colon json1-5)*)? "}"
json1-5 ::= "false" | "true"
)")) << grammar;
}

}  // namespace
}  // namespace assay
