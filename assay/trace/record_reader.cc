// Reading and verifying run records: docs/formats.md §4, "States".
#include <algorithm>
#include <map>
#include <unordered_map>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/trace/record.h"
#include "assay/trace/record_line.h"

namespace assay {
namespace {

constexpr std::size_t problems_max = 16;
__extension__ using Wide = __int128;  // a sum of many numbers near 2^53

// What the chain says about a line; line numbers shown are its place in the file plus one.
struct LineFacts {
  std::string_view text;
  std::string hash;
  bool read = false;    // canonical, with all its members
  std::string problem;  // if not read
  std::int64_t seq = -1;
  std::string prev;
};

class Verifier {
 public:
  Verifier(std::string_view text, const RecordChecks& checks, std::vector<RecordEntry>* entries)
      : text_(text), checks_(checks), entries_(entries) {}

  RecordVerdict verify() {
    split_lines();
    if (lines_.empty() && tail_.empty()) problem(1, "the record is empty: not even run_start is there");
    check_chain();
    check_ends();
    if (checks_.head) check_kept_head(*checks_.head);
    verdict_.state = state();
    check_demands();
    return std::move(verdict_);
  }

 private:
  void problem(std::size_t line, std::string message) {
    broken_ = true;
    if (verdict_.problems.size() < problems_max) verdict_.problems.push_back({static_cast<std::int64_t>(line), std::move(message)});
  }

  void split_lines() {
    std::string_view rest = text_;
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {  // ends: rest shrinks
      lines_.push_back({.text = rest.substr(0, end), .hash = {}, .problem = {}, .prev = {}});
      rest.remove_prefix(end + 1);
    }
    tail_ = rest;
    verdict_.lines = static_cast<std::int64_t>(lines_.size());
    verdict_.torn_bytes = tail_.size();
  }

  // Reads a line once. Its entry is looked at where it stands if the chain holds so far, then kept or dropped.
  RecordEntry read(LineFacts& line) {
    line.hash = sha256_hex(line.text);
    auto entry =
        entries_ != nullptr ? read_record_line(line.text, checks_.line_bytes_max) : check_record_line(line.text, checks_.line_bytes_max);
    if (!entry) {
      line.problem = entry.error().message;
      if (!entry.error().path.empty()) line.problem += " at " + entry.error().path;
      return {};
    }
    line.read = true;
    line.seq = entry->seq;
    line.prev = entry->prev;
    return *std::move(entry);
  }

  // The usual case goes straight through; the first line that does not fit sends the rest to `explain`.
  void check_chain() {
    std::string_view prev = first_prev();
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      RecordEntry entry = read(lines_[i]);
      if (!lines_[i].read || lines_[i].seq != static_cast<std::int64_t>(i) || lines_[i].prev != prev) return explain(i);
      check_meaning(i, entry);
      prev = lines_[i].hash;
      if (entries_ != nullptr) entries_->push_back(std::move(entry));
    }
  }

  // --- what single lines say ---

  void check_meaning(std::size_t i, const RecordEntry& entry) {
    if (i == 0 && entry.type != "run_start") problem(1, fmt::format("the first line is '{}', not run_start", entry.type));
    if (i > 0 && entry.type == "run_start") problem(i + 1, fmt::format("line {} is a second run_start", i + 1));
    if (ended_ && entry.type != "resume") problem(i + 1, fmt::format("line {} ('{}') follows run_end: only resume may", i + 1, entry.type));
    if (entry.type == "run_start") verdict_.run_id = entry.data.at("run_id").as_string();
    if (entry.type == "head") check_head(i, entry);
    folded_.add(entry.type, entry.node, entry.data);
    if (entry.type == "lm_response") add_counters(entry.data.at("usage").as_object());
    ended_ = entry.type == "run_end";
    verdict_.is_signed = false;
    verdict_.signer.clear();
    verdict_.root_hash.clear();
    if (ended_) check_end(i, entry);
    looks_like_end_ = entry.data.at("root_hash").is_string() && !entry.data.at("totals").is_null();
    last_type_ = entry.type;
  }

  // Counters of the lane's own, such as cached tokens: totals may have them too.
  void add_counters(const JsonObject& usage) {
    if (usage.size() == 2) return;  // the two that each has
    for (const auto& [name, value] : usage) {
      if (value.is_int()) counters_[name] += value.as_int();
    }
  }

  void check_head(std::size_t i, const RecordEntry& entry) {
    const Json& head = entry.data;
    if (head.at("run_id").as_string() != verdict_.run_id)
      return problem(i + 1, fmt::format("the head in line {} is of another run", i + 1));
    if (head.at("seq").as_int() != entry.seq - 1 || head.at("tip").as_string() != entry.prev) {
      return problem(i + 1, fmt::format("the head in line {} does not name the line before it", i + 1));
    }
    if (auto good = verify_object(head); !good) {
      problem(i + 1, fmt::format("the head in line {} is badly signed: {}", i + 1, good.error().message));
    }
  }

  void check_end(std::size_t i, const RecordEntry& entry) {
    verdict_.root_hash = entry.data.at("root_hash").as_string();
    if (verdict_.root_hash != entry.prev) problem(i + 1, fmt::format("root_hash in line {} is not the hash of the line before it", i + 1));
    check_totals(i, entry.data.at("totals"));
    const Json& signature = entry.data.at("signature");
    if (signature.is_null()) return;
    const auto message = run_end_signing_hash(lines_[i].text);
    const Json& signer = entry.data.at("signer");
    if (!signer.is_string()) return problem(i + 1, fmt::format("line {} has a signature without a signer", i + 1));
    auto good = message ? verify_signature(signer.as_string(), *message, signature.as_string()) : std::unexpected(message.error());
    if (!good) return problem(i + 1, fmt::format("line {} (run_end) was altered or its signature is bad: {}", i + 1, good.error().message));
    verdict_.is_signed = true;
    verdict_.signer = signer.as_string();
  }

  // Totals are the sums of the lines above, over all passes of a run that was resumed.
  void check_totals(std::size_t i, const Json& totals) {
    const Json sums = folded_.totals().totals_json();
    for (const auto& [key, sum] : sums.as_object()) {
      const std::int64_t said = totals.at(key).as_int();
      if (said != sum.as_int())
        problem(i + 1, fmt::format("totals in line {} say {} {}, but the lines above sum to {}", i + 1, said, key, sum.as_int()));
    }
    for (const auto& [key, said] : totals.as_object()) {
      if (sums.as_object().contains(key)) continue;
      const auto found = counters_.find(key);
      const std::int64_t sum = found == counters_.end() ? 0 : static_cast<std::int64_t>(std::min<Wide>(found->second, json_integer_max));
      if (said.as_int() != sum)
        problem(i + 1, fmt::format("totals in line {} say {} {}, but the lines above sum to {}", i + 1, said.as_int(), key, sum));
    }
  }

  // --- what happened to a chain that does not hold ---

  void explain(std::size_t from) {
    for (std::size_t i = from + 1; i < lines_.size(); ++i) read(lines_[i]);
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].read) by_seq_.try_emplace(lines_[i].seq, i);
    }
    order_.resize(lines_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    Expected expected{static_cast<std::int64_t>(from), from == 0 ? std::string(first_prev()) : lines_[from - 1].hash};
    for (std::size_t place = from; place < order_.size(); ++place) explain_line(place, expected);
    if (!broken_) problem(from + 1, fmt::format("the chain does not hold at line {}", from + 1));
  }

  struct Expected {
    std::int64_t seq;
    std::optional<std::string> prev;  // empty: the line before is known to be wrong, so this one's prev tells nothing
  };

  void explain_line(std::size_t place, Expected& expected) {
    const std::size_t i = order_[place];
    const LineFacts* line = &lines_[i];
    if (!line->read) {
      problem(i + 1, fmt::format("line {} was altered: {}", i + 1, line->problem));
      expected = {expected.seq + 1, std::nullopt};
      return;
    }
    if (line->seq != expected.seq) {
      if (explain_seq(place, expected)) return;
      line = &lines_[order_[place]];  // the swapped lines are now in their order
    }
    if (expected.prev && line->prev != *expected.prev) {
      explain_prev(place);
      expected = {line->seq + 1, std::nullopt};
      return;
    }
    expected = {line->seq + 1, line->hash};
  }

  // True: the line needs no more looking at.
  bool explain_seq(std::size_t place, Expected& expected) {
    const std::size_t i = order_[place];
    const LineFacts& line = lines_[i];
    const auto twin = by_seq_.find(line.seq);
    if (line.seq < expected.seq && twin != by_seq_.end() && twin->second < i && lines_[twin->second].hash == line.hash) {
      problem(i + 1, fmt::format("line {} repeats line {}", i + 1, twin->second + 1));
      return true;
    }
    if (swap_with_later(place, expected)) return false;
    if (expected.prev && line.prev == *expected.prev) {
      problem(i + 1, fmt::format("line {} was altered: its seq is {}, not {}", i + 1, line.seq, expected.seq));
      expected = {expected.seq + 1, std::nullopt};
      return true;
    }
    if (line.seq > expected.seq) {
      explain_gap(i, line.seq - expected.seq);
      expected = {line.seq + 1, line.hash};
      return true;
    }
    problem(i + 1, fmt::format("line {} does not belong here: its seq is {}, expected {}", i + 1, line.seq, expected.seq));
    return true;
  }

  bool swap_with_later(std::size_t place, const Expected& expected) {
    const LineFacts& line = lines_[order_[place]];
    const auto wanted = by_seq_.find(expected.seq);
    if (line.seq <= expected.seq || wanted == by_seq_.end() || wanted->second <= order_[place]) return false;
    const std::size_t other = wanted->second;
    if (order_[other] != other || static_cast<std::int64_t>(other - order_[place]) != line.seq - expected.seq) return false;
    problem(order_[place] + 1, fmt::format("lines {} and {} are swapped", order_[place] + 1, other + 1));
    std::swap(order_[place], order_[other]);
    return true;
  }

  void explain_gap(std::size_t i, std::int64_t count) {
    const std::string where = i == 0 ? "before line 1" : fmt::format("between lines {} and {}", i, i + 1);
    problem(i + 1, count == 1 ? fmt::format("a line is missing {}", where) : fmt::format("{} lines are missing {}", count, where));
  }

  // The line's prev is not the hash of the line before: which of the two was touched?
  void explain_prev(std::size_t place) {
    const std::size_t i = order_[place];
    if (place == 0) return problem(1, "line 1 was altered: its prev is not 64 zeros");
    const std::size_t before = order_[place - 1];
    const bool followed = place + 1 < order_.size() && lines_[order_[place + 1]].read;
    if (followed && lines_[order_[place + 1]].prev == lines_[i].hash) {
      return problem(before + 1, fmt::format("line {} was altered: line {} carries the hash of another text", before + 1, i + 1));
    }
    if (followed)
      return problem(i + 1, fmt::format("line {} was altered: its prev is not the hash of line {}, and line {} carries another hash of it",
                                        i + 1, before + 1, order_[place + 1] + 1));
    problem(before + 1, fmt::format("line {} or {} was altered: line {} carries the hash of another text", before + 1, i + 1, i + 1));
  }

  // --- the end of the file, and what was asked ---

  void check_ends() {
    if (broken_) return;
    check_renamed_end();
    if (tail_.empty()) return;
    const std::string_view prev = lines_.empty() ? first_prev() : std::string_view(lines_.back().hash);
    const std::string_view type = lines_.empty() ? "run_start" : ended_ ? "resume" : "";  // the only one that may come, if it is
    if (may_become_line(tail_, static_cast<std::int64_t>(lines_.size()), prev, type, checks_.line_bytes_max)) return check_whole_tail();
    problem(lines_.size() + 1,
            fmt::format("line {} has no newline and is not the start of the next line of this record", lines_.size() + 1));
  }

  void check_renamed_end() {
    if (!looks_like_end_ || ended_) return;
    problem(lines_.size(), fmt::format("line {} was altered: it has run_end's members, but its type is '{}'", lines_.size(), last_type_));
  }

  // A last line that lacks only its newline must hold as a line; but nothing that it says counts before its newline is there.
  void check_whole_tail() {
    const auto entry = read_record_line(tail_, checks_.line_bytes_max);
    if (!entry) return;
    lines_.push_back({.text = tail_, .hash = {}, .problem = {}, .prev = {}});
    check_meaning(lines_.size() - 1, *entry);
    check_renamed_end();
    lines_.pop_back();
    verdict_.is_signed = false;
    verdict_.signer.clear();
    verdict_.root_hash.clear();
  }

  void check_kept_head(const Json& head) {
    const Json& seq = head.at("seq");
    if (!check_record_data("head", head) || !verify_object(head)) return problem(0, "the kept head is not a head, or is badly signed");
    if (broken_) return;
    const auto at = static_cast<std::size_t>(std::max<std::int64_t>(seq.as_int(), 0));
    if (head.at("run_id").as_string() != verdict_.run_id) return problem(0, "the kept head is of another run");
    if (at >= lines_.size()) {
      return problem(lines_.size(), fmt::format("the tail was lost: the kept head vouches for line {}, the record ends with line {}",
                                                at + 1, lines_.size()));
    }
    if (lines_[at].hash != head.at("tip").as_string()) {
      problem(at + 1, fmt::format("line {} or one before it was altered: the kept head has another hash of line {}", at + 1, at + 1));
    }
  }

  RecordState state() const {
    if (broken_) return RecordState::broken;
    if (!tail_.empty()) return RecordState::torn;
    return ended_ ? RecordState::complete : RecordState::open;
  }

  void check_demands() {
    if (broken_) {
      verdict_.is_signed = false;
      return;
    }
    if (!checks_.complete) return;
    if (verdict_.state != RecordState::complete) {
      verdict_.problems.push_back(
          {verdict_.lines, fmt::format("the record is {}, not complete: its last line is not run_end", name(verdict_.state))});
    } else if (!verdict_.is_signed) {
      verdict_.problems.push_back({verdict_.lines, "the record is complete but not signed"});
    }
  }

  std::string_view text_;
  const RecordChecks& checks_;
  std::vector<RecordEntry>* entries_;
  RecordVerdict verdict_;
  std::vector<LineFacts> lines_;
  std::string_view tail_;
  std::vector<std::size_t> order_;                        // place in the right order → line
  std::unordered_map<std::int64_t, std::size_t> by_seq_;  // seq → its first line
  std::string last_type_;
  TotalsFold folded_;  // of the lines read so far
  std::map<std::string, Wide, std::less<>> counters_;
  bool broken_ = false, ended_ = false, looks_like_end_ = false;
};

}  // namespace

std::string_view name(RecordState state) {
  constexpr std::string_view names[] = {"complete", "open", "torn", "broken"};
  return names[static_cast<int>(state)];
}

RecordVerdict verify_record(std::string_view text, const RecordChecks& checks) { return Verifier(text, checks, nullptr).verify(); }

Result<RunRecord> read_record(std::string_view text, const RecordChecks& checks) {
  RunRecord record;
  record.verdict = Verifier(text, checks, &record.entries).verify();
  if (record.verdict.problems.empty()) return record;
  const RecordProblem& first = record.verdict.problems.front();
  std::string message = first.message;
  if (const std::size_t more = record.verdict.problems.size() - 1; more > 0) message += fmt::format(" (and {} more)", more);
  return fail(ErrorCode::mismatch, std::move(message), "take the record from where it was written, or run again",
              fmt::format("line {}", first.line));
}

bool is_record_text(std::string_view text) { return text.starts_with("{\"data\":"); }

Result<std::string> read_record_text(const std::string& path, std::size_t line_bytes_max) {
  auto text = read_file(path, record_bytes_max, line_bytes_max);
  if (!text && text.error().code == ErrorCode::limit_exceeded && text.error().path != path) {
    text.error().code = ErrorCode::mismatch;
    text.error().message += ": no record has such a line";
    text.error().remedy = "take the record from where it was written, or run again";
  }
  return text;
}

Result<RunRecord> read_record_file(const std::string& path, const RecordChecks& checks) {
  ASSAY_TRY(const std::string text, read_record_text(path, checks.line_bytes_max));
  auto record = read_record(text, checks);
  if (!record) return std::unexpected(std::move(record).error().in(path));
  return record;
}

}  // namespace assay
