#pragma once
// Commands that serve until they are stopped: one ready line, then a wait for Ctrl-C.
#include <string>

#include "assay/cli/cli.h"

namespace assay {

/// The ready line; with --json the object. Scripts wait for it.
void ready(Cli& cli, const std::string& line, const Json& value);
/// Returns when the process is asked to stop; the exit status is then 0: a stopped server has done its work.
void wait_for_stop(Cli& cli);

}  // namespace assay
