#pragma once
/// @file
/// The renderer and reader `chat/1`: slots as data, one pass of placeholders, frozen. Source: docs/templates/chat-1.md.
///
///     ASSAY_TRY(const ChatTemplate t, ChatTemplate::read(template_json, signature));
///     ASSAY_TRY(const std::vector<Message> m, t.render(signature, demos, inputs));
///     ASSAY_TRY(const Json outputs, t.read_answer(signature, text, &repairs));
///
/// Thread safety: a value; all methods are pure.

#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/lm/lm.h"
#include "assay/program/schema.h"
#include "assay/program/signature.h"

namespace assay {

/// A slot, cut into literal text and placeholders.
struct SlotPart {
  bool placeholder = false;
  std::string text;  ///< the literal, or "instructions", "inputs.NAME", "outputs.NAME"
};
/// Errors: `malformed` (a lone brace) with the byte offset.
Result<std::vector<SlotPart>> parse_slot(std::string_view slot);

/// Each value that a demo gives fits its field's schema, unless it stands for a text ({"$text": …}); a field that it leaves out is fine.
/// Errors: `malformed` with the place, as demos[3].outputs.NAME.
Result<void> check_demos(const Signature& signature, const JsonList& demos);

class ChatTemplate {
 public:
  /// TEMPLATE of an artifact. Errors: `refused` (unknown renderer or reader), `malformed` (slot, placeholder).
  static Result<ChatTemplate> read(const Json& value, const Signature& signature);
  /// The default template for a signature: each field on a line of its own behind its name.
  static Json make(const Signature& signature);

  Result<std::vector<Message>> render(const Signature& signature, const JsonList& demos, const Json& inputs) const;
  /// Errors: `unreadable`, naming the field. `repairs` gathers what had to be mended.
  Result<Json> read_answer(const Signature& signature, std::string_view text, std::vector<Repair>* repairs) const;
  /// Can every answer that `answer_schema` admits be read as it was meant? Not where a value of a Literal or boolean holds the text by
  /// which the reader finds the next field, or has white space at its ends, nor where that text is made of the brackets of a list. Errors:
  /// `refused`.
  Result<void> check_constrained(const Signature& signature) const;
  /// What a constrained lane must keep to: all allowed answers when every output is a Literal, else literal and free parts.
  Json answer_schema(const Signature& signature) const;

 private:
  std::vector<SlotPart> system_, user_, assistant_;
};

}  // namespace assay
