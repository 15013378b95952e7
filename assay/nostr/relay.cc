#include "assay/nostr/relay.h"

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/nostr/relay_parts.h"

namespace assay {

struct Relay::Impl {
  RelayOptions options;
  Clock& clock;
  Fd folder;  // held until nothing is written any more
  std::unique_ptr<RelayStore> store;
  relay::Counters counters;
  relay::Hub hub;
  std::unique_ptr<relay::Writer> writer;
  std::unique_ptr<HttpServer> server;  // last: its threads use the rest

  Impl(const RelayOptions& the_options, Clock& the_clock) : options(the_options), clock(the_clock) {}

  ServerReply answer(const ServerRequest& request) {
    if (request.path != "/") return ServerReply::not_found();
    if (request.websocket_upgrade) {
      return ServerReply::upgrade(relay::make_session({options.limits, *store, hub, *writer, counters, clock}));
    }
    if (request.method == "OPTIONS" ||
        find_header(request.headers, "accept").value_or("").find("application/nostr+json") != std::string::npos) {
      ServerReply reply = ServerReply::json(relay::information_json(options.limits));
      reply.headers = {{"Content-Type", "application/nostr+json"},
                       {"Access-Control-Allow-Origin", "*"},
                       {"Access-Control-Allow-Headers", "*"},
                       {"Access-Control-Allow-Methods", "GET, OPTIONS"}};
      return reply;
    }
    return ServerReply::text("Assay Nexus, a Nostr relay: connect with a WebSocket.\n");
  }

  Result<void> start() {
    ASSAY_TRY(folder, occupy_folder(options.data_folder));
    ASSAY_TRY(store, RelayStore::open(options.data_folder, options.durable, options.on_note));
    hub.start_at(store->last_seq());
    writer = std::make_unique<relay::Writer>(*store, hub, counters, options.limits.waiting_events_max);
    HttpServerLimits limits;
    limits.websocket_message_bytes_max = options.limits.message_bytes_max;
    limits.connections_max = options.limits.connections_max;
    limits.loopback_names_only = options.address == "127.0.0.1" || options.address == "::1" || options.address == "localhost";
    ASSAY_TRY(server,
              HttpServer::start(options.address, options.port, [this](const ServerRequest& request) { return answer(request); }, limits));
    return {};
  }

  void stop() {
    if (writer) writer->stop();  // first, so that the last OKs still go out
    if (server) server->stop();
  }
};

Relay::Relay(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Relay::~Relay() { stop(); }

Result<std::unique_ptr<Relay>> Relay::start(const RelayOptions& options, Clock& clock) {
  if (options.data_folder.empty()) return fail(ErrorCode::usage, "the relay needs a data folder", "name one: events are kept there");
  auto impl = std::make_unique<Impl>(options, clock);
  ASSAY_CHECK(impl->start());
  return std::unique_ptr<Relay>(new Relay(std::move(impl)));
}

std::uint16_t Relay::port() const { return impl_->server->port(); }

std::string Relay::url() const {
  const std::string& address = impl_->options.address;
  return fmt::format("ws://{}:{}", address.find(':') == std::string::npos ? address : "[" + address + "]", port());
}

RelayCounts Relay::counts() const {
  const auto& counters = impl_->counters;
  return {counters.stored, counters.duplicates, counters.refused, counters.delivered};
}

void Relay::stop() { impl_->stop(); }

}  // namespace assay
