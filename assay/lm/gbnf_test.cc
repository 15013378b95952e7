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
