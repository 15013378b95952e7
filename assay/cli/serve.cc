#include "assay/cli/serve.h"

namespace assay {

void ready(Cli& cli, const std::string& line, const Json& value) {
  cli.terminal.out(line);
  cli.terminal.out_json(value);
}

void wait_for_stop(Cli& cli) {
  while (cli.clock.sleep_until(cli.clock.steady_ns() + 3600000000000, cli.stop)) {  // ends: when a stop is asked
  }
}

}  // namespace assay
