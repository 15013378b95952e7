// assay budget: what a shared budget ledger has left. Exit: 0 done · 1 it cannot be read · 2 wrong usage.
#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/trace/budget_ledger.h"

namespace assay {
namespace {

void show(const std::string& path, Cli& cli) {
  if (const auto there = read_file(path); !there) return cli.fail_with(there.error());  // opening it would make one
  if (::access(path.c_str(), W_OK) != 0)
    return cli.fail_with({ErrorCode::io, "the ledger cannot be written, and whoever looks at one books what dead processes held", path,
                          "copy it to a folder that can be written, and look there"});
  const auto ledger = BudgetLedger::open(path, {}, cli.entropy);
  if (!ledger) return cli.fail_with(ledger.error());
  const auto state = (*ledger)->state();
  if (!state) return cli.fail_with(state.error());
  const Amount free = state->free();
  struct Row {
    const char* unit;
    std::optional<std::int64_t> limit;
    std::int64_t spent, lost, reserved, free;
  };
  for (const Row& row : {Row{"calls", state->limits.calls, state->spent.calls, state->lost.calls, state->reserved.calls, free.calls},
                         Row{"tokens", state->limits.tokens, state->spent.tokens, state->lost.tokens, state->reserved.tokens, free.tokens},
                         Row{"msats", state->limits.msats, state->spent.msats, state->lost.msats, state->reserved.msats, free.msats}}) {
    if (row.limit)
      cli.terminal.out(fmt::format("{:<7} limit {:>12}  spent {:>12}  lost {:>9}  reserved {:>9}  free {:>12}", row.unit, *row.limit,
                                   row.spent, row.lost, row.reserved, row.free));
  }
  cli.terminal.out_json(state->to_json());
}

}  // namespace

void add_budget(CLI::App& app, Cli& cli) {
  const auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("budget", "What a budget that processes share has left");
  command->add_option("ledger", *path, "*.ledger")->required();
  command->footer(
      "Examples:\n  assay budget team.ledger\n  assay run triage.module.json ticket=\"…\" --ledger team.ledger --budget msats=50000");
  command->callback([path, &cli] { show(*path, cli); });
}

}  // namespace assay
