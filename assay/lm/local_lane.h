#pragma once
/// @file
/// The lane `local`: a model inside the process. No key, no server, no network.
///
///     ASSAY_TRY(const std::shared_ptr<LM> lane, LocalLane::open({.model = "smollm2-135m-instruct", .path = file}, clock));
///     ASSAY_TRY(const LmResponse answer, lane->complete(request, wait));
///
/// Its lane_id names the model file by hash, its chat template by hash, and engine, CPU variant, threads and batch size.
/// Thread safety: as LM; as many answers at once as there are slots, others wait their turn.

#include <memory>
#include <string>

#include "assay/lm/lm.h"

namespace assay {

class LocalModel;

struct LocalLaneOptions {
  std::string model;   ///< name that records and modules show
  std::string path;    ///< GGUF file
  int slots = 0;       ///< answers at once; 0: one a processor
  int threads = 1;     ///< for one answer
  int context_tokens = 4096;
  std::string hash_folder;  ///< where the file's SHA-256 is remembered (by size and time); empty: hashed at every start
};

class LocalLane final : public LM {
 public:
  /// Errors: those of LocalModel::load; `io`.
  static Result<std::shared_ptr<LocalLane>> open(const LocalLaneOptions& options, Clock& clock);
  ~LocalLane() override;

  const Lane& lane() const override { return lane_; }
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override;
  Result<std::int64_t> prompt_tokens_max(const LmRequest& request) const override;  ///< exact
  std::vector<PrivacyMode> privacy_modes() const override { return all_privacy_modes(); }
  std::vector<std::string> capabilities() const override;
  int slots() const;

 private:
  LocalLane(std::unique_ptr<LocalModel> model, Lane lane);
  std::unique_ptr<LocalModel> model_;
  Lane lane_;
};

/// SHA-256 of a file, remembered in `folder` by path, size and modification time.
Result<std::string> remembered_sha256(const std::string& path, const std::string& folder);

}  // namespace assay
