#pragma once
/// @file
/// Everything through which a run touches the world: clock, entropy, recorder, budget, prices, wait, privacy mode, seed.
/// A module never reaches for these by itself; it is handed them in its Context (assay/program/context.h).
///
/// Thread safety: members are thread safe or read only; the struct is copied freely. It owns nothing.

#include <cstdint>

#include "assay/base/clock.h"
#include "assay/base/random.h"
#include "assay/contract/privacy.h"
#include "assay/trace/budget.h"
#include "assay/trace/price_book.h"
#include "assay/trace/record.h"

namespace assay {

struct Effects {
  Clock* clock = nullptr;
  Entropy* entropy = nullptr;
  RunRecorder* recorder = nullptr;  ///< null: nothing is recorded (benches)
  Budget* budget = nullptr;         ///< null: unlimited
  const PriceBook* prices = nullptr;
  Wait wait;
  PrivacyMode privacy = PrivacyMode::PrivateRepoAllowed;
  std::int64_t seed = 0;
};

}  // namespace assay
