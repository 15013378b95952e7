#include "assay/trace/budget_ledger.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>
#include <vector>

#include "assay/base/test_files.h"

namespace assay {
namespace {

BudgetLimits limits(std::int64_t calls, std::int64_t tokens) { return {.calls = calls, .tokens = tokens, .msats = {}, .seconds = {}}; }

std::unique_ptr<BudgetLedger> open(const std::string& path, const BudgetLimits& wanted = {}) {
  auto ledger = BudgetLedger::open(path, wanted, system_entropy());
  EXPECT_TRUE(ledger) << ledger.error().text();
  return ledger ? std::move(*ledger) : nullptr;
}

void expect_sums(const LedgerState& state) {
  const Amount free = state.free();
  EXPECT_EQ(state.spent.calls + state.lost.calls + state.reserved.calls + free.calls, *state.limits.calls);
  EXPECT_EQ(state.spent.tokens + state.lost.tokens + state.reserved.tokens + free.tokens, *state.limits.tokens);
  EXPECT_GE(free.calls, 0);
  EXPECT_GE(free.tokens, 0);
}

TEST(BudgetLedger, TwoProcessesShareOneBudget) {
  const TestFolder folder;
  const std::string path = folder.path("team.ledger");
  const auto first = open(path, limits(3, 100));
  const auto second = open(path);
  auto held = first->reserve({.calls = 1, .tokens = 60, .msats = 0});
  ASSERT_TRUE(held);
  EXPECT_EQ(second->reserve({.calls = 1, .tokens = 41, .msats = 0}).error().code, ErrorCode::over_budget);
  held->settle({.calls = 1, .tokens = 10, .msats = 0});
  EXPECT_TRUE(second->reserve({.calls = 1, .tokens = 41, .msats = 0}));  // and given back at once
  const LedgerState state = second->state().value();
  EXPECT_EQ(state.spent.tokens, 10);
  EXPECT_EQ(state.reserved.calls, 0);
  expect_sums(state);
}

TEST(BudgetLedger, KeepsTheLimitsItWasMadeWith) {
  const TestFolder folder;
  const std::string path = folder.path("team.ledger");
  EXPECT_EQ(BudgetLedger::open(path, {}, system_entropy()).error().code, ErrorCode::usage);
  ASSERT_TRUE(open(path, limits(3, 100)));
  EXPECT_EQ(BudgetLedger::open(path, limits(4, 100), system_entropy()).error().code, ErrorCode::refused);
  EXPECT_EQ(open(path)->limits().calls, 3);
  EXPECT_EQ(open(path, limits(3, 100))->limits().tokens, 100);
}

TEST(BudgetLedger, WhatADeadProcessHadReservedIsLost) {
  const TestFolder folder;
  const std::string path = folder.path("team.ledger");
  ASSERT_TRUE(open(path, limits(10, 1000)));
  const pid_t child = fork();
  if (child == 0) {
    auto ledger = BudgetLedger::open(path, {}, system_entropy());
    if (!ledger) _exit(1);
    auto one = (*ledger)->reserve({.calls = 1, .tokens = 70, .msats = 0});
    auto two = (*ledger)->reserve({.calls = 1, .tokens = 30, .msats = 0});
    if (!one || !two) _exit(2);
    two->settle({.calls = 1, .tokens = 5, .msats = 0});
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  const LedgerState state = open(path)->state().value();
  EXPECT_EQ(state.lost.calls, 1);
  EXPECT_EQ(state.lost.tokens, 70);
  EXPECT_EQ(state.spent.tokens, 5);
  EXPECT_EQ(state.reserved.tokens, 0);
  expect_sums(state);
}

TEST(BudgetLedger, WhoseLockCannotBeOpenedIsNotDead) {
  const TestFolder folder;
  const std::string path = folder.path("team.ledger");
  ASSERT_TRUE(open(path, limits(10, 1000)));
  auto ledger = BudgetLedger::open(path, {}, system_entropy()).value();
  std::string lock;
  for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
    if (file.path().extension() == ".lock") lock = file.path().string();
  }
  ASSERT_FALSE(lock.empty());
  auto held = ledger->reserve({.calls = 1, .tokens = 70, .msats = 0});
  ASSERT_TRUE(held);
  std::filesystem::remove(lock);
  std::filesystem::create_directory(lock);  // opening it fails, and it is there: as a file of another user, or without descriptors
  EXPECT_EQ(open(path)->state().value().lost.calls, 0);
  std::filesystem::remove(lock);
  EXPECT_EQ(open(path)->state().value().lost.calls, 1) << "now it is gone";
  held->settle({.calls = 1, .tokens = 5, .msats = 0});
  const LedgerState state = open(path)->state().value();
  EXPECT_EQ(state.spent.calls, 0) << "what was counted as lost is not counted as spent too";
  expect_sums(state);
}

// Streams that reserve, wait a moment and settle at most what they reserved, until the budget says no.
void spend(const std::string& path, int streams, std::int64_t worst) {
  auto ledger = BudgetLedger::open(path, {}, system_entropy());
  if (!ledger) _exit(1);
  std::vector<std::jthread> threads;
  for (int s = 0; s < streams; ++s) {
    threads.emplace_back([&, s] {
      for (int i = 0;; ++i) {  // ends: the budget is spent
        auto held = (*ledger)->reserve({.calls = 1, .tokens = worst, .msats = 0});
        if (!held) return;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        held->settle({.calls = 1, .tokens = 1 + (s * 31 + i * 7) % worst, .msats = 0});
      }
    });
  }
}

pid_t spawn(const std::string& path, int streams, std::int64_t worst) {
  const pid_t child = fork();
  if (child == 0) {
    spend(path, streams, worst);
    _exit(0);
  }
  return child;
}

TEST(BudgetLedger, HoldsWithManyStreamsInThreeProcessesThatAreKilled) {
  const TestFolder folder;
  const std::string path = folder.path("team.ledger");
  constexpr std::int64_t budget = 300000, worst = 100;
  ASSERT_TRUE(open(path, limits(1000000, budget)));
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) children.push_back(spawn(path, 128, worst));
  Random random({7, "ledger", 0, "kill"});
  for (int kills = 0; kills < 4; ++kills) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + random.below(60)));
    pid_t& victim = children[random.below(3)];
    kill(victim, SIGKILL);
    waitpid(victim, nullptr, 0);
    const LedgerState state = open(path)->state().value();  // closed again: no connection may be carried across a fork
    expect_sums(state);
    EXPECT_LE(state.spent.tokens + state.lost.tokens, budget);
    victim = spawn(path, 128, worst);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  const LedgerState end = open(path)->state().value();
  expect_sums(end);
  EXPECT_EQ(end.reserved.calls, 0);
  EXPECT_GT(end.lost.calls, 0);
  EXPECT_LE(end.spent.tokens + end.lost.tokens, budget);
  // Nobody gave up while a whole call still fitted beside what the others held.
  EXPECT_LT(end.free().tokens, worst * 128 * 3);
}

TEST(BudgetLedger, WithoutKillsLeavesLessThanOneWorstCaseOfOneStream) {
  const TestFolder folder;
  const std::string path = folder.path("team.ledger");
  constexpr std::int64_t budget = 20000, worst = 100;
  ASSERT_TRUE(open(path, limits(1000000, budget)));
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) children.push_back(spawn(path, 16, worst));
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  // Streams stop while others still hold reservations; one that goes on alone uses up the rest.
  const auto last = open(path);
  while (auto held = last->reserve({.calls = 1, .tokens = worst, .msats = 0}))
    held->settle({.calls = 1, .tokens = worst, .msats = 0});  // ends: budget
  const LedgerState end = last->state().value();
  EXPECT_EQ(end.lost.tokens, 0);
  EXPECT_LT(end.free().tokens, worst);
  expect_sums(end);
}

}  // namespace
}  // namespace assay
