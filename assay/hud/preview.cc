#include "assay/hud/preview.h"

#include "assay/hud/redact.h"

namespace assay {

std::string preview(const Json& content) {
  constexpr std::size_t bytes_max = 200;
  if (!content.is_string()) return {};
  // Redacted before it is cut: the front half of a secret is one too.
  const std::string whole = redact_text(std::string_view(content.as_string()).substr(0, 64 * bytes_max));
  if (whole.size() <= bytes_max) return to_utf8(whole);
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(whole[end]) & 0xC0) == 0x80) --end;  // ends: at most three bytes of a character
  return to_utf8(std::string_view(whole).substr(0, end)) + "…";
}

}  // namespace assay
