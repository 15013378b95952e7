// assay verify: are these modules, records and artifacts what their ids, chains and signatures say? Offline, reads only.
// Exit: 0 all good · 3 a check failed · 2 wrong usage · 1 a file could not be read (docs/reference/exit-codes.md).

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/contract/module_file.h"
#include "assay/lm/recorded_answers.h"
#include "assay/market/receipt.h"
#include "assay/program/recorded_jobs.h"
#include "assay/sandbox/receipt.h"
#include "assay/trace/record_costs.h"
#include "assay/trace/record_line.h"

namespace assay {
namespace {

// What the files are held against.
struct Against {
  TrustStore trust;
  std::optional<Json> head;
  PriceBook prices;
};

struct VerifyOptions {
  std::vector<std::string> files;
  bool complete = false, trusted = false;
  std::string head, signer, prices;
};

struct FileReport {
  std::string file, kind, state, signer;
  bool ok = false;
  std::vector<std::string> problems;
  std::string note = {};  // for people
  std::vector<std::pair<std::string, std::string>> attestations = {};  // signer, statement
  Json to_json() const {
    JsonList list;
    for (const std::string& problem : problems) list.push_back(Json(to_utf8(problem)));
    JsonList attested;
    for (const auto& [key, statement] : attestations) attested.push_back(JsonObject{{"signer", key}, {"statement", statement}});
    return JsonObject{{"file", to_utf8(file)},   {"kind", kind},
                      {"state", state},          {"ok", ok},
                      {"problems", list},        {"signer", signer.empty() ? Json() : Json(signer)},
                      {"attestations", attested}};
  }
};

std::string problem_text(const Error& error) { return error.path.empty() ? error.message : error.path + ": " + error.message; }
// Where it is for who asked to mend.
std::string with_remedy(const Error& error) { return problem_text(error) + (error.remedy.empty() ? "" : "; " + error.remedy); }

void demand_signer(const VerifyOptions& options, FileReport& report) {
  if (options.signer.empty() || options.signer == report.signer) return;
  report.ok = false;
  report.problems.push_back(
      fmt::format("signed by {}, --signer asks for {}", report.signer.empty() ? "nobody" : report.signer, options.signer));
}

FileReport verify_as_module(const VerifyOptions& options, const std::string& file, std::string_view text, const TrustStore& trust) {
  const ModuleVerdict verdict = verify_module(text, trust);
  FileReport report{
      .file = file, .kind = "module", .state = std::string(name(verdict.state)), .signer = verdict.signer, .ok = verdict.intact()};
  for (const Error& problem : verdict.problems) report.problems.push_back(problem_text(problem));
  if (verdict.module) report.attestations = attestations_of(*verdict.module);
  for (const auto& [signer, statement] : report.attestations)
    report.note += fmt::format("{}attested by {}: {}", report.note.empty() ? "" : "; ", signer, statement);
  if (verdict.state == ModuleState::unsigned_) report.problems.emplace_back("the module is not signed");
  if (verdict.intact() && options.trusted && verdict.state != ModuleState::intact_trusted) {
    report.ok = false;
    report.problems.push_back(fmt::format("the signer {} is not trusted for '{}' (assay trust add)", verdict.signer, verdict.program));
  }
  if (verdict.intact() && !options.signer.empty() && options.signer != verdict.signer) {
    report.ok = false;
    report.problems.push_back(fmt::format("signed by {}, --signer asks for {}", verdict.signer, options.signer));
  }
  return report;
}

// Who signed a record is trusted when it is one's own key, or a signer trusted for the program that the record names.
bool record_trusted(std::string_view text, const std::string& signer, const TrustStore& trust) {
  const auto first = read_json(text.substr(0, std::min(text.find('\n'), text.size())));
  if (!first) return false;
  const Json& data = first->at("data");
  for (const Json* program : {&data.at("settings").at("program"), &data.at("program").at("artifact").at("program")}) {
    if (const Json& named = program->at("name"); named.is_string() && trust.trusts(signer, named.as_string())) return true;
  }
  return false;
}

bool has_answers(const RunRecord& record) {
  return std::any_of(record.entries.begin(), record.entries.end(), [](const RecordEntry& entry) { return entry.type == "lm_response"; });
}

// Costs are checked where the price book is known; a record of another book says so and is no worse for it.
void verify_costs(const RunRecord& record, const PriceBook& book, FileReport& report) {
  const CostCheck costs = check_costs(record.entries, book);
  for (const RecordProblem& problem : costs.problems) report.problems.push_back(problem.message);
  report.ok = report.ok && costs.problems.empty();
  if (costs.calls > 0) report.note = fmt::format("{} costs computed again", costs.calls);
  else if (!costs.book_known && has_answers(record)) report.note = "another price book: costs not computed again (--prices)";
}

FileReport verify_as_record(const VerifyOptions& options, const std::string& file, std::string_view text, const Against& against) {
  RecordChecks checks;
  checks.complete = options.complete;
  checks.head = against.head;
  const RecordVerdict verdict = verify_record(text, checks);
  FileReport report{.file = file, .kind = "record", .state = std::string(name(verdict.state)), .signer = verdict.signer};
  for (const RecordProblem& problem : verdict.problems) report.problems.push_back(problem.message);  // it names its line
  report.ok = verdict.state != RecordState::broken;
  if (report.ok) {
    if (const auto record = read_record(text)) {
      verify_costs(*record, against.prices, report);
      for (const RecordProblem& problem : check_jobs(record->entries)) {
        report.ok = false;
        report.problems.push_back(problem.message);
      }
      // Requests: are they what their hashes say, and of lanes that the record names?
      if (const auto checked = RecordedAnswers::check(*record); !checked) {
        report.ok = false;
        report.problems.push_back(problem_text(checked.error()));
      }
    }
  }
  if (options.complete && (verdict.state != RecordState::complete || !verdict.is_signed)) {
    report.ok = false;
    if (report.problems.empty())
      report.problems.push_back(verdict.state == RecordState::complete ? "the record is not signed" : "the record has no end");
  }
  if (options.trusted && !record_trusted(text, verdict.signer, against.trust)) {
    report.ok = false;
    report.problems.push_back(verdict.signer.empty() ? "the record is not signed"
                                                     : "its signer is not trusted for this program (assay trust add)");
  }
  demand_signer(options, report);
  return report;
}

// Trust is given for programs. Files that belong to none, such as receipts, can be trusted to one's own keys only.
void demand_trust(const VerifyOptions& options, const TrustStore& trust, FileReport& report) {
  demand_signer(options, report);
  if (!options.trusted || (!report.signer.empty() && trust.trusts(report.signer, ""))) return;
  report.ok = false;
  report.problems.push_back(report.signer.empty()
                                ? "nobody signed it"
                                : "its signer is not one of your keys, and trust is given for programs: name the signer with --signer");
}

// A program file has no signature and no score: that it can be read as a program is all there is to say.
FileReport verify_as_program(const VerifyOptions& options, const std::string& file) {
  FileReport report{.file = file, .kind = "program", .state = "uncompiled", .ok = true};
  if (const auto program = read_program_file(file, Rewards::built_in()); !program) {
    report.ok = false;
    report.state = "bad";
    report.problems.push_back(with_remedy(program.error()));
  } else if (options.trusted || !options.signer.empty() || options.complete) {
    report.ok = false;
    report.problems.emplace_back("a program file is not signed");
  }
  return report;
}

// What a signed object says must be what its format demands: a signature over less proves nothing.
Result<void> check_format(const Json& value) {
  const Json& format = value.at("format");
  if (format == Json("assay.receipt/1") && value.at("kind") == Json("payment")) {
    ASSAY_TRY([[maybe_unused]] const PaymentFacts facts, verify_payment_receipt(value));
    return {};
  }
  if (format == Json("assay.receipt/1")) return verify_receipt(value);
  if (format == Json(attestation_format)) return check_attestation(value);
  if (format == Json("assay.head/1")) return check_record_data("head", value);
  if (format == Json("assay.manifest/1")) {
    ASSAY_TRY([[maybe_unused]] const CompiledModuleManifest manifest, read_manifest(value));
    return {};
  }
  return fail(ErrorCode::malformed, "it has no format that this version knows: what its signature covers means nothing here", {}, "format");
}

FileReport verify_as_signed(const VerifyOptions& options, const std::string& file, const Json& value, const TrustStore& trust) {
  const Json& format = value.at("format");
  FileReport report{.file = file, .kind = format.is_string() ? format.as_string() : "object", .state = "bad"};
  auto verified = verify_object(value);
  if (verified) verified = check_format(value);
  if (verified) {
    report.ok = true;
    report.state = "intact";
    report.signer = value.at("signer").as_string();
  } else {
    report.problems.push_back(problem_text(verified.error()));
  }
  demand_trust(options, trust, report);
  return report;
}

Result<FileReport> verify_file(const VerifyOptions& options, const std::string& file, const Against& against) {
  if (is_stored_name(file)) {
    ASSAY_TRY(const std::string text, stored_text(file, against.trust, options.signer));
    return verify_as_module(options, file, text, against.trust);
  }
  if (file.ends_with(".jsonl")) {
    const auto record = read_record_text(file);
    if (record) return verify_as_record(options, file, *record, against);
    if (record.error().code != ErrorCode::mismatch) return std::unexpected(record.error());
    return FileReport{.file = file, .kind = "record", .state = "broken", .problems = {problem_text(record.error())}};
  }
  ASSAY_TRY(const std::string text, read_file(file));
  if (is_record_text(text)) return verify_as_record(options, file, text, against);
  if (file.ends_with(".toml")) return verify_as_program(options, file);
  const auto value = read_json(text, {.bytes_max = std::size_t{64} << 20});
  if (value && value->at("format") == Json("assay.module/1")) {
    const auto artifact = Artifact::read(*value);
    FileReport report{.file = file, .kind = "artifact", .state = artifact ? "intact" : "bad", .ok = artifact.has_value()};
    if (!artifact) report.problems.push_back(problem_text(artifact.error()));
    else if (artifact->text() != text) {
      report.ok = false;
      report.state = "bad";
      report.problems.emplace_back("the file is not the artifact's canonical bytes, so its sha256sum is not the id");
    }
    demand_trust(options, against.trust, report);
    return report;
  }
  if (value && value->at("signature").is_string() && value->at("artifact").is_null())
    return verify_as_signed(options, file, *value, against.trust);
  return verify_as_module(options, file, text, against.trust);
}

Result<Against> open_against(const VerifyOptions& options) {
  Against against;
  ASSAY_TRY(against.trust, open_trust());
  CommonOptions common;
  common.prices = options.prices;
  ASSAY_TRY(against.prices, open_prices(common));
  if (options.head.empty()) return against;
  ASSAY_TRY(const std::string text, read_file(options.head, 65536));
  auto head = read_json(text);
  if (!head) return std::unexpected(std::move(head.error()).in(options.head));
  against.head = std::move(*head);
  return against;
}

// A demand that no file here can meet is a mistake, and not met in silence.
Result<void> check_options(const VerifyOptions& options) {
  if (!options.signer.empty() && !is_hex(options.signer, 64))
    return fail(ErrorCode::usage, "a signer is a public key of 64 hex digits", "assay key ls shows yours", "--signer");
  return {};
}

void verify(const VerifyOptions& options, Cli& cli) {
  if (const auto good = check_options(options); !good) return cli.fail_with(good.error());
  const auto against = open_against(options);
  if (!against) return cli.fail_with(against.error());
  JsonList files, problems;
  bool ok = true, bad = false, any_record = false;
  std::optional<Error> unreadable;
  for (const std::string& file : options.files) {
    auto report = verify_file(options, file, *against);
    if (!report) {  // the other files are looked at all the same
      unreadable = unreadable ? unreadable : std::optional(report.error());
      report = FileReport{.file = file, .kind = "unknown", .state = "unreadable", .problems = {with_remedy(report.error())}};
    }
    any_record = any_record || report->kind == "record" || report->kind == "unknown";
    ok = ok && report->ok;
    bad = bad || (!report->ok && report->state != "unreadable");
    cli.terminal.out(fmt::format(
        "{}  {}  {}{}", report->ok ? "ok " : "BAD", report->state, report->file,
        (report->signer.empty() ? "" : "  signer " + report->signer) + (report->note.empty() ? "" : "  (" + report->note + ")")));
    for (const std::string& problem : report->problems) {
      cli.terminal.out("     " + problem);
      problems.push_back(Json(to_utf8(report->file + ": " + problem)));
    }
    files.push_back(report->to_json());
  }
  cli.terminal.out_json(JsonObject{{"ok", ok}, {"problems", problems}, {"files", files}});
  if (against->head && !any_record)
    return cli.fail_with(
        {ErrorCode::usage, "a head is held against a record, and none is among these files", "--head", "name the record too"});
  if (bad) cli.exit_status = exit_code(ErrorCode::mismatch);
  else if (unreadable) cli.exit_status = exit_code(unreadable->code);
}

}  // namespace

void add_verify(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand("verify", "Check ids, chains and signatures of modules and records, offline");
  command->add_option("files", options->files, "*.module.json, *.run.jsonl, artifacts, receipts, PROGRAM.toml, ids of the store")
      ->required();
  command->add_flag("--complete", options->complete, "A record must be complete and signed");
  command->add_option("--head", options->head, "A kept head of the record (JSON): shows a tail that was cut off");
  command->add_option("--signer", options->signer, "Only this public key will do");
  command->add_flag("--trusted", options->trusted, "A module's or a record's signer must be trusted");
  command->add_option("--prices", options->prices, "Price book of the records, to compute their costs again (default: the built-in one)");
  command->footer(
      "Examples:\n  assay verify triage.module.json\n  assay verify --complete triage.run.jsonl\n  assay verify --json *.module.json | jq "
      "'.files[] | select(.ok | not)'");
  command->callback([options, &cli] {
    const EndsAtOnce reads(cli);
    verify(*options, cli);
  });
}

}  // namespace assay
