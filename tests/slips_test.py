"""Slips of the hand and unusual demands: no file is lost to a name typed wrongly, no secret is repeated, nothing asked for is left out in silence.

    python3 tests/slips_test.py --assay build/assay --source .
"""
import collections
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import threading
import urllib.request

import assay_home
from assay_home import Home, wait_until
from chat_server import ChatServer

TICKET = "ticket=Nobody can log in"


class Slips(Home):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = ChatServer()
        cls.golden = assay_home.options.source / "tests/golden"

    @classmethod
    def tearDownClass(cls):
        cls.server.close()
        super().tearDownClass()

    def setUp(self):
        if not (self.home / "tt").exists():
            self.assay("init", "tt")
            program = self.home / "tt/PROGRAM.toml"
            program.write_text(program.read_text().replace(", constrain = true", ""))
            self.assay("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--record", "one.run.jsonl")

    def error_of(self, *arguments, want):
        return self.json(*arguments, want=want)["error"]

    def test_a_file_gives_way_to_its_own_kind_only(self):
        self.assay("key", "new", "vic")
        key = self.home / ".config/assay/keys/vic.key"
        secret = key.read_bytes()
        self.write("pass", "correct horse battery\n").chmod(0o600)
        module = self.golden / "pipeline.module.json"
        self.assay("store", "put", module)
        identity = json.loads(module.read_text())["manifest"]["compiled_id"]
        signer = json.loads(module.read_text())["manifest"]["signer"]
        self.assay("trust", "add", signer, "triage", "pipeline", "ticket-triage")
        for want, command in ((2, ["key", "export", "vic", "--encrypted", "--passphrase-file", "pass", "-o"]),
                              (6, ["trace", "export", "one.run.jsonl", "-o"]),
                              (6, ["trace", "export", "one.run.jsonl", "--format", "otlp-proto", "-o"]),
                              (6, ["attest", module, "--statement", "x", "-o"]),
                              (6, ["sandbox", "run", "--receipt", key, "--", "true"])):
            with self.subTest(command=command[0]):
                error = self.error_of(*command, *([key] if key not in command else []), want=want)
                self.assertIn("a file stands there", error["message"])
                self.assertEqual(key.read_bytes(), secret)
        self.assertEqual(identity, json.loads(module.read_text())["manifest"]["compiled_id"])
        for text in ("\n\n\nmy notes\n", "\nA\nB\n", "\n# Title\n"):  # begin as a protobuf may
            self.write("notes.txt", text)
            self.error_of("trace", "export", "one.run.jsonl", "-o", "notes.txt", want=6)
            self.assertEqual((self.home / "notes.txt").read_text(), text)
        for form in ("otlp-json", "otlp-proto"):  # an earlier export gives way to a new one
            self.assay("trace", "export", "one.run.jsonl", "--format", form, "-o", form)
            self.assay("trace", "export", "one.run.jsonl", "--format", form, "-o", form)
        for _ in range(2):
            self.assay("sandbox", "run", "--receipt", "r.json", "--", "true")
            self.assay("attest", module, "--statement", "x", "-o", "m.json")
        self.assay("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--record", "new/folder/two.run.jsonl")

    def test_a_ledger_is_a_file_of_its_own(self):
        with sqlite3.connect(self.home / "mine.db") as database:
            database.execute("CREATE TABLE precious(x)")
        before = (self.home / "mine.db").read_bytes()
        error = self.error_of("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--ledger", "mine.db", "--budget", "calls=3", want=6)
        self.assertIn("precious", error["message"])
        self.assertEqual((self.home / "mine.db").read_bytes(), before)
        for name, made in (("view.db", "CREATE VIEW v AS SELECT 1"), ("money.db", "CREATE TABLE budget(category, amount)"), ("hotel.db", "CREATE TABLE reservation(a)"),
                           ("like.db", "CREATE TABLE budget(a, spent_calls)"), ("marked.db", "PRAGMA user_version = 7")):
            with sqlite3.connect(self.home / name) as database:
                database.execute(made)
            before = (self.home / name).read_bytes()
            self.error_of("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--ledger", name, "--budget", "calls=3", want=6)
            self.assertEqual((self.home / name).read_bytes(), before)
        self.error_of("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--ledger", "not.db", "--budget", "msats=3", want=5)  # a lane without a price
        self.assertFalse((self.home / "not.db").exists())
        self.error_of("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--ledger", "", "--budget", "calls=3", want=2)
        os.mkfifo(self.home / "pipe.db")
        self.error_of("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--ledger", "pipe.db", "--budget", "calls=3", want=1)
        self.write("empty.db", "")
        self.error_of("budget", "empty.db", want=2)
        self.assertEqual((self.home / "empty.db").read_bytes(), b"")
        self.assay("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--ledger", "own.db", "--budget", "calls=3")
        with sqlite3.connect(self.home / "own.db") as database:
            database.execute("ANALYZE")  # SQLite's own table is nobody's
        self.assertEqual(self.json("budget", "own.db")["spent"]["calls"], 1)
        os.link(self.home / "own.db", self.home / "twice.db")
        self.assertIn("hard link", self.error_of("budget", "twice.db", want=6)["message"])

    def test_a_ledger_of_two_names_takes_no_living_process_for_dead(self):
        (self.home / "far").mkdir()
        (self.home / "near.db").symlink_to("far/b.db")
        self.assay("run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--ledger", "near.db", "--budget", "calls=5")
        self.server.go_on.clear()
        self.addCleanup(self.server.go_on.set)
        before = len(self.server.asked)
        process = subprocess.Popen([str(assay_home.options.assay), "run", "tt/PROGRAM.toml", TICKET, *self.server.lane, "--ledger", "near.db"], cwd=self.home,
                                   env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertTrue(self.server.wait_for(before + 1))
        for name in ("near.db", "far/b.db"):
            state = self.json("budget", name)
            self.assertEqual((state["lost"]["calls"], state["reserved"]["calls"]), (0, 1), name)
        self.server.go_on.set()
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.json("budget", "far/b.db")["spent"]["calls"], 2)

    def test_a_secret_in_the_wrong_place_is_not_repeated(self):
        self.assay("key", "new", "plain")
        secret = (self.home / ".config/assay/keys/plain.key").read_text().strip()
        self.write("pass", "correct horse battery\n").chmod(0o600)
        self.assay("key", "new", "locked", "--encrypt", "--passphrase-file", "pass")
        run = ["run", "tt/PROGRAM.toml", TICKET, *self.server.lane]
        for said, command, want in (("staple battery horse", [*run, "--key", "locked", "--passphrase-file", "staple battery horse"], 1),
                                    ("sk-abc-123456", [*run, "--key-env", "sk-abc-123456"], 2),
                                    (secret, ["trust", "add", secret, "triage"], 2)):
            done = self.assay(*command, want=want)
            self.assertNotIn(said, done.stdout + done.stderr)
        trust = self.home / ".config/assay/trust.json"
        self.assertFalse(trust.exists() and secret in trust.read_text())

    def test_a_secret_key_is_no_argument_of_any_command(self):
        secret = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"  # the example of NIP-19
        compiled = "5d6559bdc37aa68007a5d26b1447b60d16f3013aef16da2f534dc9e963ce2dfd"
        for arguments in (["verify", secret], ["replay", secret], ["show", f"./{secret}"], ["store", "ref", secret, compiled], ["diff", "a", secret],
                          ["run", "tt/PROGRAM.toml", "--inputs", secret], ["eval", "x", f"--data={secret}"], ["trust", "rm", secret], ["prices", "check", secret]):
            with self.subTest(command=arguments[:2]):
                for more in ([], ["--json"]):
                    done = self.assay(*arguments, *more, want=2)
                    self.assertNotIn(secret[5:], done.stdout + done.stderr)
                    self.assertIn("is a secret key", done.stderr)
        # A text that a program is asked about is its user's own.
        self.json("run", "tt/PROGRAM.toml", f"ticket=is {secret} a key?", *self.server.lane, "--record", "own.run.jsonl")

    def test_a_trace_is_of_the_module_that_ran(self):
        """Neither a module that was edited nor another one gets its name onto a run's spans and events."""
        module = self.golden / "pipeline.module.json"
        edited = self.write("edited.module.json", module.read_text().replace('"instructions":"', '"instructions":"Not ', 1))
        for named, said in ((module, "not compiled"), (edited, "does not hold")):
            for command in (["export", "one.run.jsonl", "-o", "spans.json"], ["publish", "one.run.jsonl", "--relay", "ws://127.0.0.1:9"]):
                error = self.error_of("trace", *command, "--module", named, want=3)
                self.assertIn(said, error["message"])
        self.write("tt/OTHER.toml", re.sub(r'(?m)^name = ".*"', 'name = "other"', (self.home / "tt/PROGRAM.toml").read_text(), count=1))
        self.assertIn("'other'", self.error_of("trace", "export", "one.run.jsonl", "-o", "spans.json", "--module", "tt/OTHER.toml", want=3)["message"])
        self.assertFalse((self.home / "spans.json").exists())
        self.assay("trace", "export", "one.run.jsonl", "-o", "spans.json", "--module", "tt/PROGRAM.toml")

    @staticmethod
    def expects(pid, number):
        """Whether a process has made up its mind about a signal: it catches or holds it."""
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigCgt", "SigBlk"))]
        return any(mask >> (number - 1) & 1 for mask in masks)

    def test_a_signal_ends_what_only_reads(self):
        """A record long enough to be still read when the signal comes: verify, show and export end at once, 130, and write nothing."""
        lines = (self.home / "one.run.jsonl").read_text().splitlines()
        request = next(index for index, line in enumerate(lines) if '"type":"lm_request"' in line)
        long = self.home / "long.run.jsonl"
        with open(long, "w") as out:  # of no valid chain: it is read to its end all the same, or till the signal
            out.write(lines[0] + "\n")
            for _ in range(60000):
                out.write(lines[request] + "\n")
        for command in (["verify", *[long] * 40], ["show", long], ["trace", "export", long, "-o", "cut.json"]):
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(command=command[0], signal=number.name):
                    started = subprocess.Popen([str(assay_home.options.assay), *map(str, command)], cwd=self.home, env=self.environment,
                                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
                    wait_until(lambda: started.poll() is not None or self.expects(started.pid, number))
                    started.send_signal(number)
                    text = started.communicate(timeout=20)[1]
                    if command[0] == "verify":  # the others may have found the broken chain by then
                        self.assertEqual(started.returncode, 130, text)
                    self.assertIn(started.returncode, (130, 1, 3))
        self.assertFalse((self.home / "cut.json").exists())

    def test_a_signal_ends_it_where_nobody_reads_the_output(self):
        """As in `assay verify … | less`: the pipe is full and the command waits for it."""
        stuck = subprocess.Popen([str(assay_home.options.assay), "verify", *["one.run.jsonl"] * 3000], cwd=self.home, env=self.environment,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        wait_until(lambda: "pipe" in pathlib.Path(f"/proc/{stuck.pid}/wchan").read_text())
        stuck.send_signal(signal.SIGINT)
        self.assertEqual(stuck.wait(20), 130)
        stuck.stdout.close()

    def test_a_proposer_is_mended_in_its_file(self):
        text = (self.home / "tt/PROGRAM.toml").read_text()
        for proposer, key in (('kind = "openai"\nmodel = "x"', "endpoint"), ('kind = "openai"\nendpoint = "http://127.0.0.1:9/v1"', "model"),
                              ('kind = "openai"\nmodel = "x"\nendpoint = "http://127.0.0.1:9/v1"\nkey_env = "NO_SUCH"', "key_env")):
            self.write("tt/proposer.toml", text + f"\n[proposer]\n{proposer}\n")
            error = self.error_of("compile", "tt/proposer.toml", *self.server.lane, want=2)
            self.assertIn("[proposer]", error["path"])
            self.assertIn(key, error["remedy"])
            self.assertNotIn("--", error["remedy"])
        self.write("tt/served.toml", text.replace('kind = "local"', 'kind = "openai"\nendpoint = "http://127.0.0.1:9/v1"\nmodel = "far"')
                   .replace("max_tokens = 16", "max_tokens = 16, constrain = true"))
        self.json("run", "tt/served.toml", TICKET, "--lane", "local")  # the server's model is none of this machine's

    def test_a_damaged_counter_of_looks_is_not_begun_anew(self):
        compiled = ["compile", "tt/PROGRAM.toml", *self.server.lane, "--cache", "looks.cache", "-o", "looks.module.json"]
        self.json(*compiled)
        (counter,) = [file for file in (self.home / ".local/share/assay/looks").iterdir() if file.suffix != ".lock"]
        whole = counter.read_text()
        counter.write_text("garbage")
        asked = len(self.server.asked)
        self.assertIn("counter of test looks is damaged", self.error_of(*compiled, want=1)["message"])
        self.assertEqual((counter.read_text(), len(self.server.asked)), ("garbage", asked))
        counter.write_text(whole)
        again = self.json(*compiled)
        self.assertFalse(again["repeatable"])  # a server may answer otherwise
        card = json.loads((self.home / "looks.module.json").read_text())["manifest"]["scorecard"]
        self.assertEqual(card["test_looks"], int(whole.splitlines()[0]) + 1)

    def test_what_is_asked_for_is_done_or_refused(self):
        job = {"sandbox": {"provider": "native", "image_digest": "native"}, "commands": [{"cmd": "echo ran", "timeout_secs": 1}]}
        error = self.error_of("sandbox", "run", "--request", self.write("job.json", json.dumps(job)), want=6)
        self.assertEqual((error["message"], error["path"]), ("unsupported: timeout_secs", "commands[0].timeout_secs"))
        self.error_of("sandbox", "run", "--env", b"A=\xff".decode(errors="surrogateescape"), "--", "true", want=2)
        rows = ["--data", "tt/rows.csv"]
        self.error_of("eval", "tt/PROGRAM.toml", *rows, "--set", "train", *self.server.lane, want=2)
        self.error_of("eval", "tt/PROGRAM.toml", "--map", "ticket=ticket", *self.server.lane, want=2)
        self.error_of("eval", "tt/PROGRAM.toml", *rows, "--map", "ticket=urgency", "--map", "ticket=ticket", *self.server.lane, want=2)
        self.error_of("hud", "--port", "0", "--runs", "nowhere", want=2)
        book = {"format": "assay.prices/1", "prices": [{"lane_kind": "openai", "model": "*", "prompt_msats_per_mtok": 1, "completion_msats_per_mtok": 1,
                                                        "source": "s", "date": "2026-13-45"}]}
        self.error_of("prices", "check", self.write("book.json", json.dumps(book)), want=1)

    def test_a_cache_between_commands_asks_once(self):
        def run(name, asked, cached, want=0):
            before = len(self.server.asked)
            done = self.json("run", "tt/PROGRAM.toml", "ticket=My screen flickers", *self.server.lane, "--cache", "kept/answers", "--record", name, want=want)
            self.assertEqual((len(self.server.asked) - before, done["usage"]["calls"], done["usage"]["cached_calls"]), (asked, asked, cached))
            self.assertTrue(self.json("verify", "--complete", name)["ok"])
            self.assertTrue(self.json("replay", name, "--module", "tt/PROGRAM.toml")["identical"])
        run("first.run.jsonl", 1, 0)
        run("second.run.jsonl", 0, 1)
        kept = [path for path in (self.home / "kept/answers").rglob("*.json")]
        self.assertEqual([path.stat().st_mode & 0o777 for path in kept], [0o600])
        kept[0].write_text(kept[0].read_text().replace("low", "high"))
        run("third.run.jsonl", 1, 0)
        before = len(self.server.asked)
        first = self.json("compile", "tt/PROGRAM.toml", *self.server.lane, "--cache", "kept/answers", "--journal", "a.run.jsonl", "-o", "a.json")
        asked = len(self.server.asked) - before
        again = self.json("compile", "tt/PROGRAM.toml", *self.server.lane, "--cache", "kept/answers", "--journal", "b.run.jsonl", "-o", "b.json")
        self.assertGreater(asked, 10)
        self.assertEqual((len(self.server.asked) - before, again["usage"]["calls"]), (asked, 0))
        self.assertEqual((again["compiled_id"], again["score"]), (first["compiled_id"], first["score"]))
        self.assertTrue(self.json("replay", "b.run.jsonl")["identical"])

    def test_of_many_commands_at_once_one_asks(self):
        self.server.go_on.clear()
        self.addCleanup(self.server.go_on.set)
        before = len(self.server.asked)
        command = [str(assay_home.options.assay), "run", "tt/PROGRAM.toml", "ticket=The lift is stuck", *self.server.lane, "--cache", "shared", "--json"]
        many = [subprocess.Popen(command, cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        self.assertTrue(self.server.wait_for(before + 1))
        late = self.json(*command[1:-1], "--budget", "seconds=1", want=5)["error"]
        self.assertEqual((late["code"], late["path"]), ("over_budget", "budget.seconds"))
        self.assertFalse(wait_until(lambda: len(self.server.asked) > before + 1, 2))
        self.server.go_on.set()
        done = [json.loads(process.communicate(timeout=60)[0]) for process in many]
        self.assertEqual(len(self.server.asked), before + 1)
        self.assertEqual(sorted(one["usage"]["calls"] for one in done), [0, 0, 0, 1])
        self.assertEqual([path.name for path in (self.home / "shared").rglob("*.lock")], [])

    def test_a_module_beside_a_journal_is_the_one_that_it_makes(self):
        made = self.json("compile", "tt/PROGRAM.toml", *self.server.lane, "--journal", "j.run.jsonl", "-o", "j.module.json")
        self.assertEqual(self.json("replay", "j.run.jsonl", "--module", "j.module.json")["compiled_id"], made["compiled_id"])
        self.error_of("replay", "j.run.jsonl", "--module", "nowhere.json", want=1)
        self.error_of("replay", "j.run.jsonl", "--module", "tt/PROGRAM.toml", want=2)
        other = (self.home / "tt/PROGRAM.toml").read_text().replace("Decide how urgent", "Say how urgent")
        self.write("tt/OTHER.toml", other)
        self.assay("compile", "tt/OTHER.toml", *self.server.lane, "--journal", "o.run.jsonl", "-o", "o.module.json")
        self.assay("replay", "j.run.jsonl", "--module", "o.module.json", want=4)
        # Compiled twice, one id: each journal has its own module, and the store finds it by the id.
        again = self.json("compile", "tt/PROGRAM.toml", *self.server.lane, "--journal", "k.run.jsonl", "-o", "k.module.json")
        self.assertEqual(again["compiled_id"], made["compiled_id"])
        differs = self.json("replay", "j.run.jsonl", "--module", "k.module.json", want=4)["divergence"]
        self.assertTrue(differs["what"].startswith("manifest.provenance.journal_root"), differs)
        for journal in ("j.run.jsonl", "k.run.jsonl"):
            self.assertTrue(self.json("replay", journal, "--module", made["compiled_id"])["identical"])

    def test_show_reads_a_pipe(self):
        for file, shown in (("one.run.jsonl", "classify"), (self.golden / "pipeline.module.json", "signer"), ("one.run.jsonl", "complete")):
            done = subprocess.run(["bash", "-c", f"cat {file} | {assay_home.options.assay} show /dev/stdin"], cwd=self.home, env=self.environment,
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(shown, done.stdout)

    def test_the_hud_of_a_compile_shows_this_compile_and_tells_each_event_once(self):
        self.server.go_on.clear()
        self.addCleanup(self.server.go_on.set)
        before = len(self.server.asked)
        process = subprocess.Popen([str(assay_home.options.assay), "compile", "tt/PROGRAM.toml", *self.server.lane, "--hud", "0", "--threads", "1", "--journal",
                                    "elsewhere/live.run.jsonl"], cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        url = next(line.split()[1] for line in process.stderr if line.startswith("HUD "))
        events = collections.Counter()
        stream = urllib.request.urlopen(url + "/stream", timeout=60)
        self.assertIn(b"hello", stream.readline() + stream.readline())

        def listen():
            kind = ""
            try:
                for line in stream:
                    if line.startswith(b"event:"):
                        kind = line.split(b":", 1)[1].strip().decode()
                    elif line.startswith(b"data:"):
                        events[kind, json.loads(line.split(b":", 1)[1]).get("run_id")] += 1
            except (OSError, ValueError):
                pass  # the server is gone
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()

        def runs():
            with urllib.request.urlopen(url.replace("/hud", "/api/runs"), timeout=20) as answer:
                return [run["id"] for run in json.loads(answer.read())["runs"]]
        self.assertTrue(self.server.wait_for(before + 1))
        run_id = json.loads((self.home / "elsewhere/live.run.jsonl").read_text().splitlines()[0])["data"]["run_id"]
        self.assertTrue(wait_until(lambda: run_id in runs()))
        self.server.go_on.set()
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        self.assertEqual(process.wait(120), 0)
        listener.join(20)
        lines = [json.loads(line) for line in (self.home / "elsewhere/live.run.jsonl").read_text().splitlines()]
        written = collections.Counter(line["type"] for line in lines)
        self.assertEqual(events["candidate", run_id], written["candidate"])
        self.assertGreater(events["lm_end", run_id], 1)
        self.assertLessEqual(events["lm_end", run_id], written["lm_response"] + written["cache_hit"])
        self.assertEqual([key for key in events if key[0] in ("candidate", "lm_start", "lm_end", "node_start", "node_end") and key[1] != run_id], [])


if __name__ == "__main__":
    assay_home.main()
