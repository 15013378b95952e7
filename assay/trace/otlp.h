#pragma once
/// @file
/// OTLP export of spans: JSON and protobuf (ExportTraceServiceRequest), to a file or over HTTP. Source: OTLP 1.11.
///
/// Thread safety: pure but for `otlp_send`, which blocks its thread until its deadline.

#include <string>
#include <vector>

#include "assay/base/clock.h"
#include "assay/trace/contract.h"

namespace assay {

/// Resource: service.name "assay", service.version; scope "assay"; schema URL of the pinned conventions.
std::string otlp_json(const std::vector<TraceSpan>& spans);
std::string otlp_protobuf(const std::vector<TraceSpan>& spans);

enum class OtlpFormat { protobuf, json };

/// POSTs them to `endpoint` (with /v1/traces appended unless it has a path). Errors: `unavailable` (away, or a status from 500),
/// `timed_out`, `refused` (the collector rejected spans; the message says how many and why).
Result<void> otlp_send(const std::vector<TraceSpan>& spans, const std::string& endpoint, const Wait& wait, Clock& clock,
                       OtlpFormat format = OtlpFormat::protobuf);

}  // namespace assay
