"""Full disks, files without end, locked and read-only places, two at once, Ctrl-C: a clear error, nothing half written, nothing paid twice.

    python3 tests/hard_times_test.py --assay build/assay --source .
"""
import collections
import fcntl
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import assay_home  # noqa: E402
from assay_home import Home, wait_until  # noqa: E402
from chat_server import ChatServer  # noqa: E402

GIB = 1 << 30
MEMORY_MAX_KIB = 400 * 1024  # a GiB-sized line must not come into memory


def by_rule(text):
    return "Urgency: high" if "down" in text or "log in" in text else "Urgency: low"


class HardTimes(Home):
    def setUp(self):
        self.server = ChatServer(by_rule)
        self.addCleanup(self.server.close)
        self.work = self.home / self.id().rsplit(".", 1)[-1]
        self.work.mkdir()
        self.assay("init", self.work / "tt")
        program = self.work / "tt/PROGRAM.toml"
        program.write_text(program.read_text().replace(", constrain = true", ""))
        self.program = program
        self.journal = self.work / "c.run.jsonl"
        self.module = self.work / "tt/ticket-triage.module.json"

    def compile(self, *more, lane=None):
        return ["compile", str(self.program), *(lane or self.server.lane), "--journal", str(self.journal), "--threads", "1", *more]

    def start(self, *arguments, **how):
        return subprocess.Popen([str(assay_home.options.assay), *arguments], cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)

    def limited(self, bytes_max, *arguments, want=1):
        """Runs with files that can grow to so many bytes only: every writer meets its full disk."""
        process = self.start(*arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max)))
        out, err = process.communicate(timeout=300)
        self.assertEqual(process.returncode, want, out + err)
        return out + err

    def measured(self, *arguments, want):
        """Exit code checked, text and the most memory it took, in KiB."""
        log = self.work / "log"
        with open(log, "w") as out:
            process = subprocess.Popen([str(assay_home.options.assay), *map(str, arguments)], cwd=self.home, env=self.environment,
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, want, log.read_text())
        return log.read_text(), usage.ru_maxrss

    def whole(self):
        """What an undisturbed compile gives, and how often each question is asked in it."""
        before = len(self.server.asked)
        result = self.json("compile", self.program, *self.server.lane, "--threads", 1, "--journal", self.work / "whole.run.jsonl", "-o", self.work / "whole.module.json")
        asked = self.server.asked[before:]
        del self.server.asked[:]
        return result, asked

    def check_resumed(self, whole, asked, unknown=0):
        result = self.json(*self.compile("--resume"))
        self.assertEqual((result["compiled_id"], result["score"], result["baseline"]), (whole["compiled_id"], whole["score"], whole["baseline"]))
        extra = collections.Counter(self.server.asked) - collections.Counter(asked)
        self.assertLessEqual(sum(extra.values()), unknown, "asked, and paid, twice")
        self.assertTrue(self.json("verify", "--complete", self.journal)["ok"])
        self.assertEqual(self.json("replay", self.journal)["compiled_id"], whole["compiled_id"])
        return result

    def other_user(self, environment):
        """A function that runs the binary as a user to whom nothing here belongs."""
        binary = self.work / "assay"  # a copy: the built one may lie where others may not go
        shutil.copy(assay_home.options.assay, binary)
        binary.chmod(0o755)

        def as_nobody(*arguments):
            return subprocess.run([str(binary), *map(str, arguments)], cwd=self.work, env=environment, capture_output=True,
                                  text=True, timeout=120, stdin=subprocess.DEVNULL, user=65534, group=65534, extra_groups=[])
        self.assertEqual(as_nobody("--version").returncode, 0)
        return as_nobody

    def leftovers(self, folder):
        return [str(p) for p in folder.rglob("*") if p.is_file() and (".module.json." in p.name or ".json." in p.name)]

    # --- full disks ---

    def test_a_full_disk_ends_a_compile_and_a_resume_goes_on(self):
        whole, asked = self.whole()
        for most in (700, *range(4_000, 20_000, 2_500), 20_000, 40_000, 60_000):
            self.journal.unlink(missing_ok=True)
            del self.server.asked[:]
            text = self.limited(most, *self.compile())
            self.assertIn("the record cannot be written", text)
            self.assertTrue(self.json("verify", self.journal, want=0 if self.journal.stat().st_size else 3)["files"])
            self.assertEqual(self.leftovers(self.work), [])
            self.check_resumed(whole, asked, unknown=1)  # an answer that could not be written down is asked for again

    def test_a_full_disk_ends_a_run_a_put_and_an_export_with_nothing_half_written(self):
        result, _ = self.whole()
        module = str(self.work / "whole.module.json")
        self.assertIn("cannot be written", self.limited(300, "run", module, "ticket=x", *self.server.lane, "--record", str(self.work / "r.run.jsonl")))
        shutil.rmtree(self.home / ".local/share/assay/store")
        self.limited(300, "store", "put", module)
        store = self.home / ".local/share/assay/store"
        self.assertEqual([p for p in store.rglob("*") if p.is_file() and p.stat().st_size > 0], [])
        self.assay("store", "put", module)
        self.limited(300, "store", "get", result["compiled_id"], "-o", str(self.work / "out.module.json"))
        self.assertFalse((self.work / "out.module.json").exists())
        self.assertEqual(self.leftovers(self.work), [])
        with open("/dev/full", "w") as full:
            shown = subprocess.run([str(assay_home.options.assay), "show", module], cwd=self.home, env=self.environment, stdout=full,
                                   stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        self.assertEqual(shown.returncode, 1)
        self.assertIn("the output could not be written", shown.stderr)

    def test_a_disk_of_one_mebibyte_fills_up_and_is_cleared(self):
        script = """set -e; mount -t tmpfs -o size=1m small "$1"; cd "$1"
            head -c 1000000 /dev/zero > ballast; set +e; shift; "$@"; echo "first $?"; rm ballast; "$@" --resume; echo "second $?" """
        disk = self.work / "disk"
        disk.mkdir()
        if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0:
            self.skipTest("no user and mount namespaces here")
        self.journal = disk / "c.run.jsonl"
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script, "sh", str(disk), str(assay_home.options.assay), *self.compile()],
                              cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
        self.assertIn("first 1", done.stdout, done.stderr)
        self.assertIn("No space left on device", done.stderr)
        self.assertIn("second 0", done.stdout, done.stderr)

    # --- lines without end ---

    def test_a_line_of_a_gibibyte_in_a_record_is_refused_in_bounded_memory(self):
        self.assay("run", self.program, "ticket=x", *self.server.lane, "--record", self.work / "r.run.jsonl")
        record = self.work / "r.run.jsonl"
        with open(record, "r+b") as file:
            file.truncate(record.stat().st_size + GIB)  # zero bytes without a line's end
        for command in (["verify"], ["show"], ["replay"], ["trace", "export"]):
            text, memory = self.measured(*command, record, want=3)
            self.assertRegex(text, r":\d+")
            self.assertLess(memory, MEMORY_MAX_KIB, command)
        text, memory = self.measured(*self.compile()[:-4], "--journal", record, "--resume", want=3)
        self.assertLess(memory, MEMORY_MAX_KIB)

    def test_a_line_of_a_gibibyte_in_a_data_file_is_refused_in_bounded_memory(self):
        rows = self.program.parent / "rows.csv"
        rows.write_text("ticket,urgency\nx,low\n")
        os.truncate(rows, GIB - 1)
        text, memory = self.measured(*self.compile(), want=1)
        self.assertIn("rows.csv:3", text)
        self.assertLess(memory, MEMORY_MAX_KIB)
        os.truncate(rows, 4 * GIB)
        text, memory = self.measured(*self.compile(), want=1)
        self.assertIn("bytes", text)
        self.assertLess(memory, MEMORY_MAX_KIB)
        inputs = self.write("in.jsonl", '{"ticket":"x"}\n')
        os.truncate(inputs, 200 << 20)
        text, memory = self.measured("run", self.program, "--inputs", inputs, *self.server.lane, want=1)
        self.assertIn("in.jsonl:2", text)
        self.assertLess(memory, MEMORY_MAX_KIB)

    # --- places that cannot be written ---

    @unittest.skipUnless(os.geteuid() == 0, "another user is played by root")
    def test_a_read_only_home_is_said_before_anything_is_asked(self):
        home = self.work / "home"
        home.mkdir()
        self.work.chmod(0o777)
        (self.work / "tt").chmod(0o777)
        self.home.chmod(0o711)
        home.chmod(0o555)
        environment = dict(self.environment, HOME=str(home), XDG_CACHE_HOME=str(self.work / "cache"))

        as_nobody = self.other_user(environment)
        done = as_nobody(*self.compile())
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("Permission denied", done.stderr)
        self.assertEqual(self.server.asked, [], "it asked, and paid, before it knew that it cannot end")
        self.assertFalse(self.journal.exists())
        ran = as_nobody("run", self.program, "ticket=x", *self.server.lane, "--key", "none", "--record", self.work / "r.run.jsonl")
        self.assertEqual(ran.returncode, 0, ran.stderr)  # that needs no home

    @unittest.skipUnless(os.geteuid() == 0, "another user is played by root")
    def test_a_read_only_store_gives_and_lists_but_does_not_take(self):
        whole, _ = self.whole()
        data = self.work / "data"
        shutil.copytree(self.home / ".local/share/assay", data / "assay")
        for path in [data, *data.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        for folder in (self.home, self.work):
            folder.chmod(0o711)
        home = self.work / "home"
        home.mkdir()
        (home / ".config/assay").mkdir(parents=True)
        for folder in (home, home / ".config", home / ".config/assay"):
            os.chown(folder, 65534, 65534)
        environment = dict(self.environment, HOME=str(home), XDG_DATA_HOME=str(data), XDG_CACHE_HOME=str(self.work / "cache"))

        as_nobody = self.other_user(environment)
        signer = json.loads((self.work / "whole.module.json").read_text())["manifest"]["signer"]
        self.assertEqual(as_nobody("trust", "add", signer, "ticket-triage").returncode, 0)
        listed = as_nobody("store", "ls")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        self.assertIn(whole["compiled_id"], listed.stdout)
        self.assertEqual(as_nobody("store", "gc").returncode, 0)
        for command in (["store", "put", self.work / "whole.module.json"], ["store", "ref", "a", whole["compiled_id"]], ["store", "gc", "--yes", "--older-than", "0"]):
            refused = as_nobody(*command)
            self.assertEqual(refused.returncode, 1, refused.stdout + refused.stderr)
            self.assertIn("Permission denied", refused.stderr)

    # --- two at once ---

    def test_puts_and_sweeps_at_once_leave_a_whole_store(self):
        whole, _ = self.whole()
        module = self.work / "whole.module.json"
        failures = []

        def again_and_again(*arguments):
            for _ in range(15):
                done = subprocess.run([str(assay_home.options.assay), *map(str, arguments)], cwd=self.home, env=self.environment,
                                      capture_output=True, text=True, stdin=subprocess.DEVNULL)
                if done.returncode != 0:
                    failures.append(done.stderr)

        threads = [threading.Thread(target=again_and_again, args=arguments) for arguments in
                   [("store", "put", module), ("store", "put", module), ("store", "gc", "--yes", "--older-than", "0"), ("store", "ls")]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        store = self.home / ".local/share/assay/store"
        for manifest in (store / "manifests").glob("*.json"):
            self.assertTrue((store / "artifacts" / (json.loads(manifest.read_text())["compiled_id"] + ".json")).exists(), "a manifest without its artifact")
        self.assay("store", "put", module)
        self.assertEqual(self.assay("store", "get", whole["compiled_id"]).stdout, module.read_text())

    def test_of_two_resumes_one_goes_on_and_the_other_says_who(self):
        whole, asked = self.whole()
        self.server.go_on.clear()
        process = self.start(*self.compile())
        self.assertTrue(self.server.wait_for(1))
        process.kill()
        process.communicate()
        first = self.start(*self.compile("--resume"))
        self.assertTrue(self.server.wait_for(2))
        size = self.journal.stat().st_size
        second = self.assay(*self.compile("--resume"), want=7)
        self.assertRegex(second.stderr, rf"another process( \({first.pid}\))? is writing this record")
        self.assertEqual(self.journal.stat().st_size, size)
        self.server.go_on.set()
        out, err = first.communicate(timeout=120)
        self.assertEqual(first.returncode, 0, err)
        self.check_resumed(whole, asked, unknown=1)

    # --- Ctrl-C ---

    def test_the_first_ctrl_c_saves_and_a_resume_goes_on(self):
        whole, asked = self.whole()
        self.server.go_on.clear()
        process = self.start(*self.compile())
        self.assertTrue(self.server.wait_for(1))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("--resume", err)
        self.assertEqual(self.json("verify", self.journal)["files"][0]["state"], "open")
        self.server.go_on.set()
        self.check_resumed(whole, asked, unknown=1)

    def test_the_second_ctrl_c_ends_at_once_and_a_resume_goes_on(self):
        whole, asked = self.whole()
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        process = subprocess.Popen([str(assay_home.options.assay), *self.compile()], cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=writing)
        self.assertTrue(self.server.wait_for(8))
        self.server.go_on.clear()  # an answer is awaited; then nobody reads the notes any more
        try:
            while True:
                os.write(writing, b"." * 512)
        except BlockingIOError:
            pass
        os.set_blocking(writing, True)  # of the open pipe: the process blocks in its next note
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        if process.poll() is None:  # the note about the stop blocks
            process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        os.close(reading)
        os.close(writing)
        self.server.go_on.set()
        self.check_resumed(whole, asked, unknown=1)

    # --- wrong journals, wrong rows ---

    def test_the_journal_of_another_program_is_refused_and_left_alone(self):
        self.assay(*self.compile())
        before = self.journal.read_bytes()
        self.program.write_text(self.program.read_text().replace('name = "ticket-triage"', 'name = "another"'))
        refused = self.assay(*self.compile("--resume"), want=6)
        self.assertIn("the journal is of another compile", refused.stderr)
        self.assertEqual(self.journal.read_bytes(), before)
        run = self.work / "r.run.jsonl"
        self.assay("run", self.program, "ticket=x", *self.server.lane, "--record", run)
        self.journal = run
        self.assay(*self.compile("--resume"), want=6)  # a run's record is no compile's
        self.journal = self.write("diary.run.jsonl", "Dear diary\n")
        self.assay(*self.compile("--resume"), want=3)
        self.assertEqual((self.home / "diary.run.jsonl").read_text(), "Dear diary\n")
        self.journal = self.work / "nothing.run.jsonl"
        self.assay(*self.compile("--resume"), want=1)

    def test_wrong_rows_are_named_by_file_and_line(self):
        rows = self.program.parent / "rows.csv"
        good = rows.read_text()
        cases = [("ticket,urgency\nx,low\ny\n", "rows.csv:3"),                  # a field is missing
                 ("ticket,urgency\nx,low\ny,medium\n", "rows.csv:3"),           # a label outside the Literal
                 ("ticket\nx\n", "rows.csv:1"),                                 # a column is missing
                 ("ticket,urgency\n", "rows"),                                  # no rows at all
                 ("", "rows.csv")]
        for text, place in cases:
            rows.write_text(text)
            refused = self.assay(*self.compile(), want=1)
            self.assertIn(place, refused.stderr)
            self.assertNotIn("internal", refused.stderr)
        self.assertEqual(self.server.asked, [])
        rows.write_text(good)
        data = self.program.read_text()
        for name in ("train", "val", "test"):
            (self.program.parent / f"{name}.csv").write_text(good)
        split = 'file = "rows.csv"                                  # columns: ticket, urgency\nsplit = { train = 0.4, val = 0.3, test = 0.3 }'
        self.assertIn(split, data)
        self.program.write_text(data.replace(split, 'train = "train.csv"\nval = "val.csv"\ntest = "test.csv"'))
        overlapping = self.assay(*self.compile(), want=6)
        self.assertIn("allow_overlap", overlapping.stderr)
        (self.program.parent / "test.csv").write_text("ticket,urgency\n")
        empty = self.assay(*self.compile("--allow-overlap"), want=1)
        self.assertIn("test", empty.stderr)
        self.assertEqual(self.server.asked, [])


if __name__ == "__main__":
    assay_home.main()
