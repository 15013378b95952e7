#pragma once
/// @file
/// JSON text that fits a schema, accepted byte by byte: what a lane needs in order to let a model write nothing else.
///
///     ASSAY_TRY(const auto shape, JsonShape::of(schema));   // {"type":"array","items":{"type":"integer"}}
///     JsonCursor cursor(shape);
///     cursor.take("[1, 2");                                 // true; cursor.may_end() is false
///     cursor.take("]");                                     // true; cursor.must_end() is true
///
/// The schemas are those of a signature's fields (docs/formats.md §2) with `enum` inside strings. Of all JSON texts that fit, it admits
/// those that a model can be held to: members in the order of canonical JSON, a space at most after `,` and `:` and none elsewhere, numbers
/// that the strict reader takes, dict keys without escapes and each once (docs/templates/chat-1.md §6).
/// Thread safety: a JsonShape is immutable; a JsonCursor belongs to one answer.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/base/result.h"

namespace assay {

/// T of `anyOf` [T, null], the way an Optional is written; null for any other schema.
const Json* optional_type(const Json& schema);

/// A schema's own members, not those of schemas inside it: each belongs to its shape (docs/formats.md §2), and `required` and `x-order`
/// name its properties. A member elsewhere, an enum of integers say, would forbid what nobody checks.
/// Errors: `malformed`, with the member as the place.
Result<void> check_schema_members(const Json& schema);

/// A schema, ready to be followed.
class JsonShape {
 public:
  enum class Kind { words, integer, number, string, list, dict, record };
  struct Member {
    std::string key;  ///< as JSON, with its quotes
    std::size_t node = 0;
    bool required = false;
  };
  struct Node {
    Kind kind = Kind::words;
    std::vector<std::string> words;  ///< texts that it may be besides, ascending by bytes: `null`, `true`, quoted values of an enum
    std::size_t item = 0;  ///< list, dict: the node of each value
    std::vector<Member> members;  ///< record: in the order in which they are written
  };

  static constexpr int depth_max = 32;
  static constexpr std::size_t nodes_max = 4096;
  static constexpr std::size_t members_max = 256;  ///< of one record
  static constexpr std::size_t words_max = 4096;  ///< of one enum
  static constexpr std::size_t bytes_max = std::size_t{1} << 20;  ///< of all words and keys

  /// Errors: `malformed`, `limit_exceeded`, `refused` (a keyword or type that it does not keep to), each with the JSON pointer of the
  /// place.
  static Result<std::shared_ptr<const JsonShape>> of(const Json& schema);

  const std::vector<Node>& nodes() const { return nodes_; }  ///< the first one is the whole value

 private:
  friend class JsonShapeReader;
  std::vector<Node> nodes_;
};

/// A place inside a text that fits a shape.
class JsonCursor {
 public:
  /// The text begins with `lead`, and what follows never holds `avoid` (the marker that a reader would split it at).
  explicit JsonCursor(std::shared_ptr<const JsonShape> shape, std::string lead = {}, std::string avoid = {});

  /// Goes on over `text`; false if it cannot stand here, and the cursor is of no use then: ask `admits` first.
  bool take(std::string_view text);
  /// Whether `take` would give true; the cursor stays where it is.
  bool admits(std::string_view text);
  /// The value may be over here (a number may also go on).
  bool may_end() const;
  /// The value is over and no byte can follow.
  bool must_end() const { return lead_at_ == lead_.size() && frames_.empty(); }

 private:
  enum class State : std::uint8_t {
    start,  // a value that has not begun
    word,  // one of some texts
    text,  // a string
    escape,
    hex,
    sign,  // a number
    zero,
    whole,
    point,
    fraction,
    exponent,
    minus,
    exponent_digits,
    plus,
    plus_two,
    plus_more,
    ended,
    opened,  // a list, dict or record
    more,
    after_comma,
    key,
    colon,
    after_colon
  };
  enum class Step : std::uint8_t { taken, refused, over };  // over: the value ended before this byte
  struct Frame {
    const JsonShape::Node* node = nullptr;
    State state = State::start;
    bool spaced = false;  // the space that may stand here has been
    bool small = false;  // a number below 1: its part before the point is 0
    std::uint8_t digits = 0;  // of this part of a number or escape
    std::uint8_t trail = 0;  // bytes of a character that are still to come
    std::uint8_t low = 0x80, high = 0xBF;  // what the next of them may be
    std::size_t first = 0, last = 0;  // word: the words still possible; record: first member that may come next, the one that comes
    std::string spelled;  // the word or key so far
    std::vector<std::string> keys;  // of a dict, those that it has
  };

  Step step(Frame& frame, unsigned char byte);
  Step begin(Frame& frame, unsigned char byte);
  Step in_word(Frame& frame, unsigned char byte);
  Step in_text(Frame& frame, unsigned char byte);
  static Step in_escape(Frame& frame, unsigned char byte);
  static Step in_number(Frame& frame, unsigned char byte);
  Step in_container(Frame& frame, unsigned char byte);
  Step in_key(Frame& frame, unsigned char byte);
  Step close();
  Step descend(const JsonShape::Node& node, unsigned char byte);
  bool take_byte(unsigned char byte);
  bool avoids(unsigned char byte);

  std::shared_ptr<const JsonShape> shape_;
  std::string lead_, avoid_;
  std::size_t lead_at_ = 0, matched_ = 0;
  std::vector<std::size_t> border_;  // of each beginning of `avoid`: the longest shorter one that it also ends with
  std::vector<Frame> frames_, before_;  // before_: room for `admits`
};

}  // namespace assay
