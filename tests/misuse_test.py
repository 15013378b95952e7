"""What people do wrong, and what the program says: the right exit code, nothing left behind, and a remedy that can be followed.

    python3 tests/misuse_test.py --assay build/assay --source .
"""
import json

import assay_home
from assay_home import Home

PROGRAM = """format = "assay.program/1"
[program]
name = "t"
version = "1"
[signature.T]
text = "q, kind: Literal['a', 'b'] -> answer: Literal['yes', 'no']"
[[step]]
id = "ask"
signature = "T"
[data]
file = "rows.jsonl"
split = { train = 0.4, val = 0.3, test = 0.3 }
[metric]
name = "accuracy"
[optimizer]
name = "BootstrapFewShot"
"""


class Misuse(Home):
    def setUp(self):
        super().setUp()
        self.write("PROGRAM.toml", PROGRAM)
        rows = [{"q": f"question {i}", "kind": "ab"[i % 2], "answer": ["yes", "no"][i % 2]} for i in range(60)]
        self.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def error_of(self, *arguments, want):
        return self.json(*arguments, want=want)["error"]

    def records(self):
        folder = self.home / ".local/share/assay/runs"
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def test_inputs_that_do_not_fit_are_wrong_usage_and_leave_no_record(self):
        for given, place in ((["q=hello"], "inputs"), (["q=hello", "kind=c"], "inputs.kind"), ([], "inputs")):
            error = self.error_of("run", "PROGRAM.toml", *given, want=2)
            self.assertTrue(error["path"].startswith(place), error)
        self.assertEqual(self.records(), [])

    def test_an_unknown_metric_is_wrong_usage(self):
        error = self.error_of("eval", "PROGRAM.toml", "--metric", "accurracy", want=2)
        self.assertIn("did you mean 'accuracy'", error["remedy"])

    def test_a_journal_that_is_another_s_is_not_to_be_resumed(self):
        taken = self.write("mine.run.jsonl", "precious\n")
        error = self.error_of("compile", "PROGRAM.toml", "--journal", taken, want=6)
        self.assertNotIn("--resume", error["remedy"])
        self.assertEqual(taken.read_text(), "precious\n")

    def test_signed_objects_are_held_to_the_signer_and_to_trust(self):
        self.assay("sandbox", "run", "--receipt", "receipt.json", "--", "true")
        receipt = json.loads((self.home / "receipt.json").read_text())
        self.assertEqual(self.json("verify", "receipt.json")["files"][0]["signer"], receipt["signer"])
        self.assay("verify", "receipt.json", "--trusted", "--signer", receipt["signer"])
        self.assay("verify", "receipt.json", "--signer", "0" * 64, want=3)
        self.assertIn("intact", self.assay("show", "receipt.json").stdout)
        receipt["status"] = "failed"
        self.write("forged.json", json.dumps(receipt))
        self.assay("verify", "forged.json", want=3)
        self.assertIn("BAD", self.assay("show", "forged.json", want=3).stdout)
        artifact = assay_home.options.source / "tests/golden/pipeline.artifact.json"
        self.assay("verify", artifact)
        self.assay("verify", artifact, "--trusted", want=3)
        self.assay("verify", artifact, "--signer", receipt["signer"], want=3)

    def test_a_job_s_record_is_verified_and_not_replayed(self):
        self.assay("sandbox", "run", "--record", "job.run.jsonl", "--", "echo hi")
        self.assay("verify", "job.run.jsonl")
        self.assertIn("assay verify", self.error_of("replay", "job.run.jsonl", want=6)["remedy"])

    def test_limits_of_a_job_name_what_would_do(self):
        self.assertIn("at least 1 second", self.error_of("sandbox", "run", "--timeout", "0", "--", "true", want=6)["remedy"])
        self.assertIn("at most 60", self.error_of("sandbox", "run", "--timeout", "61", "--", "true", want=6)["remedy"])
        error = self.error_of("sandbox", "run", "--request", self.write("job.json", "{}"), want=1)
        self.assertRegex(error["message"], r"the member '\w+' is missing")
        error = self.error_of("sandbox", "run", "--request", self.write("empty.json", ""), want=1)
        self.assertIn("empty.json", error["path"])

    def test_the_documented_job_runs(self):
        page = (assay_home.options.source / "docs/reference/sandbox-job.md").read_text()
        job = self.write("job.json", page.split("```json\n")[1].split("```")[0])
        runs = self.json("sandbox", "run", "--request", job, want=1)["response"]["runs"]
        self.assertEqual([run["exit_code"] for run in runs], [0, 1, 0])

    def test_a_module_that_asks_for_what_is_not_there_does_not_run(self):
        golden = json.loads((assay_home.options.source / "tests/golden/pipeline.module.json").read_text())
        self.write("m.module.json", json.dumps(golden))
        error = self.error_of("run", "m.module.json", "--allow-signer", golden["manifest"]["signer"], "x=1", want=6)
        self.assertTrue(error["remedy"], error)


if __name__ == "__main__":
    assay_home.main()
