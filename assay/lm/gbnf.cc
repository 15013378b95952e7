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

// Rules NAME-0 … : any text up to and including the first `until`. Rule N stands where a text's last N characters are the first N of it.
std::string text_until(const std::string& name, const std::vector<char32_t>& until) {
  std::vector<char32_t> letters = until;
  std::sort(letters.begin(), letters.end());
  letters.erase(std::unique(letters.begin(), letters.end()), letters.end());
  std::string others, rules;
  for (const char32_t letter : letters) others += escaped(letter);
  // Knuth, Morris and Pratt: where another letter comes, it goes on as it would from the longest beginning that is an end here too.
  std::vector<std::vector<std::size_t>> next(until.size(), std::vector<std::size_t>(letters.size(), 0));
  std::size_t shorter = 0;
  for (std::size_t state = 0; state < until.size(); ++state) {
    const auto right = static_cast<std::size_t>(std::lower_bound(letters.begin(), letters.end(), until[state]) - letters.begin());
    if (state > 0) next[state] = next[shorter];
    if (state > 0) shorter = next[shorter][right];
    next[state][right] = state + 1;
    rules += fmt::format("{}-{} ::= [^{}] {}-0", name, state, others, name);
    for (std::size_t letter = 0; letter < letters.size(); ++letter) {
      rules += fmt::format(" | \"{}\"", escaped(letters[letter]));
      if (next[state][letter] < until.size()) rules += fmt::format(" {}-{}", name, next[state][letter]);
    }
    rules += "\n";
  }
  return rules;
}

// The rules that JSON values of every shape share. As JsonCursor: no surrogates, numbers that the strict reader takes.
constexpr std::string_view json_rules =
    "json-key ::= \"\\x22\" [^\\x22\\x5C\\x00-\\x1F]* \"\\x22\"\n"
    "json-string ::= \"\\x22\" ([^\\x22\\x5C\\x00-\\x1F] | \"\\x5C\" ([\\x22\\x5C/bfnrt] | \"u\" json-unit))* \"\\x22\"\n"
    "json-unit ::= ([0-9A-CE-Fa-ce-f] [0-9A-Fa-f] | [Dd] [0-7]) [0-9A-Fa-f] [0-9A-Fa-f]\n"
    "json-whole ::= [1-9] [0-9]{0,14}\n"
    "json-integer ::= \"0\" | \"\\x2D\"? json-whole\n"
    "json-number ::= \"\\x2D\"? (\"0\" json-fraction? json-small? | json-whole json-fraction? (json-small | json-large)?)\n"
    "json-fraction ::= \".\" [0-9]{1,24}\n"
    "json-small ::= [eE] \"\\x2D\" [0-9]{1,2}\n"
    "json-large ::= [eE] \"+\" (\"2\" [1-9] | [3-9] [0-9])\n"
    "json-comma ::= \",\" \" \"?\n"
    "json-colon ::= \":\" \" \"?\n";

// One rule a node, all of one shape, named `name` and the number of the node.
class ShapeRules {
 public:
  ShapeRules(const JsonShape& shape, std::string name) : shape_(shape), name_(std::move(name)) {}

  std::string write() const {
    std::string rules;
    for (std::size_t at = 0; at < shape_.nodes().size(); ++at) {
      const JsonShape::Node& node = shape_.nodes()[at];
      std::string choices = body_of(node, at);
      for (const std::string& word : node.words) choices += (choices.empty() ? "" : " | ") + gbnf_text(word);
      rules += fmt::format("{} ::= {}\n", rule(at), choices);
      if (node.kind == JsonShape::Kind::record) rules += members_of(node, at);
    }
    return rules;
  }

 private:
  std::string rule(std::size_t at) const { return fmt::format("{}-{}", name_, at); }

  std::string body_of(const JsonShape::Node& node, std::size_t at) const {
    using Kind = JsonShape::Kind;
    switch (node.kind) {
      case Kind::words: return "";
      case Kind::integer: return "json-integer";
      case Kind::number: return "json-number";
      case Kind::string: return "json-string";
      case Kind::list: return fmt::format(R"("[" ({0} (json-comma {0})*)? "]")", rule(node.item));
      case Kind::dict: return fmt::format(R"("{{" (json-key json-colon {0} (json-comma json-key json-colon {0})*)? "}}")", rule(node.item));
      case Kind::record: break;
    }
    return node.members.empty() ? R"("{" "}")" : fmt::format(R"("{{" {}-first0 "}}")", rule(at));
  }

  // Rules AT-firstN and AT-nextN: the members from N on, where none was written yet and where one was.
  std::string members_of(const JsonShape::Node& node, std::size_t at) const {
    std::string rules;
    const std::size_t count = node.members.size();
    for (std::size_t i = 0; i < count; ++i) {
      const auto& member = node.members[i];
      const bool last = i + 1 == count;
      for (const std::string_view place : {"first", "next"}) {
        std::string body =
            fmt::format("{}{} json-colon {}", place == "next" ? "json-comma " : "", gbnf_text(member.key), rule(member.node));
        if (!last) body += fmt::format(" {}-next{}", rule(at), i + 1);
        if (!member.required) body = last ? fmt::format("({})?", body) : fmt::format("{} | {}-{}{}", body, rule(at), place, i + 1);
        rules += fmt::format("{}-{}{} ::= {}\n", rule(at), place, i, body);
      }
    }
    return rules;
  }

  const JsonShape& shape_;
  std::string name_;
};

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
    } else if (part.kind == AnswerPart::Kind::json) {
      const std::string name = fmt::format("json{}", i);
      root += fmt::format(" {}-0", name);
      if (rules.find(json_rules) == std::string::npos) rules += json_rules;
      rules += ShapeRules(*part.shape, name).write();
    } else if (part.until.empty()) {
      root += " [^\\x00]*";
    } else {
      // The reader splits at the first place of the marker, white space around it or not: so does the rule, and takes it along.
      const std::string name = fmt::format("text{}", i);
      const bool follows = i + 1 < parts.size() && parts[i + 1].kind == AnswerPart::Kind::literal && parts[i + 1].literal == part.until;
      const std::string_view until = part.until, mark = follows ? marker_of(until) : until;
      const std::string_view behind = until.substr(until.find(mark) + mark.size());
      root += fmt::format(" {}-0", name);
      rules += text_until(name, code_points(mark));
      if (follows) ++i;
      if (!behind.empty()) root += " " + gbnf_text(behind);
    }
  }
  return root + "\n" + rules;
}

}  // namespace assay
