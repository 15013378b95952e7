"""Writes run records (docs/formats.md §4) line by line, as another process would; for tests that need one to grow."""

import fcntl
import hashlib
import json


def canonical(value):
    """Canonical JSON of values without exotic numbers: integers, and doubles that both sides print alike."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_hex(text):
    return hashlib.sha256(text.encode()).hexdigest()


class RecordWriter:
    """Holds the writer's lock until `close`; time is given, so that a test decides what the page shows."""

    def __init__(self, path, run_id, program=None, started_unix_ns=1790000000000000000, models=("tiny",), settings=None, compiled_id=None, seed=7):
        self.file = open(path, "ab", buffering=0)
        fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.run_id = run_id
        self.prev = "0" * 64
        self.seq = 0
        self.t = 0
        self.totals = dict(calls=0, cached_calls=0, prompt_tokens=0, completion_tokens=0, cost_msats=0, unpriced_calls=0)
        self.lanes = [{"kind": "local", "model": model, "model_sha256": None, "tokenizer_sha256": None, "chat_template_sha256": None, "engine": "test"} for model in models]
        self.line("run_start", "", {
            "format": "assay.run/1", "run_id": run_id, "started_unix_ns": str(started_unix_ns), "assay": {"version": "0.1.0", "build": "test"},
            "compiled_id": compiled_id, "program": program, "settings": settings or {}, "seed": seed, "price_book": "c" * 64,
            "lanes": self.lanes, "privacy_mode": "public_ok", "traceparent": None})

    def line(self, kind, node, data, t=None):
        if t is not None:
            self.t = max(self.t, int(t))
        text = canonical({"data": data, "node": node, "prev": self.prev, "seq": self.seq, "t": self.t, "type": kind})
        self.file.write(text.encode() + b"\n")
        self.prev = sha256_hex(text)
        self.seq += 1

    def start(self, node, name, inputs, t, node_type="Predict"):
        self.line("node_start", node, {"node_type": node_type, "name": name, "inputs": inputs}, t)

    def end(self, node, outputs, t, status="ok", error=None):
        self.line("node_end", node, {"outputs": outputs, "status": status, "error": error}, t)

    def request(self, node, messages, t, lane=0, rollout=0):
        request = {"messages": messages, "config": {"temperature": 0, "top_p": 1, "max_tokens": 16, "stop": ["\n"], "n": 1, "seed_policy": "fixed"}, "seed": 7,
                   "schema": None, "tools": {}, "model": {"id": self.lanes[lane]["model"], "digest": None}, "rollout": rollout}
        request_hash = sha256_hex(canonical(request))
        self.line("lm_request", node, {"lane_id": sha256_hex(canonical(self.lanes[lane])), "request": request, "request_hash": request_hash}, t)
        return request_hash

    def response(self, node, request_hash, content, t, prompt=50, completion=3, cost=7, finish="stop", latency_ns=5_000_000):
        self.line("lm_response", node, {"request_hash": request_hash, "content": content, "finish_reason": finish, "latency_ns": latency_ns, "cost_msats": cost,
                                        "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}, t)
        self.totals["calls"] += 1
        self.totals["prompt_tokens"] += prompt
        self.totals["completion_tokens"] += completion
        if cost is None:
            self.totals["unpriced_calls"] += 1
        else:
            self.totals["cost_msats"] += cost

    def finish(self, t=None):
        self.line("run_end", "", {"output_hash": None, "totals": self.totals, "root_hash": self.prev, "signer": None, "signature": None}, t)
        self.close()

    def close(self):
        """As a process that ends, whatever the record's state."""
        self.file.close()
