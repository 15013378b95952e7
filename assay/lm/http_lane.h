#pragma once
/// @file
/// The lane `openai`: any OpenAI-compatible chat server, over HTTP or HTTPS. Keep-alive, streaming, time-outs, retries.
///
///     HttpLaneOptions options{.base_url = "http://127.0.0.1:8080/v1", .model = "qwen2.5"};
///     ASSAY_TRY(const std::shared_ptr<LM> lane, HttpLane::open(options, clock, entropy));
///     lane->complete(request, wait);
///
/// Asked again after 408, 409, 425, 429, 5xx and when the connection failed before an answer began; never after. Between tries it waits
/// as long as Retry-After says, else 0.5 s doubled each time with full jitter. The key is sent in the Authorization header only,
/// and never over plain HTTP to another machine.
/// Thread safety: as LM.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "assay/base/random.h"
#include "assay/lm/lm.h"
#include "assay/lm/openai_chat.h"

namespace assay {

struct HttpLaneOptions {
  std::string base_url;                 ///< up to and including the version: "https://api.example/v1"
  std::string model;
  std::string api_key = {};             ///< empty: none is sent
  ChatDialect dialect = ChatDialect::openai;
  std::int64_t attempts = 5;            ///< of one call
  std::int64_t attempt_seconds = 300;   ///< for one of them, if the caller's deadline is later
  std::int64_t concurrency = 8;
  std::int64_t context_tokens = 0;      ///< 0: not known
  std::vector<PrivacyMode> privacy = {};  ///< modes it may see; empty: public_ok and no_pii
  std::string ca_file = {};             ///< PEM file of further trusted roots
};

class HttpLane final : public LM {
 public:
  /// Errors: `malformed` (URL), `refused` (a key over plain HTTP to another machine), `usage`. Nothing is sent yet.
  static Result<std::shared_ptr<HttpLane>> open(const HttpLaneOptions& options, Clock& clock, Entropy& entropy);
  ~HttpLane() override;

  const Lane& lane() const override;
  /// Errors besides LM's: `refused` (401, 403, or a config that the server cannot keep to), `malformed` (its answer).
  Result<LmResponse> complete(const LmRequest& request, const Wait& wait) override { return complete_with(request, wait, {}); }
  /// Lost is what was sent and brought no whole answer: cut, late, cancelled, unreadable, or a gateway's 502, 504 or 520 to 524. Any
  /// other status is the server's word that it did nothing.
  Result<LmResponse> complete_with(const LmRequest& request, const Wait& wait, const Events& events) override;
  Result<void> takes(const LmRequest& request) const override;
  std::vector<PrivacyMode> privacy_modes() const override;
  int concurrency() const override;
  std::vector<std::string> capabilities() const override;

 private:
  struct Impl;
  explicit HttpLane(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
