#include "assay/market/issuer.h"

#include <fmt/format.h>

#include "assay/base/files.h"
#include "assay/net/http_server.h"

namespace assay {
namespace {

constexpr std::size_t request_bytes_max = 16 * 1024;

ServerReply problem(int status, const Error& error) {
  const Json body = JsonObject{
      {"error", JsonObject{{"code", name(error.code)}, {"message", error.message}, {"path", error.path}, {"remedy", error.remedy}}}};
  return ServerReply::json(canonical(body).value_or("{}"), status);
}

ServerReply answer(const Result<Json>& value) {
  if (!value) return problem(value.error().code == ErrorCode::malformed ? 400 : 500, value.error());
  const auto text = canonical(*value);
  return text ? ServerReply::json(*text) : problem(500, text.error());
}

ServerReply serve(Ledger& ledger, const ServerRequest& request) {
  if (request.path == "/v1/info" && request.method == "GET") return answer(ledger.info());
  if (request.path != "/v1/request") return ServerReply::not_found();
  if (request.method != "POST") return problem(405, {ErrorCode::usage, "expected POST", {}, {}});
  const auto body = read_json(request.body, {.bytes_max = request_bytes_max, .depth_max = 8});
  if (!body) return problem(400, body.error());
  return answer(ledger.apply(*body));
}

}  // namespace

struct Issuer::Impl {
  Fd folder;  // held until nothing is written any more
  std::unique_ptr<Ledger> ledger;  // outlives the server, whose threads use it
  std::unique_ptr<HttpServer> server;
  std::string address;
};

Issuer::Issuer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Issuer::~Issuer() { stop(); }

Result<std::unique_ptr<Issuer>> Issuer::start(const IssuerOptions& options, Clock& clock, Entropy& entropy) {
  auto impl = std::make_unique<Impl>();
  impl->address = options.address;
  ASSAY_TRY(impl->folder, occupy_folder(options.ledger.folder));
  ASSAY_TRY(impl->ledger, Ledger::open(options.ledger, clock, entropy));
  HttpServerLimits limits;
  limits.body_bytes_max = request_bytes_max;
  ASSAY_TRY(impl->server, HttpServer::start(
                              options.address, options.port,
                              [ledger = impl->ledger.get()](const ServerRequest& request) { return serve(*ledger, request); }, limits));
  return std::unique_ptr<Issuer>(new Issuer(std::move(impl)));
}

std::string Issuer::url() const { return fmt::format("http://{}:{}", impl_->address, impl_->server->port()); }
const std::string& Issuer::node_id() const { return impl_->ledger->node_id(); }
Ledger& Issuer::ledger() { return *impl_->ledger; }
void Issuer::stop() {
  if (impl_ && impl_->server) impl_->server->stop();
}

}  // namespace assay
