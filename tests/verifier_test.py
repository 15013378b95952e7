#!/usr/bin/env python3
"""Two verifiers that share no code give the same verdict on good, altered, cut and forged modules and records.

The other one is interop/verifier/verify.py: written from docs/formats.md and the schemas alone, by somebody who had not seen the C++."""
import json
import pathlib
import random
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import assay_home  # noqa: E402
from assay_home import Home  # noqa: E402


class Verifier(Home):
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


if __name__ == "__main__":
    assay_home.main()
