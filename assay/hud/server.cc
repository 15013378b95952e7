#include "assay/hud/server.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/hud/assets.h"
#include "assay/hud/metrics.h"
#include "assay/hud/run_index.h"
#include "assay/hud/run_view.h"
#include "assay/net/http_server.h"

namespace assay {
namespace {

constexpr auto pump_wait = std::chrono::milliseconds(50);

// Trusted types: no text of a record can become markup, even by a mistake in the page's own scripts.
constexpr std::string_view content_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

void add_headers(ServerReply& reply, std::string_view cache) {
  reply.headers.emplace_back("Content-Security-Policy", content_policy);
  reply.headers.emplace_back("Referrer-Policy", "no-referrer");
  reply.headers.emplace_back("Cross-Origin-Opener-Policy", "same-origin");
  reply.headers.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
  reply.headers.emplace_back("X-Frame-Options", "DENY");
  if (!reply.stream) reply.headers.emplace_back("Cache-Control", cache);
}

ServerReply json_reply(const Json& value, int status = 200) {
  const auto text = canonical(value);
  if (!text) return ServerReply::text("this cannot be shown: " + text.error().message + "\n", 500);
  return ServerReply::json(*text + "\n", status);
}

ServerReply problem(int status, std::string_view message, std::string_view remedy) {
  return json_reply(JsonObject{{"error", JsonObject{{"message", message}, {"remedy", remedy}}}}, status);
}

// A page of another site may link to the HUD, but not read from it.
bool from_elsewhere(const ServerRequest& request) {
  const auto site = find_header(request.headers, "Sec-Fetch-Site");
  return site && *site != "same-origin" && *site != "none";
}

ServerReply asset_reply(const ServerRequest& request, const Asset* asset) {
  if (asset == nullptr) return ServerReply::not_found();
  ServerReply reply;
  const std::string tag = fmt::format("\"{}\"", asset->tag);
  reply.headers.emplace_back("ETag", tag);
  if (find_header(request.headers, "If-None-Match") == tag) {
    reply.status = 304;
    return reply;
  }
  reply.headers.emplace_back("Content-Type", std::string(asset->type));
  reply.body = asset->bytes;
  return reply;
}

}  // namespace

std::string default_runs_folder() { return data_folder() + "/runs"; }

struct HudServer::Impl {
  Impl(HudOptions o, Clock& c)
      : options(std::move(o)), clock(c), index(index_options(), [this](std::string_view event, const Json& data) { tell(event, data); }) {}

  HudOptions options;
  Clock& clock;
  std::int64_t started_steady_ns = 0, started_unix_ns = 0;
  std::shared_ptr<HudHub> hub = std::make_shared<HudHub>();
  RunIndex index;
  std::unique_ptr<HttpServer> http;
  std::jthread follower;
  std::mutex cache_mutex;  // of the last record that was read in full
  std::string cached_id;
  std::int64_t cached_lines = -1;
  std::shared_ptr<const LoadedRun> cached;

  RunIndexOptions index_options() const {
    RunIndexOptions out;
    out.folders = options.runs_folders.empty() ? std::vector<std::string>{default_runs_folder()} : options.runs_folders;
    out.files = options.records;
    return out;
  }

  void tell(std::string_view event, const Json& data) {
    constexpr std::string_view told_by_callbacks[] = {"node_start", "node_end", "lm_start", "lm_end", "candidate"};
    const bool both = std::find(std::begin(told_by_callbacks), std::end(told_by_callbacks), event) != std::end(told_by_callbacks);
    const Json& id = data.at("run_id");
    if (both && id.is_string() && hub->follows(id.as_string())) return;
    hub->feed().publish(event, data);
  }

  // Looks at the folders, and hands events out between two looks.
  void follow(const std::stop_token& stop) {
    std::int64_t next_poll = clock.steady_ns();
    bool reading = true;  // what was there before
    while (!stop.stop_requested()) {  // ends: with the server
      const std::int64_t now = clock.steady_ns();
      if (now >= next_poll) {
        const bool more = index.poll();
        if (!more && std::exchange(reading, false)) hub->feed().publish("runs_loaded", JsonObject{{"runs", index.counts().runs}});
        next_poll = more ? now : now + std::chrono::nanoseconds(options.poll).count();
      }
      hub->feed().pump();
      if (next_poll > now) clock.sleep_until(std::min(next_poll, now + std::chrono::nanoseconds(pump_wait).count()), stop);
    }
  }

  double uptime_seconds() const { return static_cast<double>(clock.steady_ns() - started_steady_ns) / 1e9; }

  ServerReply answer(const ServerRequest& request) {
    if (request.method != "GET" && request.method != "HEAD") {
      ServerReply refused = problem(405, "only GET is answered here", "the HUD shows and changes nothing");
      refused.headers.emplace_back("Allow", "GET, HEAD");
      add_headers(refused, "no-store");
      return refused;
    }
    const bool is_page = request.path == "/" || request.path == "/hud" || request.path == "/hud/";
    ServerReply reply = !is_page && from_elsewhere(request) ? problem(403, "a page of another site asked for this", "open the HUD itself")
                                                            : route(request, is_page);
    add_headers(reply, is_page || request.path.starts_with("/hud/assets/") ? "no-cache" : "no-store");
    return reply;
  }

  ServerReply route(const ServerRequest& request, bool is_page) {
    constexpr std::string_view assets = "/hud/assets/", runs = "/api/runs/";
    if (is_page) return asset_reply(request, find_asset("index.html"));
    if (request.path.starts_with(assets)) return asset_reply(request, find_asset(std::string_view(request.path).substr(assets.size())));
    if (request.path == "/hud/stream") return stream();
    if (request.path == "/status") return json_reply(status());
    if (request.path == "/metrics") return metrics();
    if (request.path == "/api/runs") return json_reply(list());
    if (request.path.starts_with(runs)) return run(request, std::string_view(request.path).substr(runs.size()));
    return problem(404, "there is no such page", "try /hud, /status, /metrics or /api/runs");
  }

  ServerReply stream() {
    if (hub->feed().full()) return problem(503, "too many viewers", "close another HUD window");
    return ServerReply::events([this](std::shared_ptr<EventStream> stream) {
      const Json hello = JsonObject{{"version", options.version}, {"runs", index.counts().runs}};
      if (!hub->feed().subscribe(stream, hello)) stream->close();
    });
  }

  Json status() const {
    const RunIndex::Counts runs = index.counts();
    const EventFeed::Counts feed = hub->feed().counts();
    JsonObject states;
    for (const auto& [state, count] : runs.by_state) states.set(state, count);
    JsonList folders;
    for (const std::string& folder : index.folders()) folders.push_back(to_utf8(folder));
    return JsonObject{{"version", options.version},
                      {"build", options.build},
                      {"started_unix_ms", started_unix_ns / 1000000},
                      {"uptime_seconds", uptime_seconds()},
                      {"folders", std::move(folders)},
                      {"runs", JsonObject{{"total", runs.runs}, {"by_state", std::move(states)}, {"left_out", runs.left_out}}},
                      {"viewers", feed.viewers},
                      {"stream", JsonObject{{"events", feed.events}, {"dropped", feed.dropped}}}};
  }

  ServerReply metrics() const {
    ServerReply reply = ServerReply::text(prometheus_text(index.counts(), hub->feed().counts(), uptime_seconds(), options.version));
    reply.headers[0].second = "text/plain; version=0.0.4; charset=utf-8";
    return reply;
  }

  static RunIndex::Found found_of(const Graph& graph) { return {graph.run_id, "", RunState::complete, "", summary_of(graph)}; }

  Json list() const {
    JsonList rows = index.list();
    for (const auto& graph : hub->graphs()) {
      if (!index.find(graph->run_id)) rows.insert(rows.begin(), row_of(found_of(*graph)));
    }
    return JsonObject{{"runs", std::move(rows)}, {"left_out", index.counts().left_out}, {"folders", status().at("folders")}};
  }

  // A record in full. The last one is kept while it has not grown: a page asks for many nodes of one run.
  Result<std::shared_ptr<const LoadedRun>> load(const RunIndex::Found& found) {
    if (found.path.empty()) {
      auto loaded = std::make_shared<LoadedRun>();
      if (const auto graph = hub->graph(found.id)) loaded->graph = *graph;
      loaded->verdict.state = RecordState::complete;
      return std::shared_ptr<const LoadedRun>(std::move(loaded));
    }
    const std::lock_guard lock(cache_mutex);
    if (cached_id == found.id && cached_lines == found.summary.lines && found.problem.empty()) return cached;
    ASSAY_TRY(auto loaded, load_run(found.path));
    cached_id = found.id;
    cached_lines = found.summary.lines;
    cached = loaded;
    return loaded;
  }

  ServerReply run(const ServerRequest& request, std::string_view rest) {
    const std::size_t slash = rest.find('/');
    const std::string_view id = rest.substr(0, slash);
    auto found = index.find(id);
    if (!found) {
      if (const auto graph = hub->graph(id)) found = found_of(*graph);
    }
    if (!found) return problem(404, "there is no such run", "it may have been removed: go back to the list");
    if (slash != std::string_view::npos && rest.substr(slash) != "/node")
      return problem(404, "there is no such page", "try /api/runs/ID or /api/runs/ID/node?path=PATH");
    JsonObject out{{"run", row_of(*found)}, {"compile", found->summary.compile_json()}};
    if (slash == std::string_view::npos && request.query_value("graph") == "0") return json_reply(Json(std::move(out)));
    const auto loaded = load(*found);
    if (!loaded) return problem(500, loaded.error().message, "read it on the command line: assay show FILE");
    if (slash != std::string_view::npos) {
      const Json node = node_json((*loaded)->graph, request.query_value("path").value_or(""));
      return node.is_null() ? problem(404, "there is no such node in this run", "reload the run") : json_reply(node);
    }
    GraphViewOptions view;
    view.under = request.query_value("under").value_or("");
    view.bodies = request.query_value("bodies") == "1";
    out.set("graph", graph_json((*loaded)->graph, view));
    out.set("record", verdict_json((*loaded)->verdict));
    return json_reply(Json(std::move(out)));
  }
};

HudServer::HudServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HudServer::~HudServer() { stop(); }

Result<std::unique_ptr<HudServer>> HudServer::start(HudOptions options, Clock& clock) {
  auto impl = std::make_unique<Impl>(std::move(options), clock);
  impl->started_steady_ns = clock.steady_ns();
  impl->started_unix_ns = clock.unix_ns();
  HttpServerLimits limits;
  limits.threads = 3;
  limits.body_bytes_max = 4096;  // nothing is sent here
  limits.connections_max = 64;
  impl->index.poll();  // so that a first look shows what is there, unless it is very much
  Impl* const self = impl.get();
  ASSAY_TRY(
      impl->http,
      HttpServer::start("127.0.0.1", impl->options.port, [self](const ServerRequest& request) { return self->answer(request); }, limits));
  impl->follower = std::jthread([self](const std::stop_token& stop) { self->follow(stop); });
  return std::unique_ptr<HudServer>(new HudServer(std::move(impl)));
}

std::uint16_t HudServer::port() const { return impl_->http->port(); }

std::string HudServer::url() const { return fmt::format("http://127.0.0.1:{}/hud", port()); }

std::shared_ptr<HudHub> HudServer::hub() const { return impl_->hub; }

void HudServer::stop() {
  impl_->follower.request_stop();
  if (impl_->follower.joinable()) impl_->follower.join();
  impl_->http->stop();
}

}  // namespace assay
