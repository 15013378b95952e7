// How Node prints the doubles of a fixed sequence: the SHA-256 of each block of 65,536 of them, one number a line.
//
//   node numbers.mjs COUNT           a hash a line, for COUNT numbers in blocks
//   node numbers.mjs COUNT BLOCK     the numbers of one block
//
// The sequence: word i is mix(i), with 64 bits put together from two mixes of 32 (the finaliser of MurmurHash3); not finite ones are left
// out. assay/base/json_node_test.cc draws the same.
import { createHash } from "node:crypto";

const block = 65536;
const count = Number(process.argv[2] ?? block);
const only = process.argv[3] === undefined ? -1 : Number(process.argv[3]);

function mix(x) {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

const tens = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11];
const words = new Uint32Array(2);
const double = new Float64Array(words.buffer);
for (let b = 0; b * block < count; ++b) {
  if (only >= 0 && b !== only) continue;
  const lines = [];
  for (let i = b * block; i < Math.min(count, (b + 1) * block); ++i) {
    words[0] = mix(2 * i);
    words[1] = mix(2 * i + 1);
    // Every second number is one that people write: of moderate size, with few decimals.
    const x = i % 2 === 0 ? double[0] : (words[0] % 20000001 - 10000000) / tens[words[1] % 12];
    if (Number.isFinite(x)) lines.push(String(x));
  }
  const text = lines.join("\n") + "\n";
  if (only >= 0) process.stdout.write(text);
  else console.log(createHash("sha256").update(text).digest("hex"));
}
