#include "assay/lm/gbnf.h"

#include <algorithm>

#include <fmt/format.h>

namespace assay {
namespace {

std::vector<char32_t> code_points(std::string_view utf8) {
  std::vector<char32_t> out;
  for (std::size_t i = 0; i < utf8.size();) {  // ends: every round takes a byte at least
    const auto lead = static_cast<unsigned char>(utf8[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t point = lead < 0x80 ? lead : lead & (0xFFU >> (length + 1));
    for (std::size_t k = 1; k < length && i + k < utf8.size(); ++k)
      point = (point << 6) | (static_cast<unsigned char>(utf8[i + k]) & 0x3FU);
    out.push_back(point);
    i += length;
  }
  return out;
}

std::string escaped(char32_t point) {
  if (point == '"' || point == '\\' || point == '[' || point == ']' || point == '^' || point == '-')
    return fmt::format("\\x{:02X}", static_cast<unsigned>(point));
  if (point >= 0x20 && point < 0x7F) return std::string(1, static_cast<char>(point));
  if (point <= 0xFF) return fmt::format("\\x{:02X}", static_cast<unsigned>(point));
  return point <= 0xFFFF ? fmt::format("\\u{:04X}", static_cast<unsigned>(point)) : fmt::format("\\U{:08X}", static_cast<unsigned>(point));
}

// Where a text that has matched `matched` characters of `word` stands after one more.
std::size_t next_state(const std::vector<char32_t>& word, std::size_t matched, char32_t point) {
  std::vector<char32_t> seen(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(matched));
  seen.push_back(point);
  for (std::size_t length = seen.size(); length > 0; --length) {
    if (std::equal(seen.end() - static_cast<std::ptrdiff_t>(length), seen.end(), word.begin())) return length;
  }
  return 0;
}

// Rules NAME-0 … : any text up to and including the first `until`.
std::string text_until(const std::string& name, const std::vector<char32_t>& until) {
  std::vector<char32_t> letters = until;
  std::sort(letters.begin(), letters.end());
  letters.erase(std::unique(letters.begin(), letters.end()), letters.end());
  std::string others, rules;
  for (const char32_t letter : letters) others += escaped(letter);
  for (std::size_t state = 0; state < until.size(); ++state) {
    rules += fmt::format("{}-{} ::= [^{}] {}-0", name, state, others, name);
    for (const char32_t letter : letters) {
      const std::size_t next = next_state(until, state, letter);
      rules += fmt::format(" | \"{}\"", escaped(letter));
      if (next < until.size()) rules += fmt::format(" {}-{}", name, next);
    }
    rules += "\n";
  }
  return rules;
}

}  // namespace

std::string gbnf_text(std::string_view text) {
  std::string out = "\"";
  for (const char32_t point : code_points(text)) out += escaped(point);
  return out + "\"";
}

std::string gbnf_of(const std::vector<AnswerPart>& parts) {
  std::string root = "root ::=", rules;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const AnswerPart& part = parts[i];
    if (part.kind == AnswerPart::Kind::literal) {
      if (!part.literal.empty()) root += " " + gbnf_text(part.literal);
    } else if (part.kind == AnswerPart::Kind::choice) {
      std::string choices;
      for (const std::string& value : part.values) choices += (choices.empty() ? "" : " | ") + gbnf_text(value);
      root += " (" + choices + ")";
    } else if (part.until.empty()) {
      root += " [^\\x00]*";
    } else {
      const std::string name = fmt::format("text{}", i);
      root += fmt::format(" {}-0", name);
      rules += text_until(name, code_points(part.until));
      // The rule took `until` too: it is not asked for again.
      if (i + 1 < parts.size() && parts[i + 1].kind == AnswerPart::Kind::literal && parts[i + 1].literal == part.until) ++i;
    }
  }
  return root + "\n" + rules;
}

}  // namespace assay
