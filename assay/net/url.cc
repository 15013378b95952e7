#include "assay/net/url.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace assay {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lowered(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

bool is_visible(char c) { return c > ' ' && c < 0x7F; }

bool is_host_byte(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; }

std::optional<std::uint16_t> read_port(std::string_view text) {
  unsigned value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || value == 0 || value > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

struct HostPort {
  std::string host;
  std::string_view port;  // empty if none was written
  bool has_port = false;
};

std::optional<HostPort> split_authority(std::string_view text) {
  HostPort out;
  std::size_t end = 0;
  if (text.starts_with('[')) {
    end = text.find(']');
    if (end == std::string_view::npos || end == 1) return std::nullopt;
    out.host = lowered(text.substr(1, end - 1));
    if (out.host.find_first_not_of("0123456789abcdef:.") != std::string::npos) return std::nullopt;
    ++end;
  } else {
    end = std::min(text.find(':'), text.size());
    out.host = lowered(text.substr(0, end));
    if (out.host.empty() || out.host.size() > 253 || !std::all_of(out.host.begin(), out.host.end(), is_host_byte)) return std::nullopt;
  }
  if (end == text.size()) return out;
  if (text[end] != ':') return std::nullopt;
  out.port = text.substr(end + 1);
  out.has_port = true;
  return out;
}

bool is_ipv4_loopback(std::string_view host) {
  unsigned parts[4] = {};
  for (int i = 0; i < 4; ++i) {
    const std::size_t end = std::min(host.find('.'), host.size());
    const std::string_view part = host.substr(0, end);
    const auto [stop, problem] = std::from_chars(part.data(), part.data() + part.size(), parts[i]);
    if (problem != std::errc{} || stop != part.data() + part.size() || parts[i] > 255 || part.size() > 3) return false;
    if ((i < 3) != (end < host.size())) return false;
    host.remove_prefix(std::min(end + 1, host.size()));
  }
  return parts[0] == 127;
}

}  // namespace

std::string Url::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == (tls() ? 443 : 80) ? name : fmt::format("{}:{}", name, port);
}

Result<Url> parse_url(std::string_view text) {
  constexpr std::string_view remedy = "write it as http(s)://host[:port]/path or ws(s)://host[:port]/path";
  if (text.size() > 8192) return fail(ErrorCode::limit_exceeded, "the URL is longer than 8192 bytes");
  if (!std::all_of(text.begin(), text.end(), is_visible)) {
    return fail(ErrorCode::malformed, "the URL holds a space, a control or a non-ASCII character", "percent-encode it");
  }
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) return fail(ErrorCode::malformed, "the URL has no scheme", std::string(remedy));
  Url url;
  url.scheme = lowered(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https" && url.scheme != "ws" && url.scheme != "wss") {
    return fail(ErrorCode::malformed, "the URL's scheme is not http, https, ws or wss", std::string(remedy));
  }
  text.remove_prefix(colon + 3);
  text = text.substr(0, std::min(text.find('#'), text.size()));
  const std::size_t end = std::min(text.find_first_of("/?"), text.size());
  const std::string_view authority = text.substr(0, end);
  if (authority.find('@') != std::string_view::npos) {
    return fail(ErrorCode::malformed, "the URL holds a user name or password", "send credentials in a header");
  }
  const auto parts = split_authority(authority);
  if (!parts) return fail(ErrorCode::malformed, "the URL's host cannot be read", std::string(remedy));
  url.host = parts->host;
  url.port = url.tls() ? 443 : 80;
  if (parts->has_port) {
    const auto port = read_port(parts->port);
    if (!port) return fail(ErrorCode::malformed, "the URL's port is not a number from 1 to 65535", std::string(remedy));
    url.port = *port;
  }
  if (end < text.size()) url.target = (text[end] == '?' ? "/" : "") + std::string(text.substr(end));
  return url;
}

bool is_loopback_host(std::string_view host) {
  const auto parts = split_authority(host);
  if (!parts || (parts->has_port && !read_port(parts->port))) return false;
  if (host.starts_with('[')) return parts->host == "::1";
  return parts->host == "localhost" || is_ipv4_loopback(parts->host);
}

bool is_loopback_origin(std::string_view origin) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (origin.starts_with(scheme)) return is_loopback_host(origin.substr(scheme.size()));
  }
  return false;
}

std::string percent_decode(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : lower(c) >= 'a' && lower(c) <= 'f' ? lower(c) - 'a' + 10 : -1; };
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace assay
