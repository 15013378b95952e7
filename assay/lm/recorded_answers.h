#pragma once
/// @file
/// Answers of a recorded run, for its replay: LM calls are answered by (path, request_hash, occurrence), and no lane is asked.
///
///     ASSAY_TRY(const auto answers, RecordedAnswers::of(record));
///     ASSAY_TRY(const RecordedAnswer a, answers->next("classify", request));
///
/// Thread safety: `next` may be called from many threads.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "assay/lm/lm.h"
#include "assay/trace/record.h"

namespace assay {

struct RecordedAnswer {
  LmResponse response;  ///< usage with recorded cost, latency and from_cache
  Lane lane;            ///< that answered
  std::string lane_id;
  std::string request_hash;  ///< of the request as it was asked again: the same; empty where none was made: `error` says why
  bool sent = true;          ///< false: the call was stopped before
  bool failed = false;       ///< the call ended in an error: `error`
  bool disbelieved = false;  ///< it did although `response` had come: what that claims was more than the request can have used
  Error error;
};

class RecordedAnswers {
 public:
  /// Uses the entries after the last `resume`; blobs are put back in place. Errors: `malformed` with the line.
  static Result<std::shared_ptr<RecordedAnswers>> of(const RunRecord& record);
  /// Those of one pass, which is a part of the record's entries.
  static Result<std::shared_ptr<RecordedAnswers>> of(const RunRecord& record, std::span<const RecordEntry> pass);
  /// Are requests, blobs and lanes of all passes what their hashes and ids say? Errors: as `of`, and `mismatch`; nothing is replayed.
  static Result<void> check(const RunRecord& record);
  /// The next answer at this path for this request (REQUEST with its "model" as recorded by the lane at that path).
  /// Errors: `diverged`; the path is the node's, the message names the first JSON pointer at which the request differs from
  /// the nearest recorded one at that path, with both values.
  Result<RecordedAnswer> next(const std::string& path, const LmRequest& request);
  /// What kept a node from making any call, if the record tells of it.
  std::optional<Error> refusal(const std::string& path);
  /// What the record holds and the replay did not ask for: a call of the first path that has one, or an answer to no request. Path and
  /// text; nothing when all was used.
  struct Leftover {
    std::string path, what;
  };
  std::optional<Leftover> leftover();
  /// True once `next` was asked for what the record does not hold, rather than for something else than it holds: where an interrupted
  /// record ends.
  bool ran_out() const { return ran_out_; }
  /// Is it the error of a call that `next` gave?
  bool told(const Error& error);
  /// The first request that was another than the recorded one at its path.
  const std::optional<Error>& contradiction() const { return contradiction_; }

 private:
  struct Call {
    Json request;
    std::string request_hash;
    RecordedAnswer answer;
    bool answered = false;  // false: the record ends before
    bool used = false;
  };
  std::mutex mutex_;
  std::map<std::string, std::vector<Call>> calls_;  // path → calls in order
  std::map<std::string, Lane> lanes_;               // lane_id → lane
  bool ran_out_ = false;
  std::optional<Error> contradiction_;
  std::optional<Leftover> unasked_;                 // the first answer that belongs to no request
};

}  // namespace assay
