// assay sandbox run: commands in a box on this machine, or bought from a provider; hashes, limits and a signed receipt.
// Exit: 0 all commands succeeded · 1 one failed, was killed or timed out · 2 wrong usage · 6 a field is refused · 7 no isolation, relay or
// provider.
#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/lanes.h"
#include "assay/market/pylon_sandbox.h"
#include "assay/program/call.h"
#include "assay/sandbox/receipt.h"
#include "assay/sandbox/sandbox.h"

namespace assay {
namespace {

struct SandboxCommandLine {
  std::vector<std::string> command;
  std::string profile = "small", receipt, request_file;
  std::vector<std::string> env;
  std::optional<std::int64_t> memory_mb, timeout_secs;
  std::int64_t bid_msats = 100'000;
  CommonOptions common;
};

// One argument is a shell line as it is; several are quoted, so that each stays one word.
std::string shell_line(const std::vector<std::string>& words) {
  if (words.size() == 1) return words[0];
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + shell_word(word);
  return out;
}

Result<SandboxRunRequest> request_of(const SandboxCommandLine& options) {
  if (!options.request_file.empty()) {
    if (!options.command.empty() || options.memory_mb || options.timeout_secs || !options.env.empty())
      return fail(ErrorCode::usage, "a job comes from a file or from the command line",
                  "leave out --request, or the command and its options", "--request");
    ASSAY_TRY(const std::string text, read_file(options.request_file, std::size_t{4} << 20));
    auto json = read_json(text);
    if (!json) return std::unexpected(std::move(json.error()).in(options.request_file));
    return read_sandbox_request(*json);
  }
  if (options.command.empty()) return fail(ErrorCode::usage, "no command was given", "assay sandbox run -- COMMAND…");
  SandboxRunRequest request;
  request.resources.memory_mb = options.memory_mb.value_or(request.resources.memory_mb);
  request.resources.timeout_secs = options.timeout_secs.value_or(request.resources.timeout_secs);
  SandboxCommand command;
  command.cmd = shell_line(options.command);
  request.commands.push_back(std::move(command));
  if (!valid_utf8(request.commands.front().cmd))
    return fail(ErrorCode::usage, "the command is not UTF-8", "a job is JSON: let the command make such bytes, as printf does", "--");
  for (const std::string& pair : options.env) {
    if (!valid_utf8(pair))
      return fail(ErrorCode::usage, "the value is not UTF-8", "a job is JSON: let the command make such bytes, as printf does", "--env");
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos) return fail(ErrorCode::usage, fmt::format("'{}' is not NAME=VALUE", pair), "", "--env");
    request.env.emplace_back(pair.substr(0, equals), pair.substr(equals + 1));
  }
  std::sort(request.env.begin(), request.env.end());
  return request;
}

struct Ran {
  SandboxRunResponse response;
  Json receipt;
  std::optional<std::int64_t> paid_msats;
  std::string provider = {};  // public key of who ran it, if bought
  std::string request_id = {};
  std::function<Result<void>()> taken = {};  // bought: to be called once the result is safe
};

// What the job's end needs is tried before the job: a result that cannot be signed or written was run, and perhaps paid, for nothing.
Result<void> check_end(const SandboxCommandLine& options, Cli& cli) {
  ASSAY_TRY(const std::optional<SecretKey> key, open_signer(options.common, cli));
  if (options.receipt.empty()) return {};
  if (!key) return fail(ErrorCode::usage, "a receipt is signed, and there is no key", "leave out --receipt, or --key none", "--receipt");
  std::error_code ignored;
  if (!options.common.record.empty() && same_place(options.receipt, options.common.record))
    return fail(ErrorCode::usage, "receipt and record would be one file", "name two", "--receipt");
  if (std::filesystem::is_directory(options.receipt, ignored))
    return fail(ErrorCode::io, "expected a file, found a folder", "name a file in it", options.receipt);
  ASSAY_CHECK(check_gives_way(options.receipt, "receipt of a sandbox run", [](std::string_view text) {
    const auto there = read_json(text);
    return there && there->at("format") == Json("assay.receipt/1") && there->at("kind") == Json("oa.sandbox_run.v1");
  }));
  const std::string folder = std::filesystem::path(options.receipt).parent_path().string();
  return check_writable_folder(folder.empty() ? "." : folder);
}

Result<Ran> run_here(const SandboxCommandLine& options, const SandboxRunRequest& request, const SandboxProfile& profile, Cli& cli) {
  ASSAY_TRY(const std::optional<SecretKey> key, open_signer(options.common, cli));
  ASSAY_TRY(SandboxRunResponse response, run_sandboxed(request, profile, {}, {Deadline::never(), cli.stop}, cli.clock));
  if (!key) return Ran{std::move(response), Json(), std::nullopt};
  ASSAY_TRY(Json receipt, make_receipt(request, response, *key, cli.entropy, cli.clock));
  return Ran{std::move(response), std::move(receipt), std::nullopt};
}

Result<Ran> buy(const SandboxCommandLine& options, const SandboxRunRequest& request, const SandboxProfile& profile,
                const std::function<bool(const Json&)>& on_paid, Cli& cli) {
  if (options.common.relay.empty()) return fail(ErrorCode::usage, "buying needs a relay", "--relay ws://…", "--lane pylon");
  ASSAY_TRY(const PrivacyMode privacy, open_privacy(options.common));
  ASSAY_CHECK(check_privacy(privacy, all_privacy_modes(), sorted_privacy({PrivacyMode::PublicOk, PrivacyMode::NoPii}), "the lane pylon"));
  ASSAY_TRY(const SecretKey key, open_key(options.common, cli));
  PylonSandboxProvider provider{options.common.relay, key, profile};
  provider.folder = buyer_folder();  // one folder for all that is bought: one budget, one memory of providers
  ASSAY_TRY(provider.wallet, open_wallet(options.common, buyer_folder(), key, cli.wait(std::chrono::seconds(30)), cli));
  provider.provider = options.common.provider;
  provider.bid_msats = options.bid_msats;
  provider.day_msats = options.common.day_cap;
  provider.stop = cli.stop;
  provider.clock = &cli.clock;
  provider.entropy = &cli.entropy;
  Ran ran;
  provider.on_bought = [&ran](const Bought& bought) {
    ran.receipt = bought.provider_receipt;
    ran.paid_msats = bought.resumed ? 0 : bought.paid_msats;
    ran.provider = bought.provider;
    ran.request_id = bought.request_id;
  };
  provider.on_paid = on_paid;
  provider.record = options.common.record;
  provider.keep_result = true;
  provider.progress = [&cli](std::string_view line) { cli.terminal.note(line); };
  std::shared_ptr<Buyer> held;
  provider.on_held = [&held](std::shared_ptr<Buyer> buyer) { held = std::move(buyer); };
  ASSAY_TRY(ran.response, provider.run(request));
  ran.taken = [held, id = ran.request_id] { return held ? held->taken(id) : Result<void>(); };
  return ran;
}

// The run as a record: one operator with its job and what was paid for it, so that it can be verified, exported and published.
class JobRecord {
 public:
  static Result<std::unique_ptr<JobRecord>> begin(const SandboxCommandLine& options, const SandboxRunRequest& request, Cli& cli) {
    ASSAY_TRY(std::optional<SecretKey> key, open_signer(options.common, cli));
    auto out = std::unique_ptr<JobRecord>(new JobRecord(std::move(key)));
    RunStart start;
    start.settings = JsonObject{{"program", JsonObject{{"name", "sandbox"}, {"version", "1"}}}};
    ASSAY_TRY(const PrivacyMode privacy, open_privacy(options.common));
    start.privacy_mode = privacy_name(privacy);
    start.assay_version = assay_version;
    start.assay_build = assay_build();
    RecorderOptions how{.path = options.common.record, .durability = Durability::power};
    how.key = out->key_ ? &*out->key_ : nullptr;
    ASSAY_TRY(out->recorder_, RunRecorder::create(how, std::move(start), cli.clock, cli.entropy));
    const Json inputs = JsonObject{{"request", recorded_value(to_json(request))}};
    ASSAY_CHECK(out->add("node_start", JsonObject{{"node_type", "Operator"}, {"name", "sandbox_run"}, {"inputs", inputs}}));
    return out;
  }

  // Money stands in the record when it moves, whatever comes of it.
  bool paid(const Json& payment) {
    auto written = add("payment", payment);
    const bool stands = written.has_value();
    if (!stands) problem_ = std::move(written);
    return stands;
  }

  Result<void> end(const SandboxRunRequest& request, const Result<Ran>& ran) {
    if (!ran) {
      ASSAY_CHECK(add("node_end", JsonObject{{"outputs", nullptr}, {"status", "error"}, {"error", error_data(ran.error())}}));
    } else {
      ASSAY_CHECK(add_job(request, *ran));
    }
    ASSAY_CHECK(problem_);
    ASSAY_CHECK(recorder_->finish(std::nullopt));
    return {};
  }

 private:
  explicit JobRecord(std::optional<SecretKey> key) : key_(std::move(key)) {}
  Result<void> add(std::string_view type, Json data) { return recorder_->append(type, "sandbox_run", std::move(data)); }

  Result<void> add_job(const SandboxRunRequest& request, const Ran& ran) {
    const Json response = to_json(ran.response);
    ASSAY_TRY(const std::string request_hash, hash(to_json(request)));
    ASSAY_TRY(const std::string response_hash, hash(response));
    JsonObject job{{"job_type", "oa.sandbox_run.v1"}, {"request_hash", request_hash}, {"response_hash", response_hash}};
    job.set("verdict", name(ran.response.status));
    if (!ran.provider.empty()) job.set("provider", ran.provider);
    ASSAY_CHECK(add("sandbox", std::move(job)));
    return add("node_end",
               JsonObject{{"outputs", JsonObject{{"response", recorded_value(response)}}}, {"status", "ok"}, {"error", nullptr}});
  }

  std::optional<SecretKey> key_;
  std::unique_ptr<RunRecorder> recorder_;
  Result<void> problem_;
};

// What a stream holds beside what is kept of it: a cut line must not look like a whole one.
void note_cut(const char* stream, const SandboxStream& of, Cli& cli) {
  if (of.truncated)
    cli.terminal.note(
        fmt::format("{}: cut after the first {} of {} bytes; its hash is of all of them", stream, of.stored.size(), of.bytes));
}

void show(const SandboxCommandRun& one, Cli& cli) {
  const std::string out = printable(one.out.stored), err = printable(one.err.stored);
  if (!out.empty()) cli.terminal.block(out.ends_with('\n') ? out.substr(0, out.size() - 1) : out);
  if (!err.empty()) cli.terminal.note_block(err.ends_with('\n') ? err.substr(0, err.size() - 1) : err);
  note_cut("stdout", one.out, cli);
  note_cut("stderr", one.err, cli);
  const std::string memory = one.max_rss_kb > 0 ? fmt::format(", {} MiB", one.max_rss_kb / 1024) : "";
  cli.terminal.note(fmt::format("{}: exit {} in {} ms{}", name(one.verdict), one.exit_code, one.duration_ms, memory));
}

void run(const SandboxCommandLine& options, Cli& cli) {
  if (const auto believable = check_clock(cli); !believable) return cli.fail_with(believable.error());
  const auto request = request_of(options);
  if (!request) return cli.fail_with(request.error());
  const auto profile = sandbox_profile(options.profile);
  if (!profile) return cli.fail_with(profile.error());
  const std::string& lane = options.common.lane;
  if (!lane.empty() && lane != "local" && lane != "pylon")
    return cli.fail_with({ErrorCode::usage, fmt::format("unknown lane '{}'", lane), "--lane", "local or pylon"});
  const bool bought = lane == "pylon";
  if (!bought && !(options.common.relay + options.common.issuer + options.common.provider).empty())
    return cli.fail_with({ErrorCode::usage, "--relay, --issuer and --provider are for buying", "--lane", "--lane pylon"});
  if (const auto ready = check_end(options, cli); !ready) return cli.fail_with(ready.error());
  std::unique_ptr<JobRecord> record;
  if (!options.common.record.empty()) {
    auto begun = JobRecord::begin(options, *request, cli);
    if (!begun) return cli.fail_with(begun.error());
    record = std::move(*begun);
  }
  const auto on_paid = [&record](const Json& payment) { return record && record->paid(payment); };
  const auto ran = bought ? buy(options, *request, *profile, on_paid, cli) : run_here(options, *request, *profile, cli);
  const Result<void> recorded = record ? record->end(*request, ran) : Result<void>();
  if (!ran) return cli.fail_with(ran.error());
  for (const SandboxCommandRun& one : ran->response.runs) show(one, cli);
  for (const std::string& note : ran->response.notes) cli.terminal.note("note: " + printable(note));
  cli.terminal.note(fmt::format("{}  isolation {}{}", name(ran->response.status), ran->response.isolation.level,
                                ran->paid_msats ? fmt::format("  paid {} msats", *ran->paid_msats) : ""));
  Json json = JsonObject{{"response", to_json(ran->response)}, {"receipt", ran->receipt}};
  if (ran->paid_msats) json.set("paid_msats", *ran->paid_msats);
  cli.terminal.out_json(json);
  if (ran->response.status == SandboxStatus::cancelled) cli.exit_status = exit_code(ErrorCode::cancelled);
  else if (ran->response.status != SandboxStatus::success) cli.exit_status = 1;
  // Last: whatever comes of these, the result is out; one that was bought is given again until all is safe.
  if (!recorded) return cli.fail_with(recorded.error());
  if (!options.receipt.empty()) {
    const auto text = canonical(ran->receipt);
    if (const auto written = write_file(options.receipt, text.value_or("") + "\n"); !written) return cli.fail_with(written.error());
  }
  if (!ran->taken || cli.terminal.output_lost()) return;
  if (const auto done = ran->taken(); !done) cli.fail_with(done.error());
}

}  // namespace

void add_sandbox(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<SandboxCommandLine>();
  CLI::App* command = app.add_subcommand("sandbox", "Run untrusted commands in a box");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  assay sandbox run -- python3 -c 'print(6 * 7)'\n  assay sandbox run --json --timeout 5 -- 'sleep 60'\n"
      "  assay sandbox run --lane pylon --privacy public_ok --relay ws://127.0.0.1:7447 --issuer http://127.0.0.1:7071 -- echo hello");
  CLI::App* running = command->add_subcommand("run", "One command (or a request file), with a signed receipt");
  running->add_option("command", options->command, "command and arguments, after --");
  running->add_option("--request", options->request_file, "oa.sandbox_run.v1 payload (JSON) instead of a command");
  running->add_option("--profile", options->profile, "small, medium or large")->capture_default_str();
  running->add_option("--memory", options->memory_mb, "MiB (default: 512)");
  running->add_option("--timeout", options->timeout_secs, "Seconds (default: 60)");
  running->add_option("--env", options->env, "NAME=VALUE for the job")->allow_extra_args(false);
  running->add_option("--receipt", options->receipt, "File for the signed receipt");
  running->add_option("--record", options->common.record, "Run record of the job (default: none)");
  running->add_option("--lane", options->common.lane, "local (default) or pylon: bought from a provider");
  running->add_option("--privacy", options->common.privacy,
                      "public_ok, no_pii, private_repo_redacted or private_repo_allowed (default); only the first two may be bought");
  running->add_option("--relay", options->common.relay, "Relay, ws://…");
  running->add_option("--issuer", options->common.issuer, "Ledger to pay from, http://…");
  running->add_option("--issuer-node", options->common.issuer_node, "The issuer's node id (default: the one that answered there first)");
  running->add_option("--provider", options->common.provider, "Only this provider (public key)");
  add_day_cap(*running, options->common);
  running->add_option("--bid", options->bid_msats, "Most that is paid, in msats")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, json_integer_max));
  running->add_option("--key", options->common.key, "Name of the signing key")->capture_default_str();
  running->callback([options, &cli] { run(*options, cli); });
}

}  // namespace assay
