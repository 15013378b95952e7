#pragma once
/// @file
/// What a wrong command line is told: the word that is wrong, the nearest one that is right, and where the right ones are listed.
///
///     catch (const CLI::ParseError& thrown) { cli.fail_with(usage_error(app, thrown)); }
///
/// Thread safety: a pure function.

#include <CLI/CLI.hpp>

#include "assay/base/result.h"

namespace assay {

/// `app` after its parse threw `thrown`: it knows how far it came.
Error usage_error(const CLI::App& app, const CLI::ParseError& thrown);

}  // namespace assay
