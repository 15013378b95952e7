#include "assay/net/outgoing.h"

namespace assay::net {
namespace {

namespace http = beast::http;

bool is_reserved(std::string_view name) {
  return beast::iequals(name, "host") || beast::iequals(name, "content-length") || beast::iequals(name, "connection") ||
         beast::iequals(name, "transfer-encoding");
}

}  // namespace

Result<Outgoing> outgoing(const HttpRequest& request, const Url& url, bool keep_alive) {
  if (!valid_header(request.method, "")) return fail(ErrorCode::usage, "the HTTP method is not a token");
  Outgoing out;
  out.version(11);
  out.method_string(request.method);
  out.target(url.target);
  out.set(http::field::host, url.authority());
  for (const auto& [name, value] : request.headers) {
    if (!valid_header(name, value) || is_reserved(name)) {
      return fail(ErrorCode::usage, "a request header is not allowed: " + (valid_header(name, "") ? name : "(unreadable name)"),
                  "no control characters; Host, Content-Length, Transfer-Encoding and Connection are set by the client");
    }
    out.insert(name, value);
  }
  if (out.find(http::field::user_agent) == out.end()) out.set(http::field::user_agent, "assay");
  out.keep_alive(keep_alive);
  out.body() = request.body;
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH") {
    out.content_length(request.body.size());
  }
  return out;
}

}  // namespace assay::net
