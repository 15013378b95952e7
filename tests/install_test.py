"""An installed Assay serves a project outside its tree: cmake --install, find_package(assay), build, run.

    python3 tests/install_test.py --assay build/assay --source .

Needs the default model in the cache (scripts/fetch-model).
"""
import shutil
import subprocess

import assay_home
from assay_home import Home


class Installed(Home):
    def run_here(self, *command):
        done = subprocess.run([str(word) for word in command], cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=900)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_a_project_outside_the_tree_builds_and_runs(self):
        prefix, project = self.home / "prefix", self.home / "triage"
        self.run_here("cmake", "--install", assay_home.options.assay.parent, "--prefix", prefix)
        self.assertRegex(self.run_here(prefix / "bin/assay", "--version"), r"\d+\.\d+\.\d+")
        self.assertFalse(list(prefix.rglob("*_test.h")))
        shutil.copytree(assay_home.options.source / "examples/embed", project)
        self.run_here("cmake", "-S", project, "-B", project / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
        self.run_here("cmake", "--build", project / "build")
        self.assertRegex(self.run_here(project / "build/triage"), r"^urgency: (low|high)\n$")
        self.run_here(prefix / "bin/assay", "verify", next(self.home.glob("triage-*.run.jsonl")))


if __name__ == "__main__":
    assay_home.main()
