#pragma once
/// @file
/// `run_sandboxed` with defences that tests may switch off one by one. Private to the sandbox layer and its tests.

#include "assay/sandbox/plan.h"
#include "assay/sandbox/sandbox.h"

namespace assay {

Result<SandboxRunResponse> run_with_defences(const SandboxRunRequest& request, const SandboxProfile& profile, const SandboxLimits& limits,
                                             const Defences& defences, const Wait& wait, Clock& clock);

}  // namespace assay
