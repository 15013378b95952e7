#pragma once
// Private to net: a request as Beast sends it.
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>

#include "assay/net/asio.h"
#include "assay/net/http_client.h"

namespace assay::net {

using Outgoing = beast::http::request<beast::http::string_body>;

// Errors: `usage` (a method or header that may not be sent).
Result<Outgoing> outgoing(const HttpRequest& request, const Url& url, bool keep_alive);

}  // namespace assay::net
