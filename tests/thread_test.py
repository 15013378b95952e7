#!/usr/bin/env python3
"""The thread, as a user runs it: compile on the real local model, verify, run, replay, alter, trust, resume, export, publish."""
import hashlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import assay_home  # noqa: E402
from assay_home import Home, interop, wait_until  # noqa: E402

TICKET = "ticket=Nobody can log in since this morning"


def reseal(lines, first):
    """Chains a record again after an edit, as a forger would: no signature can be made again, so run_end loses its own."""
    out = lines[:first]
    for line in lines[first:]:
        entry = json.loads(line)
        entry["prev"] = hashlib.sha256(out[-1].encode()).hexdigest()
        if entry["type"] == "head":
            continue
        entry["seq"] = len(out)
        if entry["type"] == "run_end":
            entry["data"]["root_hash"] = entry["prev"]
            entry["data"]["signature"] = None
        out.append(json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    return out


class Thread(Home):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.compiled = None

    def setUp(self):
        if Thread.compiled is None:
            self.assay("init", "tt")
            Thread.compiled = self.json("compile", "tt/PROGRAM.toml", "--seed", 7)
        self.module = self.home / "tt/ticket-triage.module.json"

    def test_compile_says_all_that_was_promised(self):
        c = self.compiled
        for key in ("compiled_id baseline score interval gain gain_interval n_test p_fail rollouts usage cost_msats seconds promoted repeatable module journal").split():
            self.assertIn(key, c)
        self.assertEqual(c["n_test"], 10)
        self.assertGreater(c["usage"]["calls"], 20)
        self.assertGreater(c["cost_msats"], 0)
        module = json.loads(self.module.read_text())
        artifact = json.dumps(module["artifact"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        self.assertEqual(hashlib.sha256(artifact).hexdigest(), c["compiled_id"])  # computed here, not by the binary

    def test_cost_is_price_times_usage_in_every_record(self):
        book = {"format": "assay.prices/1", "prices": [{"lane_kind": "local", "model": "*", "prompt_msats_per_mtok": 7_000_000,
                "completion_msats_per_mtok": 11_000_000, "source": "this test", "date": "2026-11-25"}]}
        self.write("prices.json", json.dumps(book))
        run = self.json("run", self.module, TICKET, "--record", "priced.run.jsonl", "--prices", "prices.json")
        usage = run["usage"]
        self.assertEqual(run["cost_msats"], 7 * usage["prompt_tokens"] + 11 * usage["completion_tokens"])
        lines = [json.loads(line) for line in (self.home / "priced.run.jsonl").read_text().splitlines()]
        self.assertEqual(sum(l["data"]["cost_msats"] for l in lines if l["type"] == "lm_response"), run["cost_msats"])

    def test_a_changed_byte_of_the_module_is_found_and_never_run(self):
        text = self.module.read_text()
        changed = self.write("changed.module.json", text.replace("Decide how urgent", "Decide how urgenT", 1))
        report = self.json("verify", changed, want=3)
        self.assertFalse(report["ok"])
        self.assertIn("compiled_id", report["problems"][0])
        self.assay("run", changed, TICKET, want=3)

    def test_another_signer_is_intact_and_refused(self):
        stranger = {"HOME": str(self.home / "stranger")}
        (self.home / "stranger").mkdir(exist_ok=True)
        report = self.json("verify", self.module, environment=stranger)
        self.assertEqual(report["files"][0]["state"], "intact-unknown-signer")
        signer = report["files"][0]["signer"]
        self.assay("run", self.module, TICKET, want=6, environment=stranger)
        self.assay("run", self.module, TICKET, "--allow-signer", signer, "--record", "let.run.jsonl", environment=stranger)
        # An id of the store is the same module as its file: intact, looked at, and run when its signer is let.
        self.assay("store", "put", self.module, environment=stranger)
        identity = json.loads(self.module.read_text())["manifest"]["compiled_id"]
        self.assertEqual(self.json("verify", identity, environment=stranger)["files"][0]["state"], "intact-unknown-signer")
        self.assertIn("Decide how urgent", self.assay("show", identity, environment=stranger).stdout)
        self.assertIn(signer, self.json("run", identity, TICKET, want=6, environment=stranger)["error"]["remedy"])
        self.assay("run", identity, TICKET, "--allow-signer", signer, environment=stranger)
        self.assay("replay", "let.run.jsonl", want=6, environment=stranger)
        self.assay("replay", "let.run.jsonl", "--allow-signer", signer, environment=stranger)
        self.assay("store", "get", identity, want=6, environment=stranger)
        self.assay("trust", "add", signer, "ticket-triage", environment=stranger)
        self.assertEqual(self.json("verify", self.module, environment=stranger)["files"][0]["state"], "intact-trusted")
        self.assay("run", self.module, TICKET, environment=stranger)

    def test_an_unknown_member_of_the_artifact_is_verified_and_refused_by_name(self):
        module = json.loads(self.module.read_text())
        module["artifact"]["surprise"] = 1
        path = self.write("unknown.json", json.dumps(module["artifact"], sort_keys=True, separators=(",", ":"), ensure_ascii=False))
        self.assertTrue(self.json("verify", path)["ok"])
        self.write("unknown.module.json", json.dumps(module))
        result = self.assay("run", "unknown.module.json", TICKET, want=3)  # the id no longer fits either
        self.assertIn("compiled_id", result.stderr)

    def test_the_journal_replays_to_the_same_id_without_the_model(self):
        empty = {"XDG_CACHE_HOME": str(self.home / "no-cache")}
        report = self.json("replay", self.compiled["journal"], environment=empty)
        self.assertTrue(report["identical"])
        self.assertEqual(report["compiled_id"], self.compiled["compiled_id"])

    def test_a_record_altered_and_sealed_again_diverges_at_its_node(self):
        run = self.json("run", self.module, TICKET, "--record", "one.run.jsonl")
        self.assertTrue(self.json("replay", "one.run.jsonl")["identical"])
        lines = (self.home / "one.run.jsonl").read_text().splitlines()
        at = next(i for i, line in enumerate(lines) if json.loads(line)["type"] == "lm_response")
        answer = run["output"]["urgency"]
        lines[at] = lines[at].replace(f": {answer}", ": low" if answer == "high" else ": high")
        broken = self.write("altered.run.jsonl", "\n".join(lines) + "\n")
        self.assertIn(f"line {at + 1}", self.json("verify", broken, want=3)["problems"][0])
        sealed = self.write("sealed.run.jsonl", "\n".join(reseal(lines, at + 1)) + "\n")
        self.assertTrue(self.json("verify", sealed)["ok"])
        self.assay("verify", "--complete", sealed, want=3)
        report = self.json("replay", sealed, "--module", self.module, want=4)
        self.assertEqual(report["divergence"]["node"], "classify")

    def test_a_torn_or_cut_record_is_named_so(self):
        self.assay("run", self.module, TICKET, "--record", "whole.run.jsonl")
        text = (self.home / "whole.run.jsonl").read_text()
        self.assertEqual(self.json("verify", self.write("torn.run.jsonl", text[:-9]))["files"][0]["state"], "torn")
        lines = text.splitlines(keepends=True)
        self.assertEqual(self.json("verify", self.write("open.run.jsonl", "".join(lines[:-1])))["files"][0]["state"], "open")
        swapped = lines[:3] + [lines[4], lines[3]] + lines[5:]
        self.assertEqual(self.json("verify", self.write("swapped.run.jsonl", "".join(swapped)), want=3)["files"][0]["state"], "broken")

    def test_a_killed_compile_goes_on_and_ends_the_same(self):
        shutil.copytree(self.home / "tt", self.home / "again", dirs_exist_ok=True)
        command = [str(assay_home.options.assay), "compile", "again/PROGRAM.toml", "--seed", "7", "--journal", "again.run.jsonl"]
        process = subprocess.Popen(command, cwd=self.home, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        journal = self.home / "again.run.jsonl"
        self.assertTrue(wait_until(lambda: journal.exists() and journal.read_text().count('"lm_response"') >= 5, 120))
        process.send_signal(signal.SIGKILL)
        process.wait()
        paid = journal.read_text().count('"type":"lm_response"')
        resumed = self.json("compile", "again/PROGRAM.toml", "--seed", 7, "--journal", journal, "--resume")
        self.assertEqual(resumed["compiled_id"], self.compiled["compiled_id"])
        self.assertEqual(resumed["score"], self.compiled["score"])
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        keys = [(l["node"], l["data"]["request_hash"]) for l in lines if l["type"] == "lm_response"]
        self.assertEqual(len(keys), len(set(keys)))
        self.assertGreaterEqual(len(keys), paid)
        self.assertTrue(self.json("replay", journal)["identical"])

    def test_an_open_record_replays_as_far_as_it_goes_and_says_so(self):
        self.assay("run", self.module, TICKET, "--record", "end.run.jsonl")
        lines = (self.home / "end.run.jsonl").read_text().splitlines(keepends=True)
        self.write("noend.run.jsonl", "".join(lines[:-1]))
        report = self.json("replay", "noend.run.jsonl")
        self.assertTrue(report["identical"])
        self.assertFalse(report["complete"])
        self.assertIn("as far as the record goes", self.assay("replay", "noend.run.jsonl").stdout)
        at = next(i for i, line in enumerate(lines) if json.loads(line)["type"] == "lm_response")
        self.write("unanswered.run.jsonl", "".join(lines[:at]))
        report = self.json("replay", "unanswered.run.jsonl")
        self.assertEqual((report["identical"], report["complete"]), (True, False))

    def test_nothing_but_a_module_gives_way_to_a_module_and_a_record_may_have_any_name(self):
        rows = (self.home / "tt/rows.csv").read_bytes()
        self.assay("compile", "tt/PROGRAM.toml", "-o", "tt/rows.csv", want=6)
        self.assertEqual((self.home / "tt/rows.csv").read_bytes(), rows)
        self.assay("run", self.module, TICKET, "--record", "notes.txt")
        self.assertIn("complete", self.assay("verify", "notes.txt").stdout)
        self.assertIn("classify", self.assay("show", "notes.txt").stdout)

    def test_sums_and_costs_are_computed_again(self):
        self.assay("run", self.module, TICKET, "--record", "sums.run.jsonl")
        self.assertIn("1 costs computed again", self.assay("verify", "sums.run.jsonl").stdout)
        entries = [json.loads(line) for line in (self.home / "sums.run.jsonl").read_text().splitlines()]
        response = next(e for e in entries if e["type"] == "lm_response")["data"]
        totals = entries[-1]["data"]["totals"]

        def problems(name):
            lines = [json.dumps(e, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for e in entries]
            path = self.write(name, "\n".join(reseal(lines, 1)) + "\n")
            return " ".join(self.json("verify", path, want=3)["problems"])

        totals["prompt_tokens"] += 1
        self.assertIn("prompt_tokens, but the lines above sum to", problems("forged-sum.run.jsonl"))
        totals["prompt_tokens"] -= 1
        response["cost_msats"] += 1
        totals["cost_msats"] += 1
        self.assertIn(f"its price and usage give {response['cost_msats'] - 1} msats", problems("forged-cost.run.jsonl"))

    def test_calls_that_the_program_never_made_are_found(self):
        self.assay("run", self.module, TICKET, "--record", "ghost.run.jsonl")
        entries = [json.loads(line) for line in (self.home / "ghost.run.jsonl").read_text().splitlines()]
        at = next(i for i, e in enumerate(entries) if e["type"] == "lm_response")
        request, response = entries[at - 1], entries[at]

        def replay(name, extra, count):
            forged = json.loads(json.dumps(entries[:at + 1] + extra + entries[at + 1:]))
            usage = response["data"]["usage"]
            totals = forged[-1]["data"]["totals"]
            for key, value in (("calls", 1), ("prompt_tokens", usage["prompt_tokens"]), ("completion_tokens", usage["completion_tokens"]),
                               ("cost_msats", response["data"]["cost_msats"])):
                totals[key] += value * count
            lines = [json.dumps(e, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for e in forged]
            path = self.write(name, "\n".join(reseal(lines, 1)) + "\n")
            return self.json("replay", path, "--module", self.module, want=4)["divergence"]["reason"]

        self.assertIn("belongs to no request", replay("twice.run.jsonl", [response], 1))
        self.assertIn("that the program does not make", replay("more.run.jsonl", [request, response], 1))
        elsewhere = [dict(request, node="ghost"), dict(response, node="ghost")]
        self.assertIn("that the program does not make", replay("elsewhere.run.jsonl", elsewhere, 1))

    def test_a_resume_keeps_its_terms_and_charges_what_was_never_answered(self):
        shutil.copytree(self.home / "tt", self.home / "terms", dirs_exist_ok=True)
        self.assay("compile", "terms/PROGRAM.toml", "--journal", "terms.run.jsonl", "--budget", "calls=6", want=5)
        prices = {"format": "assay.prices/1", "prices": [{"lane_kind": "local", "model": "*", "prompt_msats_per_mtok": 7, "completion_msats_per_mtok": 7,
                  "source": "this test", "date": "2026-11-25"}]}
        self.write("other.json", json.dumps(prices))
        self.assay("compile", "terms/PROGRAM.toml", "--journal", "terms.run.jsonl", "--resume", "--prices", "other.json", want=6)
        self.assay("compile", "terms/PROGRAM.toml", "--journal", "terms.run.jsonl", "--resume", "--privacy", "public_ok", want=6)
        lines = (self.home / "terms.run.jsonl").read_text().splitlines(keepends=True)

        def sent(some):
            return [i for i, line in enumerate(some) if '"type":"lm_request"' in line and '"sent":false' not in line]

        self.assertEqual(len(sent(lines)), 6)
        self.assertIn("as far as the record goes", self.assay("replay", "terms.run.jsonl").stdout)
        last = max(sent(lines))
        self.write("crashed.run.jsonl", "".join(lines[:last + 1]))  # as a crash leaves it: asked, and no answer
        made = len(sent(lines[:last + 1]))
        self.assay("compile", "terms/PROGRAM.toml", "--journal", "crashed.run.jsonl", "--resume", "--budget", f"calls={made}", want=5)
        self.assertEqual(len(sent((self.home / "crashed.run.jsonl").read_text().splitlines())), made)

    def test_what_is_bad_is_shown_as_bad_and_nothing_is_overwritten(self):
        text = self.module.read_text()
        changed = self.write("shown.module.json", text.replace("Decide how urgent", "Decide how urgenT", 1))
        self.assertIn("BAD MODULE", self.assay("show", changed, want=3).stderr)
        self.assay("run", self.module, TICKET, "--record", "kept.run.jsonl")
        self.assay("trace", "export", "kept.run.jsonl", "-o", "kept.run.jsonl", want=2)
        report = self.json("verify", "missing.run.jsonl", changed, "kept.run.jsonl", want=3)
        self.assertEqual([f["ok"] for f in report["files"]], [False, False, True])
        self.assay("verify", "missing.run.jsonl", "kept.run.jsonl", want=1)
        self.assay("run", self.module, TICKET, "--threads", 1000000, want=2)
        self.assay("run", self.module, TICKET, "--inputs", "kept.run.jsonl", want=2)

    def test_without_a_key_nothing_is_signed_and_no_key_is_made(self):
        home = self.home / "keyless"
        home.mkdir(exist_ok=True)
        environment = {"HOME": str(home), "XDG_DATA_HOME": str(home / "data"), "XDG_CONFIG_HOME": str(home / "config")}
        self.assay("run", "tt/PROGRAM.toml", TICKET, "--key", "none", "--record", "unsigned.run.jsonl", environment=environment)
        self.assertEqual(list(home.rglob("*.key*")), [])
        self.assay("verify", "unsigned.run.jsonl")
        self.assay("verify", "--complete", "unsigned.run.jsonl", want=3)
        self.assay("key", "new", "none", want=2)

    def test_program_files_and_stored_ids_stand_wherever_a_module_does(self):
        self.assertEqual(self.json("verify", "tt/PROGRAM.toml")["files"][0]["kind"], "program")
        compiled_id = self.compiled["compiled_id"]
        self.assertTrue(self.json("verify", compiled_id)["ok"])
        self.assertIn(compiled_id, self.assay("show", compiled_id).stdout)
        self.assay("run", "tt/PROGRAM.toml", TICKET, "--record", "source.run.jsonl")
        self.assay("trace", "export", "source.run.jsonl", "--module", "tt/PROGRAM.toml", "-o", "source.json")
        self.assay("trace", "export", "source.run.jsonl", "--module", compiled_id, "-o", "stored.json", want=3)  # no module ran
        self.assay("run", compiled_id, TICKET, "--record", "stored.run.jsonl")
        self.assay("trace", "export", "stored.run.jsonl", "--module", compiled_id, "-o", "stored.json")

    def test_the_store_names_gives_and_cleans_up(self):
        compiled_id = self.compiled["compiled_id"]
        self.json("store", "ref", "triage/prod", compiled_id)
        self.assertEqual(self.json("run", "triage/prod", TICKET)["usage"]["calls"], 1)
        self.assay("store", "get", "triage/prod", "-o", "again.module.json")
        self.assertTrue(self.json("verify", "again.module.json")["ok"])
        module = json.loads(self.module.read_text())
        self.assertIn(compiled_id, self.assay("store", "ls").stdout)
        kept = self.json("store", "gc", "--older-than", -10)
        self.assertEqual(kept["files"], [])  # the ref and records name it
        elsewhere = {"XDG_DATA_HOME": str(self.home / "elsewhere")}
        self.assertEqual(self.json("store", "put", self.module, environment=elsewhere)["id"], compiled_id)
        self.assertEqual(self.json("store", "gc", environment=elsewhere)["ids"], [])  # too young
        self.assertEqual(self.json("store", "gc", "--older-than", -10, environment=elsewhere)["ids"], [compiled_id])
        self.assay("store", "get", compiled_id, environment=elsewhere)  # listed, not deleted
        self.assay("store", "gc", "--older-than", -10, "--yes", environment=elsewhere)
        self.assay("store", "get", compiled_id, want=7, environment=elsewhere)
        self.assay("store", "unref", "triage/prod")
        self.assay("run", "triage/prod", TICKET, want=7)
        self.assertEqual(module["manifest"]["compiled_id"], compiled_id)

    def test_somebody_elses_statement_is_signed_and_checked(self):
        witness = {"HOME": str(self.home / "witness"), "XDG_CONFIG_HOME": str(self.home / "witness/config")}
        (self.home / "witness").mkdir(exist_ok=True)
        self.assay("attest", self.module, "--statement", "0.6 on our rows", "-o", "attested.module.json", environment=witness)
        self.assertTrue(self.json("verify", "attested.module.json")["ok"])
        text = (self.home / "attested.module.json").read_text()
        forged = self.write("forged.module.json", text.replace("0.6 on our rows", "0.9 on our rows"))
        self.assertIn("attestations[0]", self.json("verify", forged, want=3)["problems"][0])

    def test_processes_share_a_budget_ledger(self):
        spent = self.json("run", self.module, TICKET, "--ledger", "team.ledger", "--budget", "calls=3")
        runs = [subprocess.Popen([str(assay_home.options.assay), "run", str(self.module), TICKET, "--ledger", "team.ledger"], cwd=self.home, env=self.environment,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(4)]
        self.assertEqual(sorted(run.wait(120) for run in runs), [0, 0, 5, 5])  # two calls were left
        state = self.json("budget", "team.ledger")
        self.assertEqual((state["spent"]["calls"], state["free"]["calls"]), (3, 0))
        self.assertGreaterEqual(state["spent"]["msats"], spent["cost_msats"])
        self.assay("run", self.module, TICKET, "--ledger", "team.ledger", "--budget", "calls=9", want=6)  # limits are not raised by asking
        self.assay("budget", "missing.ledger", want=1)

    def test_a_shell_completes_commands_and_options(self):
        script = self.write("complete.sh", self.assay("completion", "bash").stdout + 'COMP_WORDS=(assay store g) COMP_CWORD=2; _assay; echo "${COMPREPLY[@]}"\n'
                            'COMP_WORDS=(assay compile --jo) COMP_CWORD=2; _assay; echo "${COMPREPLY[@]}"\n')
        done = subprocess.run(["bash", str(script)], capture_output=True, text=True, cwd=self.home)
        self.assertEqual(done.stdout.splitlines(), ["get gc", "--journal"], done.stderr)
        self.assertIn("-a compile", self.assay("completion", "fish").stdout)
        self.assay("completion", "tcsh", want=2)

    def test_budgets_and_privacy_stop_before_a_call(self):
        self.assay("run", self.module, TICKET, "--budget", "tokens=5", want=5)
        self.assay("run", self.module, TICKET, "--budget", "token=5", want=2)
        self.assay("run", self.module, TICKET, "--privacy", "everything", want=2)

    def test_a_typo_in_the_program_file_is_answered_with_place_and_nearest_key(self):
        text = (self.home / "tt/PROGRAM.toml").read_text().replace("instructions =", "instructoins =")
        self.write("typo/PROGRAM.toml", text)
        result = self.assay("compile", "typo/PROGRAM.toml", want=1)
        self.assertIn("typo/PROGRAM.toml:11:1", result.stderr)
        self.assertIn("did you mean 'instructions'?", result.stderr)

    def test_hostile_files_are_refused_and_never_crash(self):
        for name, content in {"deep": "[" * 200000, "cut": self.module.read_text()[:900], "empty": "", "bytes": "\u0000\u0001", "twice": '{"artifact":1,"artifact":2}'}.items():
            path = self.write(f"{name}.module.json", content)
            self.assay("verify", path, want=3)
            self.assay("run", path, TICKET, want=3)
        (self.home / "latin.module.json").write_bytes(b'{"a":"\xff"}')
        self.assay("verify", "latin.module.json", want=3)
        self.assay("verify", "missing.module.json", want=1)
        self.assay("replay", self.write("empty.run.jsonl", ""), want=3)

    def test_eval_is_a_gate(self):
        result = self.json("eval", self.module, "--data", "tt/rows.csv")
        self.assertEqual(result["n"], 24)
        self.assay("eval", self.module, "--data", "tt/rows.csv", "--at-least", 1.01, want=3)
        self.assay("eval", self.module, "--data", "tt/rows.csv", "--at-least", "nan", want=2)
        self.assay("eval", self.module, "--data", "tt/rows.csv", "--budget", "", want=2)
        self.assay("store", "ref", "prod", "ab" * 32, want=7)
        text = (self.home / "tt/rows.csv").read_text()
        self.write("mine.csv", text.replace("urgency", "label", 1))
        self.assay("eval", self.module, "--data", "mine.csv", want=1)
        self.assertEqual(self.json("eval", self.module, "--data", "mine.csv", "--map", "urgency=label")["score"], result["score"])
        self.assay("eval", self.module, "--data", "mine.csv", "--map", "urgence=label", want=2)

    def test_diff_names_the_places(self):
        self.assay("diff", self.module, self.module)
        other = self.home / "tt/other.toml"
        other.write_text((self.home / "tt/PROGRAM.toml").read_text().replace("max_tokens = 16", "max_tokens = 17"))
        out = self.assay("diff", "tt/PROGRAM.toml", other, "--json", want=3).stdout
        self.assertIn("/artifact/predictors/classify/config/max_tokens", out)

    def test_every_command_has_help_with_an_example(self):
        for command in "init compile run eval verify replay show diff key trust trace doctor hud relay pylon sandbox store budget attest models completion".split():
            self.assertIn("Examples:\n  assay " + command, self.assay(command, "--help").stdout)
        self.assay("no-such-command", want=2)
        for words, answer in (("complie", "did you mean 'assay compile'?"), ("trace exprt x", "did you mean 'assay trace export'?"),
                              ("run m --budgt x", "unknown option '--budgt' (usage)\n  try  did you mean '--budget'?"),
                              ("compile p --seed soon", "'soon' is no value for --seed"), ("key", "assay key needs a command"),
                              ("eval a b", "unexpected word 'b'"), ("run", "assay run --help")):
            self.assertIn(answer, self.assay(*words.split(), want=2).stderr)


class Traces(Home):
    def test_opentelemetry_reads_the_export(self):
        self.assay("init", "tt")
        self.assay("run", "tt/PROGRAM.toml", TICKET, "--record", "one.run.jsonl")
        self.assay("trace", "export", "one.run.jsonl", "--format", "otlp-json", "-o", "one.json")
        self.assay("trace", "export", "one.run.jsonl", "--format", "otlp-proto", "-o", "one.pb")
        check = [interop("otel"), str(assay_home.options.source / "interop/otel/check.py"), "one.run.jsonl", "one.json", "one.pb"]
        result = subprocess.run(check, cwd=self.home, capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_nostr_tools_reads_what_we_publish_and_is_served_what_it_publishes(self):
        relay = self.serve("relay", "--port", 0, "--data", "relay")["url"]
        self.assay("init", "nn")
        self.assay("run", "nn/PROGRAM.toml", TICKET, "--record", "two.run.jsonl")
        published = self.json("trace", "publish", "two.run.jsonl", "--relay", relay)["events"]
        again = self.json("trace", "publish", "two.run.jsonl", "--relay", relay)["events"]
        self.assertEqual(published, again)  # same record, same ids
        fetched = self.json("trace", "fetch", published[-1], "--relay", relay)
        self.assertEqual([e["id"] for e in fetched["events"][1:]], published[:-1])
        author = fetched["events"][0]["pubkey"]
        node = interop("nostr")
        script = assay_home.options.source / "interop/nostr/check.mjs"
        result = subprocess.run([node, str(script), relay, "--author", author, "--summary", published[-1]], capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)


class Sandboxed(Home):
    def test_a_box_keeps_secrets_and_signs_its_receipt(self):
        secret = self.write("secret", "s3cr3t-canary")
        result = self.json("sandbox", "run", "--receipt", "receipt.json", "--", f"cat {secret}", want=1)
        self.assertNotIn("s3cr3t-canary", json.dumps(result))
        self.assertEqual(result["response"]["status"], "failed")
        self.assay("verify", "receipt.json")
        receipt = (self.home / "receipt.json").read_text()
        self.write("forged.json", receipt.replace('"status":"failed"', '"status":"success"'))
        self.assay("verify", "forged.json", want=3)
        self.assay("sandbox", "run", "--lane", "bogus", "--", "true", want=2)
        self.assay("sandbox", "run", "--relay", "ws://127.0.0.1:1", "--", "true", want=2)
        self.json("sandbox", "run", "--env", "A=1", "--env", "B=2", "--", "test $A$B = 12")
        self.json("sandbox", "run", "--record", "box.run.jsonl", "--", "echo hello")
        self.assertEqual(self.json("verify", "--complete", "box.run.jsonl")["files"][0]["state"], "complete")
        self.assay("trace", "export", "box.run.jsonl", "-o", "box.json")
        self.assertIn("sandbox_run oa.sandbox_run.v1", (self.home / "box.json").read_text())
        begin = time.monotonic()
        self.assertEqual(self.json("sandbox", "run", "--timeout", 1, "--", "sleep 100", want=1)["response"]["status"], "timeout")
        self.assertLess(time.monotonic() - begin, 30)


if __name__ == "__main__":
    assay_home.main()
