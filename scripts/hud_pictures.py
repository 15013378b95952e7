#!/usr/bin/env python3
"""Takes docs/pictures/hud-compile.png and hud-run.png from real records.

    scripts/hud_pictures.py --assay build/assay --runs FOLDER [--compile RUN_ID] [--run RUN_ID] [--out docs/pictures] [--dark]

FOLDER holds *.run.jsonl; without ids the newest compile and the newest run are shown.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from web_driver import Browser  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assay", required=True)
    parser.add_argument("--runs", required=True)
    parser.add_argument("--compile")
    parser.add_argument("--run")
    parser.add_argument("--out", default="docs/pictures")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    server = subprocess.Popen([options.assay, "hud", "--port", "0", "--runs", options.runs], stdout=subprocess.PIPE, text=True)
    try:
        url = re.fullmatch(r"HUD (\S+)\n", server.stdout.readline())[1]
        with urllib.request.urlopen(url.replace("/hud", "/api/runs"), timeout=30) as answer:
            runs = json.load(answer)["runs"]
        newest = {kind: next((run["id"] for run in runs if run["is_compile"] == kind), None) for kind in (True, False)}
        suffix = "-dark" if options.dark else ""
        with Browser(width=1440, height=1080) as browser:
            browser.open(url)
            browser.run("localStorage.setItem('assay-theme', arguments[0])", "dark" if options.dark else "light")
            shots = [("list", "#/", "tbody tr"), ("compile", f"#/run/{options.compile or newest[True]}", ".chart .mark"),
                     ("run", f"#/run/{options.run or newest[False]}", ".panel .message")]
            for name, place, ready in shots:
                if "None" in place:
                    print(f"no {name} in {options.runs}")
                    continue
                browser.open("about:blank")
                browser.open(url + place)
                browser.until("return document.querySelector(arguments[0])", ready)
                time.sleep(0.6)
                path = os.path.join(options.out, f"hud-{name}{suffix}.png")
                browser.picture(path)
                print(path, os.path.getsize(path) // 1024, "KiB")
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
