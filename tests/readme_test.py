#!/usr/bin/env python3
"""What the README shows is what happens: its shell commands run in order, and its C++ is the example that is built and run.

    python3 tests/readme_test.py --assay build/assay --source .

Needs the default model in the cache (scripts/fetch-model). Everything else happens in a folder and a home of its own.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

options = None


def blocks(language):
    text = (options.source / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def environment(home):
    """A home of its own; only the cache is the machine's, so that the model is found."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ["HOME"], ".cache")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ASSAY_"))}
    path = f"{options.assay.parent}:{kept['PATH']}"
    return {**kept, "HOME": str(home), "XDG_CACHE_HOME": cache, "PATH": path}


class Readme(unittest.TestCase):
    def test_the_shell_commands_run(self):
        shown = blocks("sh")
        self.assertEqual(len(shown), 1)
        self.assertGreaterEqual(len(shown[0].splitlines()), 6)
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", shown[0]], cwd=folder, env=environment(folder), capture_output=True, text=True,
                                  timeout=900, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("replay: identical", done.stdout)
            self.assertRegex(done.stdout, r"\burgency: (low|high)\b")
            made = pathlib.Path(folder) / "my-program"
            self.assertTrue((made / "ticket-triage.module.json").is_file())
            self.assertIn("resourceSpans", (made / "spans.json").read_text())

    def test_the_cpp_is_the_example_that_is_built(self):
        shown = blocks("cpp")
        self.assertEqual(len(shown), 1)
        self.assertIn(shown[0], (options.source / "examples/embed/main.cc").read_text())

    def test_the_example_runs_and_its_record_is_intact(self):
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(2):  # as often as one likes in one folder
                done = subprocess.run([options.assay.parent / "example_embed"], cwd=folder, env=environment(folder), capture_output=True, text=True,
                                      timeout=300, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertRegex(done.stdout, r"^urgency: (low|high)\n$")
            records = sorted(pathlib.Path(folder).glob("triage-*.run.jsonl"))
            self.assertEqual(len(records), 2)
            answer = next(line for line in map(json.loads, records[0].read_text().splitlines()) if line["type"] == "lm_response")
            self.assertGreater(answer["data"]["cost_msats"], 0)
            verified = subprocess.run([options.assay, "verify", records[0]], cwd=folder, env=environment(folder), capture_output=True,
                                      text=True, timeout=60, check=False)
            self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assay", type=pathlib.Path, required=True)
    parser.add_argument("--source", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    global options
    options, rest = parser.parse_known_args()
    options.assay = options.assay.resolve()
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
