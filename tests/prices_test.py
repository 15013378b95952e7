"""Price books from the command line: listed, checked, set, compared, reckoned with; and runs use what was set.

    python3 tests/prices_test.py --assay build/assay --source .
"""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import assay_home  # noqa: E402
from assay_home import Home  # noqa: E402
import schemas_test  # noqa: E402
from chat_server import ChatServer  # noqa: E402


class Prices(Home):
    def setUp(self):
        (self.home / "my.json").unlink(missing_ok=True)

    def set(self, model, prompt, completion, file="my.json", **more):
        return self.json("prices", "set", file, "--lane", "openai", "--model", model, "--prompt", prompt, "--completion", completion, "--source", "a list", **more)

    def test_the_built_in_book_is_listed_with_source_and_date(self):
        lines = [json.loads(line) for line in self.assay("prices", "ls", "--json").stdout.splitlines()]
        self.assertEqual(lines[0]["lane_kind"], "local")
        self.assertTrue(lines[0]["source"] and lines[0]["date"])
        self.assertEqual(lines[-1]["summary"]["prices"], len(lines) - 1)
        shown = self.assay("prices", "ls").stdout
        self.assertIn(lines[-1]["summary"]["book"], shown)
        self.assertIn(lines[0]["date"], shown)

    def test_a_price_is_set_replaced_and_used(self):
        first = self.set("m", 1_000_000, 2_000_000)
        self.assertRegex(first["price"]["date"], r"^\d{4}-\d\d-\d\d$")
        self.set("other", 5, 5)
        second = self.set("m", 3_000_000, 4_000_000)
        self.assertNotEqual(first["book"], second["book"])
        book = json.loads((self.home / "my.json").read_text())
        self.assertEqual([p["model"] for p in book["prices"]], ["m", "other"])
        self.assertEqual(self.json("prices", "check", "my.json")["book"], second["book"])
        cost = self.json("prices", "cost", "--prices", "my.json", "--lane", "openai", "--model", "m", "--prompt", 10, "--completion", 2)
        self.assertEqual(cost["cost_msats"], 10 * 3 + 2 * 4)
        self.assertIsNone(self.json("prices", "cost", "--prices", "my.json", "--lane", "openai", "--model", "x", "--prompt", 1, "--completion", 1)["cost_msats"])
        self.assertEqual(self.json("prices", "cost", "--prompt", 400, "--completion", 3)["cost_msats"], 51)  # docs/prices.md
        server = ChatServer()
        self.addCleanup(server.close)
        self.assay("init", "tt")
        program = self.home / "tt/PROGRAM.toml"
        program.write_text(program.read_text().replace(", constrain = true", ""))
        self.set("rule", 1_000_000, 1_000_000)
        ran = self.json("run", program, "ticket=x", *server.lane, "--prices", "my.json")
        self.assertEqual(ran["cost_msats"], 23)
        start = json.loads(pathlib.Path(ran["record"]).read_text().splitlines()[0])
        self.assertEqual(start["data"]["price_book"], self.json("prices", "check", "my.json")["book"])

    def test_a_book_keeps_to_its_schema(self):
        schemas = schemas_test.Schemas()
        schema = schemas.by_id["urn:assay:schema:prices:1"]
        self.set("m", 1, 1)
        book = json.loads((self.home / "my.json").read_text())
        self.assertEqual(schemas.problems(book, schema, schema["$id"]), [])
        shown = (assay_home.options.source / "docs/prices.md").read_text().split("## Your own book")[1]
        self.assertEqual(schemas.problems(json.loads(shown[shown.index("{"):shown.rindex("}") + 1]), schema, schema["$id"]), [])
        for wrong in ({**book, "x": 1}, {**book, "prices": [{**book["prices"][0], "prompt_msats_per_mtok": -1}]}, {**book, "format": "assay.prices/2"}):
            self.assertNotEqual(schemas.problems(wrong, schema, schema["$id"]), [])
            self.write("wrong.json", json.dumps(wrong))
            self.assay("prices", "check", "wrong.json", want=1)

    def test_books_are_compared(self):
        self.set("m", 1, 1)
        self.assay("prices", "set", "two.json", "--lane", "openai", "--model", "m", "--prompt", 2, "--completion", 1, "--source", "a list")
        lines = [json.loads(line) for line in self.assay("prices", "diff", "my.json", "two.json", "--json", want=3).stdout.splitlines()]
        self.assertEqual((lines[0]["before"]["prompt_msats_per_mtok"], lines[0]["after"]["prompt_msats_per_mtok"]), (1, 2))
        self.assertEqual(lines[-1]["summary"]["differences"], 1)
        self.assay("prices", "diff", "my.json", "my.json")
        against = [json.loads(line) for line in self.assay("prices", "diff", "my.json", "--json", want=3).stdout.splitlines()]
        self.assertEqual(against[-1]["summary"]["differences"], 2)  # the built-in one has the local lane, this one has not

    def test_errors_name_line_and_member(self):
        self.write("bad.json", '{"format": "assay.prices/1",\n "prices": [\n  {"lane_kind": "local", "model": "*",\n   "prompt_msats_per_mtok": 1.5,\n'
                               '   "completion_msats_per_mtok": 1, "source": "s", "date": "d"}]}')
        error = self.json("prices", "check", "bad.json", want=1)["error"]
        self.assertEqual(error["path"], "bad.json:4 /prices/0/prompt_msats_per_mtok")
        self.write("unknown.json", '{"format": "assay.prices/1",\n "prices": [],\n "discount": 1}')
        self.assertIn("unknown.json:3", self.assay("prices", "check", "unknown.json", want=1).stderr)
        self.write("torn.json", '{"format": "assay.prices/1", "pri')
        self.assay("prices", "check", "torn.json", want=1)
        before = (self.home / "bad.json").read_text()
        self.assay("prices", "set", "bad.json", "--model", "m", "--prompt", 1, "--completion", 1, "--source", "s", want=1)
        self.assertEqual((self.home / "bad.json").read_text(), before)
        self.assay("prices", "set", "my.json", "--model", "m", "--prompt", -1, "--completion", 1, "--source", "s", want=2)
        self.assay("prices", "set", "my.json", "--prompt", 1, "--completion", 1, "--source", "s", want=2)

    def test_two_who_set_at_once_lose_nothing(self):
        commands = [[str(assay_home.options.assay), "prices", "set", "my.json", "--lane", "openai", "--model", f"m{i}", "--prompt", "1", "--completion", "1",
                     "--source", "s"] for i in range(12)]
        processes = [subprocess.Popen(command, cwd=self.home, env=self.environment, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) for command in commands]
        self.assertEqual([process.wait(60) for process in processes], [0] * 12)
        self.assertEqual(len(json.loads((self.home / "my.json").read_text())["prices"]), 12)


if __name__ == "__main__":
    assay_home.main()
