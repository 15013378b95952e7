// assay trace: export a record as OpenTelemetry spans; publish it to a relay; fetch a published one.
// Exit: 0 done · 1 failed · 3 broken record, or a module that did not run · 7 collector or relay away.
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "assay/base/files.h"
#include "assay/cli/open.h"
#include "assay/contract/store.h"
#include "assay/nostr/bridge.h"
#include "assay/nostr/nip19.h"
#include "assay/nostr/relay_client.h"
#include "assay/trace/contract.h"
#include "assay/trace/otlp.h"

namespace assay {
namespace {

struct TraceOptions {
  std::string record, format, out, endpoint, module, relay, id, key = "default", as = "dvm";
  bool content = false;
};

struct OpenedTrace {
  Graph graph;
  std::optional<CompiledModuleManifest> manifest;
  RecordState state = RecordState::complete;
};

// The module that somebody says ran: whole, and the one that the record names.
Result<CompiledModuleManifest> named_manifest(const std::string& name, const Graph& graph) {
  ASSAY_TRY(const TrustStore trust, open_trust());
  std::optional<ModuleFile> module;
  if (is_stored_name(name)) {
    ASSAY_TRY(module, stored_module(name, trust));
  } else {
    ASSAY_TRY(const std::string text, read_file(name));
    ModuleVerdict verdict = verify_module(text, trust);
    if (verdict.state == ModuleState::bad || !verdict.module) {
      const std::string why = verdict.problems.empty() ? "it cannot be read" : verdict.problems.front().message;
      return fail(ErrorCode::mismatch, "the module does not hold: " + why, "assay verify says what is wrong", name);
    }
    module = std::move(*verdict.module);
  }
  if (graph.compiled_id == module->manifest.compiled_id) return std::move(module->manifest);
  return fail(ErrorCode::mismatch,
              graph.compiled_id ? fmt::format("the record is of {}, this module is {}", *graph.compiled_id, module->manifest.compiled_id)
                                : "the record is of a program that was not compiled: no module ran",
              graph.compiled_id ? "name the module that ran" : "leave --module out", name);
}

// The program file that somebody says ran: it has no manifest, and it is the program that the record names.
Result<void> check_named_program(const std::string& name, const Json& start, const Graph& graph) {
  ASSAY_TRY(const ProgramFile file, read_program_file(name, Rewards::built_in()));
  const std::string theirs = file.program.artifact().program_name();
  if (const Json& id = start.at("compiled_id"); id.is_string())
    return fail(ErrorCode::mismatch, fmt::format("the record is of the module {}, this is a program file", id.as_string()),
                "name the module that ran", name);
  if (graph.program_name.empty() || graph.program_name == theirs) return {};
  return fail(ErrorCode::mismatch, fmt::format("the record is of the program '{}', this is '{}'", graph.program_name, theirs),
              "name the program that ran", name);
}

// The manifest is looked for in the store when no module is named; without one dsrs.compiled_id comes from the record alone.
Result<OpenedTrace> open_trace(const TraceOptions& options) {
  ASSAY_TRY(const RunRecord record, read_record_file(options.record));
  OpenedTrace out{graph_of(record.entries), std::nullopt, record.verdict.state};
  if (options.module.ends_with(".toml")) {
    ASSAY_CHECK(check_named_program(options.module, record.entries.front().data, out.graph));
  } else if (!options.module.empty()) {
    ASSAY_TRY(out.manifest, named_manifest(options.module, out.graph));
  } else if (out.graph.compiled_id) {
    const Store store(default_store_folder());
    const auto id = CompiledId::parse(*out.graph.compiled_id);
    const auto trust = open_trust();
    if (id && trust) {
      if (const auto module = store.get(*id, *trust)) out.manifest = module->manifest;
    }
  }
  return out;
}

// Is it a list of protobuf fields with lengths, of the first `numbers` numbers, that just fill it? As many levels down.
bool holds_fields(std::string_view text, int numbers, int levels) {
  while (!text.empty()) {  // ends: each round takes a field off, or returns
    std::size_t length = 0, at = 1;
    for (unsigned shift = 0; at < text.size() && shift < 35; shift += 7) {
      const auto byte = static_cast<unsigned char>(text[at++]);
      length |= static_cast<std::size_t>(byte & 0x7F) << shift;
      if (byte < 0x80) break;
    }
    const int number = (text[0] & 7) == 2 ? text[0] >> 3 : 0;
    if (number < 1 || number > numbers || length > text.size() - at) return false;
    if (levels > 1 && !holds_fields(text.substr(at, length), 3, levels - 1)) return false;
    text.remove_prefix(at + length);
  }
  return true;
}

// Spans in one of OTLP's two forms: a JSON object of resourceSpans, or messages in field 1 that hold a resource, scopes and a schema's
// address.
bool holds_spans(std::string_view text) {
  const auto value = read_json(text);
  return value ? !value->at("resourceSpans").is_null() : holds_fields(text, 1, 2);
}

void export_trace(const TraceOptions& options, Cli& cli) {
  auto reads = std::make_unique<EndsAtOnce>(cli);
  const auto trace = open_trace(options);
  if (!trace) return cli.fail_with(trace.error());
  const CompiledModuleManifest* manifest = trace->manifest ? &*trace->manifest : nullptr;
  const auto spans = TraceContract::graph_to_spans(trace->graph, manifest, {.content = options.content});
  const bool elsewhere = !options.endpoint.empty();
  const std::string format = !options.format.empty() ? options.format : elsewhere ? "otlp-proto" : "otlp-json";
  if (format != "otlp-json" && format != "otlp-proto")
    return cli.fail_with({ErrorCode::usage, fmt::format("unknown format '{}'", format), "--format", "otlp-json or otlp-proto"});
  const bool json = format == "otlp-json";
  if (elsewhere) {
    if (!options.out.empty()) return cli.fail_with({ErrorCode::usage, "spans go to a file or to a collector", "-o", "leave one out"});
    const char* const given = std::getenv("OTEL_EXPORTER_OTLP_HEADERS");
    const auto headers = otlp_headers(given != nullptr ? given : "");
    if (!headers) return cli.fail_with(headers.error());
    reads.reset();  // sending looks at the signal itself
    if (const auto sent = otlp_send(spans, options.endpoint, cli.wait(std::chrono::seconds(30)), cli.clock,
                                    json ? OtlpFormat::json : OtlpFormat::protobuf, *headers);
        !sent)
      return cli.fail_with(sent.error());
    const std::string shown = options.endpoint.substr(0, options.endpoint.find('?'));  // what stands behind it may be a key
    cli.terminal.out(fmt::format("sent {} spans to {}", spans.size(), shown));
    return cli.terminal.out_json(JsonObject{{"spans", spans.size()}, {"endpoint", shown}});
  }
  std::error_code ignored;
  if (!options.out.empty() && std::filesystem::equivalent(options.out, options.record, ignored))
    return cli.fail_with({ErrorCode::usage, "the export would overwrite the record", options.out, "name another file with -o"});
  const std::string bytes = json ? otlp_json(spans) : otlp_protobuf(spans);
  if (options.out.empty() || options.out == "-") {
    cli.terminal.raw(json ? bytes + "\n" : bytes);
    return;
  }
  if (const auto free = check_gives_way(options.out, "export of spans", holds_spans); !free) return cli.fail_with(free.error());
  reads.reset();  // the file comes whole
  if (const auto written = write_file(options.out, bytes); !written) return cli.fail_with(written.error());
  cli.terminal.out(fmt::format("wrote {} spans to {}", spans.size(), options.out));
  cli.terminal.out_json(JsonObject{{"spans", spans.size()}, {"file", options.out}});
}

void publish_trace(const TraceOptions& options, Cli& cli) {
  if (options.as != "dvm" && options.as != "app-data")
    return cli.fail_with({ErrorCode::usage, fmt::format("unknown kind of events '{}'", options.as), "--as", "dvm or app-data"});
  const auto trace = open_trace(options);
  if (!trace) return cli.fail_with(trace.error());
  const auto key = open_key({.key = options.key}, cli);
  if (!key) return cli.fail_with(key.error());
  NostrBridge bridge{options.relay, *key};
  bridge.as_app_data = options.as == "app-data";
  bridge.stop = cli.stop;
  bridge.clock = &cli.clock;
  bridge.entropy = &cli.entropy;
  const auto ids = bridge.publish_trace(trace->graph, trace->manifest ? &*trace->manifest : nullptr);
  if (!ids) return cli.fail_with(ids.error());
  if (trace->state == RecordState::torn) cli.terminal.note("the record is torn: what its whole lines say was published");
  JsonList list;
  for (const auto& id : *ids) {
    list.push_back(Json(id));
    cli.terminal.out(id);
  }
  cli.terminal.out_json(JsonObject{{"events", list}, {"relay", options.relay}});
}

void fetch_published(const TraceOptions& options, Cli& cli) {
  const Wait wait = cli.wait(std::chrono::seconds(30));
  const auto relay = RelayClient::connect(options.relay, wait, cli.clock);
  if (!relay) return cli.fail_with(relay.error());
  const auto id = read_event_id(options.id);
  if (!id) return cli.fail_with(Error(id.error()).in("id"));
  const auto trace = fetch_trace(**relay, *id, wait);
  if (!trace) return cli.fail_with(trace.error());
  const std::string& signer = (*trace->summary).pubkey;  // anyone may publish under any run id: who did is part of the answer
  cli.terminal.out(fmt::format("run {}  root {}  published by {}  {} events, ids and signatures verified", trace->run_id,
                               trace->root_hash.empty() ? "(open)" : trace->root_hash, signer, trace->events.size()));
  JsonList events{to_json(*trace->summary)};
  for (const auto& event : trace->events) {
    cli.terminal.out(fmt::format("  {} kind {}", event->id, event->kind));
    events.push_back(to_json(*event));
  }
  cli.terminal.out_json(JsonObject{{"run_id", trace->run_id}, {"root_hash", trace->root_hash}, {"signer", signer}, {"events", events}});
}

}  // namespace

void add_trace(CLI::App& app, Cli& cli) {
  const auto options = std::make_shared<TraceOptions>();
  CLI::App* command = app.add_subcommand("trace", "Export, publish and fetch traces");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n  assay trace export triage.run.jsonl --format otlp-json -o spans.json\n  assay trace export triage.run.jsonl --endpoint "
      "http://127.0.0.1:4318\n"
      "  assay trace publish triage.run.jsonl --relay ws://127.0.0.1:7447");
  CLI::App* exporting = command->add_subcommand("export", "A record as OpenTelemetry spans");
  exporting->add_option("record", options->record, "*.run.jsonl")->required();
  exporting->add_option("--format", options->format, "otlp-json (default) or otlp-proto (default with --endpoint)");
  exporting->add_option("-o,--out", options->out, "File (default: standard output)");
  exporting->add_option("--endpoint", options->endpoint, "Collector to send to over HTTP");
  exporting->add_option("--module", options->module, "Module that ran (default: from the store)");
  exporting->add_flag("--content", options->content, "With messages and answers");
  exporting->callback([options, &cli] { export_trace(*options, cli); });
  CLI::App* publish = command->add_subcommand("publish", "A record as Nostr events");
  publish->add_option("record", options->record, "*.run.jsonl")->required();
  publish->add_option("--relay", options->relay, "ws://…")->required();
  publish->add_option("--module", options->module, "Module that ran (default: from the store)");
  publish->add_option("--as", options->as, "dvm: kinds 5050 and 6050; app-data: kind 78, for relays that are not one's own")
      ->capture_default_str();
  publish->add_option("--key", options->key, "Name of the signing key")->capture_default_str();
  publish->callback([options, &cli] { publish_trace(*options, cli); });
  CLI::App* fetch = command->add_subcommand("fetch", "The events of a published run");
  fetch->add_option("id", options->id, "id of the run's summary event")->required();
  fetch->add_option("--relay", options->relay, "ws://…")->required();
  fetch->callback([options, &cli] { fetch_published(*options, cli); });
}

}  // namespace assay
