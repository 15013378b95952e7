"""Signing keys at rest: under a passphrase, imported and exported, read by nostr-tools, and never seen where they do not belong.

    python3 tests/key_test.py --assay build/assay --source .
"""
import json
import os
import pty
import select
import subprocess
import time

import assay_home
from assay_home import Home, interop

PASSPHRASE = "correct horse battery"
NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"  # the example of NIP-19
NSEC_PUBLIC = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e"
NSEC_HEX = "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"


class Keys(Home):
    def setUp(self):
        super().setUp()
        keys = self.home / ".config/assay/keys"
        for key in keys.glob("*") if keys.is_dir() else []:
            key.unlink()

    def secret_file(self, name, text, mode=0o600):
        path = self.write(name, text)
        path.chmod(mode)
        return path

    def with_passphrase(self, passphrase=PASSPHRASE):
        return {"ASSAY_PASSPHRASE_FILE": str(self.secret_file("passphrase", passphrase + "\n"))}

    def on_terminal(self, typed, *arguments):
        """Runs the binary on a terminal of its own; types a line at each colon; gives the exit code and all that the terminal showed."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.home)
            os.execve(str(assay_home.options.assay), ["assay", *arguments], self.environment)
        shown, lines, end = b"", list(typed), time.monotonic() + 120
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            try:
                part = os.read(terminal, 4096)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            shown += part
            if lines and part.rstrip(b" ").endswith(b":"):
                os.write(terminal, lines.pop(0).encode() + b"\n")
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")

    def test_an_encrypted_key_signs_with_its_passphrase_and_not_without(self):
        made = self.json("key", "new", "release", "--encrypt", environment=self.with_passphrase())
        self.assertTrue(made["encrypted"])
        text = (self.home / ".config/assay/keys/release.key").read_text()
        self.assertTrue(text.startswith("ncryptsec1"))
        self.assertEqual(self.json("key", "ls")["public_key"], made["public_key"])  # without the passphrase
        # Every command takes it alike; a sandbox record is the cheapest signed thing.
        run = ["sandbox", "run", "--key", "release", "--receipt", "r.json", "--", "true"]
        nobody = self.assay(*run, want=2)
        self.assertIn("no terminal", nobody.stderr)
        wrong = self.assay(*run, want=6, environment=self.with_passphrase("wrong horse"))
        self.assertIn("the passphrase is wrong", wrong.stderr)
        self.assertNotIn("wrong horse", wrong.stderr + wrong.stdout)
        self.assay(*run, environment=self.with_passphrase())
        self.assertEqual(json.loads((self.home / "r.json").read_text())["signer"], made["public_key"])
        (self.home / "r.json").unlink()
        # The option, and an open file descriptor.
        self.assay("--passphrase-file", "passphrase", *run)
        reading, writing = os.pipe()
        os.write(writing, PASSPHRASE.encode())
        os.close(writing)
        result = subprocess.run([str(assay_home.options.assay), "--passphrase-file", f"/dev/fd/{reading}", *run], cwd=self.home,
                                env=self.environment, pass_fds=[reading], capture_output=True, text=True, timeout=300)
        os.close(reading)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_a_passphrase_that_others_may_read_is_refused(self):
        self.secret_file("open", PASSPHRASE + "\n", mode=0o644)
        refused = self.assay("key", "new", "x", "--encrypt", "--passphrase-file", "open", want=6)
        self.assertIn("chmod 600 open", refused.stderr)
        self.secret_file("two", "a\nb\n")
        self.assertIn("control characters", self.assay("key", "new", "x", "--encrypt", "--passphrase-file", "two", want=2).stderr)
        self.assertFalse((self.home / ".config/assay/keys/x.key").exists())

    def test_encrypt_and_decrypt_keep_the_key(self):
        public = self.json("key", "new")["public_key"]
        plain = (self.home / ".config/assay/keys/default.key").read_text().strip()
        under = self.with_passphrase()
        self.assertEqual(self.json("key", "encrypt", environment=under)["public_key"], public)
        self.assertNotIn(plain, (self.home / ".config/assay/keys/default.key").read_text())
        self.assay("key", "encrypt", want=2, environment=under)  # twice makes no sense
        self.assertEqual((self.home / ".config/assay/keys/default.key").stat().st_mode & 0o777, 0o600)
        self.assay("key", "decrypt", want=6, environment=self.with_passphrase("no"))
        self.assertEqual(self.json("key", "decrypt", environment=self.with_passphrase())["public_key"], public)
        self.assertEqual((self.home / ".config/assay/keys/default.key").read_text().strip(), plain)
        self.assay("key", "decrypt", want=2, environment=under)

    def test_keys_come_in_from_files_and_standard_input(self):
        for name, text in [("a", NSEC), ("b", NSEC_HEX), ("c", NSEC + "\n")]:
            self.secret_file("old", text)
            self.assertEqual(self.json("key", "import", name, "--file", "old")["public_key"], NSEC_PUBLIC)
        result = subprocess.run([str(assay_home.options.assay), "key", "import", "d", "--json"], input=NSEC, cwd=self.home, env=self.environment,
                                capture_output=True, text=True, timeout=60)
        self.assertEqual(json.loads(result.stdout)["public_key"], NSEC_PUBLIC)
        under = self.with_passphrase()
        self.assertTrue(self.json("key", "import", "e", "--file", "old", "--encrypt", environment=under)["encrypted"])
        text = self.json("key", "export", "e", "--encrypted")["ncryptsec"]
        self.secret_file("moved", text)
        self.assertEqual(self.json("key", "import", "f", "--file", "moved", environment=under)["public_key"], NSEC_PUBLIC)
        self.assertEqual(self.json("key", "export", "f", "--encrypted")["ncryptsec"], text)
        self.assay("key", "import", "f", "--file", "old", want=2)  # never replaced
        self.assay("key", "export", "a", want=2)                   # never plain
        self.assay("key", "export", "a", "--encrypted", "-o", "a.ncryptsec", environment=under)
        self.assertEqual((self.home / "a.ncryptsec").stat().st_mode & 0o777, 0o600)
        self.secret_file("bad", "nsec1qqqqqq")
        bad = self.assay("key", "import", "g", "--file", "bad", want=1)
        self.assertNotIn("qqqq", bad.stderr)

    def test_a_secret_as_an_argument_is_refused_and_not_repeated(self):
        for arguments in [("key", "import", NSEC), ("key", "import", "a", NSEC), ("key", "import", NSEC_HEX), ("key", "new", "b", NSEC_HEX),
                          ("run", "x", "--key", NSEC), ("key", "import", f"--file={NSEC}")]:
            refused = subprocess.run([str(assay_home.options.assay), *arguments, "--json"], cwd=self.home, env=self.environment,
                                     capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
            self.assertNotEqual(refused.returncode, 0)
            for secret in (NSEC, NSEC_HEX):
                self.assertNotIn(secret, refused.stdout + refused.stderr, arguments)

    def test_a_person_types_it_twice_and_nothing_is_shown(self):
        code, shown = self.on_terminal([PASSPHRASE, PASSPHRASE], "key", "new", "typed", "--encrypt")
        self.assertEqual(code, 0, shown)
        self.assertIn("New passphrase of key 'typed'", shown)
        self.assertNotIn(PASSPHRASE, shown)
        code, shown = self.on_terminal([PASSPHRASE, "another"], "key", "new", "other", "--encrypt")
        self.assertEqual(code, 2, shown)
        self.assertIn("differ", shown)
        self.assertFalse((self.home / ".config/assay/keys/other.key").exists())
        code, shown = self.on_terminal([PASSPHRASE], "key", "decrypt", "typed")
        self.assertEqual(code, 0, shown)
        code, shown = self.on_terminal([NSEC], "key", "import", "pasted")
        self.assertEqual(code, 0, shown)
        self.assertIn(NSEC_PUBLIC, shown)
        self.assertNotIn(NSEC, shown)

    def test_nostr_tools_and_assay_read_each_others_keys(self):
        node = interop("nostr")
        script = assay_home.options.source / "interop/nostr/nip49.mjs"

        def ask(**question):
            result = subprocess.run([node, str(script)], input=json.dumps(question), capture_output=True, text=True, timeout=300)
            self.assertEqual(result.returncode, 0, result.stderr)
            return json.loads(result.stdout)

        # Composed by hand on one side, as one letter on the other: NFKC makes them one passphrase.
        for number, (ours, theirs) in enumerate([(PASSPHRASE, PASSPHRASE), ("\u212b\u2126\u1e9b\u0323", "\u00c5\u03a9\u1e69"), ("pa\u0308ss", "p\u00e4ss")]):
            made = self.json("key", "new", f"ours{number}", "--encrypt", environment=self.with_passphrase(ours))
            text = self.json("key", "export", f"ours{number}", "--encrypted")["ncryptsec"]
            self.assertEqual(ask(decrypt=text, passphrase=theirs)["public_key"], made["public_key"])
            other = ask(encrypt=True, passphrase=theirs)
            self.secret_file("theirs", other["ncryptsec"])
            took = self.json("key", "import", f"theirs{number}", "--file", "theirs", environment=self.with_passphrase(ours))
            self.assertEqual(took["public_key"], other["public_key"])


if __name__ == "__main__":
    assay_home.main()
