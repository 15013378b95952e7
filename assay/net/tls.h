#pragma once
// Private to net: TLS client side, with certificate and host name checked.

#include <string>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include "assay/net/asio.h"

namespace assay::net {

// A context that trusts the machine's roots, and those of `ca_file` if given. Errors: `io` (the file cannot be read).
Result<std::unique_ptr<asio::ssl::context>> tls_context(const std::string& ca_file);

// Sets SNI and the name to check. Call before the handshake.
Result<void> expect_host(beast::ssl_stream<beast::tcp_stream>& stream, const Url& url);

// Why a handshake failed. A certificate that is not trusted, or is another's, is `refused`: asking again changes nothing.
Error tls_error(beast::ssl_stream<beast::tcp_stream>& stream, const Url& url, AsioError error);

}  // namespace assay::net
