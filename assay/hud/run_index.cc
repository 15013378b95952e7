#include "assay/hud/run_index.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <tuple>

#include "assay/base/files.h"
#include "assay/base/sha256.h"
#include "assay/hud/preview.h"
#include "assay/trace/record_line.h"

namespace assay {
namespace {

constexpr std::string_view record_suffix = ".run.jsonl";

// Inodes of files that some process holds an exclusive flock on, as the recorder does. The kernel's list is read instead of
// trying the lock, since even a moment's lock could turn a writer away.
std::set<std::uint64_t> locked_inodes() {
  std::set<std::uint64_t> inodes;
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    if (line.find("FLOCK") == std::string::npos || line.find("WRITE") == std::string::npos) continue;
    const std::size_t colon = line.rfind(':');
    std::uint64_t inode = 0;
    if (colon != std::string::npos) std::from_chars(line.data() + colon + 1, line.data() + line.size(), inode);
    inodes.insert(inode);
  }
  return inodes;
}

struct Candidate {
  std::string path;
  std::int64_t modified_ns = 0;
};

std::vector<Candidate> record_files(const RunIndexOptions& options) {
  std::vector<Candidate> found;
  std::set<std::pair<dev_t, ino_t>> named;  // files that a folder may show once more
  const auto add = [&](std::string path, bool by_name) {
    struct stat info{};
    if (!valid_utf8(path) || ::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return;
    if (by_name) named.emplace(info.st_dev, info.st_ino);
    else if (named.contains({info.st_dev, info.st_ino})) return;
    found.push_back({std::move(path), info.st_mtim.tv_sec * 1000000000LL + info.st_mtim.tv_nsec});
  };
  for (const std::string& file : options.files) add(file, true);
  for (const std::string& folder : options.folders) {
    std::error_code error;
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      if (std::string path = at->path().string(); path.ends_with(record_suffix)) add(std::move(path), false);
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Candidate& a, const Candidate& b) { return std::tie(b.modified_ns, a.path) < std::tie(a.modified_ns, b.path); });
  return found;
}

}  // namespace

std::string_view name(RunState state) {
  constexpr std::string_view names[] = {"complete", "running", "interrupted", "broken"};
  return names[static_cast<int>(state)];
}

std::pair<std::string, Json> event_of_line(const std::string& run_id, const RecordEntry& entry) {
  const Json& data = entry.data;
  JsonObject event{{"run_id", run_id}, {"path", entry.node}, {"t_ns", entry.t}};
  const auto copy = [&](std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys) event.set(std::string(key), data.at(key));
  };
  if (entry.type == "node_start") copy({"node_type", "name"});
  if (entry.type == "node_end") copy({"status", "error"});
  if (entry.type == "candidate") copy({"id", "compiled_id", "metrics"});
  if (entry.type == "score") copy({"example", "metric", "value"});
  if (entry.type == "decision") event.set("data", data);
  if (entry.type == "lm_request") {
    event.set("model", data.at("request").at("model").at("id"));
    event.set("request_hash", data.at("request_hash"));
    return {"lm_start", Json(std::move(event))};
  }
  if (entry.type == "lm_response" || entry.type == "cache_hit") {
    copy({"finish_reason", "usage", "cost_msats", "latency_ns", "request_hash"});
    event.set("cached", entry.type == "cache_hit");
    event.set("answer", preview(data.at("content")));
    return {"lm_end", Json(std::move(event))};
  }
  if (entry.type == "run_start") {
    event.set("program", program_name(data));
    event.set("is_compile", !data.at("program").is_null());
    copy({"compiled_id"});
    return {"run_started", Json(std::move(event))};
  }
  if (entry.type == "run_end") {
    copy({"totals", "root_hash"});
    return {"run_ended", Json(std::move(event))};
  }
  for (const std::string_view known : {"node_start", "node_end", "candidate", "score", "decision"}) {
    if (entry.type == known) return {std::string(known), Json(std::move(event))};
  }
  event.set("type", entry.type);
  return {"note", Json(std::move(event))};
}

Json row_of(const RunIndex::Found& found) {
  Json row = found.summary.to_json();
  row.set("id", found.id);
  row.set("state", name(found.state));
  row.set("also", JsonList(found.also.begin(), found.also.end()));
  row.set("problem", found.problem.empty() ? Json() : Json(found.problem));
  row.set("file", found.path.empty() ? Json() : Json(std::filesystem::path(found.path).filename().string()));
  return row;
}

RunState RunIndex::state_of(const File& file) {
  if (!file.problem.empty()) return RunState::broken;
  if (file.summary.ended) return RunState::complete;
  return file.held ? RunState::running : RunState::interrupted;
}

void RunIndex::start_over(File& file) {
  file.offset = file.next_seq = 0;
  file.prev = first_prev();
  file.problem.clear();
  file.summary = {};
}

bool RunIndex::poll() {
  std::vector<Event> events;
  bool more = false;
  {
    const std::lock_guard lock(mutex_);
    find_files(events);
    std::int64_t left = static_cast<std::int64_t>(options_.poll_bytes_max);
    std::vector<File*> newest;
    for (auto& [path, file] : files_) {
      if (file.waiting) newest.push_back(&file);
    }
    std::sort(newest.begin(), newest.end(), [](const File* a, const File* b) { return a->modified_ns > b->modified_ns; });
    for (File* file : newest) {
      if (left <= 0) break;
      left -= read_more(*file, left, events);
    }
    mark_writers(events);
    more = std::any_of(files_.begin(), files_.end(), [](const auto& each) { return each.second.waiting; });
    first_poll_ = false;
  }
  for (const auto& [event, data] : events) sink_(event, data);
  return more;
}

void RunIndex::find_files(std::vector<Event>& events) {
  std::vector<Candidate> found = record_files(options_);
  left_out_ = static_cast<std::int64_t>(found.size() - std::min(found.size(), options_.files_max));
  found.resize(found.size() - static_cast<std::size_t>(left_out_));
  std::set<std::string> here;
  for (const Candidate& candidate : found) {
    here.insert(candidate.path);
    look(candidate.path, events);
  }
  std::erase_if(files_, [&](const auto& each) {
    if (here.contains(each.first)) return false;
    events.emplace_back("run_removed", JsonObject{{"run_id", each.second.id}});
    return true;
  });
}

void RunIndex::look(const std::string& path, std::vector<Event>& events) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return;
  const auto [at, is_new] = files_.try_emplace(path);
  File& file = at->second;
  if (is_new) {
    file.path = path;
    file.id = "file-" + sha256_hex(path).substr(0, 16);
    file.silent = first_poll_;
    start_over(file);
  }
  const bool replaced = !is_new && (file.inode != info.st_ino || info.st_size < file.offset);
  if (replaced) {  // another file under this name: nothing that was read holds
    events.emplace_back("run_removed", JsonObject{{"run_id", file.id}});
    start_over(file);
  }
  const std::int64_t modified_ns = info.st_mtim.tv_sec * 1000000000LL + info.st_mtim.tv_nsec;
  if (is_new || replaced || info.st_size != file.size || modified_ns != file.modified_ns) file.waiting = info.st_size > file.offset;
  file.inode = info.st_ino;
  file.size = info.st_size;
  file.modified_ns = modified_ns;
}

std::int64_t RunIndex::read_more(File& file, std::int64_t bytes_max, std::vector<Event>& events) {
  if (!file.problem.empty()) {  // after a broken line nothing can be believed; the page says so
    file.waiting = file.silent = false;
    return 0;
  }
  const Fd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  std::string bytes;
  const auto whole = std::min(file.size - file.offset, static_cast<std::int64_t>(options_.line_bytes_max) + 1);
  std::int64_t wanted = std::min(whole, bytes_max);
  std::int64_t count = 0;
  while (true) {  // ends: `wanted` grows to `whole` at most, which holds the longest line
    bytes.resize(static_cast<std::size_t>(wanted));
    count = fd.open() ? ::pread(fd.get(), bytes.data(), bytes.size(), file.offset) : -1;
    bytes.resize(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
    if (bytes.find('\n') != std::string::npos || wanted == whole || count < wanted) break;
    wanted = std::min(whole, wanted * 8);
  }
  std::size_t begin = 0;
  while (file.problem.empty()) {  // ends: every round takes a line off, or stops
    const std::size_t end = bytes.find('\n', begin);
    if (end == std::string::npos) break;
    if (!take_line(file, std::string_view(bytes).substr(begin, end - begin), events)) break;
    begin = end + 1;
  }
  file.offset += static_cast<std::int64_t>(begin);
  if (begin == 0 && bytes.size() > options_.line_bytes_max)
    file.problem = "a line has more than " + std::to_string(options_.line_bytes_max) + " bytes";
  // A rest without a newline waits for the file to change.
  file.waiting = begin > 0 && file.offset < file.size && file.problem.empty();
  if (!file.waiting) file.silent = false;
  if (!file.problem.empty() && !file.id.empty())
    events.emplace_back("run_broken", JsonObject{{"run_id", file.id}, {"problem", file.problem}});
  return count;
}

namespace {

bool has_good_signature(const RecordEntry& run_end, std::string_view line) {
  const Json &signer = run_end.data.at("signer"), &signature = run_end.data.at("signature");
  if (!signer.is_string() || !signature.is_string()) return false;
  const auto message = run_end_signing_hash(line);
  return message && verify_signature(signer.as_string(), *message, signature.as_string());
}

}  // namespace

bool RunIndex::take_line(File& file, std::string_view line, std::vector<Event>& events) {
  auto entry = read_record_line(line, options_.line_bytes_max);
  const std::string where = "line " + std::to_string(file.next_seq + 1) + ": ";
  if (!entry) {
    file.problem = where + entry.error().message;
  } else if (entry->seq != file.next_seq || entry->prev != file.prev) {
    file.problem = where + "it does not follow the line before it: one of the two was altered, or lines are missing";
  } else if ((file.next_seq == 0) != (entry->type == "run_start")) {
    file.problem = where + "a record begins with run_start, and has one only";
  }
  if (!file.problem.empty()) return false;
  file.prev = sha256_hex(line);
  ++file.next_seq;
  file.summary.add(*entry);
  if (entry->type == "run_start") file.id = file.summary.run_id;
  if (entry->type == "run_end") file.summary.is_signed = has_good_signature(*entry, line);
  if (file.silent) return true;
  if (entry->type == "cache_hit") {  // one line, but a call like others to who counts starts and ends
    JsonObject start{{"run_id", file.id}, {"path", entry->node}, {"t_ns", entry->t}};
    start.set("model", entry->data.at("request").at("model").at("id"));
    start.set("request_hash", entry->data.at("request_hash"));
    events.emplace_back("lm_start", Json(std::move(start)));
  }
  events.push_back(event_of_line(file.id, *entry));
  return true;
}

void RunIndex::mark_writers(std::vector<Event>& events) {
  const bool asks = std::any_of(files_.begin(), files_.end(), [](const auto& each) { return !each.second.summary.ended; });
  const std::set<std::uint64_t> locked = asks ? locked_inodes() : std::set<std::uint64_t>();
  for (auto& [path, file] : files_) {
    const bool held = !file.summary.ended && locked.contains(file.inode);
    if (std::exchange(file.held, held) == held || file.summary.ended) continue;
    events.emplace_back("run_state", JsonObject{{"run_id", file.id}, {"state", name(state_of(file))}});
  }
}

// Whoever can write a file can copy a record, alter it and seal it again, but not sign it: a signed one comes first, then what is whole.
int RunIndex::doubt(const File& file) {
  if (!file.problem.empty()) return 2;
  return file.summary.is_signed ? 0 : 1;
}

JsonList RunIndex::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<const File*> order;
  for (const auto& [path, file] : files_) order.push_back(&file);
  // Of copies with one run id the one that holds best is shown, and the others beside it if they do not.
  std::sort(order.begin(), order.end(), [](const File* a, const File* b) {
    if (a->summary.started_unix_ns != b->summary.started_unix_ns) return a->summary.started_unix_ns > b->summary.started_unix_ns;
    return std::pair(doubt(*a), std::string_view(a->path)) < std::pair(doubt(*b), std::string_view(b->path));
  });
  std::set<std::string_view> seen;
  JsonList rows;
  for (const File* file : order) {
    if (file->next_seq == 0 && file->problem.empty()) continue;  // not a line yet
    if (seen.insert(file->id).second || !file->problem.empty())
      rows.push_back(row_of({file->id, file->path, state_of(*file), file->problem, file->summary, others_of(*file)}));
  }
  return rows;
}

std::vector<std::string> RunIndex::others_of(const File& shown) const {
  std::vector<std::string> out;
  for (const auto& [path, file] : files_) {
    if (&file == &shown || file.id != shown.id || file.id.empty() || !file.problem.empty() || out.size() >= 16) continue;
    out.push_back(std::filesystem::path(path).filename().string());
  }
  return out;
}

std::optional<RunIndex::Found> RunIndex::find(std::string_view id) const {
  const std::lock_guard lock(mutex_);
  const File* found = nullptr;
  for (const auto& [path, file] : files_) {
    if (file.id == id && (found == nullptr || doubt(file) < doubt(*found))) found = &file;
  }
  if (found == nullptr) return std::nullopt;
  return Found{found->id, found->path, state_of(*found), found->problem, found->summary, others_of(*found)};
}

RunIndex::Counts RunIndex::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts;
  counts.left_out = left_out_;
  for (const auto& [path, file] : files_) {
    ++counts.runs;
    ++counts.by_state[std::string(name(state_of(file)))];
    counts.totals.add(file.summary.totals);
    counts.errors += file.summary.errors;
  }
  return counts;
}

}  // namespace assay
