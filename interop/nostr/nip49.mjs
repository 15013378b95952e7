// Does nostr-tools read our encrypted keys, and we theirs? One JSON object on standard input, one on standard output; secrets travel in
// no argument.
//   {"decrypt": "ncryptsec1…", "passphrase": "…"}      → {"public_key"}
//   {"encrypt": true, "passphrase": "…"}               → {"public_key", "ncryptsec"}: a new key
import { decrypt, encrypt } from 'nostr-tools/nip49'
import { generateSecretKey, getPublicKey } from 'nostr-tools/pure'
import { readFileSync } from 'node:fs'

const asked = JSON.parse(readFileSync(0, 'utf8'))
if (asked.decrypt) {
  console.log(JSON.stringify({ public_key: getPublicKey(decrypt(asked.decrypt, asked.passphrase)) }))
} else {
  const secret = generateSecretKey()
  console.log(JSON.stringify({ public_key: getPublicKey(secret), ncryptsec: encrypt(secret, asked.passphrase) }))
}
