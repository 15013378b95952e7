#pragma once
/// @file
/// The artifact of a compiled module: everything that decides what is sent to the LM and how its answer is read.
/// Source: docs/formats.md §2 (`assay.module/1`).
///
///     ASSAY_TRY(const Artifact artifact, Artifact::parse(text));
///     artifact.id()->hex();                                  // "e6e1e787…"
///     artifact.signature().at("name").as_string();           // "PackageTriage"
///     ASSAY_CHECK(artifact.check_supported());               // run, eval and compile; verify does without
///
/// Thread safety: a value; reading from many threads is fine.

#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/contract/compiled_id.h"

namespace assay {

inline constexpr std::string_view artifact_format = "assay.module/1";
inline constexpr JsonLimits artifact_limits{.bytes_max = std::size_t{16} << 20, .depth_max = 96};

/// `[A-Za-z_][A-Za-z0-9_.-]*`, at most 128 bytes: names of programs' parts, fields, tools and metrics.
bool is_name(std::string_view text);
/// Names joined by '/': the paths of predictors and modules.
bool is_path(std::string_view text);

/// What an implementation can run. The defaults are what Assay itself runs; a registry may add to a copy.
struct Supported {
  std::vector<std::string> predictor_kinds = {"predict/1", "chain_of_thought/1"};
  std::vector<std::string> module_kinds = {"refine/1", "react/1"};
  std::vector<std::string> renderers = {"chat/1"};
  std::vector<std::string> readers = {"chat/1"};
  /// Keywords of JSON Schema in signatures and tools (formats.md §2, Schemas).
  std::vector<std::string> schema_keywords = {"type",  "enum",       "items",    "additionalProperties",
                                              "anyOf", "properties", "required", "x-order"};
  /// Settings in "config" besides the six that are always there. "constrain": the lane keeps the answer to the signature.
  std::vector<std::string> config_settings = {"constrain", "logprobs", "top_logprobs"};
};

class Artifact {
 public:
  /// Checks the shape: every member that formats.md shows is present and has its type, names and paths are well formed and
  /// lead somewhere, no module contains itself. Unknown members, kinds, renderers and readers are kept and are no error here
  /// (see `unsupported`). The value is canonicalised first (1.0 becomes 1), so that what is read depends on the id alone.
  /// Errors: `malformed`, `limit_exceeded` (16 MiB, 96 open containers); the path is like "predictors.classify.demos[3].outputs".
  static Result<Artifact> read(const Json& value);
  /// Reads JSON text, then as `read`.
  static Result<Artifact> parse(std::string_view text);

  /// The value as read, unknown members included.
  const Json& json() const { return json_; }
  /// The artifact's own file: canonical bytes without a newline, so that `sha256sum` of it is the id.
  std::string text() const;
  Result<CompiledId> id() const { return compiled_id(*this); }

  const std::string& program_name() const;
  const std::string& program_version() const;
  /// The path that runs, or "" when `flow` or `code` runs.
  const std::string& entry() const;
  /// Path → {"kind","signature","demos","template","config"}, sorted by path.
  const JsonObject& predictors() const;
  /// Path → {"kind","over","params"}.
  const JsonObject& modules() const;
  /// Name → {"description","schema","digest"}.
  const JsonObject& tools() const;
  const Json& flow() const { return json_.at("flow"); }  ///< null if unused
  const Json& code() const { return json_.at("code"); }  ///< null if unused
  /// Null if there is no predictor (module) of that path. Lives as long as this artifact.
  const Json* predictor(std::string_view path) const { return predictors().find(path); }
  const Json* module(std::string_view path) const { return modules().find(path); }
  /// The program's own signature: that of `flow`, of `code`, or of the predictor under `entry`.
  const Json& signature() const;
  /// The signature of a predictor, or of the first predictor under a module. Null value if the path leads nowhere.
  const Json& signature_of(std::string_view path) const;

  /// Names of the unknown members, kinds, renderers, readers and formats inside the artifact, each with its place, e.g.
  /// "renderer json/1 (predictors.classify.template)". Empty: everything here is understood.
  std::vector<std::string> unsupported(const Supported& supported = {}) const;
  /// `refused`, naming all of `unsupported`, if there are any.
  Result<void> check_supported(const Supported& supported = {}) const;

  // Changed copies, for optimizers and exporters. Errors: `usage` (no such predictor), and as `read`.
  Result<Artifact> with_demos(std::string_view path, JsonList demos) const;
  Result<Artifact> with_instructions(std::string_view path, std::string text) const;
  Result<Artifact> with_config(std::string_view path, Json config) const;

  bool operator==(const Artifact& other) const { return json_ == other.json_; }

 private:
  explicit Artifact(Json json) : json_(std::move(json)) {}
  Json json_;
};

}  // namespace assay
