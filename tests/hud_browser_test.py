#!/usr/bin/env python3
"""The HUD in a real browser: a run and a compile of another process appear while they go, and nothing in them becomes code.

    tests/hud_browser_test.py --assay build/assay [--source .] [--pictures FOLDER]
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from run_record import RecordWriter  # noqa: E402
from web_driver import Browser, find_tools  # noqa: E402

options = None

MS = 1_000_000
HOSTILE = ['<script>window.owned = 1</script>', '<img src=x onerror="window.owned=1">', "'\"><svg/onload=alert(1)>", "javascript:alert(1)", "\u202etxt.exe"]


class Hud:
    """The server, as a user starts it."""

    def __init__(self, folder, port="0"):
        self.process = subprocess.Popen([options.assay, "hud", "--port", port, "--runs", folder], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"HUD (http://127\.0\.0\.1:\d+/hud)\n", line)
        if not match:
            self.stop()
            raise AssertionError(f"no ready line: {line!r}")
        self.url = match[1]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()


def text_is(selector, text):
    return f"return [...document.querySelectorAll({selector!r})].some(e => e.textContent.includes({text!r}))"


class HudBrowserTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser().__enter__()
        cls.addClassCleanup(cls.browser.__exit__, None, None, None)

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="assay-hud-")
        self.addCleanup(self.folder.cleanup)
        self.hud = Hud(self.folder.name)
        self.addCleanup(self.hud.stop)
        self.addCleanup(self.browser.open, "about:blank")  # before the server stops: a page that still polls would complain in the next test
        self.browser.console()

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def open_run(self, run_id, place=""):
        """Opens a run's page once the server has read its first line."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with urllib.request.urlopen(self.hud.url.replace("/hud", "/api/runs"), timeout=20) as answer:
                if run_id in (row["id"] for row in json.load(answer)["runs"]):
                    return self.browser.open(f"{self.hud.url}#/run/{run_id}{place}")
            time.sleep(0.05)
        raise AssertionError(f"the server did not find run {run_id}")

    def picture(self, name):
        if options.pictures:
            time.sleep(0.4)
            self.browser.picture(os.path.join(options.pictures, name))

    def assert_clean(self):
        self.assertEqual(self.browser.console(), [], "errors in the console")
        self.assertIsNone(self.browser.run("return window.owned ?? null"), "a text became code")

    def test_a_run_of_another_process_appears_and_can_be_read(self):
        browser = self.browser
        browser.open(self.hud.url)
        browser.until(text_is("h2", "No runs yet"))
        browser.until("return document.getElementById('link').dataset.state === 'live'")
        self.picture("hud-empty.png")

        record = RecordWriter(self.path("live.run.jsonl"), "1" * 32, settings={"program": {"name": "package-triage"}}, started_unix_ns=time.time_ns())
        record.start("classify", "PackageTriage", {"description": "imap client"}, 1 * MS)
        sent = record.request("classify", [{"role": "system", "content": "Choose the section."}, {"role": "user", "content": "Description: imap client"}], 2 * MS)
        browser.until(text_is("tbody tr", "package-triage"), what="the run in the list")
        browser.until("return document.querySelector('tbody .badge').textContent === 'running'")
        browser.click("tbody tr a")
        browser.until("return document.querySelector('.waterfall .row[data-kind=Predict][data-status=open]')", what="the open node in the waterfall")

        record.response("classify", sent, "Section: mail", 90 * MS, prompt=61, completion=4, cost=12)
        record.end("classify", {"section": "mail"}, 91 * MS)
        record.finish(92 * MS)
        browser.until("return document.querySelector('.waterfall .row[data-kind=Predict][data-status=ok]')", what="the end of the node, without a reload")
        browser.until("return document.querySelector('h1 .badge').dataset.state === 'complete'")
        widths = browser.run("return [...document.querySelectorAll('.waterfall .time .bar')].map(e => e.getBoundingClientRect().width)")
        self.assertEqual(len(widths), 2)
        self.assertGreater(min(widths), 50, "bars as long as what they stand for")

        browser.click(".waterfall .row[data-kind=Call]")
        browser.until(text_is(".panel .message[data-role=answer] pre", "Section: mail"))
        panel = browser.run("return document.querySelector('.panel').innerText")
        for part in ("imap client", "61 tokens", "4 tokens", "12 msat", "stop", "tiny", "local", "88.0 ms"):
            self.assertIn(part, panel)
        self.assert_clean()

    def test_texts_of_a_record_stay_texts(self):
        browser = self.browser
        record = RecordWriter(self.path("hostile.run.jsonl"), "2" * 32, settings={"program": {"name": HOSTILE[0]}}, models=(HOSTILE[1],))
        record.start("classify", HOSTILE[0], {HOSTILE[1]: HOSTILE[0], "__proto__": {"x": HOSTILE[2]}}, 1 * MS)
        sent = record.request("classify", [{"role": HOSTILE[1], "content": text} for text in HOSTILE], 2 * MS)
        record.response("classify", sent, "\n".join(HOSTILE), 50 * MS, finish=HOSTILE[0])
        record.end("classify", None, 60 * MS, status="error", error={"code": HOSTILE[1], "message": HOSTILE[0], "path": HOSTILE[2]})
        record.line("error", "", {"code": "unreadable", "message": HOSTILE[1], "path": ""})
        record.close()
        browser.open(self.hud.url)
        browser.until(text_is("tbody tr", HOSTILE[0]))
        browser.click("tbody tr a")
        browser.until("return document.querySelector('.waterfall .row[data-kind=Call]')")
        browser.click(".waterfall .row[data-kind=Call]")
        browser.until(text_is(".panel .message[data-role=answer] pre", HOSTILE[1]))
        shown = browser.run("return document.querySelector('.panel').textContent")
        for text in HOSTILE[:4]:
            self.assertIn(text, shown)
        self.assertIn("⟦U+202E⟧txt.exe", shown, "a text that turns its reader round is marked")
        self.assertEqual(browser.run("return document.querySelectorAll('main script, main img, main svg, main iframe, main [onerror], main [onload]').length"), 0)
        self.assertEqual(browser.run("return document.querySelectorAll('script').length"), 1)
        self.assert_clean()

    def test_a_compile_is_shown_live(self):
        browser = self.browser
        plan = {"artifact": {"program": {"name": "package-triage", "version": "1"}},
                "optimizer": {"name": "BootstrapFewShotWithRandomSearch", "config": {"num_candidates": 3, "val_rows": 4}}}
        journal = RecordWriter(self.path("compile.run.jsonl"), "3" * 32, program=plan, started_unix_ns=time.time_ns())
        rows = [{"inputs": {"description": f"package {i}"}, "outputs": {"section": "mail"}} for i in range(4)]
        for name in ("train", "val", "test"):
            journal.line("event", "", {"name": "data", "data": {"set": name, "rows": rows}})
        self.open_run("3" * 32)
        browser.until(text_is("h1", "package-triage"))
        browser.until("return document.querySelector('.columns')?.innerText.includes('Candidates appear here')", what="the empty chart")

        def candidate(number, scores, done=True):
            for i, value in enumerate(scores):
                place = f"search/cand:{number}/val/ex:{number}{i}{'a' * 14}"
                t = journal.t + 20 * MS
                journal.start(f"{place}/classify", "PackageTriage", {"description": f"package {i}"}, t)
                sent = journal.request(f"{place}/classify", [{"role": "user", "content": f"package {i} of {number}"}], t)
                journal.response(f"{place}/classify", sent, f"answer {number}.{i}", t + 15 * MS, prompt=100, completion=2, cost=3)
                journal.end(f"{place}/classify", {"section": "mail"}, t + 16 * MS)
                journal.line("score", place, {"example": "e" * 64, "metric": "accuracy", "value": value})
            if done:
                mean = sum(scores) / len(scores)
                journal.line("candidate", f"search/cand:{number}", {"id": f"cand:{number}", "compiled_id": f"{number}" * 64, "metrics": {"accuracy": mean}})

        candidate(0, [1, 0, 1, 0])
        browser.until("return document.querySelectorAll('.chart .mark').length === 1", what="the first candidate in the chart")
        browser.until(text_is(".activity li", "answer 0.3"), what="answers as they come")
        candidate(1, [1, 1, 1, 0])
        candidate(2, [1, 1], done=False)
        browser.until("return document.querySelectorAll('.chart .mark').length === 3 && document.querySelectorAll('.chart .mark.open').length === 1")
        table = browser.run("return document.querySelector('table').innerText")
        for part in ("cand:0", "0.500", "cand:1", "0.750", "+0.250", "best", "running"):
            self.assertIn(part, table)
        self.assertEqual(browser.run("return document.querySelector('progress').value"), 10)
        self.assertEqual(browser.run("return document.querySelector('progress').max"), 4 * 4 + 2 * 4)
        self.assertIn("30 msat", browser.run("return document.querySelector('.tiles').innerText"))

        journal.line("decision", "", {"what": "best", "value": "cand:1"})
        interval = {"low": 0.5, "high": 0.9, "level": 0.95, "method": "wilson/1"}
        journal.line("decision", "", {"what": "scorecard", "value": {"primary": "accuracy", "score": 0.75, "interval": interval, "gain": 0.25, "gain_interval": {**interval, "low": 0.1},
                                                                     "baseline": {"score": 0.5, "interval": interval}}})
        journal.line("decision", "", {"what": "promoted", "value": True})
        journal.finish()
        browser.until(text_is(".tile", "0.100 – 0.900 (95 %)"), what="the scorecard's interval of the gain")
        browser.until("return document.querySelector('h1 .badge').dataset.state === 'complete'")

        browser.run("document.querySelector('.chart .mark.best').dispatchEvent(new MouseEvent('click'))")
        browser.until("return location.hash.endsWith('/trace/search/cand%3A1')")
        browser.until("return document.querySelectorAll('.waterfall .row[data-kind=Call]').length === 4", what="the calls of that candidate only")
        self.assert_clean()

    def test_the_waterfall_works_by_keyboard(self):
        browser = self.browser
        record = RecordWriter(self.path("keys.run.jsonl"), "4" * 32)
        for number, node in enumerate(("draft", "draft:1")):
            record.start(node, "Draft", {"n": number}, (1 + number * 10) * MS)
            sent = record.request(node, [{"role": "user", "content": f"question {number}"}], (2 + number * 10) * MS)
            record.response(node, sent, f"reply {number}", (9 + number * 10) * MS)
            record.end(node, {"text": f"reply {number}"}, (9.5 + number * 10) * MS)
        record.finish()
        self.open_run("4" * 32)
        browser.until("return document.querySelectorAll('.waterfall .row[data-kind=Call]').length === 2")
        down, left, enter, escape = "\ue015", "\ue012", "\ue007", "\ue00c"
        browser.run("document.querySelector('.waterfall .row[tabindex=\"0\"]').focus()")
        browser.keys(down + down + down + enter)
        browser.until(text_is(".panel .message[data-role=answer] pre", "reply 1"))
        browser.keys(escape)
        browser.until("return document.querySelector('aside').hidden")
        browser.keys(left + left)
        browser.until("return document.querySelectorAll('.waterfall .row[data-kind=Call]').length === 1", what="the closed node")
        self.assertEqual(browser.run("return document.activeElement.getAttribute('aria-expanded')"), "false")
        self.assert_clean()

    def test_broken_and_interrupted_records_say_so(self):
        browser = self.browser
        RecordWriter(self.path("gone.run.jsonl"), "5" * 32).close()
        with open(self.path("junk.run.jsonl"), "w") as file:
            file.write("{}\n")
        browser.open(self.hud.url)
        browser.until("return [...document.querySelectorAll('tbody .badge')].map(e => e.textContent).sort().join() === 'broken,interrupted'")
        self.open_run("5" * 32)
        browser.until(text_is(".problem", "Interrupted: no process writes"))
        browser.open(self.hud.url + "#/run/" + "6" * 32)
        browser.until(text_is(".problem", "there is no such run"))
        self.assertTrue(all("404" in line for line in browser.console()), "only the answer for the unknown run")

    def test_a_server_that_comes_back_is_found_again(self):
        browser = self.browser
        browser.open(self.hud.url)
        browser.until("return document.getElementById('link').dataset.state === 'live'")
        self.hud.stop()
        browser.until("return document.getElementById('link').textContent === 'reconnecting'")
        RecordWriter(self.path("meanwhile.run.jsonl"), "7" * 32, settings={"program": {"name": "meanwhile"}}).finish()
        self.hud = Hud(self.folder.name, re.search(r":(\d+)/", self.hud.url)[1])
        self.addCleanup(self.hud.stop)
        browser.until("return document.getElementById('link').dataset.state === 'live'", seconds=30)
        browser.until(text_is("tbody tr", "meanwhile"), what="the run that came while the server was away")


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assay", required=True)
    parser.add_argument("--source", default=".")
    parser.add_argument("--pictures", help="also keep screenshots here")
    options, rest = parser.parse_known_args()
    if find_tools() is None:
        print("skipped: chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
        return
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)


if __name__ == "__main__":
    main()
