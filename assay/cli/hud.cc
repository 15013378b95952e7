// assay hud: the page that shows runs and compiles, live. Serves until it is stopped.
// Exit: 0 stopped · 1 the port is taken · 2 no such folder.
#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/cli/open.h"
#include "assay/cli/serve.h"
#include "assay/hud/server.h"

namespace assay {
namespace {

struct HudCommand {
  std::uint16_t port = 7070;
  std::vector<std::string> folders;
};

void hud(const HudCommand& options, Cli& cli) {
  for (const std::string& folder : options.folders) {  // the default one may come with the first run
    std::error_code ignored;
    if (!std::filesystem::is_directory(folder, ignored))
      return cli.fail_with({ErrorCode::usage, "there is no such folder", folder, "name folders with *.run.jsonl, or leave --runs out"});
  }
  HudOptions how;
  how.port = options.port;
  how.runs_folders = options.folders;
  how.version = assay_version;
  how.build = assay_build();
  const auto server = HudServer::start(how, cli.clock);
  if (!server) return cli.fail_with(server.error());
  ready(cli, fmt::format("HUD {}", (*server)->url()), JsonObject{{"ready", true}, {"url", (*server)->url()}});
  wait_for_stop(cli);
}

}  // namespace

void add_hud(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<HudCommand>();
  CLI::App* command = app.add_subcommand("hud", "Serve the page that shows runs and compiles, live");
  command->add_option("--port", options->port, "Port on 127.0.0.1; 0 takes a free one")->capture_default_str();
  command->add_option("--runs", options->folders, "Folders with *.run.jsonl (default: the data folder)");
  command->footer("Examples:\n  assay hud\n  assay hud --port 0 --runs ./records");
  command->callback([options, &cli] { hud(*options, cli); });
}

}  // namespace assay
