#include "assay/contract/artifact.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "assay/contract/artifact_shape.h"

namespace assay {
namespace {

const std::string no_text;
const JsonObject no_members;
const Json no_value;

const std::string& text_or_empty(const Json& value) { return value.is_string() ? value.as_string() : no_text; }
const JsonObject& members_or_empty(const Json& value) { return value.is_object() ? value.as_object() : no_members; }

bool name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

}  // namespace

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 128) return false;
  const char first = text.front();
  if ((first >= '0' && first <= '9') || first == '.' || first == '-') return false;
  for (const char c : text) {
    if (!name_byte(c)) return false;
  }
  return true;
}

bool is_path(std::string_view text) {
  while (true) {  // ends: every round takes a segment off, or returns
    const std::size_t slash = text.find('/');
    if (!is_name(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

Result<Artifact> Artifact::read(const Json& value) {
  // Through its canonical text, so that two spellings of one value (1 and 1.0) cannot behave differently under one id.
  ASSAY_TRY(const std::string text, canonical(value, artifact_limits));
  return parse(text);
}

Result<Artifact> Artifact::parse(std::string_view text) {
  ASSAY_TRY(const Json as_written, read_json(text, artifact_limits));
  ASSAY_TRY(const std::string bytes, canonical(as_written, artifact_limits));
  if (bytes.size() > artifact_limits.bytes_max) {
    return fail(ErrorCode::limit_exceeded,
                fmt::format("the artifact has {} bytes, at most {} are allowed", bytes.size(), artifact_limits.bytes_max));
  }
  ASSAY_TRY(Json value, read_json(bytes, artifact_limits));
  if (!value.is_object()) return fail(ErrorCode::malformed, "an artifact is a JSON object");
  ASSAY_TRY(const std::string format, string_member(value, "format"));
  if (!format.starts_with("assay.module/")) {
    return fail(ErrorCode::malformed, fmt::format("expected format \"{}\", found \"{}\"", artifact_format, format),
                "give an artifact or a module file", "format");
  }
  // Of a later version nothing is known but its name: it has an id and can be verified, and is refused before it runs.
  if (format == artifact_format) ASSAY_CHECK(check_artifact_shape(value));
  return Artifact(std::move(value));
}

std::string Artifact::text() const { return *canonical(json_, artifact_limits); }  // checked by `parse`: it was read from there

const std::string& Artifact::program_name() const { return text_or_empty(json_.at("program").at("name")); }
const std::string& Artifact::program_version() const { return text_or_empty(json_.at("program").at("version")); }
const std::string& Artifact::entry() const { return text_or_empty(json_.at("entry")); }
const JsonObject& Artifact::predictors() const { return members_or_empty(json_.at("predictors")); }
const JsonObject& Artifact::modules() const { return members_or_empty(json_.at("modules")); }
const JsonObject& Artifact::tools() const { return members_or_empty(json_.at("tools")); }

const Json& Artifact::signature_of(std::string_view path) const {
  const Json* found = signature_under(json_, path);
  return found != nullptr ? *found : no_value;
}

const Json& Artifact::signature() const {
  for (const char* whole : {"flow", "code"}) {
    if (const Json& part = json_.at(whole); part.is_object()) return part.at("signature");
  }
  return signature_of(entry());
}

Result<void> Artifact::check_supported(const Supported& supported) const {
  const std::vector<std::string> unknown = unsupported(supported);
  if (unknown.empty()) return {};
  return fail(ErrorCode::refused, fmt::format("unsupported: {}", fmt::join(unknown, "; ")),
              "use a version of Assay that knows it, or compile the program again with this one");
}

namespace {

Result<Json> changed(const Artifact& artifact, std::string_view path, const char* key, Json value) {
  Json copy = artifact.json();
  Json* predictors = copy.is_object() ? copy.as_object().find("predictors") : nullptr;
  Json* predictor = predictors != nullptr && predictors->is_object() ? predictors->as_object().find(path) : nullptr;
  if (predictor == nullptr) {
    std::vector<std::string> names;
    for (const auto& [name, unused] : artifact.predictors()) names.push_back(name);
    return fail(ErrorCode::usage, fmt::format("there is no predictor \"{}\"", path),
                fmt::format("the program has: {}", fmt::join(names, ", ")));
  }
  predictor->set(key, std::move(value));
  return copy;
}

}  // namespace

Result<Artifact> Artifact::with_demos(std::string_view path, JsonList demos) const {
  ASSAY_TRY(const Json copy, changed(*this, path, "demos", Json(std::move(demos))));
  return read(copy);
}

Result<Artifact> Artifact::with_instructions(std::string_view path, std::string text) const {
  Json signature = members_or_empty(json_.at("predictors")).contains(path) ? json_.at("predictors").at(path).at("signature") : Json();
  signature.set("instructions", std::move(text));
  ASSAY_TRY(const Json copy, changed(*this, path, "signature", std::move(signature)));
  return read(copy);
}

Result<Artifact> Artifact::with_config(std::string_view path, Json config) const {
  ASSAY_TRY(const Json copy, changed(*this, path, "config", std::move(config)));
  return read(copy);
}

}  // namespace assay
