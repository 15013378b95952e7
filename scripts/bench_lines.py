#!/usr/bin/env python3
"""Runs one Google Benchmark program and prints a JSON object a line for each benchmark (bench/README.md).

    python3 scripts/bench_lines.py PROGRAM [--filter TEXT] [--runs 10] [--smoke] [--table] [--out FOLDER]
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run_benchmarks(program, name_part, runs, smoke, out):
    """Samples by benchmark name: ([real time in its unit], unit)."""
    raw = out / f"{program.name}.json"
    command = [str(program), f"--benchmark_filter={name_part}", f"--benchmark_repetitions={runs}", "--benchmark_out_format=json",
               f"--benchmark_out={raw}", "--benchmark_display_aggregates_only=true", "--benchmark_enable_random_interleaving=false"]
    if smoke:
        command.append("--benchmark_min_time=0.001")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program.name} failed: {done.stderr.strip()[-2000:]}")
    samples = {}
    if not raw.exists() or not raw.read_text().strip():
        return samples  # nothing matched the filter
    for row in json.loads(raw.read_text())["benchmarks"]:
        if row.get("run_type") == "iteration":
            if row.get("error_occurred"):
                sys.exit(f"{row['name']}: {row['error_message']}")
            samples.setdefault(row["run_name"].removesuffix("/real_time"), ([], row["time_unit"]))[0].append(row["real_time"])
    return samples


def peer_samples(peer, runs, smoke):
    command = [*peer["peer_command"], str(1 if smoke else runs)]
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    return [float(line) for line in done.stdout.split()]


def iqr(samples):
    if len(samples) < 2:
        return 0.0
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return high - low


def line_of(name, samples, unit, goals, runs, smoke):
    goal = goals.get(name, {"kind": "self", "goal": None})
    value = statistics.median(samples)
    line = {"name": name, "value": value, "unit": unit, "better": goal.get("better", "less"), "kind": goal["kind"], "goal": goal["goal"],
            "peer": None, "peer_version": None, "peer_command": None, "peer_value": None, "ratio": None, "runs": len(samples), "iqr": iqr(samples)}
    if goal["kind"] == "peer":
        theirs = peer_samples(goal, runs, smoke)
        if theirs:
            version = subprocess.run(goal["peer_version"], cwd=ROOT, capture_output=True, text=True, check=False)
            line.update(peer=goal["peer"], peer_version=(version.stdout or version.stderr).strip(), peer_command=" ".join(goal["peer_command"]),
                        peer_value=statistics.median(theirs), ratio=ahead(value, statistics.median(theirs), line["better"]))
    elif goal["goal"]:
        line["ratio"] = ahead(value, goal["goal"], line["better"])
    return line


def ahead(ours, theirs, better):
    """Above 1: we are ahead."""
    return theirs / ours if better == "less" else ours / theirs


def as_row(line):
    against = ""
    if line["ratio"]:
        against = f"{line['ratio']:.2f} × as good as {line['peer'] or 'the goal'}"
    return f"{line['name']:36} {line['value']:>10.3f} {line['unit']:4} ± {line['iqr']:.3f}   {against}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--filter", default="")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--table", action="store_true", help="a line for people instead of JSON")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    goals = json.loads((ROOT / "bench/goals.json").read_text())
    runs = 1 if options.smoke else options.runs
    for name, (samples, unit) in run_benchmarks(options.program, options.filter, runs, options.smoke, options.out).items():
        line = line_of(name, samples, unit, goals, runs, options.smoke)
        print(as_row(line) if options.table else json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
