#!/usr/bin/env python3
"""Two verifiers that share no code give the same verdict on good, altered, cut and forged modules and records.

The other one is interop/verifier/verify.py: written from docs/formats.md and the schemas alone, by somebody who had not seen the C++."""
import copy
import hashlib
import importlib.util
import json
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import assay_home  # noqa: E402
from assay_home import Home  # noqa: E402


class Forger:
    """Seals what somebody changed under a key of his own, with the other verifier's arithmetic."""

    def __init__(self, verifier):
        self.v, self.secret = verifier, 0xB7E151628AED2A6ABF7158809CF4F3C762E7160F38B4DA56A784D9045190CFEF
        point = self.times(self.secret)
        self.secret, self.public = self.secret if point[1] % 2 == 0 else verifier.N - self.secret, point[0].to_bytes(32, "big")

    def times(self, scalar):
        total = None
        for bit in range(255, -1, -1):
            total = self.v.add(self.v.add(total, total), self.v.G if scalar >> bit & 1 else None)
        return total

    def signature(self, message):
        """BIP-340, with a nonce that is drawn from secret and message alone."""
        nonce = int.from_bytes(hashlib.sha256(self.secret.to_bytes(32, "big") + message).digest(), "big") % self.v.N
        point = self.times(nonce)
        nonce = nonce if point[1] % 2 == 0 else self.v.N - nonce
        tags, r = hashlib.sha256(b"BIP0340/challenge").digest() * 2, point[0].to_bytes(32, "big")
        e = int.from_bytes(hashlib.sha256(tags + r + self.public + message).digest(), "big")
        return (r + ((nonce + e * self.secret) % self.v.N).to_bytes(32, "big")).hex()

    def text(self, value):
        return self.v.canonical(self.sorted(value))

    def sorted(self, value):
        if isinstance(value, dict):
            return {key: self.sorted(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
        return [self.sorted(item) for item in value] if isinstance(value, list) else value

    def seal(self, signed):
        rest = {key: member for key, member in signed.items() if key != "signature"} | {"signer": self.public.hex()}
        return rest | {"signature": self.signature(hashlib.sha256(self.text(rest)).digest())}

    def module(self, whole):
        whole["manifest"]["compiled_id"] = hashlib.sha256(self.text(whole["artifact"])).hexdigest()
        return self.text({**whole, "manifest": self.seal(whole["manifest"])}) + b"\n"

    def record(self, lines):
        out, prev = [], "0" * 64
        for seq, line in enumerate(lines):
            line |= {"seq": seq, "prev": prev}
            if line["type"] == "head":
                line["data"] = self.seal(line["data"] | {"seq": seq - 1, "tip": prev, "run_id": lines[0]["data"]["run_id"]})
            if line["type"] == "run_end":
                line["data"] = {key: member for key, member in line["data"].items() if key != "signature"} | {"root_hash": prev, "signer": self.public.hex()}
                line["data"]["signature"] = self.signature(hashlib.sha256(self.text(line)).digest())
            out.append(self.text(line))
            prev = hashlib.sha256(out[-1]).hexdigest()
        return b"".join(text + b"\n" for text in out)


def changed(value, place, new):
    """A copy with the member or item at `place` (names and numbers) set to `new`; the place's last name need not be there yet."""
    out = copy.deepcopy(value)
    at = out
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = new
    return out


class Verifier(Home):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        spec = importlib.util.spec_from_file_location("verify", assay_home.options.source / "interop/verifier/verify.py")
        verifier = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(verifier)
        cls.forger = Forger(verifier)

    def verdicts(self, files):
        """(ours, theirs) for each file, as (ok, state)."""
        ours = json.loads(self.run_any([str(assay_home.options.assay), "verify", "--json", *files]))
        theirs = json.loads(self.run_any([sys.executable, str(assay_home.options.source / "interop/verifier/verify.py"), "--json", *files]))
        plain = lambda report: (report["ok"], report["state"].removesuffix("-unknown-signer").removesuffix("-trusted"))
        return [(plain(a), plain(b)) for a, b in zip(ours["files"], theirs["files"], strict=True)]

    def run_any(self, command):
        done = subprocess.run(command, cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=600)
        self.assertIn(done.returncode, (0, 3), done.stderr)
        return done.stdout

    def agree(self, name, variants):
        """Writes the variants (label, bytes) beside each other and compares the verdicts; gives how many were refused."""
        files = []
        for number, (label, content) in enumerate(variants):
            path = self.home / f"{number}.{label}.{name}"
            path.write_bytes(content)
            files.append(path.name)
        bad = 0
        for file, (ours, theirs) in zip(files, self.verdicts(files), strict=True):
            self.assertEqual(ours, theirs, file)
            bad += not ours[0]
        return bad

    def test_good_files_are_good_to_both(self):
        golden = assay_home.options.source / "tests/golden"
        files = [str(path) for path in sorted(golden.iterdir()) if path.name.endswith((".artifact.json", ".module.json", ".run.jsonl"))]
        self.assay("init", "tt")
        self.assay("run", "tt/PROGRAM.toml", "ticket=Nobody can log in", "--record", "one.run.jsonl")
        self.assay("sandbox", "run", "--record", "box.run.jsonl", "--receipt", "receipt.json", "--", "echo hello")
        for file, (ours, theirs) in zip(files, self.verdicts([*files, "one.run.jsonl", "box.run.jsonl", "receipt.json"])):
            self.assertEqual(ours, theirs, file)
            self.assertTrue(ours[0], file)

    def test_altered_records_get_the_same_verdict(self):
        self.assay("init", "rr")
        self.assay("run", "rr/PROGRAM.toml", "ticket=Nobody can log in", "--record", "two.run.jsonl")
        whole = (self.home / "two.run.jsonl").read_bytes()
        lines, draw = whole.splitlines(keepends=True), random.Random(7)
        variants = [("whole", whole)]
        for number in range(80):
            at, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
            variants.append(("flip", whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1:]))
        for at in range(len(lines)):
            variants.append(("missing", b"".join(lines[:at] + lines[at + 1:])))
            variants.append(("repeated", b"".join(lines[:at + 1] + lines[at:])))
            variants.append(("front", b"".join(lines[:at])))
            if at + 1 < len(lines):
                variants.append(("swapped", b"".join(lines[:at] + [lines[at + 1], lines[at]] + lines[at + 2:])))
        for number in range(20):
            variants.append(("cut", whole[:draw.randrange(1, len(whole))]))
        variants += [("empty", b""), ("bom", b"\xef\xbb\xbf" + whole), ("crlf", whole.replace(b"\n", b"\r\n")), ("space", whole.replace(b":", b": ", 1))]
        self.assertGreater(self.agree("run.jsonl", variants), 90)

    def test_altered_modules_get_the_same_verdict(self):
        whole, draw = (assay_home.options.source / "tests/golden/pipeline.module.json").read_bytes(), random.Random(7)
        variants = [("whole", whole), ("nobom", b"\xef\xbb\xbf" + whole), ("cut", whole[:-9]), ("twice", whole[:-2] + b',"manifest":{}}\n')]
        for number in range(60):
            at, bit = draw.randrange(len(whole)), 1 << draw.randrange(8)
            variants.append(("flip", whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1:]))
        self.assertGreater(self.agree("module.json", variants), 55)

    def test_modules_that_a_stranger_sealed_again_get_the_same_verdict(self):
        """Members of a shape that no writer gives them, under a hash and a signature that hold."""
        whole = json.loads((assay_home.options.source / "tests/golden/pipeline.module.json").read_text())
        del whole["attestations"]  # of the manifest as it was
        name = next(iter(whole["artifact"]["predictors"]))
        predictor = ("artifact", "predictors", name)
        field = (*predictor, "signature", "outputs", 0, "schema")
        changes = [((*field, "enum"), value) for value in ("x", [], [None], 0, [5], ["a"])]
        changes += [((*field, "type"), value) for value in (5, "x", None, {}, "string")]
        changes += [((*field, key), value) for key in ("items", "anyOf", "properties", "additionalProperties", "required", "x-order", "contentEncoding",
                                                       "contentMediaType") for value in (None, 1, [], {}, [1], ["a"], {"a": 1}, False, "base64", {"type": "x"})]
        changes += [((*predictor, "config", key), value) for key in ("constrain", "logprobs", "top_logprobs", "anything") for value in (None, 1, 21, True, "x", [])]
        changes += [(("manifest", "compatibility", "privacy_modes_allowed"), ["public_ok", "no_pii"]), (("manifest", "compatibility", "capabilities"), ["tools", "json_schema"]),
                    (("manifest", "compatibility", "required_tools"), ["b", "a"]), (("manifest", "compatibility", "capabilities"), ["a", "a"]),
                    (("manifest", "compatibility", "capabilities"), ["\U0001f600", "\uffff"]), (("manifest", "compatibility", "capabilities"), ["\uffff", "\U0001f600"]),
                    (("format",), "assay.module/1"), (("format",), "assay.manifest/1"), (("signature",), "ab" * 64), (("zzz",), 1)]
        changes += [(("manifest", "scorecard", key), value) for key in ("gain", "score", "interval", "p_fail", "n_test", "test_looks") for value in (None, 5, -1, "x", {})]
        variants = [("sealed", self.forger.module(copy.deepcopy(whole)))]
        variants += [("forged", self.forger.module(changed(whole, place, value))) for place, value in changes]
        variants += [("bare", self.forger.text(whole["artifact"])), ("member", self.forger.text({**whole["artifact"], "zzz": 1}))]
        bad = self.agree("module.json", variants)
        self.assertGreater(bad, len(variants) // 2)
        self.assertLess(bad, len(variants) - 10)

    def test_records_that_a_stranger_sealed_again_get_the_same_verdict(self):
        self.assay("init", "ss")
        self.assay("run", "ss/PROGRAM.toml", "ticket=Nobody can log in", "--record", "three.run.jsonl")
        lines = [json.loads(line) for line in (self.home / "three.run.jsonl").read_text().splitlines()]
        at = {line["type"]: number for number, line in enumerate(lines)}
        answer, end = (at["lm_response"], "data"), (at["run_end"], "data")
        changes = [((*end, "totals", "foo"), 1), ((*end, "totals", "calls"), 2), ((*answer, "usage", "calls"), 5), ((*answer, "usage", "cost_msats"), 5)]
        changes += [((*answer, "usage", "reasoning_tokens"), value) for value in (7, -7, "x", None, 1.5)]
        changes += [((0, "data", "seed"), value) for value in (-1, 1, 1.5, "1", 2**53 - 1)]
        changes += [((0, "data", "started_unix_ns"), value) for value in ("0", "01", "-1", "9" * 19, "8" * 19, "9" * 18, 1)]
        lines[0]["data"]["lanes"].append(dict(lines[0]["data"]["lanes"][0]))  # one that nobody asks
        changes += [((0, "data", "lanes", 1, key), value) for key in ("kind", "model_sha256", "engine") for value in (None, 1, "x", "0" * 64)]
        changes += [((*answer, "content"), value) for value in (1.5, None, {"$base64": "aGk="}, {"$base64": 1}, {"$base64": "/w"}, {"$base64": "!"}, {"$base64": "/x=="}, {"$base64": ""}, {"$blob": "x"}, {"$blob": 1}, {"$base64": "aGk=", "a": 1}, {"$text": "x"}, [])]
        tops = [{"token": "a", "logprob": -1}]
        changes += [((*answer, "logprobs"), value) for value in ([], None, [{"token": "a", "logprob": -10000, "top": []}], [{"token": "a", "logprob": 0.5, "top": []}],
                                                                [{"token": 5, "logprob": -1, "top": []}], [{"token": "a", "logprob": -1, "top": tops * 21}],
                                                                [{"token": "a", "logprob": -1, "top": tops * 20}], [{"token": {"$base64": "/w=="}, "logprob": -1, "top": [1]}])]
        changes += [((*answer, key), value) for key in ("latency_ns", "finish_reason") for value in (-1, None, "x", 5)]
        changes += [((*end, key), value) for key in ("output_hash", "zzz") for value in (None, "x", "0" * 64)]
        variants = [("sealed", self.forger.record(copy.deepcopy(lines)))]
        variants += [("forged", self.forger.record(changed(lines, place, value))) for place, value in changes]
        counted = changed(changed(lines, (*answer, "usage", "reasoning_tokens"), 7), (*end, "totals", "reasoning_tokens"), 7)
        variants += [("counted", self.forger.record(counted)), ("miscounted", self.forger.record(changed(counted, (*end, "totals", "reasoning_tokens"), 8)))]
        for data in ({"parents": [5]}, {"parents": ["a"]}, {"parents": []}, {"parents": None}, {"metrics": {"a": "x"}}, {}):
            line = {"type": "candidate", "node": "", "t": 0, "data": {"id": "c", "compiled_id": "0" * 64, "metrics": {}} | data}
            variants.append(("candidate", self.forger.record([*copy.deepcopy(lines[:-1]), line, copy.deepcopy(lines[-1])])))
        bad = self.agree("run.jsonl", variants)
        self.assertGreater(bad, 25)
        self.assertLess(bad, len(variants) - 10)

    def test_ends_that_are_cut_get_the_same_verdict(self):
        """Beginnings of a next line, behind a record that goes on and behind one that has ended: what may come, and what cannot."""
        whole = (assay_home.options.source / "tests/golden/retry_cache_repair_resume.run.jsonl").read_bytes()
        ended = whole.splitlines()
        going = ended[:9]
        variants = []
        for name, lines in (("ended", ended), ("going", going)):
            before = b"".join(line + b"\n" for line in lines)
            frame = {"prev": hashlib.sha256(lines[-1]).hexdigest(), "seq": len(lines), "t": 10**15}
            event, resume = {"data": {"data": {}, "name": "x"}, "type": "event"}, {"data": {"cut_bytes": 0, "cut_sha256": None, "reason": "x"}, "type": "resume"}
            after = [{**event, "node": ""}, {**resume, "node": ""}, {**event, "node": "", "another": 1}, {**event, "node": "", "zzz": {"a": [1, "x"]}},
                     {**event, "node": "a", "eee": "x", "q": None}, {**resume, "node": "", "data": {"reason": 5}},
                     {"data": {"outputs": None, "status": "weird", "error": None}, "type": "node_end", "node": "a"}]
            after += [{**event, "node": node} for node in ("classi}y", "a//b", "/a", "a b", "1e400", "a/b:1", "a:", "a/")]
            for line in after:
                text = self.forger.text({**line, **frame})
                variants += [(name, before + text[:at]) for at in sorted({*range(1, len(text), 13), len(text) - 1, len(text)})]
            for cut in ('{"data":{"limit":{},"a', '{"data":{"limit":{},".pen', '{"data":{"b":{"x":1,"a', '{"data":{"limit":{},"limit', '{"data":{"limit":{},"lj', '{"dat', '{"datb',
                        '{"data":{"\\u00', '{"data":{"b":1,"\\u00', '{"data":{"b":1,"b\\', '{"node', '{"data":{},"prev', '{"data":{},"no', '{"data":{},"o', '{"', '{'):
                variants.append((name, before + cut.encode()))
        bad = self.agree("run.jsonl", variants)
        self.assertGreater(bad, 100)
        self.assertLess(bad, len(variants) - 100)

    def test_a_sandbox_job_that_is_not_the_one_its_line_names_is_found(self):
        self.assay("sandbox", "run", "--record", "job.run.jsonl", "--", "echo hello")
        lines = [json.loads(line) for line in (self.home / "job.run.jsonl").read_text().splitlines()]
        at = {line["type"]: number for number, line in enumerate(lines)}
        asked, gave = (at["node_start"], "data", "inputs", "request", "commands", 0, "cmd"), (at["node_end"], "data", "outputs", "response", "runs", 0, "exit_code")
        for name, forged, good in (("same", lines, True), ("asked", changed(lines, asked, "rm -rf all"), False), ("gave", changed(lines, gave, 7), False)):
            (self.home / f"{name}.run.jsonl").write_bytes(self.forger.record(copy.deepcopy(forged)))
            self.assertEqual(self.verdicts([f"{name}.run.jsonl"])[0][0], (good, "complete"), name)

    def test_signed_objects_are_what_their_format_says_to_both(self):
        manifest = json.loads((assay_home.options.source / "tests/golden/pipeline.module.json").read_text())["manifest"]
        seal, hex64 = self.forger.seal, "0" * 64
        payment = {"format": "assay.receipt/1", "kind": "payment", "job_hash": hex64, "created_at": 5, "request_id": hex64, "result_id": hex64, "job_type": "t",
                   "payment_hash": hashlib.sha256(bytes(32)).hexdigest(), "preimage": hex64, "amount_msats": 5, "buyer": self.forger.public.hex(), "provider": hex64}
        run = {"format": "assay.receipt/1", "kind": "oa.sandbox_run.v1", "job_hash": hex64, "created_at": 5, "response_hash": hex64, "status": "success",
               "profile": "small", "isolation": {}, "runs": [], "artifacts": []}
        attestation = {"format": "assay.attestation/1", "compiled_id": hex64, "manifest_hash": hex64, "statement": "x"}
        head = {"format": "assay.head/1", "run_id": "0" * 32, "seq": 3, "tip": hex64}
        good = [payment, run, attestation, head, manifest]
        wrong = [{}, {"format": 5}, {"format": "x"}, {"format": ["assay.head/1"]}, {**payment, "kind": "x"}, {**payment, "preimage": "1" * 64}, {**payment, "buyer": hex64},
                 {**payment, "amount_msats": 0}, {**payment, "created_at": -1}, {**run, "created_at": "x"}, {**run, "job_hash": "X"},
                 *({**run, "response_hash": value} for value in ("A" * 64, "", True, [])), {**run, "status": 5}, {**run, "runs": {}}, {**run, "artifacts": [1]},
                 {**run, "isolation": "full"}, {**run, "profile": None}, {**attestation, "compiled_id": "X"},
                 {**head, "seq": -1}, {**head, "run_id": "x"}, {**manifest, "scorecard": {**manifest["scorecard"], "gain": 0.987}}]
        wrong += [{key: member for key, member in whole.items() if key != left} for whole in good for left in whole if left not in ("signer", "signature", "x_unknown_member")]
        variants = [("good", self.forger.text(seal(value))) for value in good]
        self.assertEqual(self.agree("good.json", variants), 0)
        self.assertEqual(self.agree("wrong.json", [("wrong", self.forger.text(seal(value))) for value in wrong]), len(wrong))


if __name__ == "__main__":
    assay_home.main()
