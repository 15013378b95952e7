"""Does somebody else's OpenTelemetry read our export, and does it say what the run record says?

    python interop/otel/check.py RECORD.run.jsonl EXPORT.json EXPORT.pb

Decodes both forms with the published opentelemetry-proto classes, and checks against the record itself (read here with
nothing but the standard library): LM spans start and end when their lines say, token and cost sums are the record's, every
parent exists, ids are unique, tokens stand only on the span that made the call, and both forms hold the same spans.
Prints one JSON object; exit 0 if all holds, 1 if not, 2 for wrong usage.
"""
import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TOKEN_KEYS = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "lm.tokens", "lm.cost_msats")


def hex_ids_to_base64(value):
    """OTLP/JSON writes ids as hex; protobuf's own JSON reader wants base64."""
    if isinstance(value, list):
        return [hex_ids_to_base64(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, item in value.items():
        is_id = key in ("traceId", "spanId", "parentSpanId") and isinstance(item, str)
        out[key] = base64.b64encode(bytes.fromhex(item)).decode() if is_id else hex_ids_to_base64(item)
    return out


def read_json_export(path):
    with open(path, encoding="utf-8") as file:
        value = hex_ids_to_base64(json.load(file))
    return json_format.ParseDict(value, ExportTraceServiceRequest(), ignore_unknown_fields=False)


def read_protobuf_export(path):
    with open(path, "rb") as file:
        return ExportTraceServiceRequest.FromString(file.read())


def spans_of(request):
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def plain(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def attributes_of(span):
    return {pair.key: plain(pair.value) for pair in span.attributes}


def calls_of(record):
    """Every LM call of the record by its span's path ("PATH#k"): when it began and ended, what it used."""
    calls, counts, waiting = {}, {}, {}
    start = int(record[0]["data"]["started_unix_ns"])
    for line in record:
        kind, node, data = line["type"], line["node"], line["data"]
        if kind in ("lm_request", "cache_hit"):
            index = counts.get(node, 0)
            counts[node] = index + 1
            if kind == "lm_request":
                calls[f"{node}#{index}"] = {"start": start + line["t"], "end": None, "usage": None, "cost": None}
                waiting.setdefault((node, data["request_hash"]), []).append(f"{node}#{index}")
        elif kind in ("lm_response", "error") and waiting.get((node, data.get("request_hash"))):
            call = calls[waiting[(node, data["request_hash"])].pop(0)]
            call["end"] = start + line["t"]
            if kind == "lm_response":
                call["usage"], call["cost"] = data["usage"], data["cost_msats"]
    return calls


class Checker:
    def __init__(self, record, spans):
        self.record, self.spans, self.problems = record, spans, []

    def expect(self, holds, what):
        if not holds:
            self.problems.append(what)

    def check(self):
        self.check_tree()
        self.check_calls()
        self.check_sums()
        return self.problems

    def check_tree(self):
        ids = [span.span_id for span in self.spans]
        self.expect(len(set(ids)) == len(ids), "span ids repeat")
        self.expect(len({span.trace_id for span in self.spans}) == 1, "more than one trace id")
        outside = (self.record[0]["data"]["traceparent"] or "").split("-")
        remote = bytes.fromhex(outside[2]) if len(outside) == 4 else b""
        roots = 0
        for span in self.spans:
            self.expect(len(span.trace_id) == 16 and len(span.span_id) == 8 and any(span.span_id), f"bad id at {span.name}")
            self.expect(span.end_time_unix_nano >= span.start_time_unix_nano > 0, f"{span.name} ends before it starts")
            if span.parent_span_id == remote:
                roots += 1
            else:
                self.expect(span.parent_span_id in ids, f"parent of {span.name} is missing")
            for link in span.links:
                self.expect(link.span_id in ids, f"a link of {span.name} leads nowhere")
        self.expect(roots == 1, f"{roots} roots")

    def check_calls(self):
        calls = calls_of(self.record)
        clients = {attributes_of(span)["assay.path"]: span for span in self.spans if span.kind == Span.SPAN_KIND_CLIENT}
        self.expect(sorted(calls) == sorted(clients), f"LM spans are {sorted(clients)}, the record's calls {sorted(calls)}")
        for path in calls.keys() & clients.keys():
            call, span = calls[path], clients[path]
            self.expect(span.start_time_unix_nano == call["start"], f"{path} starts at another time than its request")
            if call["end"] is not None:
                duration = span.end_time_unix_nano - span.start_time_unix_nano
                self.expect(duration == call["end"] - call["start"], f"{path} lasts {duration} ns, in the record {call['end'] - call['start']}")
            if call["usage"] is not None:
                attributes = attributes_of(span)
                for key, want in ((TOKEN_KEYS[0], call["usage"]["prompt_tokens"]), (TOKEN_KEYS[1], call["usage"]["completion_tokens"]),
                                  (TOKEN_KEYS[3], call["cost"])):
                    self.expect(attributes.get(key) == want, f"{path}: {key} is {attributes.get(key)}, in the record {want}")

    def check_sums(self):
        sums = dict.fromkeys(TOKEN_KEYS, 0)
        for span in self.spans:
            attributes = attributes_of(span)
            for key in TOKEN_KEYS:
                sums[key] += attributes.get(key, 0)
                self.expect(key not in attributes or span.kind == Span.SPAN_KIND_CLIENT, f"{span.name} has {key} but made no call")
        if self.record[-1]["type"] != "run_end":
            return
        totals = self.record[-1]["data"]["totals"]
        wants = (totals["prompt_tokens"], totals["completion_tokens"], totals["prompt_tokens"] + totals["completion_tokens"], totals["cost_msats"])
        for key, want in zip(TOKEN_KEYS, wants):
            self.expect(sums[key] == want, f"sum of {key} is {sums[key]}, the record's total {want}")


def by_id(spans):
    return {span.span_id: span.SerializeToString(deterministic=True) for span in spans}


def main(arguments):
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[0], encoding="utf-8") as file:
        record = [json.loads(line) for line in file if line.endswith("\n")]
    from_json, from_protobuf = read_json_export(arguments[1]), read_protobuf_export(arguments[2])
    spans = spans_of(from_protobuf)
    problems = Checker(record, spans).check()
    if by_id(spans) != by_id(spans_of(from_json)):
        problems.append("the JSON and the protobuf export differ")
    if from_json.resource_spans[0].resource != from_protobuf.resource_spans[0].resource:
        problems.append("the two exports name another resource")
    calls = sum(span.kind == Span.SPAN_KIND_CLIENT for span in spans)
    print(json.dumps({"ok": not problems, "spans": len(spans), "lm_calls": calls, "problems": problems}))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
