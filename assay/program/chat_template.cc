#include "assay/program/chat_template.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/program/context.h"

namespace assay {
namespace {

constexpr std::size_t answers_max = 4096;  // all-Literal answers listed in full up to here, parts beyond

bool starts(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

std::string escape_braces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '{' || c == '}') out += c;
  }
  return out;
}

// "package_name" → "Package name": how the default template labels a field.
std::string label(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '_', ' ');
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 'a' + 'A');
  return out;
}

Result<void> check_placeholders(const std::vector<SlotPart>& slot, const Signature& signature, std::string_view name,
                                bool outputs_allowed) {
  for (const SlotPart& part : slot) {
    if (!part.placeholder || part.text == "instructions") continue;
    if (starts(part.text, "inputs.") && signature.input(part.text.substr(7)) != nullptr) continue;
    if (outputs_allowed && starts(part.text, "outputs.") && signature.output(part.text.substr(8)) != nullptr) continue;
    return fail(ErrorCode::malformed, fmt::format("unknown placeholder {{{}}}", part.text), "placeholders name fields of the signature",
                fmt::format("slots.{}", name));
  }
  return {};
}

struct Values {
  const Signature& signature;
  const Json& inputs;
  const Json& outputs;
};

const Json& value_of(const SlotPart& part, const Values& values) {
  const bool input = starts(part.text, "inputs.");
  return (input ? values.inputs : values.outputs).at(std::string_view(part.text).substr(input ? 7 : 8));
}

Result<std::string> fill(const std::vector<SlotPart>& slot, const Values& values) {
  std::size_t bytes = 0;  // what the texts need; other values may need more
  for (const SlotPart& part : slot) {
    if (!part.placeholder) bytes += part.text.size();
    else if (part.text == "instructions") bytes += values.signature.instructions.size();
    else if (const Json& value = value_of(part, values); value.is_string()) bytes += value.as_string().size();
  }
  std::string out;
  out.reserve(bytes);
  for (const SlotPart& part : slot) {
    if (!part.placeholder) {
      out += part.text;
    } else if (part.text == "instructions") {
      out += values.signature.instructions;
    } else if (const Json& value = value_of(part, values); value.is_string()) {
      out += value.as_string();
    } else {
      ASSAY_CHECK(append_canonical(out, value));
    }
  }
  return out;
}

}  // namespace

Result<std::vector<SlotPart>> parse_slot(std::string_view slot) {
  std::vector<SlotPart> parts;
  std::string literal;
  const auto flush = [&] {
    if (!literal.empty()) parts.push_back({false, std::exchange(literal, {})});
  };
  for (std::size_t i = 0; i < slot.size(); ++i) {  // one pass: what a placeholder stands for is never looked at again
    const char c = slot[i];
    const bool doubled = i + 1 < slot.size() && slot[i + 1] == c;
    if ((c == '{' || c == '}') && doubled) {
      literal += c;
      ++i;
    } else if (c == '}') {
      return fail(ErrorCode::malformed, fmt::format("a lone '}}' (byte {})", i), "write a literal brace twice");
    } else if (c == '{') {
      const std::size_t end = slot.find('}', i);
      if (end == std::string_view::npos)
        return fail(ErrorCode::malformed, fmt::format("'{{' is not closed (byte {})", i), "write a literal brace twice");
      flush();
      parts.push_back({true, std::string(slot.substr(i + 1, end - i - 1))});
      i = end;
    } else {
      literal += c;
    }
  }
  flush();
  return parts;
}

namespace {
// A demo's value as it is rendered: {"$text": …} stands for a text, and a doubled '$' for a key that begins with one.
Json demo_values(const Json& values) {
  JsonObject out;
  if (!values.is_object()) return out;
  for (const auto& [key, value] : values.as_object()) {
    const Json& text = value.at("$text");
    out.set(key, text.is_string() ? text : value_of_recorded(value));
  }
  return out;
}

// What a demo gives fits its field. It may leave a field out, which is then rendered as null.
Result<void> check_demo_side(const Json& values, const std::vector<Field>& fields, const std::string& place) {
  if (!values.is_object()) return {};
  for (const auto& [name, value] : values.as_object()) {
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
    if (field == fields.end() || value.is_null() || value.at("$text").is_string()) continue;
    if (auto fits = check_value(value_of_recorded(value), field->schema); !fits)
      return fail(ErrorCode::malformed, fits.error().message, fits.error().remedy, fmt::format("{}.{}", place, name));
  }
  return {};
}
}  // namespace

Result<void> check_demos(const Signature& signature, const JsonList& demos) {
  for (std::size_t i = 0; i < demos.size(); ++i) {
    ASSAY_CHECK(check_demo_side(demos[i].at("inputs"), signature.inputs, fmt::format("demos[{}].inputs", i)));
    ASSAY_CHECK(check_demo_side(demos[i].at("outputs"), signature.outputs, fmt::format("demos[{}].outputs", i)));
  }
  return {};
}

Json ChatTemplate::make(const Signature& signature) {
  std::string user, assistant;
  for (const Field& field : signature.inputs) {
    user += fmt::format("{}{}: {{inputs.{}}}", user.empty() ? "" : "\n", escape_braces(label(field.name)), field.name);
  }
  for (const Field& field : signature.outputs) {
    assistant += fmt::format("{}{}: {{outputs.{}}}", assistant.empty() ? "" : "\n", escape_braces(label(field.name)), field.name);
  }
  return JsonObject{{"renderer", "chat/1"},
                    {"reader", "chat/1"},
                    {"slots", JsonObject{{"system", "{instructions}"}, {"user", user}, {"assistant", assistant}}},
                    {"fallback", JsonList{}}};
}

Result<ChatTemplate> ChatTemplate::read(const Json& value, const Signature& signature) {
  ASSAY_TRY(const std::string renderer, string_member(value, "renderer"));
  ASSAY_TRY(const std::string reader, string_member(value, "reader"));
  if (renderer != "chat/1")
    return fail(ErrorCode::refused, fmt::format("unknown renderer '{}'", renderer), "this build knows chat/1", "renderer");
  if (reader != "chat/1") return fail(ErrorCode::refused, fmt::format("unknown reader '{}'", reader), "this build knows chat/1", "reader");
  if (const Json& fallback = value.at("fallback"); fallback.is_list() && !fallback.as_list().empty())
    return fail(ErrorCode::refused, "a template with another one to fall back to is not run here", "leave fallback empty", "fallback");
  ASSAY_TRY(const Json* slots, member(value, "slots", Json::Kind::object));
  for (const auto& [name, text] : slots->as_object()) {
    if (name != "system" && name != "user" && name != "assistant")
      return fail(ErrorCode::refused, fmt::format("chat/1 has no slot '{}'", name), "its slots are system, user and assistant",
                  fmt::format("slots.{}", name));
  }
  ChatTemplate out;
  const std::pair<const char*, std::vector<SlotPart>*> wanted[] = {
      {"system", &out.system_}, {"user", &out.user_}, {"assistant", &out.assistant_}};
  for (const auto& [name, into] : wanted) {
    ASSAY_TRY(const std::string text, string_member(*slots, name));
    auto parts = parse_slot(text);
    if (!parts) return std::unexpected(std::move(parts.error()).in(fmt::format("slots.{}", name)));
    *into = std::move(*parts);
    ASSAY_CHECK(check_placeholders(*into, signature, name, std::string_view(name) == "assistant"));
  }
  std::vector<std::string> read_fields;
  for (std::size_t i = 0; i < out.assistant_.size(); ++i) {
    if (!out.assistant_[i].placeholder) continue;
    if (!starts(out.assistant_[i].text, "outputs.")) {
      return fail(ErrorCode::malformed, "the assistant slot names outputs only", "", "slots.assistant");
    }
    const bool separated = read_fields.empty() || (!out.assistant_[i - 1].placeholder && !trim(out.assistant_[i - 1].text).empty());
    const std::string& output = out.assistant_[i].text;
    if (std::find(read_fields.begin(), read_fields.end(), output.substr(8)) != read_fields.end())
      return fail(ErrorCode::malformed, fmt::format("the assistant slot names the output '{}' not exactly once", output.substr(8)), "",
                  "slots.assistant");
    if (!separated)
      return fail(ErrorCode::malformed, "two outputs need visible text between them", "put each behind its own name", "slots.assistant");
    read_fields.push_back(out.assistant_[i].text.substr(8));
  }
  for (const Field& field : signature.outputs) {
    if (std::count(read_fields.begin(), read_fields.end(), field.name) != 1) {
      return fail(ErrorCode::malformed, fmt::format("the assistant slot names the output '{}' not exactly once", field.name), "",
                  "slots.assistant");
    }
  }
  return out;
}

Result<std::vector<Message>> ChatTemplate::render(const Signature& signature, const JsonList& demos, const Json& inputs) const {
  std::vector<Message> messages;
  messages.reserve(2 + 2 * demos.size());
  ASSAY_TRY(std::string system, fill(system_, {signature, inputs, Json()}));
  messages.push_back({"system", Json(std::move(system))});
  for (const Json& demo : demos) {
    const Json demo_inputs = demo_values(demo.at("inputs")), demo_outputs = demo_values(demo.at("outputs"));
    const Values values{signature, demo_inputs, demo_outputs};
    ASSAY_TRY(std::string user, fill(user_, values));
    ASSAY_TRY(std::string assistant, fill(assistant_, values));
    messages.push_back({"user", Json(std::move(user))});
    messages.push_back({"assistant", Json(std::move(assistant))});
  }
  ASSAY_TRY(std::string user, fill(user_, {signature, inputs, Json()}));
  messages.push_back({"user", Json(std::move(user))});
  return messages;
}

Result<Json> ChatTemplate::read_answer(const Signature& signature, std::string_view text, std::vector<Repair>* repairs) const {
  std::size_t replaced = 0;
  std::string clean;
  if (!valid_utf8(text)) text = clean = to_utf8(text, &replaced);
  if (replaced > 0 && repairs != nullptr) repairs->push_back({"utf8", fmt::format("{} invalid bytes", replaced)});
  std::string_view rest = trim(text);
  JsonObject outputs;
  for (std::size_t i = 0; i < assistant_.size(); ++i) {
    const SlotPart& part = assistant_[i];
    if (!part.placeholder) {
      const std::string_view marker = trim(part.text);
      if (starts(rest, marker)) {
        rest = trim(rest.substr(marker.size()));
      } else if (signature.outputs.size() == 1) {
        if (repairs != nullptr && outputs.empty()) repairs->push_back({"label", std::string(marker)});
      } else {
        return fail(ErrorCode::unreadable, fmt::format("expected '{}'", marker),
                    "more attempts (Refine), demos or a larger model make this rarer; constrain = true rules it out on the local lane",
                    "answer");
      }
      continue;
    }
    const std::string_view name = std::string_view(part.text).substr(8);
    const bool last = i + 1 == assistant_.size();
    std::size_t end = rest.size();
    if (!last) {
      const std::string_view next = trim(assistant_[i + 1].text);
      const std::size_t found = next.empty() ? rest.size() : rest.find(next);
      if (found == std::string_view::npos && i + 2 < assistant_.size()) {
        return fail(ErrorCode::unreadable, fmt::format("'{}' does not follow the field '{}'", next, name),
                    "a stop text or max_tokens may have ended the answer before it", fmt::format("answer.{}", name));
      }
      end = std::min(found, rest.size());
    }
    auto value = value_from_text(rest.substr(0, end), signature.output(name)->schema, repairs);
    if (!value) return std::unexpected(std::move(value.error()).in(fmt::format("answer.{}", name)));
    outputs.set(std::string(name), std::move(*value));
    rest = rest.substr(end);
  }
  return Json(std::move(outputs));
}

namespace {

// What an Optional is besides null, however often it is one.
const Json& bare_type(const Json& schema) { return is_optional(schema) ? bare_type(schema.at("anyOf").as_list()[0]) : schema; }

// All texts of a field that is a choice; none for another.
std::vector<std::string> choices_of(const Json& type) {
  return type.at("type") == Json("boolean") ? std::vector<std::string>{"true", "false"} : literal_values(type);
}

}  // namespace

Result<void> ChatTemplate::check_constrained(const Signature& signature) const {
  for (std::size_t i = 0; i < assistant_.size(); ++i) {
    if (!assistant_[i].placeholder) continue;
    const std::string name = assistant_[i].text.substr(8);
    const Json& type = bare_type(signature.output(name)->schema);
    const std::string behind = i + 1 < assistant_.size() ? assistant_[i + 1].text : std::string();
    const std::string_view marker = trim(behind);
    for (const std::string& value : choices_of(type)) {
      if (trim(value) != value)
        return fail(ErrorCode::refused, fmt::format("the value '{}' of '{}' has white space at an end, which no answer keeps", value, name),
                    "take it off, or leave constrain out", name);
      if (!marker.empty() && (value + behind).find(marker) < value.size())
        return fail(ErrorCode::refused,
                    fmt::format("the value '{}' of '{}' holds '{}', by which the reader finds what comes next", value, name, marker),
                    "put other words before the next output", name);
    }
    const bool container = type.at("type") == Json("array") || type.at("type") == Json("object");
    if (container && !marker.empty() && marker.find_first_not_of("[]{}\",: ") == std::string_view::npos)
      return fail(ErrorCode::refused,
                  fmt::format("'{}' stands inside the JSON of '{}' too, so the reader cannot find its end by it", marker, name),
                  "put a word before the next output", name);
  }
  return {};
}

Json ChatTemplate::answer_schema(const Signature& signature) const {
  std::vector<std::string> answers{""};
  for (const SlotPart& part : assistant_) {
    std::vector<std::string> options{part.text};
    if (part.placeholder) options = literal_values(signature.output(part.text.substr(8))->schema);
    if (options.empty() || answers.size() * options.size() > answers_max) {
      answers.clear();
      break;
    }
    std::vector<std::string> longer;
    for (const std::string& answer : answers) {
      for (const std::string& option : options) longer.push_back(answer + option);
    }
    answers = std::move(longer);
  }
  if (!answers.empty()) {
    JsonList values;
    for (std::string& answer : answers) values.push_back(Json(std::move(answer)));
    return JsonObject{{"type", "string"}, {"enum", std::move(values)}};
  }
  JsonList parts;
  for (std::size_t i = 0; i < assistant_.size(); ++i) {
    const SlotPart& part = assistant_[i];
    if (!part.placeholder) {
      parts.push_back(Json(part.text));
      continue;
    }
    Json field = JsonObject{{"schema", signature.output(part.text.substr(8))->schema}};
    if (i + 1 < assistant_.size()) field.set("until", assistant_[i + 1].text);
    parts.push_back(std::move(field));
  }
  return JsonObject{{"type", "string"}, {"x-parts", std::move(parts)}};
}

}  // namespace assay
