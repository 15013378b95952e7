#!/usr/bin/env python3
"""What simple classifiers reach on the same rows and the same split: peers.py ROWS.csv [--json]

Majority class, and TF-IDF (words and pairs of words) with multinomial logistic regression, trained on the train set; the strength
of its penalty is chosen on the validation set, and the test set is scored once. Split by hash as docs/formats.md §3 says, with
the fractions of PROGRAM.toml, so that `assay compile` and this file see the same sets. Python's standard library only; seconds.
Exit: 0 done, 2 wrong usage.
"""
import collections
import csv
import hashlib
import json
import math
import re
import sys

SPLIT = (("train", 0.5), ("val", 0.12), ("test", 0.38))
PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
ROUNDS = 200


def set_of(description):
    inputs = json.dumps({"inputs": {"description": description}}, ensure_ascii=False, separators=(",", ":"))
    text = "assay.split/1\n\n" + hashlib.sha256(inputs.encode()).hexdigest()  # an empty salt between the line ends
    u = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
    reached = 0.0
    for name, share in SPLIT[:-1]:
        reached += share
        if u < reached:
            return name
    return SPLIT[-1][0]


def terms(description):
    words = re.findall(r"[a-z0-9+#]+", description.lower())
    return words + [a + " " + b for a, b in zip(words, words[1:])]


class TfIdf:
    def __init__(self, texts):
        seen = collections.Counter(term for text in texts for term in set(terms(text)))
        self.weight = {term: math.log((1 + len(texts)) / (1 + count)) + 1 for term, count in seen.items()}

    def vector(self, text):
        counts = collections.Counter(term for term in terms(text) if term in self.weight)
        vector = {term: (1 + math.log(count)) * self.weight[term] for term, count in counts.items()}
        length = math.sqrt(sum(x * x for x in vector.values())) or 1.0
        return {term: x / length for term, x in vector.items()}


class LogisticRegression:
    """Softmax regression; full-batch gradient descent with Nesterov's momentum, so that the outcome has no chance in it."""

    def __init__(self, vectors, labels, penalty, rounds=ROUNDS, rate=4.0):
        self.classes = sorted(set(labels))
        self.w = {c: collections.defaultdict(float) for c in self.classes}
        self.bias = dict.fromkeys(self.classes, 0.0)
        before = {c: {} for c in self.classes}
        n = len(vectors)
        for step in range(1, rounds + 1):
            gradient = {c: collections.defaultdict(float) for c in self.classes}
            for vector, label in zip(vectors, labels):
                for c, p in self.shares(vector).items():
                    miss = (p - (c == label)) / n
                    self.bias[c] -= rate * miss
                    for term, x in vector.items():
                        gradient[c][term] += miss * x
            momentum = (step - 1) / (step + 2)
            for c in self.classes:
                for term, g in gradient[c].items():
                    now = self.w[c][term] - rate * (g + penalty * self.w[c][term])
                    self.w[c][term] = now + momentum * (now - before[c].get(term, 0.0))
                    before[c][term] = now

    def shares(self, vector):
        scores = {c: self.bias[c] + sum(self.w[c].get(term, 0.0) * x for term, x in vector.items()) for c in self.classes}
        top = max(scores.values())
        exps = {c: math.exp(s - top) for c, s in scores.items()}
        total = sum(exps.values())
        return {c: e / total for c, e in exps.items()}

    def best(self, vector):
        shares = self.shares(vector)
        return max(self.classes, key=lambda c: shares[c])


def wilson(hits, n, z=1.959963984540054):
    share = hits / n
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def figures(name, right):
    low, high = wilson(sum(right), len(right))
    return {"peer": name, "accuracy": sum(right) / len(right), "low": low, "high": high, "n_test": len(right)}


def main():
    paths = [a for a in sys.argv[1:] if not a.startswith("-")]
    if len(paths) != 1 or "--help" in sys.argv:
        print(__doc__.strip())
        sys.exit(0 if "--help" in sys.argv else 2)
    sets = collections.defaultdict(list)
    with open(paths[0], newline="") as file:
        for row in csv.DictReader(file):
            sets[set_of(row["description"])].append((row["description"], row["section"]))
    train, val, test = sets["train"], sets["val"], sets["test"]
    labels = [section for _, section in train]
    common = min(collections.Counter(labels).items(), key=lambda item: (-item[1], item[0]))[0]
    tfidf = TfIdf([description for description, _ in train])
    vectors = {name: [tfidf.vector(d) for d, _ in rows] for name, rows in sets.items()}

    def right(model, name):
        return [model.best(v) == section for v, (_, section) in zip(vectors[name], sets[name])]

    models = [(penalty, LogisticRegression(vectors["train"], labels, penalty)) for penalty in PENALTIES]
    penalty, model = max(models, key=lambda pm: (sum(right(pm[1], "val")), pm[0]))
    out = [figures(f"majority class ({common})", [section == common for _, section in test]),
           figures(f"TF-IDF + logistic regression (penalty {penalty:g})", right(model, "test"))]
    print(f"train {len(train)}, val {len(val)}, test {len(test)} rows", file=sys.stderr)
    for line in out:
        print(json.dumps(line) if "--json" in sys.argv else f"{line['peer']:<48} {line['accuracy']:.3f} [{line['low']:.3f}, {line['high']:.3f}] n={line['n_test']}")


if __name__ == "__main__":
    main()
