#include "assay/net/tls.h"

#include <openssl/ssl.h>

namespace assay::net {

Result<std::unique_ptr<asio::ssl::context>> tls_context(const std::string& ca_file) {
  auto context = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_client);
  AsioError error;
  context->set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 | asio::ssl::context::no_sslv3 |
                           asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1,
                       error);
  context->set_verify_mode(asio::ssl::verify_peer, error);
  context->set_default_verify_paths(error);
  if (!ca_file.empty()) {
    context->load_verify_file(ca_file, error);
    if (error) return fail(ErrorCode::io, "cannot read the file of trusted roots: " + error.message(), "give a PEM file", ca_file);
  }
  return context;
}

Result<void> expect_host(beast::ssl_stream<beast::tcp_stream>& stream, const Url& url) {
  AsioError error;
  asio::ip::make_address(url.host, error);
  const bool is_name = static_cast<bool>(error);  // SNI is for names only (RFC 6066 §3)
  if (is_name && SSL_set_tlsext_host_name(stream.native_handle(), url.host.c_str()) != 1) {
    return fail(ErrorCode::internal, "TLS refused the host name", "", url.authority());
  }
  AsioError ignored;
  stream.set_verify_callback(asio::ssl::host_name_verification(url.host), ignored);
  return {};
}

}  // namespace assay::net
