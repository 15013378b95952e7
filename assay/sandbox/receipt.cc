#include "assay/sandbox/receipt.h"

#include <algorithm>

#include <fmt/format.h>

#include "assay/base/sha256.h"

namespace assay {
namespace {

constexpr std::string_view receipt_format = "assay.receipt/1";
constexpr std::string_view receipt_kind = "oa.sandbox_run.v1";

// All that the receipt says, apart from who says it and when. Making and checking share it, so they cannot drift.
Result<Json> statement(const SandboxRunRequest& request, const SandboxRunResponse& response) {
  ASSAY_TRY(const std::string job, job_hash(request));
  if (response.job_hash != job) {
    return fail(ErrorCode::mismatch, fmt::format("the response answers job {}, not {}", response.job_hash, job),
                "pair it with its own request", "job_hash");
  }
  const Json whole = to_json(response);
  ASSAY_TRY(const std::string response_hash, hash(whole));
  JsonList runs;
  for (const SandboxCommandRun& run : response.runs) {
    runs.emplace_back(JsonObject{{"exit_code", run.exit_code},
                                 {"verdict", name(run.verdict)},
                                 {"stdout_sha256", run.out.sha256},
                                 {"stderr_sha256", run.err.sha256}});
  }
  JsonList artifacts;
  for (const SandboxArtifact& artifact : response.artifacts) {
    artifacts.emplace_back(JsonObject{{"path", artifact.path}, {"sha256", artifact.sha256}});
  }
  return Json(JsonObject{{"format", receipt_format},
                         {"kind", receipt_kind},
                         {"job_hash", job},
                         {"response_hash", response_hash},
                         {"status", name(response.status)},
                         {"profile", response.profile},
                         {"isolation", whole.at("isolation")},
                         {"runs", std::move(runs)},
                         {"artifacts", std::move(artifacts)}});
}

Result<void> expect_text(const Json& receipt, std::string_view key, std::string_view want) {
  ASSAY_TRY(const std::string found, string_member(receipt, key));
  if (found != want)
    return fail(ErrorCode::mismatch, fmt::format("expected {}, found {}", want, to_utf8(found.substr(0, 100))), {}, std::string(key));
  return {};
}

}  // namespace

Result<Json> make_receipt(const SandboxRunRequest& request, const SandboxRunResponse& response, const SecretKey& key, Entropy& entropy,
                          Clock& clock) {
  ASSAY_TRY(Json out, statement(request, response));
  constexpr std::int64_t second_ns = 1'000'000'000;
  out.set("created_at", clock.unix_ns() / second_ns);
  return sign_object(std::move(out), key, entropy);
}

Result<void> verify_receipt(const Json& receipt) {
  if (!receipt.is_object()) return fail(ErrorCode::malformed, "expected a receipt, an object");
  ASSAY_CHECK(expect_text(receipt, "format", receipt_format));
  ASSAY_CHECK(expect_text(receipt, "kind", receipt_kind));
  for (const std::string_view key : {"job_hash", "response_hash"}) {
    ASSAY_TRY(const std::string found, string_member(receipt, key));
    if (!is_hex(found, 64)) return fail(ErrorCode::malformed, "expected 64 lowercase hex digits", {}, std::string(key));
  }
  for (const std::string_view key : {"status", "profile"}) ASSAY_CHECK(string_member(receipt, key));
  ASSAY_CHECK(member(receipt, "isolation", Json::Kind::object));
  for (const std::string_view key : {"runs", "artifacts"}) {
    ASSAY_TRY(const Json* list, member(receipt, key, Json::Kind::list));
    if (std::any_of(list->as_list().begin(), list->as_list().end(), [](const Json& item) { return !item.is_object(); }))
      return fail(ErrorCode::malformed, "expected objects", {}, std::string(key));
  }
  ASSAY_TRY(const std::int64_t created_at, int_member(receipt, "created_at"));
  if (created_at < 0) return fail(ErrorCode::malformed, "expected seconds from 0", {}, "created_at");
  return verify_object(receipt);
}

Result<void> verify_receipt(const Json& receipt, const SandboxRunRequest& request, const SandboxRunResponse& response) {
  ASSAY_CHECK(verify_receipt(receipt));
  ASSAY_TRY(const Json want, statement(request, response));
  for (const auto& [key, value] : want.as_object()) {
    if (!(receipt.at(key) == value)) {
      return fail(ErrorCode::mismatch, fmt::format("the receipt's {} is not that of the response", key), "do not pay this provider again",
                  key);
    }
  }
  return {};
}

}  // namespace assay
