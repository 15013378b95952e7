#include "assay/hud/metrics.h"

#include <fmt/format.h>

namespace assay {
namespace {

std::string escaped(const std::string& label) {
  std::string out;
  for (const char c : label) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out;
}

std::string metric(std::string_view name, std::string_view type, std::string_view help) {
  return fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
}

std::string single(std::string_view name, std::string_view type, std::string_view help, auto value) {
  return metric(name, type, help) + fmt::format("{} {}\n", name, value);
}

}  // namespace

std::string prometheus_text(const RunIndex::Counts& runs, const EventFeed::Counts& stream, double uptime_seconds,
                            const std::string& version) {
  std::string out = metric("assay_info", "gauge", "Version of the server.");
  out += fmt::format("assay_info{{version=\"{}\"}} 1\n", escaped(version));
  out += metric("assay_runs", "gauge", "Run records in the folders, by state.");
  for (const RunState state : {RunState::complete, RunState::running, RunState::interrupted, RunState::broken}) {
    const auto at = runs.by_state.find(std::string(name(state)));
    out += fmt::format("assay_runs{{state=\"{}\"}} {}\n", name(state), at == runs.by_state.end() ? 0 : at->second);
  }
  const Totals& totals = runs.totals;
  out += metric("assay_lm_calls", "gauge", "LM calls in these records.");
  out += fmt::format("assay_lm_calls{{cached=\"false\"}} {}\nassay_lm_calls{{cached=\"true\"}} {}\n", totals.calls, totals.cached_calls);
  out += metric("assay_lm_tokens", "gauge", "Tokens of LM calls really made.");
  out += fmt::format("assay_lm_tokens{{direction=\"prompt\"}} {}\nassay_lm_tokens{{direction=\"completion\"}} {}\n", totals.prompt_tokens,
                     totals.completion_tokens);
  out += single("assay_cost_msats", "gauge", "Price of priced LM calls, in millisatoshi.", totals.cost_msats);
  out += single("assay_unpriced_calls", "gauge", "LM calls of lanes without a price.", totals.unpriced_calls);
  out += single("assay_node_errors", "gauge", "Nodes that ended as an error.", runs.errors);
  out += single("assay_hud_viewers", "gauge", "Open event streams.", stream.viewers);
  out += single("assay_hud_events_total", "counter", "Events published since the start.", stream.events);
  out += single("assay_hud_events_dropped_total", "counter", "Events that a slow viewer did not get, summed over viewers.", stream.dropped);
  out += single("assay_hud_uptime_seconds", "gauge", "Since the server started.", uptime_seconds);
  return out;
}

}  // namespace assay
