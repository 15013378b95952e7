#pragma once
/// @file
/// OTLP export of spans: JSON and protobuf (ExportTraceServiceRequest), to a file or over HTTP. Source: OTLP 1.11.
///
/// Thread safety: pure but for `otlp_send`, which blocks its thread until its deadline.

#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/net/http_message.h"
#include "assay/trace/contract.h"

namespace assay {

/// Resource: service.name "assay", service.version; scope "assay"; schema URL of the pinned conventions.
std::string otlp_json(const std::vector<TraceSpan>& spans);
std::string otlp_protobuf(const std::vector<TraceSpan>& spans);

enum class OtlpFormat { protobuf, json };

/// What OTEL_EXPORTER_OTLP_HEADERS holds: `name=value,name=value`, values percent-encoded. Errors: `usage`, which quote nothing of it.
Result<HttpHeaders> otlp_headers(std::string_view text);

/// POSTs them to `endpoint` (with /v1/traces appended unless it has a path). Errors: `unavailable` (away, or a status from 500),
/// `timed_out`, `refused` (the collector rejected spans; the message says how many and why). Values of `headers` are in no error.
Result<void> otlp_send(const std::vector<TraceSpan>& spans, const std::string& endpoint, const Wait& wait, Clock& clock,
                       OtlpFormat format = OtlpFormat::protobuf, const HttpHeaders& headers = {});

}  // namespace assay
