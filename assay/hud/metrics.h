#pragma once
/// @file
/// `/metrics`: a few figures in the Prometheus text format. Thread safety: pure.

#include <string>

#include "assay/hud/event_feed.h"
#include "assay/hud/run_index.h"

namespace assay {

/// Figures of all records in the folders are gauges (a removed record lowers them); those of the server itself are counters.
std::string prometheus_text(const RunIndex::Counts& runs, const EventFeed::Counts& stream, double uptime_seconds,
                            const std::string& version);

}  // namespace assay
