#!/usr/bin/env python3
"""The market as a user runs it: relay, issuer, provider and buyer are four processes.

The buyer chooses a nonce and buys a sandbox run whose output depends on it. The buyer's process is under a kernel filter that
refuses every new process, so what ran, ran elsewhere. Then the issuer and the provider are killed and started again.
"""
import argparse
import ctypes
import hashlib
import json
import os
import platform
import re
import secrets
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRANT = 1_000_000


class Failed(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Failed(what)


# --- a process that cannot start another: clone without CLONE_THREAD, fork and vfork give EPERM (seccomp) ---

CALLS = {"x86_64": (0xC000003E, [57, 58], 56, 435), "aarch64": (0xC00000B7, [], 220, 435)}


def no_children():
    arch, forks, clone, clone3 = CALLS[platform.machine()]
    allow, deny, missing = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38
    ld, jeq, jset, ret = 0x20, 0x15, 0x45, 0x06
    code = [(ld, 0, 0, 4), (jeq, 1, 0, arch), (ret, 0, 0, 0x80000000), (ld, 0, 0, 0)]
    for number in forks:
        code += [(jeq, 0, 1, number), (ret, 0, 0, deny)]
    code += [(jeq, 0, 1, clone3), (ret, 0, 0, missing)]
    code += [(jeq, 0, 3, clone), (ld, 0, 0, 16), (jset, 1, 0, 0x10000), (ret, 0, 0, deny), (ret, 0, 0, allow)]
    raw = b"".join(struct.pack("HBBI", op, yes, no, k) for op, yes, no, k in code)
    buffer = ctypes.create_string_buffer(raw)

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(code), ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0:
        os._exit(99)


def models_cache():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME", "/")) / ".cache")


def model_is_here():
    return any((models_cache() / "assay" / "models").glob("*.gguf"))


class Party:
    """One process with a home of its own."""

    def __init__(self, assay, root, name):
        self.assay, self.home, self.name, self.process = assay, root / name, name, None
        self.home.mkdir()
        self.log = self.home / "log"

    def environment(self):
        # Only the provider finds the models: what the buyer gets from an LM, it did not make itself.
        cache = str(models_cache()) if self.name == "pylon" else str(self.home / "cache")
        out = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
        out.update(HOME=str(self.home), XDG_CONFIG_HOME=str(self.home / "config"), XDG_DATA_HOME=str(self.home / "data"), XDG_CACHE_HOME=cache)
        return out

    def serve(self, pattern, *arguments, seconds=60):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.assay, *arguments], stdout=subprocess.PIPE, stderr=log, env=self.environment())
        until, text = time.monotonic() + seconds, ""
        while time.monotonic() < until:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                text += os.read(self.process.stdout.fileno(), 4096).decode()
            found = re.search(pattern + r"\s", text)
            if found:
                return found
            if self.process.poll() is not None:
                break
        raise Failed(f"{self.name} gave no ready line: {text!r} {self.log.read_text()[-2000:]}")

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode if self.process else None

    def run(self, *arguments, filtered=True, seconds=120):
        return subprocess.run([self.assay, *arguments], capture_output=True, text=True, env=self.environment(), timeout=seconds,
                              preexec_fn=no_children if filtered else None)


def balances(folder):
    with sqlite3.connect(f"file:{folder}/ledger.sqlite?mode=ro", uri=True) as ledger:
        return dict(ledger.execute("SELECT key, balance FROM account"))


def buy(buyer, relay, issuer, provider, *more):
    nonce = secrets.token_hex(16)
    record = str(buyer.home / f"{nonce}.run.jsonl")
    done = buyer.run("--json", "sandbox", "run", "--lane", "pylon", "--privacy", "public_ok", "--relay", relay, "--issuer", issuer, "--provider", provider, *more,
                     "--record", record, "--", f"printf %s {nonce} | sha256sum")
    check(done.returncode == 0, f"the purchase failed ({done.returncode}): {done.stdout[-1500:]} {done.stderr[-1500:]}")
    got = json.loads(done.stdout.strip().splitlines()[-1])
    run = got["response"]["runs"][0]
    want = hashlib.sha256(nonce.encode()).hexdigest() + "  -\n"
    check(run["stdout_preview"] == want, f"the output is not that of the nonce: {run}")
    check(run["stdout_sha256"] == hashlib.sha256(want.encode()).hexdigest(), "the output's hash is wrong")
    with open(record) as lines:
        types = {line["type"]: line["data"] for line in map(json.loads, lines)}
    check(types["sandbox"]["provider"] == provider and types["sandbox"]["verdict"] == "success", f"the job is not recorded: {types}")
    check(types["payment"]["amount_msats"] == got["paid_msats"] or not got["paid_msats"], f"the payment is not recorded: {types}")
    check(got["receipt"]["signer"] == provider, "the receipt is not signed by the provider")
    check(got["receipt"]["job_hash"] == got["response"]["job_hash"], "the receipt is for another job")
    return got


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--assay", required=True)
    parser.add_argument("--source")
    options = parser.parse_args()
    if platform.machine() not in CALLS:
        print("SKIP: no system call numbers for this machine")
        return 0
    with tempfile.TemporaryDirectory(prefix="assay-market-") as folder:
        root = Path(folder)
        relay, issuer, pylon, buyer = (Party(options.assay, root, name) for name in ("relay", "issuer", "pylon", "buyer"))
        try:
            story(root, relay, issuer, pylon, buyer, Path(options.source or ".") / "examples" / "package-triage" / "PROGRAM.toml")
        finally:
            for party in (pylon, issuer, relay):
                party.stop()
    print("ok")
    return 0


def buy_answer(buyer, relay, issuer, provider, program):
    """Text generation: the buyer has no model and no second process, and still gets the provider's answer."""
    asked = [str(program), "description=mail client for the terminal", "--privacy", "public_ok"]
    here = buyer.run("--json", "run", *asked, "--lane", "local")
    check(here.returncode != 0, "the buyer has a model of its own: this test proves nothing")
    done = buyer.run("--json", "run", *asked, "--lane", "pylon", "--relay", relay, "--issuer", issuer, "--provider", provider)
    check(done.returncode == 0, f"buying an answer failed ({done.returncode}): {done.stderr[-1500:]}")
    got = json.loads(done.stdout.strip().splitlines()[-1])
    check(got["output"]["section"] and got["usage"]["calls"] == 1 and got["usage"]["completion_tokens"] > 0, f"no answer: {got}")
    with open(got["record"]) as record:
        lines = [json.loads(line) for line in record]
    paid = [line["data"] for line in lines if line["type"] == "payment"]
    check(len(paid) == 1 and paid[0]["amount_msats"] == got["cost_msats"] and paid[0]["provider"] == provider, f"the payment is not recorded: {paid}")
    verified = buyer.run("verify", "--complete", got["record"])
    check(verified.returncode == 0 and "1 costs computed again" in verified.stdout, f"the record is not verified: {verified.stdout}")
    small = buyer.run("--json", "run", *asked, "--lane", "pylon", "--relay", relay, "--issuer", issuer, "--provider", provider, "--budget",
                      f"msats={got['cost_msats'] - 1}")
    check(small.returncode == 5, f"a budget below the price let a purchase through ({small.returncode})")
    private = buyer.run("--json", "run", *asked[:2], "--lane", "pylon", "--relay", relay, "--issuer", issuer, "--provider", provider)
    check(private.returncode == 6, f"a private run was let out to the market ({private.returncode})")
    return got["cost_msats"]


def story(root, relay, issuer, pylon, buyer, program):
    url = relay.serve(r"relay (ws://\S+)", "relay", "--port", "0", "--data", str(root / "relay-data")).group(1)
    ledger = str(root / "issuer-data")
    bank = issuer.serve(r"issuer (http://\S+) node ([0-9a-f]{66})", "pylon", "issuer", "--port", "0", "--data", ledger)
    till = bank.group(1)
    selling = ["pylon", "serve", "--relay", url, "--issuer", till, "--data", str(root / "pylon-data"), "--sandbox"] + (["--lm"] if model_is_here() else [])
    provider = pylon.serve(r"pylon ([0-9a-f]{64})", *selling).group(1)

    # Under the filter the box on this machine cannot be started, so what succeeds under it was bought.
    here = buyer.run("sandbox", "run", "--", "true")
    check(here.returncode != 0, "the filter does not keep the buyer from starting a process: this test proves nothing")

    first = buy(buyer, url, till, provider)
    price = first["paid_msats"]
    check(price > 0, "nothing was paid")
    held = balances(ledger)
    check(held[provider] == GRANT + price, f"the provider holds {held[provider]}, not {GRANT + price}")
    others = [key for key in held if key not in (provider, "issuer")]
    check(len(others) == 1 and held[others[0]] == GRANT - price, f"the buyer's balance is wrong: {held}")
    supply = sum(held.values())

    if model_is_here():
        price += buy_answer(buyer, url, till, provider, program)
        held = balances(ledger)
        check(held[provider] == GRANT + price, "the run's cost_msats is not what the provider was paid")
    else:
        print("no model here: text generation is not bought")

    # A bid below the price: refused, and no msat moves.
    low = buyer.run("sandbox", "run", "--lane", "pylon", "--privacy", "public_ok", "--relay", url, "--issuer", till, "--provider", provider, "--bid", "1", "--", "true")
    check(low.returncode == 6, f"a bid of 1 msat should end with 6, ended with {low.returncode}: {low.stderr[-500:]}")
    check(balances(ledger) == held, "a refused bid moved money")

    # Killed and started again: the money is where it was, and the same provider sells on.
    port = till.rsplit(":", 1)[1]
    issuer.stop(signal.SIGKILL)
    issuer.serve(r"issuer (http://\S+)", "pylon", "issuer", "--port", port, "--data", ledger)
    check(balances(ledger) == held, "killing the issuer changed a balance")
    pylon.stop(signal.SIGKILL)
    check(pylon.serve(r"pylon ([0-9a-f]{64})", *selling).group(1) == provider, "the provider came back as someone else")
    second = buy(buyer, url, till, provider)
    held = balances(ledger)
    check(held[provider] == GRANT + price + second["paid_msats"], "the second purchase is not on the ledger")
    check(sum(held.values()) == supply, "the sum of balances changed")

    # Receipts: each preimage proves its payment, and the ledger knows it.
    receipts = [json.loads(line) for line in buyer.run("--json", "pylon", "receipts").stdout.splitlines()]
    check(len(receipts) == (3 if model_is_here() else 2), f"expected a receipt for each purchase, found {len(receipts)}")
    with sqlite3.connect(f"file:{ledger}/ledger.sqlite?mode=ro", uri=True) as file:
        paid = dict(file.execute("SELECT payment_hash, msats FROM movement WHERE kind = 'payment'"))
    check(sum(r["amount_msats"] for r in receipts) == sum(paid.values()), "receipts and movements differ")
    for receipt in receipts:
        check(hashlib.sha256(bytes.fromhex(receipt["preimage"])).hexdigest() == receipt["payment_hash"], "a receipt's preimage proves nothing")
        check(paid.get(receipt["payment_hash"]) == receipt["amount_msats"], "a receipt is not on the ledger")
        check(receipt["provider"] == provider, "a receipt names another provider")
    kept = buyer.home / "receipt.json"
    kept.write_text(buyer.run("pylon", "receipts", receipts[0]["request_id"]).stdout)
    check(json.loads(kept.read_text()) == receipts[0], "a receipt by its id is another")
    check(buyer.run("verify", str(kept)).returncode == 0, "a receipt does not verify")
    check(buyer.run("pylon", "receipts", "0" * 64).returncode == 2, "a receipt that is not there was found")

    # Without the issuer nothing can be bought, and the error says what is away.
    issuer.stop()
    away = buyer.run("sandbox", "run", "--lane", "pylon", "--privacy", "public_ok", "--relay", url, "--issuer", till, "--provider", provider, "--", "true")
    check(away.returncode == 7, f"an issuer that is away should end with 7, ended with {away.returncode}: {away.stderr[-500:]}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        print(f"FAILED: {failed}")
        sys.exit(1)
