#include "assay/optimize/journal_check.h"

#include <fmt/format.h>

#include "assay/lm/recorded_answers.h"
#include "assay/program/recorded_jobs.h"
#include "assay/trace/record_costs.h"

namespace assay {
namespace {

constexpr const char* remedy = "nothing was asked; restore the journal from a copy, or begin another one";

std::unexpected<Error> altered(const std::string& problem, const JournalCheck& how) {
  return fail(ErrorCode::mismatch, "the journal does not hold: " + problem, remedy, how.path);
}

// What `assay verify` looks at beside the chain, which whoever opens the journal checks.
Result<void> check_lines(const RunRecord& journal, const JournalCheck& how) {
  if (how.prices != nullptr) {
    const CostCheck costs = check_costs(journal.entries, *how.prices);
    if (!costs.problems.empty()) return altered(costs.problems.front().message, how);
  }
  if (const auto problems = check_jobs(journal.entries); !problems.empty()) return altered(problems.front().message, how);
  if (auto checked = RecordedAnswers::check(journal); !checked)
    return altered(fmt::format("{}: {}", checked.error().path, checked.error().message), how);
  return {};
}

}  // namespace

Result<std::int64_t> check_journal(const RunRecord& journal, const CompilePlan& plan, const Optimizers& optimizers,
                                   const JournalCheck& how) {
  ASSAY_CHECK(check_lines(journal, how));
  auto report = replay_compile(journal, plan, optimizers, how.wait);
  if (!report) return std::unexpected(std::move(report.error()).in(how.path));
  if (report->identical) return report->calls;
  const Divergence& at = *report->divergence;
  return fail(ErrorCode::diverged,
              fmt::format("the journal is not what its own answers lead to: it differs at {} ({}){}",
                          at.node.empty() ? "the compile itself" : at.node, at.what,
                          report->differs_in_pass > 0 ? fmt::format(", in pass {} of {}", report->differs_in_pass, report->passes) : ""),
              fmt::format("{}; assay replay shows both sides", remedy), how.path);
}

}  // namespace assay
