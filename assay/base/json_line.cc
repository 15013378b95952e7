#include "assay/base/json_line.h"

#include <algorithm>
#include <string>

#include "assay/base/json.h"

namespace assay {
namespace {

class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) { space(); }

  // Goes to the member or item of that name of the container that stands here. False: there is none; the walk stays at the container.
  bool enter(const std::string& token) {
    const std::size_t container = at_;
    if (done() || (text_[at_] != '{' && text_[at_] != '[')) return false;
    const bool is_object = text_[at_] == '{';
    ++at_;
    for (std::size_t index = 0;; ++index) {  // ends: every round takes a value, or returns
      space();
      if (done() || text_[at_] == '}' || text_[at_] == ']') break;
      std::string name = std::to_string(index);
      if (is_object) {
        const std::size_t begin = at_;
        skip();
        const auto key = read_json(text_.substr(begin, at_ - begin));
        name = key && key->is_string() ? key->as_string() : "";
        space();
        ++at_;  // the colon
        space();
      }
      if (name == token) return true;
      skip();
      space();
      if (!done() && text_[at_] == ',') ++at_;
    }
    at_ = container;
    return false;
  }

  std::size_t line() const {
    const std::string_view before = text_.substr(0, std::min(at_, text_.size()));
    return 1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n'));
  }

 private:
  bool done() const { return at_ >= text_.size(); }
  void space() {
    while (!done() && std::string_view(" \t\r\n").contains(text_[at_])) ++at_;
  }

  void skip_string() {
    for (++at_; !done() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
  }

  // Over a value, whatever it holds.
  void skip() {
    const std::size_t begin = at_;
    std::size_t depth = 0;
    while (!done()) {  // ends: every round takes a byte
      const char c = text_[at_];
      if (c == '"') {
        skip_string();
      } else if (c == '{' || c == '[') {
        ++depth, ++at_;
      } else if (c == '}' || c == ']') {
        if (depth == 0) return;
        --depth, ++at_;
      } else if (depth == 0 && at_ > begin && std::string_view(", \t\r\n:").contains(c)) {
        return;
      } else {
        ++at_;
        continue;  // a number or a word goes on
      }
      if (depth == 0) return;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::string unescaped(std::string_view token) {
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    const bool escape = token[i] == '~' && i + 1 < token.size();
    out += escape ? (token[i + 1] == '1' ? '/' : '~') : token[i];
    i += escape ? 1 : 0;
  }
  return out;
}

}  // namespace

std::size_t line_of_place(std::string_view text, std::string_view pointer) {
  Walk walk(text);
  while (!pointer.empty()) {  // ends: every round takes a token off
    pointer.remove_prefix(1);
    const std::string_view token = pointer.substr(0, pointer.find('/'));
    pointer.remove_prefix(token.size());
    if (!walk.enter(unescaped(token))) break;
  }
  return walk.line();
}

}  // namespace assay
