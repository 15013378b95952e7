#include "assay/lm/local_constraint.h"

#include <algorithm>

#include <fmt/format.h>

namespace assay {
namespace {

Result<std::string> value_text(const Json& value) {
  if (value.is_string()) return value.as_string();
  return canonical(value);
}

/// The texts of an `enum`, without duplicates.
Result<std::vector<std::string>> enum_texts(const Json& list, const ConstraintLimits& limits) {
  if (!list.is_list() || list.as_list().empty()) {
    return fail(ErrorCode::malformed, "an enum must be a list with at least one value", "list the allowed values", "/enum");
  }
  if (list.as_list().size() > limits.texts_max) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("an enum has {} values, at most {} are allowed", list.as_list().size(), limits.texts_max),
                "leave the field free and check it with the reader", "/enum");
  }
  std::vector<std::string> texts;
  for (const Json& value : list.as_list()) {
    ASSAY_TRY(std::string text, value_text(value));
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
  }
  return texts;
}

/// A field's schema as a choice, free text or a JSON value: what the reader reads by it.
Result<AnswerPart> field_part(const Json& schema, std::string until, const ConstraintLimits& limits) {
  AnswerPart part{.kind = AnswerPart::Kind::text, .literal = {}, .values = {}, .until = std::move(until)};
  const Json& type = schema.at("type");
  if (const Json& list = schema.at("enum"); !list.is_null()) {
    ASSAY_TRY(part.values, enum_texts(list, limits));
    part.kind = AnswerPart::Kind::choice;
  } else if (type == Json("boolean")) {
    part.values = {"true", "false"};
    part.kind = AnswerPart::Kind::choice;
  } else if (const Json* const inner = optional_type(schema)) {
    ASSAY_TRY(part, field_part(*inner, part.until, limits));
    if (part.kind == AnswerPart::Kind::choice && std::find(part.values.begin(), part.values.end(), "null") == part.values.end())
      part.values.emplace_back("null");
    if (part.kind == AnswerPart::Kind::json) {
      ASSAY_TRY(part.shape, JsonShape::of(schema));
    }
  } else if (!schema.at("anyOf").is_null() || (!type.is_null() && type != Json("string"))) {
    part.kind = AnswerPart::Kind::json;
    ASSAY_TRY(part.shape, JsonShape::of(schema));
  }
  return part;
}

Result<AnswerPart> one_part(const Json& item, const ConstraintLimits& limits) {
  if (item.is_string()) return AnswerPart{.kind = AnswerPart::Kind::literal, .literal = item.as_string(), .values = {}, .until = {}};
  if (!item.is_object() || !item.at("schema").is_object()) {
    return fail(ErrorCode::malformed, "a part must be text or an object with a schema", R"(write "text" or {"schema": {…}})");
  }
  const Json& until = item.at("until");
  if (!until.is_null() && !until.is_string()) return fail(ErrorCode::malformed, "until must be text", {}, "/until");
  return field_part(item.at("schema"), until.is_string() ? until.as_string() : std::string(), limits);
}

std::size_t bytes_of(const AnswerPart& part) {
  std::size_t bytes = part.literal.size() + part.until.size();
  for (const auto& value : part.values) bytes += value.size();
  return bytes;
}

/// texts × values, in order; false if that is more than allowed.
bool extend(std::vector<std::string>& texts, const AnswerPart& part, const ConstraintLimits& limits) {
  if (part.kind == AnswerPart::Kind::literal) {
    for (auto& text : texts) text += part.literal;
    return true;
  }
  std::size_t bytes = 0;
  for (const auto& text : texts) bytes += text.size() * part.values.size();
  for (const auto& value : part.values) bytes += value.size() * texts.size();
  if (texts.size() * part.values.size() > limits.texts_max || bytes > limits.bytes_max) return false;
  std::vector<std::string> product;
  product.reserve(texts.size() * part.values.size());
  for (const auto& text : texts) {
    for (const auto& value : part.values) product.push_back(text + value);
  }
  texts = std::move(product);
  return true;
}

/// Builds segments from parts, one call a part.
class Planner {
 public:
  Planner(const Tokenise& tokenise, const ConstraintLimits& limits) : tokenise_(tokenise), limits_(limits) {}

  void add(const AnswerPart& part) {
    if (part.kind == AnswerPart::Kind::text || part.kind == AnswerPart::Kind::json) return add_open(part);
    if (!open_) texts_ = {std::string()};
    open_ = true;
    if (extend(texts_, part, limits_)) return;
    close();
    texts_ = {std::string()};
    open_ = true;
    extend(texts_, part, limits_);
  }

  std::vector<AnswerSegment> finish() {
    close();
    return std::move(plan_);
  }

 private:
  void add_open(const AnswerPart& part) {
    AnswerSegment segment;
    segment.until = part.until;
    segment.shape = part.shape;
    // A space before free text belongs to the first token of that text: leave it to the model, but demand it.
    if (open_ && texts_.size() == 1) {
      const std::size_t end = texts_[0].find_last_not_of(' ') + 1;
      segment.prefix = texts_[0].substr(end);
      texts_[0].resize(end);
    }
    close();
    plan_.push_back(std::move(segment));
  }

  void close() {
    if (!open_) return;
    open_ = false;
    if (texts_.size() == 1 && texts_[0].empty()) return;
    AnswerSegment segment;
    segment.choice = true;
    for (std::size_t i = 0; i < texts_.size(); ++i) segment.trie.add(tokenise_(texts_[i]), static_cast<int>(i));
    segment.texts = std::move(texts_);
    plan_.push_back(std::move(segment));
  }

  const Tokenise& tokenise_;
  const ConstraintLimits& limits_;
  std::vector<AnswerSegment> plan_;
  std::vector<std::string> texts_;
  bool open_ = false;
};

// Only these shapes can be kept to for a whole answer that is text; another one is refused, not taken for free text. What is JSON is read
// by JsonShape, as strictly.
Result<void> check_whole_schema(const Json& schema) {
  if (schema.is_null()) return {};
  const auto no = [](std::string pointer) {
    return fail(ErrorCode::refused, "this schema cannot be kept to",
                R"({"type":"string"} with "enum" or "x-parts", or a type that a signature's field can have)", std::move(pointer));
  };
  if (!schema.is_object()) return no("");
  const Json& type = schema.at("type");
  if (!type.is_null() && !type.is_string()) return no("/type");
  const bool text = (type.is_null() && schema.at("anyOf").is_null()) || type == Json("string") || type == Json("boolean");
  for (const auto& [key, value] : schema.as_object()) {
    if (text && key != "type" && key != "enum" && key != "x-parts" && key != "description") return no("/" + pointer_token(key));
  }
  return {};
}

}  // namespace

Result<std::vector<AnswerPart>> answer_parts(const Json& schema, const ConstraintLimits& limits) {
  std::vector<AnswerPart> parts;
  const Json& list = schema.at("x-parts");
  ASSAY_CHECK(check_whole_schema(schema));
  if (list.is_null()) {
    ASSAY_TRY(AnswerPart part, field_part(schema, {}, limits));
    parts.push_back(std::move(part));
    return parts;
  }
  if (!list.is_list() || list.as_list().empty())
    return fail(ErrorCode::malformed, "x-parts must be a list with at least one part", {}, "/x-parts");
  if (list.as_list().size() > limits.parts_max) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("x-parts has {} parts, at most {} are allowed", list.as_list().size(), limits.parts_max), {}, "/x-parts");
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < list.as_list().size(); ++i) {
    auto part = one_part(list.as_list()[i], limits);
    if (!part) return std::unexpected(std::move(part.error()).in(fmt::format("/x-parts/{}", i)));
    bytes += bytes_of(*part);
    if (bytes > limits.bytes_max)
      return fail(ErrorCode::limit_exceeded, fmt::format("the texts of a schema exceed {} bytes", limits.bytes_max), {}, "/x-parts");
    parts.push_back(std::move(*part));
  }
  return parts;
}

std::string_view marker_of(std::string_view until) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t begin = until.find_first_not_of(space);
  return begin == std::string_view::npos ? until : until.substr(begin, until.find_last_not_of(space) - begin + 1);
}

void TokenTrie::add(const std::vector<std::int32_t>& tokens, int text) {
  std::size_t at = 0;
  for (const std::int32_t token : tokens) {
    auto& next = nodes_[at].next;
    const auto place = std::lower_bound(next.begin(), next.end(), token, [](const auto& edge, std::int32_t t) { return edge.first < t; });
    if (place != next.end() && place->first == token) {
      at = place->second;
      continue;
    }
    const std::size_t made = nodes_.size();
    next.insert(place, {token, made});
    nodes_.emplace_back();  // `next` is not used after this: it may have moved
    at = made;
  }
  if (nodes_[at].text < 0) nodes_[at].text = text;
  depth_ = std::max(depth_, tokens.size());
}

Result<std::vector<AnswerSegment>> answer_plan(const std::vector<AnswerPart>& parts, const Tokenise& tokenise,
                                               const ConstraintLimits& limits) {
  Planner planner(tokenise, limits);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].kind == AnswerPart::Kind::choice && (parts[i].values.empty() || parts[i].values.size() > limits.texts_max)) {
      return fail(ErrorCode::limit_exceeded,
                  fmt::format("a choice has {} values, 1 to {} are allowed", parts[i].values.size(), limits.texts_max), {},
                  fmt::format("part {}", i));
    }
    planner.add(parts[i]);
  }
  return planner.finish();
}

}  // namespace assay
