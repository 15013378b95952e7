#include <algorithm>

#include "assay/lm/json_shape.h"

namespace assay {
namespace {

constexpr int whole_digits_max = 15;  // always below 2^53
constexpr int fraction_digits_max = 24;
constexpr int exponent_digits_max = 2;

bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

bool is_plain(char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; }

}  // namespace

JsonCursor::JsonCursor(std::shared_ptr<const JsonShape> shape, std::string lead, std::string avoid)
    : shape_(std::move(shape)), lead_(std::move(lead)), avoid_(std::move(avoid)), border_(avoid_.size() + 1, 0) {
  for (std::size_t i = 1, same = 0; i < avoid_.size(); ++i) {
    while (same > 0 && avoid_[i] != avoid_[same]) same = border_[same];
    if (avoid_[i] == avoid_[same]) ++same;
    border_[i + 1] = same;
  }
  frames_.emplace_back().node = &shape_->nodes().front();
}

bool JsonCursor::take(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [this](char c) { return take_byte(static_cast<unsigned char>(c)); });
}

bool JsonCursor::admits(std::string_view text) {
  // Nearly all tokens of a vocabulary are plain words, and inside a string nearly all of them can stand.
  const bool in_string = lead_at_ == lead_.size() && !frames_.empty() && frames_.back().state == State::text && frames_.back().trail == 0;
  if (in_string && std::all_of(text.begin(), text.end(), is_plain) &&
      (avoid_.empty() || text.find(avoid_.back()) == std::string_view::npos))
    return true;
  const std::size_t lead_at = lead_at_, matched = matched_;
  before_ = frames_;
  const bool yes = take(text);
  frames_.swap(before_);
  lead_at_ = lead_at;
  matched_ = matched;
  return yes;
}

bool JsonCursor::may_end() const {
  if (lead_at_ != lead_.size() || frames_.size() > 1) return false;
  if (frames_.empty()) return true;
  const State state = frames_.back().state;
  return state == State::zero || state == State::whole || state == State::fraction || state == State::exponent_digits ||
         state == State::ended;
}

bool JsonCursor::take_byte(unsigned char byte) {
  if (lead_at_ < lead_.size()) return static_cast<unsigned char>(lead_[lead_at_++]) == byte;
  Step done = Step::over;
  while (done == Step::over && !frames_.empty()) {  // ends: a value that is over takes its frame away
    done = step(frames_.back(), byte);
    if (done == Step::over) frames_.pop_back();
  }
  return done == Step::taken && avoids(byte);
}

/// False if the text that is to be avoided would now stand there.
bool JsonCursor::avoids(unsigned char byte) {
  if (avoid_.empty()) return true;
  while (matched_ > 0 && static_cast<unsigned char>(avoid_[matched_]) != byte) matched_ = border_[matched_];
  if (static_cast<unsigned char>(avoid_[matched_]) == byte) ++matched_;
  return matched_ < avoid_.size();
}

JsonCursor::Step JsonCursor::step(Frame& frame, unsigned char byte) {
  switch (frame.state) {
    case State::start: return begin(frame, byte);
    case State::word: return in_word(frame, byte);
    case State::text: return in_text(frame, byte);
    case State::escape:
    case State::hex: return in_escape(frame, byte);
    case State::opened:
    case State::more:
    case State::after_comma:
    case State::key:
    case State::colon:
    case State::after_colon: return in_container(frame, byte);
    default: return in_number(frame, byte);
  }
}

/// The first byte of a value says what it is.
JsonCursor::Step JsonCursor::begin(Frame& frame, unsigned char byte) {
  using Kind = JsonShape::Kind;
  const auto& words = frame.node->words;
  frame.last = words.size();
  if (in_word(frame, byte) == Step::taken) {
    frame.state = State::word;
    return Step::taken;
  }
  const Kind kind = frame.node->kind;
  if (kind == Kind::string && byte == '"') {
    frame.state = State::text;
  } else if ((kind == Kind::list && byte == '[') || ((kind == Kind::dict || kind == Kind::record) && byte == '{')) {
    frame.state = State::opened;
    frame.first = 0;
  } else if (kind == Kind::integer || kind == Kind::number) {
    if (byte != '-' && !is_digit(byte)) return Step::refused;
    frame.state = byte == '-' ? State::sign : byte == '0' ? State::zero : State::whole;
    frame.small = byte == '0';
    frame.digits = 1;
  } else {
    return Step::refused;
  }
  return Step::taken;
}

/// Words stand in order, so those with one beginning are neighbours: each byte narrows [first, last).
JsonCursor::Step JsonCursor::in_word(Frame& frame, unsigned char byte) {
  const auto& words = frame.node->words;
  const std::size_t at = frame.spelled.size();
  const auto byte_of = [&](const std::string& word) { return at < word.size() ? static_cast<unsigned char>(word[at]) : -1; };
  const auto from = words.begin() + static_cast<std::ptrdiff_t>(frame.first), to = words.begin() + static_cast<std::ptrdiff_t>(frame.last);
  const auto low = std::partition_point(from, to, [&](const std::string& word) { return byte_of(word) < byte; });
  const auto high = std::partition_point(low, to, [&](const std::string& word) { return byte_of(word) == byte; });
  if (low == high) return Step::refused;
  frame.spelled.push_back(static_cast<char>(byte));
  if (low->size() == frame.spelled.size()) return close();  // no word begins another: each ends with its quote, or has none
  frame.first = static_cast<std::size_t>(low - words.begin());
  frame.last = static_cast<std::size_t>(high - words.begin());
  return Step::taken;
}

/// A string after its first quote, or a key: characters in well-formed UTF-8 (Unicode 15, table 3-7).
JsonCursor::Step JsonCursor::in_text(Frame& frame, unsigned char byte) {
  if (frame.trail > 0) {
    if (byte < frame.low || byte > frame.high) return Step::refused;
    --frame.trail;
    frame.low = 0x80;
    frame.high = 0xBF;
    return Step::taken;
  }
  if (byte < 0x20) return Step::refused;
  if (byte == '"') return close();
  if (byte == '\\') {
    frame.state = State::escape;
    return Step::taken;
  }
  if (byte < 0x80) return Step::taken;
  if (byte < 0xC2 || byte > 0xF4) return Step::refused;
  frame.trail = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  frame.low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  frame.high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
  return Step::taken;
}

/// `\n` and its like, and `\u` with four hex digits that are no surrogate.
JsonCursor::Step JsonCursor::in_escape(Frame& frame, unsigned char byte) {
  if (frame.state == State::escape) {
    if (byte != 'u' && std::string_view("\"\\/bfnrt").find(static_cast<char>(byte)) == std::string_view::npos) return Step::refused;
    frame.state = byte == 'u' ? State::hex : State::text;
    frame.digits = 0;
    return Step::taken;
  }
  const unsigned char lower = byte | 0x20;
  if (!is_digit(byte) && !(lower >= 'a' && lower <= 'f')) return Step::refused;
  if (frame.digits == 1 && frame.spelled == "d" && byte >= '8') return Step::refused;
  frame.spelled = frame.digits == 0 && lower == 'd' ? "d" : "";
  if (++frame.digits == 4) frame.state = State::text;
  return Step::taken;
}

JsonCursor::Step JsonCursor::in_number(Frame& frame, unsigned char byte) {
  const bool whole_only = frame.node->kind == JsonShape::Kind::integer;
  const auto go = [&](State state) {
    frame.digits = state == frame.state ? static_cast<std::uint8_t>(frame.digits + 1) : std::uint8_t{1};
    frame.state = state;
    return Step::taken;
  };
  const auto digits = [&](State state, int most) {
    if (!is_digit(byte)) return Step::over;
    return frame.state == state && frame.digits >= most ? Step::refused : go(state);
  };
  const auto after_whole = [&] {
    if (!whole_only && byte == '.') return go(State::point);
    return !whole_only && (byte | 0x20) == 'e' ? go(State::exponent) : Step::over;
  };
  switch (frame.state) {
    case State::sign:
      if (!is_digit(byte) || (whole_only && byte == '0')) return Step::refused;
      frame.small = byte == '0';
      return go(byte == '0' ? State::zero : State::whole);
    case State::zero: return is_digit(byte) ? Step::refused : after_whole();
    case State::whole: return is_digit(byte) ? digits(State::whole, whole_digits_max) : after_whole();
    case State::point: return is_digit(byte) ? go(State::fraction) : Step::refused;
    case State::fraction: return (byte | 0x20) == 'e' ? go(State::exponent) : digits(State::fraction, fraction_digits_max);
    // The strict reader refuses whole numbers from 2^53 to 1e21: a positive exponent is one that leads beyond them.
    case State::exponent:
      if (byte == '-') return go(State::minus);
      return byte == '+' && !frame.small ? go(State::plus) : Step::refused;
    case State::minus: return is_digit(byte) ? go(State::exponent_digits) : Step::refused;
    case State::plus: return byte == '2' ? go(State::plus_two) : byte >= '3' && byte <= '9' ? go(State::plus_more) : Step::refused;
    case State::plus_two: return byte >= '1' && byte <= '9' ? go(State::ended) : Step::refused;
    case State::plus_more: return is_digit(byte) ? go(State::ended) : Step::refused;
    case State::ended: return is_digit(byte) ? Step::refused : Step::over;
    default: return digits(State::exponent_digits, exponent_digits_max);
  }
}

JsonCursor::Step JsonCursor::close() {
  frames_.pop_back();
  return Step::taken;
}

/// A value inside a container, from its first byte. References into `frames_` are dead afterwards.
JsonCursor::Step JsonCursor::descend(const JsonShape::Node& node, unsigned char byte) {
  Frame& frame = frames_.emplace_back();
  frame.node = &node;
  return begin(frame, byte);
}

JsonCursor::Step JsonCursor::in_container(Frame& frame, unsigned char byte) {
  using Kind = JsonShape::Kind;
  const auto& node = *frame.node;
  const auto needed = [&] {
    const auto from = node.members.begin() + static_cast<std::ptrdiff_t>(frame.first);
    return node.kind == Kind::record && std::any_of(from, node.members.end(), [](const auto& member) { return member.required; });
  };
  const bool room = node.kind != Kind::record || frame.first < node.members.size();
  if (byte == ' ' && (frame.state == State::after_comma || frame.state == State::after_colon)) {
    return std::exchange(frame.spaced, true) ? Step::refused : Step::taken;
  }
  switch (frame.state) {
    case State::key: return in_key(frame, byte);
    case State::colon:
      frame.state = State::after_colon;
      frame.spaced = false;
      return byte == ':' ? Step::taken : Step::refused;
    case State::after_colon: {
      frame.state = State::more;
      const std::size_t value = node.kind == Kind::record ? node.members[frame.first - 1].node : node.item;
      return descend(shape_->nodes()[value], byte);
    }
    case State::more:
      if (byte == ',' && room) {
        frame.state = State::after_comma;
        frame.spaced = false;
        return Step::taken;
      }
      return byte == (node.kind == Kind::list ? ']' : '}') && !needed() ? close() : Step::refused;
    default: break;  // opened, after_comma: a value, a key, or the end of an empty container
  }
  if (frame.state == State::opened && byte == (node.kind == Kind::list ? ']' : '}') && !needed()) return close();
  if (node.kind == Kind::list) {
    frame.state = State::more;
    return descend(shape_->nodes()[node.item], byte);
  }
  if (byte != '"' || !room) return Step::refused;
  frame.state = State::key;
  frame.spelled = "\"";
  return Step::taken;
}

/// A name: of a dict any that it has not yet, of a record one of those up to the next that must come.
JsonCursor::Step JsonCursor::in_key(Frame& frame, unsigned char byte) {
  frame.spelled.push_back(static_cast<char>(byte));
  const auto done = [&] {
    frame.state = State::colon;
    return Step::taken;
  };
  if (frame.node->kind == JsonShape::Kind::dict) {
    if (byte == '\\') return Step::refused;
    if (byte != '"' || frame.trail > 0) return in_text(frame, byte);
    if (std::find(frame.keys.begin(), frame.keys.end(), frame.spelled) != frame.keys.end()) return Step::refused;
    frame.keys.push_back(frame.spelled);
    return done();
  }
  bool possible = false;
  const auto& members = frame.node->members;
  for (std::size_t i = frame.first; i < members.size(); ++i) {
    if (members[i].key == frame.spelled) {
      frame.first = i + 1;
      return done();
    }
    possible = possible || members[i].key.starts_with(frame.spelled);
    if (members[i].required) break;
  }
  return possible ? Step::taken : Step::refused;
}

}  // namespace assay
