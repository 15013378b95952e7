#pragma once
/// @file
/// The issuer: a ledger behind HTTP on loopback, a process of its own.
///
///     ASSAY_TRY(auto issuer, Issuer::start({.ledger = {.folder = "issuer"}}, clock, entropy));
///     issuer->url();           // "http://127.0.0.1:41233"
///     issuer->node_id();       // what wallets pin
///
/// `GET /v1/info` says who it is, `POST /v1/request` takes one signed request (ledger.h) and answers with a signed reply.
/// Anyone on this machine can connect; only the holder of an account's key can move its money.
///
/// Thread safety: any thread; `stop` also happens in the destructor.

#include <memory>
#include <string>

#include "assay/market/ledger.h"

namespace assay {

struct IssuerOptions {
  LedgerOptions ledger;
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;  ///< 0: a free one
};

class Issuer {
 public:
  /// Errors: `unavailable` (another process serves from the folder), `io` (port in use, folder), `refused` (the ledger file does not add
  /// up).
  static Result<std::unique_ptr<Issuer>> start(const IssuerOptions& options, Clock& clock, Entropy& entropy);
  ~Issuer();
  Issuer(const Issuer&) = delete;
  Issuer& operator=(const Issuer&) = delete;

  std::string url() const;
  const std::string& node_id() const;
  Ledger& ledger();
  void stop();

 private:
  struct Impl;
  explicit Issuer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace assay
