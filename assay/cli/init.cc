// assay init: write a program file and a few rows to start from. Overwrites nothing.
// Exit: 0 done · 2 the folder has a program already · 1 it cannot be written.
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/cli.h"

namespace assay {
namespace {

constexpr std::string_view program_text = R"(# An Assay program: what to ask, on which rows, how to search, what may be spent.
# Every key: docs/reference/program-file.md
format = "assay.program/1"

[program]
name = "ticket-triage"
version = "1"

[signature.TicketTriage]
text = "ticket -> urgency: Literal['low', 'high']"
instructions = "Decide how urgent the support ticket is. Answer with low or high."
describe = { ticket = "what the customer wrote", urgency = "how soon someone must look" }

[[step]]
id = "classify"
signature = "TicketTriage"
config = { max_tokens = 16, constrain = true }

[data]
file = "rows.csv"                                  # columns: ticket, urgency
split = { train = 0.4, val = 0.3, test = 0.3 }

[metric]
name = "accuracy"

[optimizer]
name = "BootstrapFewShotWithRandomSearch"
max_bootstrapped_demos = 2
max_labeled_demos = 6
num_candidates = 4

[budget]
seconds = 600

[lane]
kind = "local"
)";

constexpr std::string_view rows_text = R"(ticket,urgency
The checkout page is down for all customers,high
Could you add a dark theme some day?,low
Our data seems to be gone after the update,high
There is a typo in the footer,low
Nobody in our office can log in since this morning,high
How do I change my avatar?,low
Payments are charged twice right now,high
Please tell me when the next webinar is,low
The server room alarm integration stopped sending alerts,high
The icon of the report looks a bit blurred,low
We are leaking other customers' invoices,high
I would like a printed copy of the manual,low
Production API answers 500 to every request,high
Is there a shortcut to collapse the menu?,low
The backup job has failed for three nights,high
Thanks for the quick help last week!,low
All orders from today have vanished,high
Can the weekly mail come on Monday instead?,low
An attacker seems to be in our admin account,high
The colour of the button differs from the brand,low
The mobile app crashes at start for everyone,high
Which fonts do you use?,low
Customers see each other's carts,high
A link in the help page leads to an old article,low
)";

void init(const std::string& folder, Cli& cli) {
  const std::string program = folder + "/PROGRAM.toml", rows = folder + "/rows.csv";
  for (const std::string& path : {program, rows}) {
    if (::access(path.c_str(), F_OK) == 0)
      return cli.fail_with({ErrorCode::usage, "there is a file already", path, "choose another folder: assay init NAME"});
  }
  if (const auto made = make_folders(folder); !made) return cli.fail_with(made.error());
  for (const auto& [path, text] : {std::pair{program, program_text}, std::pair{rows, rows_text}}) {
    if (const auto written = write_file(path, text); !written) return cli.fail_with(written.error());
  }
  cli.terminal.out(fmt::format("wrote {} and {}", program, rows));
  cli.terminal.out("next: assay compile " + program);
  cli.terminal.out_json(JsonObject{{"program", program}, {"rows", rows}});
}

}  // namespace

void add_init(CLI::App& app, Cli& cli) {
  const auto folder = std::make_shared<std::string>(".");
  CLI::App* command = app.add_subcommand("init", "Write a program file and a few rows to start from");
  command->add_option("folder", *folder, "where (made if missing)")->capture_default_str();
  command->footer("Examples:\n  assay init ticket-triage\n  assay compile ticket-triage/PROGRAM.toml");
  command->callback([folder, &cli] { init(*folder, cli); });
}

}  // namespace assay
