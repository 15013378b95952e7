// assay relay: Nexus, the Nostr relay of the market and of published traces. Serves until it is stopped.
// Exit: 0 stopped · 1 the port is taken or the data folder cannot be used.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/serve.h"
#include "assay/nostr/relay.h"

namespace assay {
namespace {

struct RelayCommand {
  std::uint16_t port = 7447;
  std::string data;
};

void relay(const RelayCommand& options, Cli& cli) {
  RelayOptions how;
  how.port = options.port;
  how.data_folder = options.data.empty() ? data_folder() + "/relay" : options.data;
  how.on_note = [&cli](const std::string& note) { cli.terminal.note(note); };
  const auto server = Relay::start(how, cli.clock);
  if (!server) return cli.fail_with(server.error());
  const std::string url = fmt::format("ws://127.0.0.1:{}", (*server)->port());
  ready(cli, "relay " + url, JsonObject{{"ready", true}, {"url", url}});
  wait_for_stop(cli);
}

}  // namespace

void add_relay(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<RelayCommand>();
  CLI::App* command = app.add_subcommand("relay", "Serve Nexus, a Nostr relay, on this machine");
  command->add_option("--port", options->port, "Port on 127.0.0.1; 0 takes a free one")->capture_default_str();
  command->add_option("--data", options->data, "Folder of its database (default: the data folder)");
  command->footer("Examples:\n  assay relay\n  assay relay --port 0 --data ./relay --json");
  command->callback([options, &cli] { relay(*options, cli); });
}

}  // namespace assay
