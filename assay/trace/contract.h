#pragma once
/// @file
/// TraceContract: the graph of a run as OpenTelemetry spans. Source: docs/formats.md §5; GenAI semantic conventions 1.41.1.
///
///     const std::vector<TraceSpan> spans = TraceContract::graph_to_spans(graph, &manifest);
///
/// Thread safety: pure. Exporting twice gives the same ids.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "assay/contract/manifest.h"
#include "assay/trace/graph.h"

namespace assay {

enum class SpanKind { Internal, Client, Producer };

struct SpanStatus {
  enum class Code { Unset, Ok, Error };
  Code code = Code::Unset;
  std::string message;
};

struct SpanEvent {
  std::string name;
  std::int64_t time_unix_ns = 0;
  std::map<std::string, Json> attributes;
};

struct SpanLink {
  std::string trace_id, span_id;
};

struct TraceSpan {
  std::string trace_id;  ///< 32 hex digits
  std::string span_id;   ///< 16 hex digits
  std::optional<std::string> parent_span_id;
  std::string name;
  SpanKind kind = SpanKind::Internal;
  std::int64_t start_time = 0, end_time = 0;  ///< Unix ns
  std::map<std::string, Json> attributes;
  SpanStatus status;
  std::vector<SpanEvent> events;
  std::vector<SpanLink> links;
};

struct TraceContract {
  /// `manifest` null: a run of an uncompiled program; dsrs.compiled_id is left out then.
  static std::vector<TraceSpan> graph_to_spans(const Graph& graph, const CompiledModuleManifest* manifest);
  /// Messages and contents as attributes (gen_ai.input.messages …): off by default, as the conventions ask.
  struct Options {
    bool content = false;
  };
  static std::vector<TraceSpan> graph_to_spans(const Graph& graph, const CompiledModuleManifest* manifest, const Options& options);
};

/// trace_id and span ids by formats.md §5.
std::string trace_id_of(std::string_view run_id, std::string_view traceparent);
std::string span_id_of(std::string_view trace_id, std::string_view path);
/// The plan's call_id: first 16 bytes of the node's hash with version 8 and variant bits, as a UUID text.
std::string call_id_of(std::string_view trace_id, std::string_view path);

}  // namespace assay
