"""Independent verifier of module files, artifacts, run records and other signed objects: formats.md and schemas/."""
import argparse, collections, decimal, hashlib, itertools, json, pathlib, re, sys
Json, Object, Point, Iterator = object, dict[str, object], tuple[int, int] | None, list
P, N = 2**256 - 2**32 - 977, 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)
URN, ZEROS, HERE = "urn:assay:schema:", "0" * 64, pathlib.Path(__file__).resolve().parent  # schemas/ stands two above
RULES = {rule["$id"]: rule for path in HERE.parents[1].glob("schemas/*.json") for rule in [
    json.loads(path.read_text().replace('"#/', f'"{URN}{path.name.split(".")[0]}:1#/'))]}  # with absolute references
RULES |= {f"{urn}#/$defs/{key}": rule for urn, whole in RULES.items() for key, rule in whole.get("$defs", {}).items()}
LINE, SHAPE = RULES[URN + "run:1"], {**RULES[URN + "run:1"], "allOf": []}  # of a record's line; SHAPE: with any data
FORMATS = {"module": "module:1", "assay.module/1": "artifact:1", "assay.manifest/1": "manifest:1", "assay.receipt/1":
           "receipt:1", "assay.head/1": "run:1#/$defs/head", "assay.attestation/1": "module:1#/$defs/attestation"}
KINDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer number", float: "number"}
def number(token: str) -> int | float:
    """Refuses large integers, overflow and integral values that would not read back; int() refuses NaN, Infinity."""
    value = float(token) if re.search("[.eE]", token) else int(token)
    if 2**53 <= abs(value) and (isinstance(value, int) or not 1e21 <= abs(value) < float("inf")):
        raise ValueError(f"number out of range: {token:.40}")
    return int(value) if abs(value) < 2**53 and value == int(value) else value
def members(pairs: list[tuple[str, Json]]) -> Object:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"duplicate key among {[key for key, _ in pairs]}")
    return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be")))
def depth(value: Json) -> int:
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0) if isinstance(value, dict | list) else 0
def parse(raw: bytes, rule: Object, exact: bool = False) -> tuple[Json, list[str]]:
    """A value without faults by its schema, or None and its faults; exact: it must be canonical."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=members, parse_int=number, parse_float=number, parse_constant=number)
        found = "more than 128 open containers" if depth(value) > 128 else \
            "not canonical" if canonical(value) != raw and exact else next(faults(value, rule), "")
    except (ValueError, RecursionError) as error:  # among them lone surrogates, which no writer encodes
        found = f"refused: {error}"
    return (None, [found]) if found else (value, [])
def canonical(value: Json) -> bytes:
    """RFC 8785: the reader has sorted the keys; repr has ECMAScript's digits, and its notation but for e-05 to e-09."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub(r'("(?:[^"\\]|\\.)*")|(-?[0-9.]+e-0[56])|(e-)0', lambda token: token[1] or token[3]
                  or format(decimal.Decimal(token[2]), "f"), text).encode()
def add(a: Point, b: Point) -> Point:
    """The sum of two points of secp256k1; None is infinity."""
    if a is None or b is None or (a[0] == b[0] and a[1] != b[1]):
        return (a or b) if a is None or b is None else None
    slope = 3 * a[0] ** 2 * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope**2 - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P
def schnorr(key: bytes, message: bytes, signature: bytes) -> bool:
    """R = sG - eK has an even y and x = r, where K is the key's point with the even y."""
    x, r, s = (int.from_bytes(part, "big") for part in (key, signature[:32], signature[32:]))
    y = pow(x**3 + 7, (P + 1) // 4, P)
    if max(x, r) >= P or s >= N or (y**2 - x**3 - 7) % P:
        return False
    tags = hashlib.sha256(b"BIP0340/challenge").digest() * 2
    e = int.from_bytes(hashlib.sha256(tags + signature[:32] + key + message).digest(), "big")
    total, minus = None, (x, y if y % 2 else P - y)
    for bit in range(255, -1, -1):
        total = add(add(add(total, total), G if s >> bit & 1 else None), minus if e >> bit & 1 else None)
    return total is not None and total[1] % 2 == 0 and total[0] == r
def holds(signed: Object, line: Object | None = None) -> bool:
    """Does its signature cover the rest of the object, or of the line whose data it is?"""
    rest = {key: member for key, member in signed.items() if key != "signature"}
    key, signature = bytes.fromhex(signed["signer"] or ""), bytes.fromhex(signed["signature"])
    return schnorr(key, hashlib.sha256(canonical({**line, "data": rest} if line else rest)).digest(), signature)
def faults(value: Json, rule: Object, at: str = "") -> Iterator[str]:
    """The keywords of JSON Schema that value breaks; at is its place."""
    kind, size = KINDS.get(type(value), "null"), len(value) if isinstance(value, dict | list | str) else value
    fits = lambda sub: not any(faults(value, sub))
    for word, bound in rule.items():
        if (word == "type" and not any(name in bound for name in kind.split())
                or word == "const" and canonical(value) != canonical(bound) or word == "enum" and canonical(value) not in map(canonical, bound)
                or word == "pattern" and kind == "string" and not re.search(re.sub(r"\$$", r"\\Z", bound), value)
                or word == "required" and kind == "object" and not value.keys() >= set(bound)
                or word.startswith("min") and size < bound or word.startswith("max") and size > bound or word == "not" and fits(bound)
                or word == "anyOf" and not any(map(fits, bound)) or word == "oneOf" and sum(map(fits, bound)) != 1
                or word == "uniqueItems" and value != sorted({*map(str, value)}, key=lambda text: text.encode("utf-16-be"))):
            yield f"{at or '/'}: {word} {json.dumps(bound):.200} does not hold"
            return
    subs = rule.get("allOf", []) + ([rule["then"]] if "if" in rule and fits(rule["if"]) else [])
    for sub in subs + ([RULES[rule["$ref"]]] if "$ref" in rule else []):
        yield from faults(value, sub, at)
    other = rule.get("additionalProperties" if kind == "object" else "items", {})
    for key, item in value.items() if kind == "object" and rule else enumerate(value) if "items" in rule else ():
        yield from faults(item, rule.get("properties", {}).get(key, other), f"{at}/{key}")
def module_faults(manifest: Object, attestations: list[Object], whole: Object | None) -> list[str]:
    """What the schemas of a module's parts do not say; whole: its artifact, if that is at hand."""
    artifact = whole or {"entry": None, "modules": {}, "flow": {"signature": {"name": manifest["signature_name"]}}}
    path, base = artifact["entry"], (card := manifest["scorecard"])["baseline"] or card
    for _ in artifact["modules"]:
        path = next(iter(artifact["modules"].get(path, {"over": []})["over"]), path)
    program = artifact["flow"] or artifact["code"] or artifact["predictors"].get(path, {"signature": {"name": None}})
    ids = [hashlib.sha256(canonical(part)).hexdigest() for part in (artifact, manifest)]
    return [what for what, wrong in {
        "artifact: more than 96 open containers": depth(artifact) > 96,
        "signature_name is not the program's own": program["signature"]["name"] != manifest["signature_name"],
        f"compiled_id is not that of the artifact, {ids[0]}": bool(whole) and manifest["compiled_id"] != ids[0],
        "score is not that of primary in truth_metrics": card["score"] != card["truth_metrics"].get(card["primary"]),
        "gain is not score less baseline": (card["gain_interval"] or {}).get("method", "")[:6] == "wilson" or any(card[f"{it}interval"] and card[it.strip("_") or "score"] is None for it in ("", "gain_")) or card["gain"] is not None and (
            None in (card["score"], card["baseline"]) or abs(card["score"] - base["score"] - card["gain"]) > 1e-9),
        "an interval is out of range": any(it and not (0 < it["level"] < 1 and it["low"] <= it["high"] and (it["method"] != "wilson/1"
            or 0 <= it["low"] <= p + 1e-9 and p - 1e-9 <= it["high"] <= 1)) for it, p in ((card["interval"], card["score"]),
            (card["p_fail_interval"], card["p_fail"]), (base["interval"], base["score"]), (card["gain_interval"], card["gain"])) if p is not None),
        "an attestation is not of this manifest, or its signature does not hold": any(
            [it["compiled_id"], it["manifest_hash"]] != ids or not holds(it) for it in attestations)}.items() if wrong]
def take(line: Object, past: Object, first: bool) -> list[str]:
    """Adds a line to what the lines so far have said; what is wrong with it, its place in the chain apart."""
    kind, data, sums, ended = line["type"], line["data"], past["sums"], line["type"] == "run_end"
    if kind == "lm_response":
        sums.update({key: count for key, count in data["usage"].items() if type(count) is int and key not in ("calls", "cached_calls",
            "cost_msats", "unpriced_calls")}, calls=1, cost_msats=data["cost_msats"] or 0, unpriced_calls=data["cost_msats"] is None)
    sums["cached_calls"] += kind == "cache_hit"
    told, misplaced = f"{kind}{line['node']} {data.get('payment_hash')}", first != (kind == "run_start") or past.get("ended") and kind != "resume"
    past["open"][line["node"]] = (paid := 0 if kind != "payment" or told in past else data["amount_msats"]) or past["open"][line["node"]]
    sums["cost_msats"] += paid - (past["open"].pop(line["node"]) if kind == "lm_response" and data["cost_msats"] else 0)
    past |= {"ended": ended, "strange": not ended and data.keys() >= {"root_hash", "totals"}, told: True,
             "signed": ended and data.get("signature"), "run_id": data.get("run_id") if first else past.get("run_id")}
    return [what for what, wrong in {
        f"{kind} cannot stand here": misplaced,
        "head is not of the line before it": kind == "head" and (
            [data["run_id"], data["seq"], data["tip"]] != [past["run_id"], line["seq"] - 1, line["prev"]]),
        f"signature of {kind}": kind == "head" and not holds(data) or past["signed"] and not holds(data, line),
        "root_hash is not prev": ended and data["root_hash"] != line["prev"],
        f"totals are not the sums of the lines above, {dict(sums)}":
            ended and any(total != min(sums[key], 2**53 - 1) for key, total in data["totals"].items())}.items() if wrong]
def chain(lines: list[tuple[Json, str]]) -> Iterator[str]:
    """What the hashes tell of a line that does not follow the one above: altered, missing, repeated or moved."""
    owner, seq = {digest: index for index, (_, digest) in enumerate(lines)}, -1
    named = {line["prev"] for line, _ in lines if line}
    for index, (line, digest) in enumerate(lines[1:], 1):
        linked, expected = not line or line["prev"] == lines[index - 1][1], seq + 1
        seq = expected if linked else line["seq"]
        if not linked:
            yield (f"line {index} (seq {seq}): moved or repeated, it belongs behind line {owner[line['prev']]}"
                   if line["prev"] in owner else f"line {index}: seq {expected} to {seq - 1} are missing before it"
                   if seq > expected else f"line {index - 1}{'' if digest in named else f' or {index}'}: altered")
        elif line and line["seq"] != seq:
            yield f"line {index}: altered, its seq is {line['seq']} and not {seq}"
def continues(rest: bytes, seq: int, prev: str, kind: str) -> bool:
    """Could more input make rest the next canonical line? Tries the ways to complete it that can be canonical."""
    text, closers = rest.decode("utf-8", "surrogateescape"), ""
    for bracket in re.findall(r"[][{}]", re.sub(r'"(?:[^"\\]|\\.)*("|\\?$)', "", text)):
        closers = {"{": "}", "[": "]"}[bracket] + closers if bracket in "{[" else closers[1:]
    high = "\uffff" * (1 + text.count("\uffff"))  # sorts a key behind those before it; \udcXX below are bytes of UTF-8
    middles = ["", high, f'"{high}', "\\", "\\" + high, *"0123456789f", *".5 00 21 +21 -7 1f 01f 001f rue ue e alse lse se ull ll l".split(),
               "\udcbf", "\udcbf\udcbf", "\udcbf\udcbf\udcbf", "\udc9f\udcbf", "\udc8f\udcbf\udcbf"]
    frame = f'{{"data":{{}},"node":"a","prev":"{prev}","seq":{seq},"t":0,"type":"{kind or "x"}"}}'
    parts = middles, ("", '"'), ("", ":0"), [closers[:-1]], ("," + frame[1:], "}", *(frame[comma.start():] for comma in re.finditer(",", frame)))
    ends = itertools.chain((frame[i:] for i in range(len(frame))), map("".join, itertools.product(*parts)))
    return any(line and (line["seq"], line["prev"]) == (seq, prev) and kind in ("", line["type"]) and (
        canonical(line["data"]) not in rest or not any(faults(line, LINE))) for line in (  # data that stand there whole must do
        parse((text + end).encode("utf-8", "surrogateescape"), SHAPE, exact=True)[0] for end in ends))
def record(raw: bytes, complete: bool, head: Object | None) -> tuple[str, list[str]]:
    *texts, rest = raw.split(b"\n")
    whole = parse(rest, {}, exact=True)[1] == []  # a line without its newline
    past, lines, found = {"sums": collections.Counter(), "open": collections.Counter()}, [(None, ZEROS)], []
    for index, text in enumerate(texts + [rest] * whole, 1):
        line, wrong = parse(text, LINE, exact=True)
        lines.append((line, hashlib.sha256(text).hexdigest()))
        found += [f"line {index}: {fault}" for fault in wrong or take(line, past, index == 1)]
    found = [*chain(lines), *found, *["a run_end renamed"] * past.get("strange", 0), *["empty file"] * (not raw)]
    if head is not None and not (head and holds(head) and head["run_id"] == past.get("run_id")
                                 and head["tip"] in [digest for _, digest in lines[head["seq"] + 1:][:1]]):
        found.append("the kept head is not of this record, or the tail was cut")
    kind = "resume" if past.get("ended") else "" if texts else "run_start"
    found = found or ["the last line is not the beginning of one"] * (bool(rest) and not whole and not continues(rest, len(texts), lines[-1][1], kind))
    state = "broken" if found else "torn" if rest else "complete" if past.get("ended") else "open"
    return state, found + ["not complete and signed"] * (complete and not (state == "complete" and past.get("signed")))
def check(name: str, complete: bool, head: Object | None) -> Object:
    raw = pathlib.Path(name).read_bytes() if pathlib.Path(name).is_file() else b""
    if name.endswith(".jsonl") or raw.startswith(b'{"data":'):
        kind, (state, found) = "record", record(raw, complete, head)
    else:
        value, found = parse(raw, {"type": "object"})
        kind, bare = str((value := value or {}).get("format")), value.get("format") == "assay.module/1"
        kind = kind if bare or isinstance(value.get("signature"), str) and value.get("artifact") is None else "module"
        wrong = bare and (canonical(value) != raw or depth(value) > 96)
        found = found or [*faults(value, RULES.get(URN + FORMATS.get(kind, ""), {"const": "a known format"})),
                          *["not canonical, or more than 96 open containers"] * wrong]
        if kind in ("module", "assay.manifest/1") and not found:
            found = module_faults(value.get("manifest", value), value.get("attestations", []), value.get("artifact"))
        found = found or ["the preimage is not of the payment hash, or its buyer did not sign"] * (value.get("kind") == "payment" and (
            value["signer"], hashlib.sha256(bytes.fromhex(value["preimage"])).hexdigest()) != (value["buyer"], value["payment_hash"]))
        signed = {} if found or bare else value["manifest"] if kind == "module" else value
        found += ["the signature does not hold"] if signed.get("signature") and not holds(signed) else []
        state = "bad" if found else "intact" if bare or signed.get("signature") else "unsigned"
    return {"file": name, "kind": kind, "state": state, "ok": not found and state != "unsigned", "problems": found}
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--complete", action="store_true", help="demand records that are complete and signed")
    parser.add_argument("--head", type=pathlib.Path, metavar="HEADFILE", help="a kept head of the record")
    options = parser.parse_args()
    head = parse(options.head.read_bytes(), RULES[URN + FORMATS["assay.head/1"]])[0] or {} if options.head else None
    files = [check(name, options.complete, head) for name in options.files]
    ok = all(file["ok"] for file in files)
    lines = [[f"{'ok' if file['ok'] else 'BAD'} {file['state']} {file['file']}", *file["problems"]] for file in files]
    print(json.dumps({"ok": ok, "files": files}) if options.json else "\n".join(map("\n    ".join, lines)))
    return 0 if ok else 3
if __name__ == "__main__": sys.exit(main())
