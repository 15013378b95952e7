// assay diff: what differs between two modules, programs or records, place by place.
// Exit: 0 no difference · 3 they differ · 1 a file cannot be read.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"

namespace assay {
namespace {

constexpr std::size_t differences_max = 1000;

struct Difference {
  std::string pointer;
  Json before, after;
};

void compare(const Json& a, const Json& b, const std::string& pointer, std::vector<Difference>& out) {
  if (a == b || out.size() == differences_max) return;
  if (a.is_object() && b.is_object()) {
    for (const auto& [key, value] : a.as_object()) compare(value, b.at(key), pointer + "/" + pointer_token(key), out);
    for (const auto& [key, value] : b.as_object()) {
      if (!a.as_object().contains(key)) compare(Json(), value, pointer + "/" + pointer_token(key), out);
    }
  } else if (a.is_list() && b.is_list()) {
    const std::size_t longest = std::max(a.as_list().size(), b.as_list().size());
    for (std::size_t i = 0; i < longest; ++i) {
      const Json left = i < a.as_list().size() ? a.as_list()[i] : Json(), right = i < b.as_list().size() ? b.as_list()[i] : Json();
      compare(left, right, fmt::format("{}/{}", pointer, i), out);
    }
  } else {
    out.push_back({pointer, a, b});
  }
}

Result<Json> load(const std::string& path) {
  if (path.ends_with(".toml")) {
    ASSAY_TRY(const ProgramFile file, read_program_file(path, Rewards::built_in()));
    return Json(JsonObject{{"artifact", file.program.artifact().json()}});
  }
  if (path.ends_with(".jsonl")) {
    ASSAY_TRY(const RunRecord record, read_record_file(path));
    JsonList lines;
    for (const RecordEntry& entry : record.entries)
      lines.push_back(JsonObject{{"type", entry.type}, {"node", entry.node}, {"data", entry.data}});
    return Json(std::move(lines));
  }
  if (is_stored_name(path)) {
    ASSAY_TRY(const TrustStore trust, open_trust());
    ASSAY_TRY(const std::string stored, stored_text(path, trust));
    return read_json(stored);
  }
  ASSAY_TRY(const std::string text, read_file(path));
  auto value = read_json(text);
  if (!value) return std::unexpected(std::move(value.error()).in(path));
  return value;
}

void diff(const std::string& a, const std::string& b, Cli& cli) {
  auto left = load(a), right = load(b);
  if (!left) return cli.fail_with(left.error());
  if (!right) return cli.fail_with(right.error());
  // A program file has an artifact only: against a module, artifacts are compared.
  if (a.ends_with(".toml") != b.ends_with(".toml")) {
    left = Json(JsonObject{{"artifact", left->at("artifact")}});
    right = Json(JsonObject{{"artifact", right->at("artifact")}});
  }
  std::vector<Difference> differences;
  compare(*left, *right, "", differences);
  for (const Difference& d : differences) {
    cli.terminal.out(d.pointer);
    cli.terminal.out("  - " + canonical(d.before).value_or(""));
    cli.terminal.out("  + " + canonical(d.after).value_or(""));
    cli.terminal.out_json(JsonObject{{"pointer", d.pointer}, {"before", d.before}, {"after", d.after}});
  }
  if (differences.size() == differences_max) cli.terminal.note(fmt::format("only the first {} differences are shown", differences_max));
  if (differences.empty()) cli.terminal.note("no difference");
  cli.terminal.out_json(JsonObject{{"summary", JsonObject{{"differences", differences.size()}}}});
  if (!differences.empty()) cli.exit_status = exit_code(ErrorCode::mismatch);
}

}  // namespace

void add_diff(CLI::App& app, Cli& cli) {
  const auto files = std::make_shared<std::pair<std::string, std::string>>();
  CLI::App* command = app.add_subcommand("diff", "Show what differs between two modules, programs or records");
  command->add_option("before", files->first, "a module (file, id or ref), program file or record")->required();
  command->add_option("after", files->second, "another one")->required();
  command->footer("Examples:\n  assay diff PROGRAM.toml triage.module.json\n  assay diff old.module.json new.module.json --json");
  command->callback([files, &cli] {
    const EndsAtOnce reads(cli);
    diff(files->first, files->second, cli);
  });
}

}  // namespace assay
