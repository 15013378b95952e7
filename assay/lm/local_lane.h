#pragma once
/// @file
/// The lane `local`: a LocalModel behind the LM interface. Nothing leaves the process.
///
///     ASSAY_TRY(const std::string path, find_model("smollm2-135m-instruct"));
///     ASSAY_TRY(const auto lane, LocalLane::open({.name = "smollm2-135m-instruct", .model = {.path = path}}, clock));
///     lane->complete(request, wait);
///
/// Its identity names model file, chat template and engine; the tokenizer is part of the model file (null).
/// Thread safety: as LM; `slots` answers are made at once.

#include <memory>
#include <string>
#include <vector>

#include "assay/lm/lm.h"
#include "assay/lm/local_model.h"

namespace assay {

struct LocalLaneOptions {
  std::string name;  ///< LANE.model; empty: the file's name without its ending
  LocalModelOptions model;
};

class LocalLane final : public LM {
 public:
  /// Loads the model and hashes its file (the hash is kept beside the file, by size and time of change, where that can be
  /// written). Errors: as LocalModel::load. `clock` must outlive the lane.
  static Result<std::unique_ptr<LocalLane>> open(const LocalLaneOptions& options, Clock& clock);

  const Lane& lane() const override { return lane_; }
  /// Errors besides LM's: `refused` (tools, contents that are not text, config keys that a local model cannot keep to),
  /// `malformed` (config or schema). A null seed counts as 0: sampling never uses hidden randomness.
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override;
  /// Exact.
  Result<std::int64_t> prompt_tokens_max(const LmRequest& request) const override;
  /// "context:N", "json_schema".
  std::vector<std::string> capabilities() const override;

  int concurrency() const override { return model_->slots(); }
  bool repeats() const override { return true; }  ///< seeded draws, one engine: it is part of the lane's id

 private:
  LocalLane(std::unique_ptr<LocalModel> model, Lane lane) : model_(std::move(model)), lane_(std::move(lane)) {}
  Result<LocalPrompt> prompt(const LmRequest& request) const;

  std::unique_ptr<LocalModel> model_;
  Lane lane_;
};

/// The file of a model: `name` itself if it ends in ".gguf", else NAME.gguf in $ASSAY_MODEL_DIR or in the cache's `models`.
/// Errors: `unavailable`, with the places that were tried.
Result<std::string> find_model(const std::string& name);

/// SHA-256 of a model file, from the note beside it (FILE.sha256.json) if size and time of change still fit.
Result<std::string> model_digest(const std::string& path);

}  // namespace assay
