"""A home of its own for whole-program tests: runs the real binary, waits for ready lines, reads JSON. Standard library only."""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

options = None


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--assay", required=True, type=pathlib.Path)
    parser.add_argument("--source", required=True, type=pathlib.Path)
    known, rest = parser.parse_known_args()
    known.assay, known.source = known.assay.resolve(), known.source.resolve()
    return known, rest


def main():
    global options
    options, rest = parse_options()
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)


class Home(unittest.TestCase):
    """Each test class gets an empty home; only the cache, with the model, is the machine's."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.home = pathlib.Path(cls.folder.name)
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ["HOME"], ".cache")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ASSAY_"))}
        cls.environment = dict(kept, HOME=str(cls.home), XDG_CACHE_HOME=cache, NO_COLOR="1")
        cls.servers = []

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.terminate()
        for server in cls.servers:
            server.wait(20)
            server.stdout.close()
        cls.folder.cleanup()

    def assay(self, *arguments, want=0, environment=None, timeout=600):
        """Runs the binary in the home; checks the exit code (any will do for None); gives the finished process."""
        result = subprocess.run([str(options.assay), *map(str, arguments)], cwd=self.home, env=dict(self.environment, **(environment or {})),
                                capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        self.assertIn(result.returncode, [result.returncode if want is None else want], f"assay {' '.join(map(str, arguments))}\n{result.stdout}\n{result.stderr}")
        return result

    def json(self, *arguments, want=0, **more):
        """The last JSON line that the command prints."""
        return json.loads(self.assay(arguments[0], "--json", *arguments[1:], want=want, **more).stdout.strip().splitlines()[-1])

    def serve(self, *arguments):
        """Starts a command that serves, and gives its ready object."""
        server = subprocess.Popen([str(options.assay), *map(str, arguments), "--json"], cwd=self.home, env=self.environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.servers.append(server)
        return json.loads(server.stdout.readline())

    def write(self, name, text):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def interop(name):
    """Path of the peer's interpreter; installs it when it is missing."""
    result = subprocess.run([str(options.source / "scripts/interop"), name], capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return result.stdout.strip().splitlines()[-1]


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False
