"""The questions of bench/local_lane_bench.cc, answered by llama.cpp's own server: 4 slots, prompt cache, 4 requests in flight on
kept connections, a thread for each processor. Prints milliseconds, one sample a line: an example's (shared) or a token's (the others).

    python3 bench/local_peer.py shared|generate|json|json_drawn [RUNS]        exit 7: the server cannot be installed here
"""

import concurrent.futures
import http.client
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
SLOTS = 4


class Server:
    """A fresh server: its caches are as empty as ours are before a sample."""

    def __init__(self, python):
        model = subprocess.run([ROOT / "scripts/fetch-model"], capture_output=True, text=True, check=True).stdout.strip()
        threads = str(len(os.sched_getaffinity(0)))
        self.process = subprocess.Popen([python, ROOT / "interop/llamacpp/serve.py", model, "--slots", str(SLOTS), "--threads", threads],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = urllib.parse.urlsplit(self.process.stdout.readline().strip())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask_all(self, bodies):
        """Answers in order; each of SLOTS workers keeps one connection."""
        left = list(enumerate(bodies))[::-1]
        answers = [None] * len(bodies)

        def work(_):
            connection = http.client.HTTPConnection(self.address.netloc, timeout=600)
            while left:
                try:
                    at, body = left.pop()
                except IndexError:
                    break
                connection.request("POST", self.address.path + "/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"the server answered {answer.status}: {text[:300]!r}")
                answers[at] = json.loads(text)
            connection.close()

        with concurrent.futures.ThreadPoolExecutor(SLOTS) as pool:
            list(pool.map(work, range(SLOTS)))
        return answers


def shared(cases):
    turns = [{"role": "system", "content": cases["system"]}]
    for text, section in cases["demos"]:
        turns += [{"role": "user", "content": f"Description: {text}"}, {"role": "assistant", "content": f"Section: {section}"}]
    choices = " | ".join(json.dumps(section) for section in cases["sections"])
    return [{"model": "m", "messages": [*turns, {"role": "user", "content": f"Description: {own}"}], "temperature": 0, "max_tokens": 16,
             "cache_prompt": True, "grammar": f'root ::= "Section: " ({choices})'} for own in cases["own"]]


def generate(cases):
    return [{"model": "m", "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 64, "cache_prompt": True}
            for text in cases["stories"]]


def as_json(cases, temperature=0):
    wanted = {"type": "json_schema", "json_schema": {"schema": cases["story_schema"]}}
    return [{**body, "temperature": temperature, "response_format": wanted} for body in generate(cases)]


def main():
    what = sys.argv[1]
    cases = json.loads((ROOT / "bench/local_cases.json").read_text())
    bodies = {"shared": shared, "generate": generate, "json": as_json, "json_drawn": lambda rows: as_json(rows, 1)}[what](cases)
    if os.environ.get("ASSAY_BENCH_SMOKE"):
        bodies = bodies[:2]
    found = subprocess.run([ROOT / "scripts/interop", "llamacpp"], stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode != 0:
        sys.exit(found.returncode)
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 3):
        with Server(found.stdout.strip()) as server:
            began = time.perf_counter()
            answers = server.ask_all(bodies)
            seconds = time.perf_counter() - began
        tokens = sum(answer["usage"]["completion_tokens"] for answer in answers)
        print(1000 * seconds / (len(answers) if what == "shared" else tokens), flush=True)


if __name__ == "__main__":
    main()
