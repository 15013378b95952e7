#!/usr/bin/env python3
"""The schemas in schemas/ against the golden files, and golden files against the script that makes them. Needs no built binary.

    python3 tests/schemas_test.py --source .

A small validator of JSON Schema 2020-12 is here on purpose: it knows only the keywords that our schemas use and fails on any other, so that a schema
cannot silently say nothing. Every required member is taken out of every golden file once, and the schema must notice.
"""
import argparse
import copy
import json
import pathlib
import re
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(__file__).resolve().parent.parent
NOTES = {"$schema", "$id", "$defs", "title", "description"}
KINDS = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: not isinstance(v, bool) and (isinstance(v, int) or (isinstance(v, float) and v.is_integer())),
    "number": lambda v: not isinstance(v, bool) and isinstance(v, (int, float)),
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}


class Schemas:
    def __init__(self):
        self.by_id = {}
        for path in sorted((SOURCE / "schemas").glob("*.schema.json")):
            schema = json.loads(path.read_text())
            assert schema["$id"] not in self.by_id, path
            self.by_id[schema["$id"]] = schema

    def find(self, ref, base):
        name, _, pointer = ref.partition("#")
        here = name or base
        schema = self.by_id[here]
        for token in pointer.split("/")[1:]:
            schema = schema[token.replace("~1", "/").replace("~0", "~")]
        return schema, here

    def problems(self, value, schema, base, at=""):
        """All problems of a value, as texts with their place."""
        if isinstance(schema, bool):
            return [] if schema else [f"{at}: nothing is allowed here"]
        out = []
        for keyword, rule in schema.items():
            if keyword in NOTES or keyword in ("then",):
                continue
            check = getattr(self, "check_" + keyword.strip("$"), None)
            assert check is not None, f"the schema uses {keyword}, which this validator does not know"
            out += check(value, rule, schema, base, at)
        return out

    def check_ref(self, value, rule, _, base, at):
        schema, here = self.find(rule, base)
        return self.problems(value, schema, here, at)

    def check_type(self, value, rule, _, __, at):
        kinds = rule if isinstance(rule, list) else [rule]
        return [] if any(KINDS[kind](value) for kind in kinds) else [f"{at}: expected {kinds}, found {json.dumps(value)[:60]}"]

    def check_const(self, value, rule, _, __, at):
        return [] if value == rule and isinstance(value, bool) == isinstance(rule, bool) else [f"{at}: expected {rule!r}"]

    def check_enum(self, value, rule, _, __, at):
        return [] if value in rule else [f"{at}: expected one of {rule}"]

    def check_required(self, value, rule, _, __, at):
        return [f"{at}: member {key} is missing" for key in rule if isinstance(value, dict) and key not in value]

    def check_properties(self, value, rule, _, base, at):
        if not isinstance(value, dict):
            return []
        return [p for key in rule if key in value for p in self.problems(value[key], rule[key], base, f"{at}/{key}")]

    def check_additionalProperties(self, value, rule, schema, base, at):
        if not isinstance(value, dict):
            return []
        known = schema.get("properties", {})
        return [p for key in value if key not in known for p in self.problems(value[key], rule, base, f"{at}/{key}")]

    def check_propertyNames(self, value, rule, _, base, at):
        return [p for key in value for p in self.problems(key, rule, base, f"{at}/{key} (name)")] if isinstance(value, dict) else []

    def check_minProperties(self, value, rule, _, __, at):
        return [f"{at}: too few members"] if isinstance(value, dict) and len(value) < rule else []

    def check_maxProperties(self, value, rule, _, __, at):
        return [f"{at}: too many members"] if isinstance(value, dict) and len(value) > rule else []

    def check_items(self, value, rule, _, base, at):
        return [p for i, v in enumerate(value) for p in self.problems(v, rule, base, f"{at}/{i}")] if isinstance(value, list) else []

    def check_minItems(self, value, rule, _, __, at):
        return [f"{at}: too few items"] if isinstance(value, list) and len(value) < rule else []

    def check_maxItems(self, value, rule, _, __, at):
        return [f"{at}: too many items"] if isinstance(value, list) and len(value) > rule else []

    def check_uniqueItems(self, value, rule, _, __, at):
        return [f"{at}: items repeat"] if rule and isinstance(value, list) and len({json.dumps(v, sort_keys=True) for v in value}) < len(value) else []

    def check_minimum(self, value, rule, _, __, at):
        return [f"{at}: below {rule}"] if KINDS["number"](value) and value < rule else []

    def check_maximum(self, value, rule, _, __, at):
        return [f"{at}: above {rule}"] if KINDS["number"](value) and value > rule else []

    def check_exclusiveMinimum(self, value, rule, _, __, at):
        return [f"{at}: not above {rule}"] if KINDS["number"](value) and value <= rule else []

    def check_minLength(self, value, rule, _, __, at):
        return [f"{at}: too short"] if isinstance(value, str) and len(value) < rule else []

    def check_maxLength(self, value, rule, _, __, at):
        return [f"{at}: too long"] if isinstance(value, str) and len(value) > rule else []

    def check_pattern(self, value, rule, _, __, at):
        return [] if not isinstance(value, str) or re.search(rule.replace("$", r"\Z"), value) else [f"{at}: {value[:60]!r} does not match {rule}"]

    def check_anyOf(self, value, rule, _, base, at):
        tries = [self.problems(value, s, base, at) for s in rule]
        return [] if any(not t for t in tries) else [f"{at}: fits none of anyOf: {tries[0][0]}"]

    def check_oneOf(self, value, rule, _, base, at):
        fits = sum(not self.problems(value, s, base, at) for s in rule)
        return [] if fits == 1 else [f"{at}: fits {fits} of oneOf, expected 1"]

    def check_allOf(self, value, rule, _, base, at):
        return [p for s in rule for p in self.problems(value, s, base, at)]

    def check_not(self, value, rule, _, base, at):
        return [f"{at}: is what it must not be"] if not self.problems(value, rule, base, at) else []

    def check_if(self, value, rule, schema, base, at):
        return [] if self.problems(value, rule, base, at) else self.problems(value, schema.get("then", True), base, at)

    def required_members(self, value, schema, base):
        """(path of an object, required member) for all that the schema demands and that are there; paths are lists of keys."""
        if not isinstance(schema, dict):
            return
        if "$ref" in schema:
            target, here = self.find(schema["$ref"], base)
            yield from self.required_members(value, target, here)
        for part in schema.get("allOf", []):
            yield from self.required_members(value, part, base)
        if "if" in schema and not self.problems(value, schema["if"], base):
            yield from self.required_members(value, schema["then"], base)
        for part in schema.get("anyOf", []):
            if not self.problems(value, part, base):
                yield from self.required_members(value, part, base)
        if isinstance(value, dict):
            for key in schema.get("required", []):
                yield [], key
            known = schema.get("properties", {})
            for key, inner in value.items():
                rule = known.get(key, schema.get("additionalProperties", True))
                for path, member in self.required_members(inner, rule, base):
                    yield [key] + path, member
        if isinstance(value, list):
            for i, inner in enumerate(value):
                for path, member in self.required_members(inner, schema.get("items", True), base):
                    yield [i] + path, member


class GoldenFiles(unittest.TestCase):
    def setUp(self):
        self.schemas = Schemas()
        self.golden = SOURCE / "tests" / "golden"

    def fits(self, value, name):
        found = self.schemas.problems(value, self.schemas.by_id[name], name)
        self.assertEqual(found, [], name)

    def each_required_member_counts(self, value, name):
        schema, seen = self.schemas.by_id[name], 0
        for path, member in list(self.schemas.required_members(value, schema, name)):
            at = value
            for key in path:
                at = at[key]
            taken = at.pop(member)
            seen += 1
            self.assertNotEqual(self.schemas.problems(value, schema, name), [], f"{name}: {path} without {member}")
            at[member] = taken
        return seen

    def artifacts(self):
        for path in sorted(self.golden.glob("*.artifact.json")):
            yield path.name, json.loads(path.read_text())

    def lines(self):
        return [json.loads(line) for line in (self.golden / "retry_cache_repair_resume.run.jsonl").read_text().splitlines()]

    def test_the_script_makes_the_same_files(self):
        done = subprocess.run([sys.executable, str(SOURCE / "scripts" / "golden"), "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_artifacts_fit(self):
        seen = 0
        for _, artifact in self.artifacts():
            self.fits(artifact, "urn:assay:schema:artifact:1")
            seen += self.each_required_member_counts(artifact, "urn:assay:schema:artifact:1")
        self.assertGreater(seen, 200)

    def test_the_module_fits(self):
        module = json.loads((self.golden / "pipeline.module.json").read_text())
        self.fits(module, "urn:assay:schema:module:1")
        self.assertGreater(self.each_required_member_counts(module, "urn:assay:schema:module:1"), 100)

    def test_every_line_of_the_record_fits(self):
        seen = set()
        for line in self.lines():
            self.fits(line, "urn:assay:schema:run:1")
            self.each_required_member_counts(line, "urn:assay:schema:run:1")
            seen.add(line["type"])
        self.assertEqual(seen, {"run_start", "node_start", "node_end", "lm_request", "lm_response", "cache_hit", "attempt", "repair", "resume", "head", "run_end"})

    def test_every_type_of_the_format_has_its_members_fixed(self):
        text = (SOURCE / "docs" / "formats.md").read_text()
        others = re.search(r"^Others: (.*?); their members", text, re.M | re.S).group(1)
        types = set(re.findall(r"`(\w+)`", others)) | {"run_start", "node_start", "node_end", "lm_request", "lm_response", "head", "run_end"}
        rules = self.schemas.by_id["urn:assay:schema:run:1"]["allOf"]
        self.assertEqual({rule["if"]["properties"]["type"]["const"] for rule in rules}, types)

    def test_wrong_values_are_noticed(self):
        module = json.loads((self.golden / "pipeline.module.json").read_text())
        for path, value in [(["manifest", "compiled_id"], "AB"), (["manifest", "scorecard", "p_fail"], 2), (["artifact", "entry"], "route"),
                            (["artifact", "predictors", "route", "config", "n"], 0), (["artifact", "predictors", "route", "config", "top_k"], None),
                            (["artifact", "modules", "careful_route", "over"], []), (["artifact", "flow", "nodes", 0, "id"], "input"),
                            (["manifest", "compatibility", "privacy_modes_allowed"], ["all"]), (["artifact", "predictors", "1st"], {})]:
            changed = copy.deepcopy(module)
            at = changed
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = value
            self.assertNotEqual(self.schemas.problems(changed, self.schemas.by_id["urn:assay:schema:module:1"], "urn:assay:schema:module:1"), [], path)


class ProgramFiles(unittest.TestCase):
    def test_the_examples_fit(self):
        try:
            import tomllib
        except ImportError:
            self.skipTest("this Python has no tomllib")
        schemas, name = Schemas(), "urn:assay:schema:program:1"
        paths = sorted(SOURCE.glob("examples/*/PROGRAM.toml"))
        if not paths:
            self.skipTest("there are no examples yet")
        for path in paths:
            self.assertEqual(schemas.problems(tomllib.loads(path.read_text()), schemas.by_id[name], name), [], path)

    def test_unknown_keys_do_not_fit(self):
        schemas, name = Schemas(), "urn:assay:schema:program:1"
        good = {"format": "assay.program/1", "program": {"name": "p"}, "signature": {"S": {"text": "a -> b"}}, "step": [{"id": "s", "signature": "S"}]}
        self.assertEqual(schemas.problems(good, schemas.by_id[name], name), [])
        for bad in [{**good, "stepp": []}, {**good, "budget": {"call": 1}}, {**good, "step": []}, {k: v for k, v in good.items() if k != "signature"}]:
            self.assertNotEqual(schemas.problems(bad, schemas.by_id[name], name), [])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=pathlib.Path, default=SOURCE)
    parser.add_argument("--assay", help="not used: taken so that all whole tests are called alike")
    known, rest = parser.parse_known_args()
    SOURCE = known.source.resolve()
    unittest.main(argv=[sys.argv[0], *rest])
