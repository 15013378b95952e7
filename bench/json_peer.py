"""What Python's json and hashlib take to read 1 MiB of an artifact, write it sorted and hash it: milliseconds, one a line.

    python3 bench/json_peer.py [RUNS]

Python's writer is not RFC 8785 (numbers, key order beyond the basic plane), so it does a little less than ours.
"""

import hashlib
import json
import sys
import time


def sample(bytes_min):
    """The value of bench/json_bench.cc."""
    demos, size, i = [], 0, 0
    while size < bytes_min:
        text = f'package number {i}: tools for "quoted" text, naïve café, tab\tand newline\n'
        demo = {
            "inputs": {"description": text, "size": i * 4096, "weight": i / 7.0},
            "outputs": {"section": "utils", "sure": i % 2 == 0},
        }
        size += len(json.dumps(demo, ensure_ascii=False, separators=(",", ":")).encode()) + 1
        demos.append(demo)
        i += 1
    return {"format": "assay.module/1", "predictors": {"classify": {"demos": demos}}}


def main():
    text = json.dumps(sample(1 << 20), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 10):
        began = time.perf_counter()
        again = json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        hashlib.sha256(again).hexdigest()
        print(1000 * (time.perf_counter() - began))


if __name__ == "__main__":
    main()
