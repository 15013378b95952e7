#pragma once
/// @file
/// Field types as JSON Schemas (docs/formats.md §2), checked both ways.
///
///     ASSAY_TRY(const Json schema, schema_of_type("Literal['low','high']"));
///     ASSAY_CHECK(check_value(Json("low"), schema));
///
/// Thread safety: pure functions.

#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"

namespace assay {

/// "str", "int", "float", "bool", "list[T]", "dict[str, T]", "Optional[T]", "T | None", "Literal['a', 'b']".
/// Errors: `malformed` with the column; nesting beyond 16 and more than 4,096 Literal values are `limit_exceeded`.
Result<Json> schema_of_type(std::string_view type);

/// Does the value fit? Errors: `mismatch`; the path is the place inside the value.
Result<void> check_value(const Json& value, const Json& schema);

/// Could a value of the first schema fit the second? False only if none ever does: int and str, Literals without a value in common. Both
/// are of the known shapes.
bool may_fit(const Json& from, const Json& to);

/// The schema is one of the shapes of formats.md §2. Errors: `malformed` (with the unknown shape).
Result<void> check_schema(const Json& schema);

bool is_string_schema(const Json& schema);
/// Values of a Literal in written order; empty when the schema is no Literal.
std::vector<std::string> literal_values(const Json& schema);
bool is_optional(const Json& schema);

/// A repair that reading a value needed, as recorded: "case", "quotes", "full_stop", …
struct Repair {
  std::string kind, detail;
};

/// Reads a value from an LM's text (docs/templates/chat-1.md): text for str, one of the values for a Literal (letter case,
/// quotes and a final full stop are repaired), strict JSON for all else. Errors: `unreadable`.
Result<Json> value_from_text(std::string_view text, const Json& schema, std::vector<Repair>* repairs);

/// Value as it is put into a slot: a string raw, anything else as canonical text.
Result<std::string> value_text(const Json& value);

/// Trims spaces, tabs, CR and LF on both ends.
std::string_view trim(std::string_view text);

}  // namespace assay
