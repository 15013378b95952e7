#pragma once
/// @file
/// One LM call as an effect: checked against privacy, cancel and budget, answered by lane, cache or record, then recorded,
/// priced and counted. This is the only place where a lane is asked.
///
///     ASSAY_TRY(const LmResponse answer, call_lm(context, request));
///
/// Thread safety: as Context.

#include "assay/lm/lm.h"
#include "assay/program/context.h"

namespace assay {

/// Errors: those of LM::complete; `refused` (privacy), `over_budget` (before anything is sent), `diverged` (replay), `usage` (no lane).
Result<LmResponse> call_lm(const Context& context, const LmRequest& request);

/// An error as a record has it: code, message and path.
JsonObject error_data(const Error& error);
/// The error of a call, or of what leads to calls, that comes to no request: it stands in the record, so that a replay comes to the same
/// end.
std::unexpected<Error> not_asked(const Context& node, Error why);

}  // namespace assay
