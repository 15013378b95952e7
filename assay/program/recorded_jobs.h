#pragma once
/// @file
/// Are the sandbox jobs of a record the ones that its own lines name? A replay takes their answers as they stand, so it would not find out.
/// Source: docs/formats.md §4 (`sandbox`).
///
///     const auto problems = check_jobs(record.entries);    // empty: each job's hashes are those of what its node was given and gave
///
/// Thread safety: a pure function.

#include <vector>

#include "assay/trace/record.h"

namespace assay {

/// At most 16 problems, each with its line.
std::vector<RecordProblem> check_jobs(const std::vector<RecordEntry>& entries);

}  // namespace assay
