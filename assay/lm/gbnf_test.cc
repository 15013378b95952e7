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

}  // namespace
}  // namespace assay
