#include "assay/trace/record.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>

#include <fmt/format.h>

#include "assay/base/sha256.h"
#include "assay/contract/privacy.h"
#include "assay/trace/group_sync.h"
#include "assay/trace/price_book.h"
#include "assay/trace/record_line.h"
#include "assay_version.h"

namespace assay {
namespace {

std::unexpected<Error> io_error(std::string_view what, const std::string& path, int number) {
  return fail(ErrorCode::io, fmt::format("{}: {}", what, std::strerror(number)),
              number == ENOENT ? "check the path" : "check the disk and the folder's permissions", path);
}

Result<Fd> open_locked(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!fd.open()) return io_error("the record cannot be opened", path, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return io_error("the record cannot be locked", path, errno);
    const auto holder = lock_holder(fd);
    return fail(ErrorCode::unavailable,
                fmt::format("another process{} is writing this record", holder ? fmt::format(" ({})", *holder) : ""),
                "wait for it, or write to another file", path);
  }
  return fd;
}

Result<std::int64_t> file_size(const Fd& fd, const std::string& path) {
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return io_error("the record's size cannot be read", path, errno);
  if (!S_ISREG(info.st_mode)) return fail(ErrorCode::refused, "the record's path is not a plain file", "name a file", path);
  return info.st_size;
}

Result<void> sync_folder(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  const Fd folder(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.open() || ::fsync(folder.get()) != 0) return io_error("the record's folder cannot be synced", path, errno);
  return {};
}

Result<void> write_all(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {  // ends: every round writes a byte or returns
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return io_error("the record cannot be written", path, count == 0 ? EIO : errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

// Lines that must be on the disk before the effect that follows them.
bool needs_sync(std::string_view type) {
  constexpr std::string_view types[] = {"run_start", "lm_request", "payment", "sandbox", "tool", "head", "run_end", "resume"};
  return std::find(std::begin(types), std::end(types), type) != std::end(types);
}

// Of the lines that come as text, those that tell of nothing but what the lines around them let anyone derive: they are written with the
// line that follows.
bool may_wait(std::string_view type) { return type == "node_start" || type == "node_end"; }

bool is_recorders_own(std::string_view type) { return type == "run_start" || type == "run_end" || type == "head" || type == "resume"; }

constexpr std::size_t waiting_bytes_max = std::size_t{1} << 16, kept_bytes_max = std::size_t{1} << 20;

Json or_null(const std::optional<std::string>& value) { return value ? Json(*value) : Json(); }

Result<Json> start_data(RunStart start, const std::string& run_id, std::int64_t started_unix_ns) {
  if (start.price_book.empty()) {
    ASSAY_TRY(start.price_book, PriceBook().id());
  }
  if (start.privacy_mode.empty()) start.privacy_mode = privacy_name(default_privacy_mode);
  JsonObject build;
  build.set("version", start.assay_version.empty() ? std::string(assay_version) : std::move(start.assay_version));
  build.set("build", std::move(start.assay_build));
  JsonObject data;
  data.set("format", run_format);
  data.set("run_id", run_id);
  data.set("started_unix_ns", fmt::format("{}", started_unix_ns));
  data.set("assay", std::move(build));
  data.set("compiled_id", or_null(start.compiled_id));
  data.set("program", std::move(start.program));
  data.set("settings", std::move(start.settings));
  data.set("seed", start.seed);
  data.set("price_book", std::move(start.price_book));
  data.set("lanes", std::move(start.lanes));
  data.set("privacy_mode", std::move(start.privacy_mode));
  data.set("traceparent", or_null(start.traceparent));
  return Json(std::move(data));
}

}  // namespace

struct RunRecorder::State {
  State(RecorderOptions o, Clock& c, Entropy& e) : options(std::move(o)), clock(c), entropy(e) {}

  RecorderOptions options;
  Clock& clock;
  Entropy& entropy;
  mutable std::mutex mutex;
  Fd file;
  std::string run_id;
  std::int64_t started_unix_ns = 0;
  std::int64_t zero_steady_ns = 0;  // steady time of t = 0
  std::int64_t next_seq = 0, last_t = 0;
  std::string prev{first_prev()};
  std::int64_t bytes = 0;              // of whole lines
  std::int64_t lines_since_head = 0, first_unheaded_t = 0;
  TotalsFold fold;
  // Data that came as text stays text until somebody asks.
  struct Kept {
    RecordEntry entry;
    std::string data_text;
  };
  std::vector<Kept> entries;
  std::string lines;  // not written yet: those that wait, then the newest; written into again and again
  std::optional<Error> failed;  // a line could not be written or synced: nothing is written after it
  bool finished = false;
  GroupSync group{[this] { return options.sync ? options.sync(file.get()) : ::fdatasync(file.get()) == 0 ? 0 : errno; }};

  Result<void> usable() const {
    if (failed) return std::unexpected(*failed);
    if (!finished) return {};
    return fail(ErrorCode::usage, "the record is finished", "open it with RunRecorder::resume", options.path);
  }

  std::int64_t now_t() {
    const std::int64_t t = std::clamp<std::int64_t>(clock.steady_ns() - zero_steady_ns, 0, json_integer_max);
    return last_t = std::max(last_t, t);
  }

  // Writes the lines that wait.
  Result<void> write_out() {
    if (file.open()) {
      if (auto written = write_all(file.get(), lines, options.path); !written) {
        // The record ends here, as after a kill: a shorter line that still fits would tell of what nobody can derive. Half a line is taken
        // back; where that fails, a resume does it.
        static_cast<void>(::ftruncate(file.get(), bytes));
        failed = written.error();
        return written;
      }
    }
    bytes += static_cast<std::int64_t>(lines.size());
    group.wrote(bytes);
    if (lines.capacity() > kept_bytes_max) lines = {};  // one huge line does not hold its memory for ever
    lines.clear();
    return {};
  }

  // Without the recorder's lock, so that others append meanwhile and share the sync: until `length` bytes are on the disk.
  Result<void> wait_durable(std::int64_t length) {
    const int number = group.wait(length);
    if (number == 0) return {};
    const std::scoped_lock lock(mutex);
    if (!failed) failed = io_error("the record cannot be synced", options.path, number).error();
    return std::unexpected(*failed);
  }

  bool waits_for_disk(std::string_view type) const { return file.open() && options.durability == Durability::power && needs_sync(type); }

  // A line's data as canonical text, and the figures in it, if it has any that count.
  struct Ready {
    std::string_view text;
    const LmUsage* usage;
  };

  // `data`, or its canonical text where there is one.
  Result<void> write_line(std::string_view type, std::string_view node, std::int64_t t, Json data, const Ready& ready = {}) {
    const std::size_t begin = lines.size();
    const Json* const value = ready.text.empty() ? &data : nullptr;
    if (auto made = append_record_line(
            lines, {.seq = next_seq, .t = t, .type = type, .node = node, .prev = prev, .data = value, .data_text = ready.text});
        !made) {
      lines.resize(begin);
      return made;
    }
    std::string line_hash = sha256_hex(std::string_view(lines).substr(begin));
    lines += '\n';
    if (ready.text.empty() || !may_wait(type) || lines.size() > waiting_bytes_max) ASSAY_CHECK(write_out());
    count(type, node, t, data);
    if (ready.usage != nullptr) fold.add_answer(node, *ready.usage);
    if (options.keep_entries) {
      RecordEntry entry{next_seq, t, std::string(type), std::string(node), prev, std::move(data)};
      entries.push_back({std::move(entry), std::string(ready.text)});
    }
    prev = std::move(line_hash);
    ++next_seq;
    return {};
  }

  void count(std::string_view type, std::string_view node, std::int64_t t, const Json& data) {
    if (type == "head") {
      lines_since_head = 0;
    } else if (lines_since_head++ == 0) {
      first_unheaded_t = t;
    }
    fold.add(type, node, data);
  }

  bool head_is_due() const {
    if (options.key == nullptr || lines_since_head == 0) return false;
    return lines_since_head >= options.head_lines_max || last_t - first_unheaded_t >= options.head_ns_max;
  }

  Result<void> write_head() {
    JsonObject head;
    head.set("format", head_format);
    head.set("run_id", run_id);
    head.set("seq", next_seq - 1);
    head.set("tip", prev);
    ASSAY_TRY(Json signed_head, sign_object(std::move(head), *options.key, entropy));
    return write_line("head", "", now_t(), std::move(signed_head));
  }

  // Writes the line, and a head if one is due; then waits for the disk where the class asks for it.
  Result<void> append(std::string_view type, std::string_view node, Json data, const Ready& ready = {}) {
    std::int64_t length = 0;
    {
      const std::scoped_lock lock(mutex);
      ASSAY_CHECK(usable());
      ASSAY_CHECK(write_line(type, node, now_t(), std::move(data), ready));
      const bool with_head = head_is_due();
      if (with_head) ASSAY_CHECK(write_head());
      if (waits_for_disk(type) || (with_head && waits_for_disk("head"))) length = bytes;
    }
    return wait_durable(length);
  }

  Result<void> write_end(const std::optional<std::string>& output_hash) {
    JsonObject data;
    data.set("output_hash", or_null(output_hash));
    data.set("totals", fold.totals().totals_json());
    data.set("root_hash", prev);
    data.set("signer", options.key != nullptr ? Json(options.key->public_hex()) : Json());
    data.set("signature", nullptr);
    ASSAY_CHECK(check_record_data("run_end", data));
    const std::int64_t t = now_t();
    if (options.key != nullptr) {
      ASSAY_TRY(const std::string line, record_line_text({next_seq, t, "run_end", "", prev, data}));
      ASSAY_TRY(const Bytes32 message, run_end_signing_hash(line));
      ASSAY_TRY(std::string signature, options.key->sign(message, entropy));
      data.set("signature", std::move(signature));
    }
    return write_line("run_end", "", t, std::move(data));
  }
};

RunRecorder::RunRecorder(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunRecorder::~RunRecorder() {
  if (!state_->failed && !state_->lines.empty()) static_cast<void>(state_->write_out());  // what cannot be written anyone derives
}

Result<std::unique_ptr<RunRecorder>> RunRecorder::create(RecorderOptions options, RunStart start, Clock& clock, Entropy& entropy) {
  auto state = std::make_unique<State>(std::move(options), clock, entropy);
  state->run_id = entropy.hex_bytes(16);
  state->started_unix_ns = clock.unix_ns();
  state->zero_steady_ns = clock.steady_ns();
  ASSAY_TRY(Json data, start_data(std::move(start), state->run_id, state->started_unix_ns));
  ASSAY_CHECK(check_record_data("run_start", data));
  const std::string& path = state->options.path;
  if (!path.empty() && state->options.durability != Durability::memory) {
    ASSAY_TRY(state->file, open_locked(path, O_RDWR | O_CREAT | O_APPEND));
    ASSAY_TRY(const std::int64_t size, file_size(state->file, path));
    if (size != 0 && state->options.over_unborn && is_unborn_record(path)) {
      if (::ftruncate(state->file.get(), 0) != 0) return io_error("the begun line cannot be cut", path, errno);
    } else if (size != 0)
      return fail(ErrorCode::refused, "the record's file is there and not empty",
                  "name another file, or resume this one if it is a compile's journal", path);
    if (state->options.durability == Durability::power) ASSAY_CHECK(sync_folder(path));
  }
  ASSAY_CHECK(state->append("run_start", "", std::move(data)));
  return std::unique_ptr<RunRecorder>(new RunRecorder(std::move(state)));
}

bool is_unborn_record(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe is no record, and is not waited for
  struct stat info{};
  if (!fd.open() || ::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  std::string text;
  char part[65536];
  while (text.size() <= record_line_bytes_max) {  // ends: at a line's end, at the file's, or at the limit
    const ssize_t count = ::read(fd.get(), part, sizeof part);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 || std::memchr(part, '\n', static_cast<std::size_t>(count)) != nullptr) return false;
    if (count == 0) return text.empty() || may_become_line(text, 0, first_prev(), "run_start", record_line_bytes_max);
    text.append(part, static_cast<std::size_t>(count));
  }
  return false;
}

namespace {

struct OpenedRecord {
  RunRecord record;
  Json cut;  // data of the resume entry
  std::int64_t whole_bytes = 0;
  std::string last_hash;
};

// What stands in the file, verified, and what of it goes.
Result<OpenedRecord> read_for_resume(const std::string& path, std::string_view reason) {
  ASSAY_TRY(const std::string text, read_record_text(path));
  auto record = read_record(text);
  if (!record) return std::unexpected(std::move(record).error().in(path));
  OpenedRecord opened{.record = *std::move(record), .cut = {}, .whole_bytes = 0, .last_hash = {}};
  if (opened.record.entries.empty()) {
    return fail(ErrorCode::mismatch, "the record has no whole line, so there is nothing to go on from", "delete it and start anew", path);
  }
  const std::string_view torn = std::string_view(text).substr(text.size() - opened.record.verdict.torn_bytes);
  std::string_view whole = std::string_view(text).substr(0, text.size() - torn.size());
  opened.whole_bytes = static_cast<std::int64_t>(whole.size());
  whole.remove_suffix(1);
  opened.last_hash = sha256_hex(whole.substr(whole.rfind('\n') + 1));  // npos + 1 is 0: the only line
  JsonObject data;
  data.set("reason", reason);
  data.set("cut_bytes", torn.size());
  data.set("cut_sha256", torn.empty() ? Json() : Json(sha256_hex(torn)));
  opened.cut = std::move(data);
  return opened;
}

}  // namespace

Result<std::unique_ptr<RunRecorder>> RunRecorder::resume(RecorderOptions options, std::string_view reason, Clock& clock, Entropy& entropy,
                                                         const Accept& accept) {
  auto state = std::make_unique<State>(std::move(options), clock, entropy);
  const std::string& path = state->options.path;
  if (path.empty()) return fail(ErrorCode::usage, "a record in memory cannot be resumed", "name its file");
  ASSAY_TRY(state->file, open_locked(path, O_RDWR | O_APPEND));
  ASSAY_CHECK(file_size(state->file, path));
  ASSAY_TRY(OpenedRecord opened, read_for_resume(path, reason));
  if (accept) ASSAY_CHECK(accept(opened.record));
  if (::ftruncate(state->file.get(), opened.whole_bytes) != 0) return io_error("the torn tail cannot be cut", path, errno);

  for (const RecordEntry& entry : opened.record.entries) state->count(entry.type, entry.node, entry.t, entry.data);
  const RecordEntry& last = opened.record.entries.back();
  const Json& start = opened.record.entries.front().data;
  state->run_id = start.at("run_id").as_string();
  state->started_unix_ns = std::stoll(start.at("started_unix_ns").as_string());
  state->bytes = opened.whole_bytes;
  state->prev = opened.last_hash;
  state->next_seq = last.seq + 1;
  state->last_t = last.t;
  // The steady clock may be another machine start's: t goes on from the wall clock, never back. A wall clock that was set to another year
  // meanwhile would use up what t can hold (104 days): then t goes on from the last line.
  const std::int64_t passed_ns = clock.unix_ns() - state->started_unix_ns;
  constexpr std::int64_t believable_ns = json_integer_max / 2;
  state->zero_steady_ns = clock.steady_ns() - (passed_ns < believable_ns ? std::max(last.t, passed_ns) : last.t);
  if (state->options.keep_entries) {
    for (RecordEntry& entry : opened.record.entries) state->entries.push_back({std::move(entry), {}});
  }
  ASSAY_CHECK(state->append("resume", "", std::move(opened.cut)));
  return std::unique_ptr<RunRecorder>(new RunRecorder(std::move(state)));
}

namespace {

Result<void> check_place(std::string_view type, std::string_view node) {
  if (is_recorders_own(type)) return fail(ErrorCode::usage, fmt::format("a {} line is written by the recorder itself", type));
  if (is_record_path(node)) return {};
  return fail(ErrorCode::malformed, fmt::format("'{}' is no path of a record", to_utf8(node.substr(0, 200))),
              "paths are name[:index] joined by '/', at most 4096 bytes");
}

}  // namespace

Result<void> RunRecorder::append(std::string_view type, std::string_view node, Json data) {
  ASSAY_CHECK(check_place(type, node));
  if (auto checked = check_record_data(type, data); !checked)
    return std::unexpected(std::move(checked).error().in(fmt::format("{} at {}", type, node)));
  return state_->append(type, node, std::move(data));
}

Result<void> RunRecorder::append_text(std::string_view type, std::string_view node, std::string_view data, const LmUsage* usage) {
  ASSAY_CHECK(check_place(type, node));
  return state_->append(type, node, Json(), {data, usage});
}

Result<std::string> RunRecorder::finish(const std::optional<std::string>& output_hash) {
  std::string root_hash;
  std::int64_t length = 0;
  {
    const std::scoped_lock lock(state_->mutex);
    ASSAY_CHECK(state_->usable());
    if (state_->options.key != nullptr && state_->lines_since_head > 0) ASSAY_CHECK(state_->write_head());
    root_hash = state_->prev;
    ASSAY_CHECK(state_->write_end(output_hash));
    state_->finished = true;
    if (state_->waits_for_disk("run_end")) length = state_->bytes;
  }
  ASSAY_CHECK(state_->wait_durable(length));  // whoever still waits for an earlier line is covered by this one
  const std::scoped_lock lock(state_->mutex);
  state_->file.close();
  return root_hash;
}

const std::string& RunRecorder::run_id() const { return state_->run_id; }
std::int64_t RunRecorder::started_unix_ns() const { return state_->started_unix_ns; }
const std::string& RunRecorder::path() const { return state_->options.path; }

Totals RunRecorder::totals() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->fold.totals();
}

std::vector<RecordEntry> RunRecorder::entries() const {
  const std::scoped_lock lock(state_->mutex);
  std::vector<RecordEntry> out;
  out.reserve(state_->entries.size());
  for (const auto& [entry, data_text] : state_->entries) {
    out.push_back(entry);
    if (!data_text.empty()) out.back().data = read_json(data_text).value_or(Json());
  }
  return out;
}

}  // namespace assay
