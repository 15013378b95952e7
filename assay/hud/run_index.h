#pragma once
/// @file
/// Follows the run records in some folders while other processes write them. The records are all it knows and all it trusts.
///
///     RunIndex index({.folders = {runs}}, [&](std::string_view event, const Json& data) { feed.publish(event, data); });
///     while (…) index.poll();                     // some five times a second; reads only what is new
///     index.list();                               // rows of /api/runs
///
/// Files are `*.run.jsonl` directly in a folder, and those that are named; links and other things are passed over. What was there at the
/// first poll is read silently, later lines are events: run_started, node_start, node_end, lm_start, lm_end, candidate, score, decision,
/// note (any other line), run_ended, run_state (a writer came or went), run_broken, run_removed. A torn last line is normal and waits for
/// its rest. Thread safety: all calls, from any thread; the sink is called without a lock held.

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "assay/base/json.h"
#include "assay/hud/run_summary.h"

namespace assay {

struct RunIndexOptions {
  std::vector<std::string> folders;
  std::vector<std::string> files;                           ///< records besides, whatever their names
  std::size_t files_max = 5000;                             ///< the newest; further ones are counted and left out
  std::size_t poll_bytes_max = std::size_t{8} << 20;        ///< read in one poll
  std::size_t line_bytes_max = std::size_t{64} << 20;
};

/// complete: ended. running: a process holds it open. interrupted: neither. broken: its chain or form does not hold.
enum class RunState { complete, running, interrupted, broken };
std::string_view name(RunState state);

class RunIndex {
 public:
  using Sink = std::function<void(std::string_view event, const Json& data)>;
  struct Found {
    std::string id, path;
    RunState state = RunState::interrupted;
    std::string problem;  ///< of a broken one
    RunSummary summary;
    std::vector<std::string> also = {};  ///< names of other whole files with this run id: copies, or forgeries
  };
  struct Counts {
    std::map<std::string, std::int64_t> by_state;
    std::int64_t runs = 0, left_out = 0, errors = 0;
    Totals totals;
  };

  RunIndex(RunIndexOptions options, Sink sink) : options_(std::move(options)), sink_(std::move(sink)) {}
  /// Reads what is new. True if more is waiting (the next poll should follow at once).
  bool poll();
  /// Rows, the newest first.
  JsonList list() const;
  std::optional<Found> find(std::string_view id) const;
  Counts counts() const;
  const std::vector<std::string>& folders() const { return options_.folders; }

 private:
  struct File {
    std::string path, id;
    std::uint64_t inode = 0;
    std::int64_t size = 0;     // when last looked at
    std::int64_t offset = 0;   // of whole lines that were read
    std::int64_t modified_ns = 0;
    std::int64_t next_seq = 0;
    std::string prev;          // sha256 of the last line
    std::string problem;
    bool silent = false;       // its lines are no news
    bool waiting = false;      // more bytes than were read, and not only a torn line
    bool held = false;         // a process holds the writer's lock
    RunSummary summary;
  };
  using Event = std::pair<std::string, Json>;

  void find_files(std::vector<Event>& events);
  void look(const std::string& path, std::vector<Event>& events);
  std::int64_t read_more(File& file, std::int64_t bytes_max, std::vector<Event>& events);
  bool take_line(File& file, std::string_view line, std::vector<Event>& events);
  void mark_writers(std::vector<Event>& events);
  static RunState state_of(const File& file);
  static int doubt(const File& file);
  std::vector<std::string> others_of(const File& shown) const;
  static void start_over(File& file);

  const RunIndexOptions options_;
  const Sink sink_;
  mutable std::mutex mutex_;
  std::map<std::string, File> files_;  // by path
  std::int64_t left_out_ = 0;
  bool first_poll_ = true;
};

/// The event of one line and its data; run_id and path are in it. Text of an answer is cut to a preview.
std::pair<std::string, Json> event_of_line(const std::string& run_id, const RecordEntry& entry);

/// A row of /api/runs: the summary, with id, state, file name and problem.
Json row_of(const RunIndex::Found& found);

}  // namespace assay
