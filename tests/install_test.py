#!/usr/bin/env python3
"""An installed Assay serves a project outside its tree: cmake --install, find_package(assay), build, run.

    python3 tests/install_test.py --assay build/assay --source .

Needs the default model in the cache (scripts/fetch-model).
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

options = None


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=900, check=False, **more)


class Installed(unittest.TestCase):
    def test_a_project_outside_the_tree_builds_and_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            prefix, project = folder / "prefix", folder / "triage"
            done = run("cmake", "--install", options.assay.parent, "--prefix", prefix)
            self.assertEqual(done.returncode, 0, done.stderr)
            done = run(prefix / "bin/assay", "--version")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"\d+\.\d+\.\d+")
            self.assertFalse(list(prefix.rglob("*_test.h")))
            shutil.copytree(options.source / "examples/embed", project)
            done = run("cmake", "-S", project, "-B", project / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            done = run("cmake", "--build", project / "build")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ["HOME"], ".cache")
            done = run(project / "build/triage", cwd=folder, env={**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": cache})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r"^urgency: (low|high)\n$")
            done = run(prefix / "bin/assay", "verify", folder / "triage.run.jsonl")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


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
