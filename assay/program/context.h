#pragma once
/// @file
/// Settings (what a run uses) and Context (Settings + Effects + place in the trace). There is no other state.
///
///     Settings settings;  settings.lm = lane;  settings.set_callback(hud);
///     Context context(effects, settings);
///     const Result<Prediction> p = predict.forward(context, row);
///     const Context cheap = context.with_lm(other_lane);
///
/// Thread safety: a Context may be copied freely; children made from one parent in several threads get their index in the
/// order in which they ask, so give parallel work its own names (`ex:…`), as Evaluate does.

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "assay/lm/lm.h"
#include "assay/program/callbacks.h"
#include "assay/trace/effects.h"

namespace assay {

class RecordedAnswers;
class ResponseCache;

/// What predictors did in a run, for optimizers: (path of the predictor in the artifact, inputs, outputs), in order.
struct PredictorTrace {
  struct Step {
    std::string predictor;
    Json inputs, outputs;
    std::string feedback = {};  ///< what a metric says of this step; filled by evaluate
  };
  std::vector<Step> steps;  ///< filled by one thread: give each run its own
};

struct Settings {
  std::shared_ptr<LM> lm;                                ///< the lane of predictors that name none
  std::map<std::string, std::shared_ptr<LM>> lanes;      ///< by requirement ("lm:any"): fallback lanes of Refine
  std::shared_ptr<ResponseCache> cache;                  ///< null: none
  std::shared_ptr<RecordedAnswers> answers;              ///< replay: LM calls are answered from here, and no lane is asked
  std::shared_ptr<PredictorTrace> trace;                 ///< null: not gathered
  Json config_override;                                  ///< null, or config members that win over the artifact's (recorded)
  bool journal = false;                                  ///< a compile: long texts are kept once, as `blob`
  std::vector<PrivacyMode> module_privacy = all_privacy_modes();  ///< of the module that runs

  void set_callback(std::shared_ptr<DspyCallback> callback) { callback_ = std::move(callback); }
  std::shared_ptr<DspyCallback> get_callback() const { return callback_; }

 private:
  friend class Context;
  std::shared_ptr<DspyCallback> callback_;
};

class Context {
 public:
  Context(Effects effects, Settings settings);

  const Effects& effects() const { return effects_; }
  const Settings& settings() const { return *settings_; }
  const std::string& path() const { return path_; }
  std::int64_t rollout() const { return rollout_; }
  const std::string& trace_id() const;
  DspyCallback* callback() const { return settings_->callback_.get(); }

  /// A node below this one: `name`, or `name:1`, `name:2` … for later calls of the same name under this parent.
  Context child(std::string_view name) const;
  /// A segment used as it is ("attempt:0", "ex:1f…"): the caller makes it unique.
  Context at(std::string_view segment) const;
  Context with_lm(std::shared_ptr<LM> lm) const;
  Context with_rollout(std::int64_t rollout) const;
  Context with_wait(Wait wait) const;
  Context with_settings(Settings settings) const;

  /// Is there a record? Where there is none, lines need not be made at all.
  bool recorded() const { return effects_.recorder != nullptr; }
  /// Appends to the record, if there is one.
  Result<void> record(std::string_view type, Json data) const;
  Result<void> record_at(std::string_view node, std::string_view type, Json data) const;
  /// The same for RunRecorder::append_text.
  Result<void> record_text(std::string_view type, std::string_view data, const LmUsage* usage = nullptr) const;
  /// In a journal `{"$blob": hash}` for a text over 256 bytes (written once, as a `blob` line), else the text itself.
  Result<Json> compact_text(const std::string& text) const;
  /// LM calls made so far through this node and its copies, before this one: the k of formats.md §5.
  std::int64_t next_call_index() const;
  /// Adds to the running totals of this context's run.
  void add_usage(const LmUsage& usage) const;
  Totals totals() const;

 private:
  struct Shared {
    std::mutex mutex;
    std::map<std::string, std::int64_t> names;  // path → calls so far
    std::set<std::string> blobs;                // hashes of long texts already written
    Totals totals;
    std::once_flag trace_id_made;
    std::string trace_id;  // only made when somebody asks
  };
  using Counter = std::shared_ptr<std::atomic<std::int64_t>>;
  static Counter new_counter() { return std::make_shared<std::atomic<std::int64_t>>(0); }
  Effects effects_;
  std::shared_ptr<const Settings> settings_;
  std::shared_ptr<Shared> shared_;
  std::string path_;
  std::int64_t rollout_ = 0;
  Counter calls_;  // LM calls of this node; its copies share it, and it goes with them
};

/// Values of fields as recorded: in objects, real keys that begin with '$' are written with that '$' doubled.
Json recorded_value(const Json& value);
/// The same without a copy where no key begins so: `value` itself then, else what is put into `wrapped`.
const Json& recorded_value(const Json& value, Json& wrapped);
/// Inverse of `recorded_value`.
Json value_of_recorded(const Json& value);

}  // namespace assay
