#include "assay/program/schema.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "assay/lm/json_shape.h"

namespace assay {
namespace {

constexpr int nesting_max = 16;
constexpr std::size_t literals_max = 4096;

Json typed(std::string_view type) { return JsonObject{{"type", type}}; }

// Recursive descent over a type text; every loop consumes a byte or returns.
class TypeReader {
 public:
  explicit TypeReader(std::string_view text) : text_(text) {}

  Result<Json> read() {
    ASSAY_TRY(Json schema, read_union());
    skip();
    if (at_ != text_.size()) return error(fmt::format("unexpected '{}'", text_[at_]));
    return schema;
  }

 private:
  std::unexpected<Error> error(std::string message, ErrorCode code = ErrorCode::malformed) const {
    return fail(code, std::move(message), "types are str, int, float, bool, list[T], dict[str, T], Optional[T] and Literal['a', 'b']",
                fmt::format("column {}", at_ + 1));
  }
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ < text_.size() && text_[at_] == c) {
      ++at_;
      return true;
    }
    return false;
  }
  std::string_view word() {
    skip();
    const std::size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_')) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  Result<Json> read_union() {
    if (++depth_ > nesting_max) return error("the type is nested too deeply", ErrorCode::limit_exceeded);
    ASSAY_TRY(Json schema, read_type());
    if (take('|')) {
      if (word() != "None") return error("only '| None' may follow a type");
      schema = optional(std::move(schema));
    }
    --depth_;
    return schema;
  }

  static Json optional(Json inner) { return JsonObject{{"anyOf", JsonList{std::move(inner), typed("null")}}}; }

  Result<Json> read_type() {
    const std::string_view name = word();
    if (name == "str") return typed("string");
    if (name == "int") return typed("integer");
    if (name == "float") return typed("number");
    if (name == "bool") return typed("boolean");
    if (name == "list" || name == "List") {
      ASSAY_TRY(Json item, bracketed());
      return Json(JsonObject{{"type", "array"}, {"items", std::move(item)}});
    }
    if (name == "Optional") {
      ASSAY_TRY(Json inner, bracketed());
      return optional(std::move(inner));
    }
    if (name == "dict" || name == "Dict") return read_dict();
    if (name == "Literal") return read_literal();
    return error(name.empty() ? "expected a type" : fmt::format("unknown type '{}'", name));
  }

  Result<Json> bracketed() {
    if (!take('[')) return error("expected '['");
    ASSAY_TRY(Json inner, read_union());
    if (!take(']')) return error("expected ']'");
    return inner;
  }

  Result<Json> read_dict() {
    if (!take('[')) return error("expected '['");
    if (word() != "str") return error("the keys of a dict are str");
    if (!take(',')) return error("expected ','");
    ASSAY_TRY(Json item, read_union());
    if (!take(']')) return error("expected ']'");
    return Json(JsonObject{{"type", "object"}, {"additionalProperties", std::move(item)}});
  }

  Result<Json> read_literal() {
    if (!take('[')) return error("expected '['");
    JsonList values;
    while (true) {  // ends: every round consumes a value or returns
      skip();
      const char quote = at_ < text_.size() ? text_[at_] : '\0';
      if (quote != '\'' && quote != '"') return error("expected a value in quotes");
      const std::size_t end = text_.find(quote, at_ + 1);
      if (end == std::string_view::npos) return error("the quote is not closed");
      const Json value(text_.substr(at_ + 1, end - at_ - 1));
      if (value.as_string().empty()) return error("a Literal value is not empty");
      if (std::find(values.begin(), values.end(), value) != values.end()) {
        return fail(ErrorCode::malformed, fmt::format("the Literal value '{}' occurs twice", value.as_string()), "give it once",
                    fmt::format("column {}", at_ + 1));
      }
      if (values.size() == literals_max) return error("too many values", ErrorCode::limit_exceeded);
      values.push_back(value);
      at_ = end + 1;
      if (take(']')) break;
      if (!take(',')) return error("expected ',' or ']'");
    }
    return Json(JsonObject{{"type", "string"}, {"enum", std::move(values)}});
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

std::string_view type_of(const Json& schema) {
  const Json& type = schema.at("type");
  return type.is_string() ? std::string_view(type.as_string()) : std::string_view();
}

std::unexpected<Error> mismatch(std::string expected, const Json& value, std::string remedy = "the signature says what each field is") {
  const auto text = canonical(value);
  std::string found = text ? *text : "an unprintable value";
  if (text && value.is_number() && !value.is_int() && found.find_first_of(".eE") == std::string::npos)
    found += ".0";  // as it was written, near enough
  if (found.size() > 60) {
    std::size_t cut = 60;
    while (cut > 0 && (static_cast<unsigned char>(found[cut]) & 0xC0) == 0x80) --cut;
    found = found.substr(0, cut) + "…";
  }
  return fail(ErrorCode::mismatch, fmt::format("expected {}, found {}", expected, found), std::move(remedy));
}

Result<void> check_record(const Json& value, const Json& schema) {
  const Json& properties = schema.at("properties");
  for (const Json& name : schema.at("required").is_list() ? schema.at("required").as_list() : JsonList{}) {
    if (!value.as_object().contains(name.as_string())) return mismatch(fmt::format("a record with \"{}\"", name.as_string()), value);
  }
  for (const auto& [key, item] : value.as_object()) {
    const Json& inner = properties.at(key);
    if (inner.is_null()) return mismatch(fmt::format("no member \"{}\"", key), value);
    if (auto fits = check_value(item, inner); !fits) return std::unexpected(std::move(fits.error()).in(key));
  }
  return {};
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// Takes a pair of quotes or backticks and a final full stop off, noting each.
std::string_view strip_decoration(std::string_view text, std::vector<Repair>* repairs) {
  for (int round = 0; round < 4; ++round) {
    const std::string_view before = text;
    if (text.size() > 1 && (text.front() == '"' || text.front() == '\'' || text.front() == '`') && text.back() == text.front()) {
      text = trim(text.substr(1, text.size() - 2));
      if (repairs != nullptr) repairs->push_back({"quotes", std::string(before.substr(0, 1))});
    } else if (text.size() > 1 && text.back() == '.') {
      text = trim(text.substr(0, text.size() - 1));
      if (repairs != nullptr) repairs->push_back({"full_stop", "."});
    } else {
      break;
    }
  }
  return text;
}

// The values of a Literal as they stand in its schema; null when it is none.
const JsonList* literals(const Json& schema) {
  if (type_of(schema) != "string") return nullptr;
  const Json& values = schema.at("enum");
  if (!values.is_list() || !std::any_of(values.as_list().begin(), values.as_list().end(), [](const Json& v) { return v.is_string(); }))
    return nullptr;
  return &values.as_list();
}

bool contains(const JsonList& values, std::string_view text) {
  return std::any_of(values.begin(), values.end(), [&](const Json& value) { return value.is_string() && value.as_string() == text; });
}

// As many as a person reads.
std::string first_few(const std::vector<std::string>& values) {
  constexpr std::size_t most = 8;
  const std::size_t shown = std::min(values.size(), most);
  return fmt::format("'{}'{}", fmt::join(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(shown), "', '"),
                     values.size() > most ? ", …" : "");
}

Result<Json> literal_from_text(std::string_view text, const Json& schema, std::vector<Repair>* repairs) {
  if (contains(*literals(schema), text)) return Json(text);
  const auto values = literal_values(schema);
  const auto exact = [&](std::string_view t) { return std::find(values.begin(), values.end(), t) != values.end(); };
  std::vector<Repair> needed;
  const std::string_view bare = strip_decoration(text, &needed);
  std::string found;
  if (exact(bare)) {
    found = bare;
  } else {
    for (const std::string& value : values) {
      if (lower(value) != lower(bare)) continue;
      if (!found.empty())
        return fail(ErrorCode::unreadable, fmt::format("'{}' fits two values", found), "write it in the case of the value that is meant");
      found = value;
    }
    if (!found.empty()) needed.push_back({"case", std::string(bare)});
  }
  if (found.empty()) {
    return fail(
        ErrorCode::unreadable, fmt::format("'{}' is not one of the {} values", std::string(bare.substr(0, 40)), values.size()),
        fmt::format("expected {}; where a model answers, config constrain = true keeps to them on a lane that can", first_few(values)));
  }
  if (repairs != nullptr) repairs->insert(repairs->end(), needed.begin(), needed.end());
  return Json(found);
}

}  // namespace

std::string_view trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

Result<Json> schema_of_type(std::string_view type) { return TypeReader(type).read(); }

bool is_string_schema(const Json& schema) { return type_of(schema) == "string" && schema.at("enum").is_null(); }

bool is_optional(const Json& schema) {
  const Json& options = schema.at("anyOf");
  return options.is_list() && options.as_list().size() == 2 && type_of(options.as_list()[1]) == "null";
}

std::vector<std::string> literal_values(const Json& schema) {
  std::vector<std::string> out;
  if (type_of(schema) != "string" || !schema.at("enum").is_list()) return out;
  for (const Json& value : schema.at("enum").as_list()) {
    if (value.is_string()) out.push_back(value.as_string());
  }
  return out;
}

Result<void> check_schema(const Json& schema) {
  ASSAY_CHECK(check_schema_members(schema));
  if (schema.as_object().contains("anyOf")) {
    if (!is_optional(schema)) return fail(ErrorCode::malformed, "anyOf is used for Optional only: [T, null]", "", "anyOf");
    return check_schema(schema.at("anyOf").as_list()[0]);
  }
  const std::string_view type = type_of(schema);
  if (type == "integer" || type == "number" || type == "boolean") return {};
  if (type == "string") {
    const Json& values = schema.at("enum");
    if (values.is_null()) return {};
    if (!values.is_list() || values.as_list().empty() || literal_values(schema).size() != values.as_list().size()) {
      return fail(ErrorCode::malformed, "a Literal is a list of strings", "", "enum");
    }
    return {};
  }
  if (type == "array") {
    if (auto inner = check_schema(schema.at("items")); !inner) return std::unexpected(std::move(inner.error()).in("items"));
    return {};
  }
  if (type == "object") {
    const Json& additional = schema.at("additionalProperties");
    if (additional.is_object()) return check_schema(additional);
    if (!schema.at("properties").is_object()) return fail(ErrorCode::malformed, "a record lists its properties", "", "properties");
    for (const auto& [key, inner] : schema.at("properties").as_object()) {
      if (auto fits = check_schema(inner); !fits) return std::unexpected(std::move(fits.error()).in("properties." + key));
    }
    return {};
  }
  return fail(ErrorCode::malformed, fmt::format("unknown schema type '{}'", type), "see docs/formats.md §2 for the shapes");
}

Result<void> check_value(const Json& value, const Json& schema) {
  if (is_optional(schema)) return value.is_null() ? Result<void>{} : check_value(value, schema.at("anyOf").as_list()[0]);
  const std::string_view type = type_of(schema);
  if (type == "string") {
    if (!value.is_string()) return mismatch("a string", value);
    const JsonList* const values = literals(schema);
    if (values != nullptr && !contains(*values, value.as_string())) {
      return mismatch(fmt::format("one of {} values", literal_values(schema).size()), value,
                      "expected " + first_few(literal_values(schema)));
    }
    return {};
  }
  if (type == "integer") return value.is_int() ? Result<void>{} : mismatch("an integer", value);
  if (type == "number") return value.is_number() ? Result<void>{} : mismatch("a number", value);
  if (type == "boolean") return value.is_bool() ? Result<void>{} : mismatch("true or false", value);
  if (type == "array") {
    if (!value.is_list()) return mismatch("a list", value);
    for (std::size_t i = 0; i < value.as_list().size(); ++i) {
      if (auto fits = check_value(value.as_list()[i], schema.at("items")); !fits) {
        return std::unexpected(std::move(fits.error()).in(fmt::format("[{}]", i)));
      }
    }
    return {};
  }
  if (type == "object") {
    if (!value.is_object()) return mismatch("an object", value);
    if (!schema.at("additionalProperties").is_object()) return check_record(value, schema);
    for (const auto& [key, item] : value.as_object()) {
      if (auto fits = check_value(item, schema.at("additionalProperties")); !fits) return std::unexpected(std::move(fits.error()).in(key));
    }
    return {};
  }
  return fail(ErrorCode::malformed, "the schema has no known type");
}

bool may_fit(const Json& from, const Json& to) {
  const auto inner = [](const Json& schema) -> const Json& { return schema.at("anyOf").as_list()[0]; };
  if (is_optional(from)) return is_optional(to) || may_fit(inner(from), to);  // null fits both
  if (is_optional(to)) return may_fit(from, inner(to));
  const std::string_view one = type_of(from), other = type_of(to);
  const auto is_number = [](std::string_view type) { return type == "integer" || type == "number"; };
  if (one != other) return is_number(one) && is_number(other);
  const JsonList *const values = literals(from), *const others = literals(to);
  if (values == nullptr || others == nullptr) return true;
  return std::any_of(values->begin(), values->end(),
                     [&](const Json& value) { return value.is_string() && contains(*others, value.as_string()); });
}

Result<Json> value_from_text(std::string_view text, const Json& schema, std::vector<Repair>* repairs) {
  text = trim(text);
  if (is_string_schema(schema)) return Json(text);
  if (literals(schema) != nullptr) return literal_from_text(text, schema, repairs);
  if (is_optional(schema)) {
    if (text.empty() || text == "null" || text == "None") return Json();
    return value_from_text(text, schema.at("anyOf").as_list()[0], repairs);
  }
  const bool boolean = type_of(schema) == "boolean";
  if (boolean && (text == "true" || text == "false")) return Json(text == "true");
  std::string spelled(text);
  if (boolean && (lower(text) == "true" || lower(text) == "false") && spelled != lower(text)) {
    spelled = lower(text);
    if (repairs != nullptr) repairs->push_back({"case", std::string(text)});
  }
  auto value = read_json(spelled, {.bytes_max = std::size_t{1} << 20, .depth_max = 64});
  if (!value)
    return fail(ErrorCode::unreadable, "the text is not a JSON value: " + value.error().message,
                R"(it is read as JSON: a number as 3, a list as [1, 2], a record as {"a": 1})");
  if (auto fits = check_value(*value, schema); !fits) {
    return fail(ErrorCode::unreadable, fits.error().message, fits.error().remedy, fits.error().path);
  }
  return value;
}

Result<std::string> value_text(const Json& value) {
  if (value.is_string()) return value.as_string();
  return canonical(value);
}

}  // namespace assay
