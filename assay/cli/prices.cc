// assay prices: what calls cost: the book in force, a file's check, a price set, two books compared, the cost of a usage.
// Exit: 0 done · 1 a book cannot be read or is no book · 2 wrong usage · 3 two books differ.

#include <unistd.h>

#include <chrono>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/trace/price_book.h"

namespace assay {
namespace {

struct PricesOptions {
  std::string prices, file, other, lane = "local", model, source, date;
  std::int64_t prompt = 0, completion = 0;
};

std::string price_text(const Price& price) {
  return fmt::format("{:<9} {:<32} {:>12} {:>12}  {}  {}", price.lane_kind, price.model, price.prompt_msats_per_mtok,
                     price.completion_msats_per_mtok, price.date, price.source);
}

std::string today(Clock& clock) {
  const std::chrono::sys_seconds now{std::chrono::seconds(clock.unix_ns() / 1000000000)};
  const std::chrono::year_month_day day{std::chrono::floor<std::chrono::days>(now)};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                     static_cast<unsigned>(day.day()));
}

Result<PriceBook> book_of(const std::string& file) { return file.empty() ? PriceBook::built_in() : PriceBook::load(file); }

Result<void> list(const PricesOptions& options, Cli& cli) {
  ASSAY_TRY(const PriceBook book, book_of(options.prices));
  ASSAY_TRY(const std::string id, book.id());
  cli.terminal.out(fmt::format("book {}  {}", id, options.prices.empty() ? "built in" : options.prices));
  cli.terminal.out(
      cli.terminal.dim(fmt::format("{:<9} {:<32} {:>12} {:>12}  {:<10}  {}", "lane", "model", "prompt", "completion", "date", "source")));
  for (const Price& price : book.prices()) {
    cli.terminal.out(price_text(price));
    cli.terminal.out_json(price.to_json());
  }
  cli.terminal.note("msats per 1,000,000 tokens; what is not here costs null, and counts as unpriced");
  cli.terminal.out_json(JsonObject{
      {"summary",
       JsonObject{{"book", id}, {"file", options.prices.empty() ? Json() : Json(options.prices)}, {"prices", book.prices().size()}}}});
  return {};
}

Result<void> check(const PricesOptions& options, Cli& cli) {
  ASSAY_TRY(const PriceBook book, PriceBook::load(options.file));
  ASSAY_TRY(const std::string id, book.id());
  cli.terminal.out(fmt::format("ok   {}  {} prices, book {}", options.file, book.prices().size(), id));
  cli.terminal.out_json(JsonObject{{"ok", true}, {"file", options.file}, {"book", id}, {"prices", book.prices().size()}});
  return {};
}

// The book is read, changed and renamed into its place with its folder locked: of two at once, none loses the other's price.
Result<void> set(const PricesOptions& options, Cli& cli) {
  ASSAY_TRY(const Fd held, lock_folder_of(options.file));
  PriceBook book;
  if (::access(options.file.c_str(), F_OK) == 0) {
    ASSAY_TRY(book, PriceBook::load(options.file));
  }
  Price price{options.lane, options.model, options.prompt, options.completion, options.source, options.date};
  if (price.date.empty()) price.date = today(cli.clock);
  ASSAY_CHECK(book.set(price));
  ASSAY_TRY(const std::string text, canonical(book.to_json()));
  ASSAY_CHECK(write_file(options.file, text + "\n"));
  ASSAY_TRY(const std::string id, book.id());
  cli.terminal.out(price_text(price));
  cli.terminal.note(fmt::format("saved {}, book {}", options.file, id));
  cli.terminal.out_json(JsonObject{{"file", options.file}, {"book", id}, {"price", price.to_json()}});
  return {};
}

Result<void> diff(const PricesOptions& options, Cli& cli) {
  ASSAY_TRY(const PriceBook before, book_of(options.other.empty() ? "" : options.file));
  ASSAY_TRY(const PriceBook after, PriceBook::load(options.other.empty() ? options.file : options.other));
  const auto changes = before.changes_to(after);
  for (const PriceChange& change : changes) {
    if (change.before) cli.terminal.out("- " + price_text(*change.before));
    if (change.after) cli.terminal.out("+ " + price_text(*change.after));
    cli.terminal.out_json(JsonObject{{"before", change.before ? change.before->to_json() : Json()},
                                     {"after", change.after ? change.after->to_json() : Json()}});
  }
  if (changes.empty()) cli.terminal.note("the same prices");
  cli.terminal.out_json(JsonObject{{"summary", JsonObject{{"differences", changes.size()}}}});
  if (!changes.empty()) cli.exit_status = exit_code(ErrorCode::mismatch);
  return {};
}

Result<void> cost(const PricesOptions& options, Cli& cli) {
  ASSAY_TRY(const PriceBook book, book_of(options.prices));
  const std::string model = options.model.empty() ? "*" : options.model;
  LmUsage usage;
  usage.prompt_tokens = options.prompt;
  usage.completion_tokens = options.completion;
  const auto price = book.find(options.lane, model);
  const auto msats = book.cost(options.lane, model, usage);
  if (msats) cli.terminal.out(fmt::format("{} msats ({})", *msats, msats_text(*msats)));
  else cli.terminal.out(fmt::format("no price: lane {}, model {} is not in the book", options.lane, model));
  cli.terminal.out_json(JsonObject{{"cost_msats", msats ? Json(*msats) : Json()}, {"price", price ? price->to_json() : Json()}});
  return {};
}

using PricesCommand = Result<void> (*)(const PricesOptions&, Cli&);

CLI::App* add_one(CLI::App& command, Cli& cli, const std::shared_ptr<PricesOptions>& options, const char* name, const char* what,
                  PricesCommand run) {
  CLI::App* sub = command.add_subcommand(name, what);
  sub->callback([options, run, &cli] {
    if (const auto done = run(*options, cli); !done) cli.fail_with(done.error());
  });
  return sub;
}

CLI::App* with_tokens(CLI::App* sub, PricesOptions& options, const char* prompt, const char* completion) {
  const CLI::Range whole(std::int64_t{0}, json_integer_max);
  sub->add_option("--lane", options.lane, "Kind of lane: local, openai, pylon")->capture_default_str();
  sub->add_option("--model", options.model, "Its name, or '*' for all that have no line of their own");
  sub->add_option("--prompt", options.prompt, prompt)->required()->check(whole);
  sub->add_option("--completion", options.completion, completion)->required()->check(whole);
  return sub;
}

}  // namespace

void add_prices(CLI::App& app, Cli& cli) {
  CLI::App* command = app.add_subcommand("prices", "Price books: list, check, set, compare, reckon");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  assay prices ls\n  assay prices set my.prices.json --lane openai --model gpt-x --prompt 250000 --completion 1000000 "
      "--source \"their price list\"\n  assay prices check my.prices.json\n  assay prices diff my.prices.json\n  assay prices cost --model "
      "smollm2-135m-instruct --prompt 400 --completion 3");
  const auto options = std::make_shared<PricesOptions>();
  add_one(*command, cli, options, "ls", "The book in force: the built-in one, or --prices", list)
      ->add_option("--prices", options->prices, "Price book (JSON) instead of the built-in one");
  add_one(*command, cli, options, "check", "Can this file be used as a book? Errors name line and member", check)
      ->add_option("file", options->file, "*.json")
      ->required();
  CLI::App* setting = with_tokens(add_one(*command, cli, options, "set", "Put a price into a book of your own; makes the file", set),
                                  *options, "msats per 1,000,000 prompt tokens", "msats per 1,000,000 completion tokens");
  setting->add_option("file", options->file, "*.json")->required();
  setting->add_option("--source", options->source, "Where the price comes from")->required();
  setting->add_option("--date", options->date, "YYYY-MM-DD (default: today)");
  CLI::App* comparing =
      add_one(*command, cli, options, "diff", "What differs between two books; one alone is compared with the built-in one", diff);
  comparing->add_option("before", options->file, "*.json")->required();
  comparing->add_option("after", options->other, "*.json");
  with_tokens(add_one(*command, cli, options, "cost", "What a call with these tokens costs", cost), *options, "Prompt tokens",
              "Completion tokens")
      ->add_option("--prices", options->prices, "Price book (JSON) instead of the built-in one");
}

}  // namespace assay
