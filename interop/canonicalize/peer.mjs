// What canonicalize takes to read a JSON text, write it canonically and hash it with OpenSSL's SHA-256: milliseconds, one a line.
//
//   node peer.mjs FILE [RUNS]        time RUNS runs on FILE
//   node peer.mjs FILE --hash        print the hash instead
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import canonicalize from "canonicalize";

const [file, wanted = "10"] = process.argv.slice(2);
const text = readFileSync(file, "utf8");
const named = () => createHash("sha256").update(canonicalize(JSON.parse(text))).digest("hex");

if (wanted === "--hash") {
  console.log(named());
} else {
  for (let i = 0; i < 20; ++i) named(); // V8 compiles what runs often: its first runs are not counted
  for (let i = 0; i < Number(wanted); ++i) {
    const began = performance.now();
    named();
    console.log(performance.now() - began);
  }
}
