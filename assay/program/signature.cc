#include "assay/program/signature.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/program/schema.h"

namespace assay {
namespace {

bool is_name(std::string_view text) {
  if (text.empty() || !((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '_')) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; });
}

// Splits at commas outside brackets and quotes; the offsets let errors name columns of the whole text.
struct Piece {
  std::string_view text;
  std::size_t column;
};
std::vector<Piece> split_fields(std::string_view text, std::size_t column) {
  std::vector<Piece> out;
  std::size_t begin = 0;
  int depth = 0;
  char quote = '\0';
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ',';
    if (quote != '\0' && i < text.size()) {
      if (c == quote) quote = '\0';
    } else if (i < text.size() && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == '[') {
      ++depth;
    } else if (c == ']') {
      --depth;
    } else if (c == ',' && (depth <= 0 || i == text.size())) {
      out.push_back({text.substr(begin, i - begin), column + begin});
      begin = i + 1;
    }
  }
  return out;
}

Result<std::vector<Field>> read_fields(std::string_view text, std::size_t column, const SignatureLimits& limits) {
  std::vector<Field> fields;
  for (const Piece& piece : split_fields(text, column)) {
    const std::string place = fmt::format("column {}", piece.column + 1);
    if (fields.size() == limits.fields_max) return fail(ErrorCode::limit_exceeded, "too many fields", "nest them in a record", place);
    const std::size_t colon = piece.text.find(':');
    Field field;
    field.name = trim(piece.text.substr(0, colon));
    if (!is_name(field.name)) {
      return fail(ErrorCode::malformed, fmt::format("expected a field name, found '{}'", field.name), "names are A-Z, a-z, 0-9 and _",
                  place);
    }
    if (colon != std::string_view::npos) {
      auto schema = schema_of_type(trim(piece.text.substr(colon + 1)));
      if (!schema) return std::unexpected(std::move(schema.error()).in(field.name));
      field.schema = std::move(*schema);
    }
    fields.push_back(std::move(field));
  }
  return fields;
}

std::string joined(const std::vector<Field>& fields) {
  std::string out;
  for (const Field& field : fields) out += (out.empty() ? "" : ", ") + field.name;
  return out;
}

Result<void> check_names(const Signature& signature) {
  std::vector<std::string> names;
  for (const auto* side : {&signature.inputs, &signature.outputs}) {
    for (const Field& field : *side) {
      if (!is_name(field.name)) return fail(ErrorCode::malformed, fmt::format("'{}' is not a field name", field.name));
      if (std::find(names.begin(), names.end(), field.name) != names.end()) {
        return fail(ErrorCode::malformed, fmt::format("the field '{}' occurs twice", field.name), "give each field its own name");
      }
      names.push_back(field.name);
    }
  }
  if (signature.outputs.empty()) return fail(ErrorCode::malformed, "a signature has at least one output", "write \"inputs -> outputs\"");
  return {};
}

Json field_json(const Field& field) {
  Json out = JsonObject{{"name", field.name}, {"description", field.description}, {"schema", field.schema}};
  if (!field.label.empty()) out.set("label", field.label);
  return out;
}

Result<Field> read_field(const Json& value) {
  Field field;
  ASSAY_TRY(field.name, string_member(value, "name"));
  ASSAY_TRY(field.description, string_member(value, "description"));
  ASSAY_TRY(const Json* schema, member(value, "schema", Json::Kind::object));
  field.schema = *schema;
  if (auto fits = check_schema(field.schema); !fits) return std::unexpected(std::move(fits.error()).in("schema"));
  if (const Json& label = value.at("label"); label.is_string()) field.label = label.as_string();
  return field;
}

Result<std::vector<Field>> read_side(const Json& value, std::string_view key) {
  ASSAY_TRY(const Json* list, member(value, key, Json::Kind::list));
  std::vector<Field> fields;
  for (std::size_t i = 0; i < list->as_list().size(); ++i) {
    auto field = read_field(list->as_list()[i]);
    if (!field) return std::unexpected(std::move(field.error()).in(fmt::format("{}[{}]", key, i)));
    fields.push_back(std::move(*field));
  }
  return fields;
}

// True: nothing is absent. False: an Optional is, and a null has to take its place.
Result<bool> check_side(const Json& values, const std::vector<Field>& fields, std::string_view side) {
  if (!values.is_object()) return fail(ErrorCode::malformed, fmt::format("the {} are an object of fields", side));
  for (const auto& [key, value] : values.as_object()) {
    const bool known = std::any_of(fields.begin(), fields.end(), [&](const Field& f) { return f.name == key; });
    if (!known) {
      return fail(ErrorCode::malformed, fmt::format("unknown field '{}'", key), fmt::format("the {} are: {}", side, joined(fields)),
                  std::string(side));
    }
  }
  bool all_there = true;
  for (const Field& field : fields) {
    const Json* value = values.as_object().find(field.name);
    if (value == nullptr && is_optional(field.schema)) {
      all_there = false;
      continue;
    }
    if (value == nullptr) {
      return fail(ErrorCode::malformed, fmt::format("the field '{}' is missing", field.name),
                  fmt::format("the {} are: {}", side, joined(fields)), std::string(side));
    }
    if (auto fits = check_value(*value, field.schema); !fits) {
      fits.error().code = ErrorCode::malformed;  // a wrong type is bad input, not a failed check
      return std::unexpected(std::move(fits.error()).in(fmt::format("{}.{}", side, field.name)));
    }
  }
  return all_there;
}

void fill(Json& values, const std::vector<Field>& fields) {
  for (const Field& field : fields) {
    if (!values.as_object().contains(field.name)) values.set(field.name, Json());
  }
}

Result<Json> checked_copy(const Json& values, const std::vector<Field>& fields, std::string_view side) {
  ASSAY_TRY(const bool all_there, check_side(values, fields, side));
  Json out = values;
  if (!all_there) fill(out, fields);
  return out;
}

}  // namespace

Result<Signature> Signature::parse(std::string_view text, std::string name, std::string instructions, const SignatureLimits& limits) {
  if (text.size() > limits.text_bytes_max) return fail(ErrorCode::limit_exceeded, "the signature text is too long");
  const std::size_t arrow = text.find("->");
  if (arrow == std::string_view::npos || text.find("->", arrow + 2) != std::string_view::npos) {
    return fail(ErrorCode::malformed, "a signature has exactly one '->'", "write \"inputs -> outputs\"");
  }
  Signature signature;
  signature.name = std::move(name);
  if (!trim(text.substr(0, arrow)).empty()) {
    ASSAY_TRY(signature.inputs, read_fields(text.substr(0, arrow), 0, limits));
  }
  ASSAY_TRY(signature.outputs, read_fields(text.substr(arrow + 2), arrow + 2, limits));
  ASSAY_CHECK(check_names(signature));
  signature.instructions = std::move(instructions);
  if (signature.instructions.empty()) {
    signature.instructions = fmt::format("From {}, work out {}.", joined(signature.inputs), joined(signature.outputs));
  }
  return signature;
}

Result<Signature> Signature::read(const Json& value) {
  Signature signature;
  ASSAY_TRY(signature.name, string_member(value, "name"));
  ASSAY_TRY(signature.instructions, string_member(value, "instructions"));
  ASSAY_TRY(signature.inputs, read_side(value, "inputs"));
  ASSAY_TRY(signature.outputs, read_side(value, "outputs"));
  ASSAY_CHECK(check_names(signature));
  return signature;
}

Json Signature::to_json() const {
  JsonList in, out;
  for (const Field& field : inputs) in.push_back(field_json(field));
  for (const Field& field : outputs) out.push_back(field_json(field));
  return JsonObject{{"name", name}, {"instructions", instructions}, {"inputs", std::move(in)}, {"outputs", std::move(out)}};
}

namespace {
const Field* find_field(const std::vector<Field>& fields, std::string_view name) {
  const auto at = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
  return at == fields.end() ? nullptr : &*at;
}
}  // namespace

const Field* Signature::input(std::string_view name) const { return find_field(inputs, name); }
const Field* Signature::output(std::string_view name) const { return find_field(outputs, name); }
Result<Json> Signature::check_inputs(const Json& values) const { return checked_copy(values, inputs, "inputs"); }
Result<Json> Signature::check_outputs(const Json& values) const { return checked_copy(values, outputs, "outputs"); }

Result<void> Signature::fit_inputs(const Json& values, std::optional<Json>& filled) const {
  ASSAY_TRY(const bool all_there, check_side(values, inputs, "inputs"));
  if (all_there) return {};
  filled = values;
  fill(*filled, inputs);
  return {};
}

Result<void> Signature::fit_outputs(Json& values) const {
  ASSAY_TRY(const bool all_there, check_side(values, outputs, "outputs"));
  if (!all_there) fill(values, outputs);
  return {};
}

}  // namespace assay
