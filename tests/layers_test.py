#!/usr/bin/env python3
"""The rules of the tree that no compiler checks: layers, effects, sizes, names. Run by ctest and by ./x lint.

    python3 tests/layers_test.py --source .

Reads only files that git tracks, or is about to (untracked and not ignored), so a build folder never matters.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import unittest

LINES_MAX = 600  # a file beyond this splits along a seam
SOURCE = pathlib.Path()

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', re.S)


def tracked(*suffixes):
    listed = subprocess.run(["git", "-C", str(SOURCE), "ls-files", "-co", "--exclude-standard", "-z"], check=True, capture_output=True)
    for name in sorted(set(listed.stdout.decode().split("\0"))):
        path = SOURCE / name
        if name and path.is_file() and (not suffixes or path.suffix in suffixes):
            yield name, path


def layer_order():
    """The order in which CMakeLists.txt declares the layers is the one that counts."""
    text = (SOURCE / "CMakeLists.txt").read_text()
    return re.findall(r"^assay_layer\((\w+)", text, re.M)


def code_of(path):
    """The text without comments and string literals, line numbers kept."""
    return COMMENT_OR_TEXT.sub(lambda match: "\n" * match.group().count("\n"), path.read_text())


class Layers(unittest.TestCase):
    def test_a_layer_includes_only_layers_before_it(self):
        order = layer_order()
        self.assertEqual(order[0], "base")
        wrong = []
        for name, path in tracked(".h", ".cc"):
            parts = name.split("/")
            if parts[0] != "assay":
                continue
            self.assertIn(parts[1], order, f"{name}: a folder that is no layer of CMakeLists.txt")
            for _, included in INCLUDE.findall(path.read_text()):
                if included.startswith("assay/"):
                    layer = included.split("/")[1]
                    if layer not in order or order.index(layer) > order.index(parts[1]):
                        wrong.append(f"{name} includes {included}")
                    elif not (SOURCE / included).is_file():
                        wrong.append(f"{name} includes {included}, which does not exist")
        self.assertEqual(wrong, [], "a layer uses only layers that stand before it: " + " ".join(order))

    def test_a_source_includes_its_own_header_first(self):
        """Then every header is compiled at least once with nothing before it: it needs no other."""
        wrong = []
        for name, path in tracked(".cc"):
            header = path.with_suffix(".h")
            if name.startswith("assay/") and header.is_file():
                first = INCLUDE.search(path.read_text())
                if not first or first.group(2) != name[: -len("cc")] + "h":
                    wrong.append(name)
        self.assertEqual(wrong, [])

    def test_headers_are_guarded_once(self):
        wrong = [name for name, path in tracked(".h") if name.startswith("assay/") and "#pragma once" not in path.read_text()]
        self.assertEqual(wrong, [], "no #pragma once")

    def test_boost_stays_inside_net(self):
        """In .cc files and private headers (those that no other layer includes); only Describe is for everyone."""
        boost = {}
        used_outside = set()
        for name, path in tracked(".h", ".cc"):
            if not name.startswith("assay/"):
                continue
            for _, included in INCLUDE.findall(path.read_text()):
                if included.startswith("boost/") and not included.startswith("boost/describe"):
                    boost.setdefault(name, included)
                if included.startswith("assay/net/") and not name.startswith("assay/net/"):
                    used_outside.add(included)
        self.assertEqual({name: what for name, what in boost.items() if not name.startswith("assay/net/")}, {}, "Boost outside assay/net")
        self.assertEqual(sorted(set(boost) & used_outside), [], "a header of net that others use includes Boost")


class Effects(unittest.TestCase):
    BANNED = {  # pattern: what to use instead
        r"\b(?:system_clock|steady_clock|high_resolution_clock)::now\b": "Clock& (assay/base/clock.h)",
        r"\b(?:gettimeofday|clock_gettime|time\s*\(\s*(?:nullptr|NULL|0)\s*\))": "Clock& (assay/base/clock.h)",
        r"\bs?rand\s*\(|\brandom_device\b|\bmt19937(?:_64)?\b|\bgetrandom\s*\(|\bRAND_bytes\b": "Entropy& or Random (assay/base/random.h)",
        r"\bthis_thread::sleep_(?:for|until)\b|\busleep\s*\(": "Wait (assay/base/clock.h): every wait can be cancelled",
        r"\.detach\s*\(\s*\)": "std::jthread that someone owns: no thread outlives its owner",
        r"\bstd::regex\b": "a hand-written reader: std::regex overflows the stack on long input",
    }

    def test_time_and_randomness_come_from_outside(self):
        wrong = []
        for name, path in tracked(".h", ".cc"):
            if not name.startswith("assay/") or name.startswith("assay/base/") or name.endswith("_test.cc"):
                continue
            code = code_of(path)
            if any(included == "random" for _, included in INCLUDE.findall(path.read_text())):
                wrong.append(f"{name}: <random>; use Random (assay/base/random.h)")
            for pattern, instead in self.BANNED.items():
                for match in re.finditer(pattern, code):
                    line = code.count("\n", 0, match.start()) + 1
                    wrong.append(f"{name}:{line}: {match.group()}; use {instead}")
        self.assertEqual(wrong, [])


class Tidy(unittest.TestCase):
    def test_no_file_is_too_long(self):
        wrong = {}
        for name, path in tracked(".h", ".cc", ".py", ".cmake", ".js", ".mjs", ".sh"):
            lines = path.read_bytes().count(b"\n")
            if lines > LINES_MAX and "/vendor/" not in name:
                wrong[name] = lines
        self.assertEqual(wrong, {}, f"more than {LINES_MAX} lines")

    def test_nothing_names_the_machine_it_was_written_on(self):
        """Folders of one machine; the inside of a sandbox has its own /tmp and /root."""
        absolute = re.compile(rb"(?<![\w./}-])/(?:work|root|tmp|home)/[\w.$-]")
        inside_the_box = ("assay/sandbox/", "docs/sandbox", "tests/sandbox", "tests/layers_test.py")
        wrong = []
        for name, path in tracked():
            if name.startswith(inside_the_box):
                continue
            data = path.read_bytes()
            for match in absolute.finditer(data):
                line = data.count(b"\n", 0, match.start()) + 1
                wrong.append(f"{name}:{line}: {data[match.start():match.end() + 20]!r}")
        self.assertEqual(wrong, [])

    def test_every_package_is_explained(self):
        explained = (SOURCE / "docs/dependencies.md").read_text()
        packages = re.findall(r"^[a-z]+ ([a-z0-9.+-]+)", (SOURCE / "scripts/packages").read_text(), re.M)
        self.assertGreater(len(packages), 10)
        missing = sorted({package for package in packages if f"`{package}`" not in explained})
        self.assertEqual(missing, [], "docs/dependencies.md has no line for these")

    def test_the_plan_map_names_only_what_exists(self):
        """Files, and tests by Suite.Name or Suite.*, that docs/plan-map.md gives as proof."""
        text = (SOURCE / "docs/plan-map.md").read_text()
        suites = set()
        for _, path in tracked(".cc"):
            if path.name.endswith("_test.cc"):
                suites.update(re.findall(r"^(?:TEST(?:_[FP])?|RC_GTEST_PROP)\((\w+),\s*(\w+)", path.read_text(), re.M))
        names = {f"{suite}.{name}" for suite, name in suites} | {f"{suite}.*" for suite, _ in suites}
        cited = set(re.findall(r"`([A-Z]\w+\.(?:[A-Z]\w+|\*))`", text))
        self.assertGreater(len(cited), 30)
        self.assertEqual(sorted(cited - names), [], "no such tests")
        files = {name for name in re.findall(r"`((?:assay|tests|schemas|interop|docs)/[\w./]+)`", text) if not (SOURCE / name).exists()}
        self.assertEqual(sorted(files), [], "no such files")
        whole = {name for name in re.findall(r"`(\w+_test)`", text) if not any((SOURCE / "tests").glob(f"{name}.*"))}
        self.assertEqual(sorted(whole), [], "no such whole-program tests")

    def test_links_in_documents_lead_somewhere(self):
        wrong = []
        for name, path in tracked(".md"):
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
                if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                    wrong.append(f"{name}: {target}")
        self.assertEqual(wrong, [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--assay", help="unused: every whole-program test gets it")
    arguments, rest = parser.parse_known_args()
    global SOURCE
    SOURCE = arguments.source
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
