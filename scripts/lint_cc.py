#!/usr/bin/env python3
"""Reads every C++ file of a compile_commands.json with clang: all warnings are errors, and clang-tidy for what is no test.

    python3 scripts/lint_cc.py build/clang --jobs 2 --cache FOLDER [PATTERN…]

A file whose preprocessed text and settings passed once is not read again: the cache keeps one empty file for each.
"""

import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIDY, CLANG = "clang-tidy-19", "clang++-19"


def arguments_of(entry):
    """The compiler's own arguments: without launcher, output and dependency files."""
    words = shlex.split(entry["command"])
    while words and not words[0].endswith("clang++-19"):
        words.pop(0)
    kept, skip = [], False
    for word in words[1:]:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-MQ"):
            skip = True
        elif word not in ("-c", "-MD", "-MMD"):
            kept.append(word)
    return kept


def check(entry, cache, folder):
    """Returns (file, seconds text or "", problems text)."""
    name = str(pathlib.Path(entry["file"]).relative_to(ROOT))
    words = arguments_of(entry)
    tidy = not name.endswith("_test.cc")
    text = subprocess.run([CLANG, *words, "-E", "-P"], cwd=entry["directory"], capture_output=True, check=False)
    settings = (ROOT / ".clang-tidy").read_bytes() if tidy else b""
    # Macros of the folder of this clone must not matter, nor comments, which -E drops.
    key = hashlib.sha256(b"\0".join([text.stdout.replace(str(ROOT).encode(), b"."), settings, name.encode()])).hexdigest()
    stamp = cache / key
    if text.returncode == 0 and stamp.exists():
        return name, ""
    if tidy:
        command = [TIDY, "--quiet", "-p", str(folder), entry["file"]]
    else:
        command = [CLANG, *words, "-fsyntax-only"]
    done = subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        stamp.touch()
        return name, ""
    shown = done.stdout if tidy and done.stdout.strip() else done.stdout + done.stderr
    return name, re.sub(r"^\d+ warnings.*\n", "", shown.replace(f"{ROOT}/", ""), flags=re.M)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("patterns", nargs="*", help="only files whose path contains one of these")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    options = parser.parse_intermixed_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    entries = json.loads((options.folder / "compile_commands.json").read_text())
    entries = [entry for entry in entries if "/build/" not in entry["file"].removeprefix(str(ROOT))]
    if options.patterns:
        entries = [entry for entry in entries if any(pattern in entry["file"] for pattern in options.patterns)]
    bad = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        waiting = [pool.submit(check, entry, options.cache, options.folder) for entry in entries]
        for done, future in enumerate(concurrent.futures.as_completed(waiting), 1):
            name, problems = future.result()
            if sys.stderr.isatty():
                print(f"\r[{done}/{len(entries)}] {name[:60]:60}", end="", file=sys.stderr)
            if problems:
                bad.append(name)
                print(f"\n{name}\n{problems}", file=sys.stderr)
    print(f"clang read {len(entries)} files, {len(bad)} with problems" + "".join(f"\n  {name}" for name in sorted(bad)), file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
