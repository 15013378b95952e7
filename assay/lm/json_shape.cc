#include "assay/lm/json_shape.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace assay {

const Json* optional_type(const Json& schema) {
  const Json& options = schema.at("anyOf");
  if (!options.is_list() || options.as_list().size() != 2 || options.as_list()[1].at("type") != Json("null")) return nullptr;
  return &options.as_list()[0];
}

namespace {

/// What a schema may say besides its type, by its shape; the type itself is for the caller.
std::vector<std::string_view> members_of_shape(const JsonObject& schema) {
  if (schema.contains("anyOf")) return {"anyOf"};
  const Json* const type = schema.find("type");
  if (type == nullptr || *type == Json("string")) return {"type", "enum", "contentMediaType", "contentEncoding"};
  if (*type == Json("array")) return {"type", "items"};
  if (*type != Json("object")) return {"type"};
  const Json* const others = schema.find("additionalProperties");
  if (others != nullptr && others->is_object()) return {"type", "additionalProperties"};
  return {"type", "additionalProperties", "properties", "required", "x-order"};
}

Result<void> check_names(const Json& names, const Json& properties, const std::string& key) {
  const auto is_property = [&](const Json& name) { return name.is_string() && !properties.at(name.as_string()).is_null(); };
  if (names.is_list() && std::all_of(names.as_list().begin(), names.as_list().end(), is_property)) return {};
  return fail(ErrorCode::malformed, fmt::format("\"{}\" names a property that the record does not have", key),
              "it is a list of names, each one of \"properties\"", key);
}

}  // namespace

Result<void> check_schema_members(const Json& schema) {
  if (!schema.is_object()) return fail(ErrorCode::malformed, "a schema is an object");
  const auto& members = schema.as_object();
  const auto known = members_of_shape(members);
  for (const auto& [key, value] : members) {
    if (key != "description" && std::find(known.begin(), known.end(), key) == known.end()) {
      return fail(ErrorCode::malformed, fmt::format("\"{}\" has no place in a schema of this type", short_place(key)),
                  fmt::format("beside its description it says {}", fmt::join(known, ", ")), key);
    }
    if (key == "required" || key == "x-order") ASSAY_CHECK(check_names(value, schema.at("properties"), key));
  }
  return {};
}

/// Turns a schema into nodes, one call a schema inside it.
class JsonShapeReader {
 public:
  Result<std::shared_ptr<const JsonShape>> read(const Json& schema) {
    ASSAY_CHECK(node_of(schema, 0));
    return std::shared_ptr<const JsonShape>(std::move(shape_));
  }

 private:
  using Node = JsonShape::Node;
  using Kind = JsonShape::Kind;

  static std::unexpected<Error> refuse(std::string what, std::string pointer) {
    return fail(ErrorCode::refused, std::move(what), "leave constrain out, or use a type of docs/reference/program-file.md",
                std::move(pointer));
  }
  static std::unexpected<Error> too_much(std::string_view what, std::size_t most) {
    return fail(ErrorCode::limit_exceeded, fmt::format("a schema has more than {} {}", most, what),
                "leave constrain out, or shorten the schema");
  }
  Result<void> count(std::size_t bytes) {
    bytes_ += bytes;
    return bytes_ <= JsonShape::bytes_max ? Result<void>{} : too_much("bytes of values and names", JsonShape::bytes_max);
  }

  static Result<void> check_keywords(const Json& schema) {
    constexpr std::array<std::string_view, 9> known{"additionalProperties", "anyOf",    "description", "enum",   "items",
                                                    "properties",           "required", "type",        "x-order"};
    if (!schema.is_object()) return fail(ErrorCode::malformed, "a schema is an object");
    for (const auto& [key, value] : schema.as_object()) {
      if (std::find(known.begin(), known.end(), key) == known.end())
        return refuse(fmt::format("a lane cannot keep an answer to the keyword '{}'", key), "/" + pointer_token(key));
    }
    auto fits = check_schema_members(schema);
    if (!fits) fits.error().path = "/" + pointer_token(fits.error().path);
    return fits;
  }

  Result<std::size_t> node_of(const Json& schema, int depth) {
    if (depth > JsonShape::depth_max) return too_much("levels", JsonShape::depth_max);
    if (shape_->nodes_.size() == JsonShape::nodes_max) return too_much("parts", JsonShape::nodes_max);
    ASSAY_CHECK(check_keywords(schema));
    if (!schema.at("anyOf").is_null()) return optional(schema, depth);
    const std::size_t at = shape_->nodes_.size();
    shape_->nodes_.emplace_back();
    ASSAY_TRY(Node made, node_by_type(schema, depth));
    std::sort(made.words.begin(), made.words.end());
    shape_->nodes_[at] = std::move(made);
    return at;
  }

  Result<std::size_t> optional(const Json& schema, int depth) {
    const Json* const type = optional_type(schema);
    if (type == nullptr) return refuse("a lane keeps to anyOf only as Optional: [T, null]", "/anyOf");
    auto at = node_of(*type, depth + 1);
    if (!at) return std::unexpected(std::move(at.error()).in("/anyOf/0"));
    auto& words = shape_->nodes_[*at].words;
    if (const auto place = std::lower_bound(words.begin(), words.end(), "null"); place == words.end() || *place != "null")
      words.insert(place, "null");
    return at;
  }

  Result<Node> node_by_type(const Json& schema, int depth) {
    const Json& type = schema.at("type");
    const std::string name = type.is_string() ? type.as_string() : std::string();
    Node node;
    if (name == "boolean") {
      node.words = {"true", "false"};
    } else if (name == "integer") {
      node.kind = Kind::integer;
    } else if (name == "number") {
      node.kind = Kind::number;
    } else if (name == "string") {
      if (!schema.at("enum").is_null()) return words_of(schema.at("enum"));
      node.kind = Kind::string;
    } else if (name == "array") {
      node.kind = Kind::list;
      auto item = node_of(schema.at("items"), depth + 1);
      if (!item) return std::unexpected(std::move(item.error()).in("/items"));
      node.item = *item;
    } else if (name == "object") {
      return schema.at("additionalProperties").is_object() ? dict_of(schema, depth) : record_of(schema, depth);
    } else {
      return refuse("a lane cannot keep an answer to this type", "/type");
    }
    return node;
  }

  Result<Node> words_of(const Json& list) {
    Node node;
    if (!list.is_list() || list.as_list().empty()) return fail(ErrorCode::malformed, "an enum lists at least one value", {}, "/enum");
    if (list.as_list().size() > JsonShape::words_max) return too_much("values of one enum", JsonShape::words_max);
    for (const Json& value : list.as_list()) {
      if (!value.is_string()) return fail(ErrorCode::malformed, "the values of a Literal are strings", {}, "/enum");
      ASSAY_TRY(std::string word, canonical(value));
      ASSAY_CHECK(count(word.size()));
      node.words.push_back(std::move(word));
    }
    return node;
  }

  Result<Node> dict_of(const Json& schema, int depth) {
    Node node;
    node.kind = Kind::dict;
    auto item = node_of(schema.at("additionalProperties"), depth + 1);
    if (!item) return std::unexpected(std::move(item.error()).in("/additionalProperties"));
    node.item = *item;
    return node;
  }

  Result<Node> record_of(const Json& schema, int depth) {
    Node node;
    node.kind = Kind::record;
    const Json& properties = schema.at("properties");
    if (!properties.is_object()) return fail(ErrorCode::malformed, "a record lists its properties", {}, "/properties");
    if (properties.as_object().size() > JsonShape::members_max) return too_much("members of one record", JsonShape::members_max);
    JsonList required;
    if (schema.at("required").is_list()) required = schema.at("required").as_list();
    for (const auto& [name, inner] : properties.as_object()) {
      JsonShape::Member member;
      ASSAY_TRY(member.key, canonical(Json(name)));
      ASSAY_CHECK(count(member.key.size()));
      auto at = node_of(inner, depth + 1);
      if (!at) return std::unexpected(std::move(at.error()).in("/properties/" + pointer_token(name)));
      member.node = *at;
      member.required = std::find(required.begin(), required.end(), Json(name)) != required.end();
      node.members.push_back(std::move(member));
    }
    return node;
  }

  std::shared_ptr<JsonShape> shape_ = std::make_shared<JsonShape>();
  std::size_t bytes_ = 0;
};

Result<std::shared_ptr<const JsonShape>> JsonShape::of(const Json& schema) { return JsonShapeReader().read(schema); }

}  // namespace assay
