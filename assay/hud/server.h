#pragma once
/// @file
/// The runtime's HTTP surface: a page that shows runs and compiles, live, and the JSON behind it. Only for this machine.
///
///     ASSAY_TRY(const auto hud, HudServer::start({.port = 7070, .version = "0.1.0"}, system_clock()));
///     puts(("HUD " + hud->url()).c_str());                 // HUD http://127.0.0.1:7070/hud
///     …                                                    // serves until it goes, or stop()
///
/// Routes (GET and HEAD only): `/` and `/hud` the page, `/hud/assets/…` its files, `/hud/stream` server-sent events, `/status`,
/// `/metrics` (Prometheus text), `/api/runs`, `/api/runs/ID` (`?graph=0` summary only, `?bodies=1` with texts, `?under=PATH`),
/// `/api/runs/ID/node?path=PATH`. Fields and events: assay/hud/README.md.
/// Safety: bound to 127.0.0.1; Host and Origin must name this machine, cross-site requests for data are refused; strict CSP;
/// run ids are looked up in the index and never become paths; nothing can be changed through it.
/// Thread safety: all calls, from any thread.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/base/result.h"
#include "assay/hud/hub.h"

namespace assay {

struct HudOptions {
  std::uint16_t port = 0;                 ///< 0: a free one
  std::vector<std::string> runs_folders;  ///< where *.run.jsonl lie; empty: `default_runs_folder()`. They need not exist yet
  std::vector<std::string> records;       ///< files besides, such as the journal of this process's own compile
  std::string version, build;
  std::chrono::milliseconds poll{200};    ///< how often the folders are looked at
};

/// data_folder()/runs
std::string default_runs_folder();

class HudServer {
 public:
  /// Binds, reads the folders once and begins to serve. `clock` must outlive the server. Errors: `io` (port in use).
  static Result<std::unique_ptr<HudServer>> start(HudOptions options, Clock& clock);
  ~HudServer();
  HudServer(const HudServer&) = delete;
  HudServer& operator=(const HudServer&) = delete;

  std::uint16_t port() const;
  std::string url() const;  ///< of the page
  /// For a HudCallback of this process.
  std::shared_ptr<HudHub> hub() const;
  /// Ends streams and threads, within about two seconds. Idempotent.
  void stop();

 private:
  struct Impl;
  explicit HudServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
