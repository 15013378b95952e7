#include "assay/net/tls.h"

#include <fmt/format.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

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

Error tls_error(beast::ssl_stream<beast::tcp_stream>& stream, const Url& url, AsioError error) {
  const long verdict = SSL_get_verify_result(stream.native_handle());
  if (verdict == X509_V_OK) return peer_error(url, "agree on TLS with", error);
  // Asio's check of the name gives no reason of its own.
  const char* const why = verdict == X509_V_ERR_UNSPECIFIED ? "it is for another name" : X509_verify_cert_error_string(verdict);
  return {ErrorCode::refused, fmt::format("the certificate of {} is not trusted: {}", url.authority(), why), url.authority(),
          "is it the server that you mean? Roots of your own are named in the environment: SSL_CERT_FILE=ROOTS.pem"};
}

}  // namespace assay::net
