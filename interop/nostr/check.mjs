// Does nostr-tools agree with Assay's relay and events?
//   node check.mjs ws://127.0.0.1:PORT [--author HEX] [--summary ID] [--content TEXT]
// Reads what the author published and verifies each event; with --summary also that every event the summary names is there.
// Then publishes an event signed by nostr-tools and reads it back, stored and live. Prints one JSON object; exit 0 if all holds.
import { finalizeEvent, generateSecretKey, getPublicKey, verifyEvent } from 'nostr-tools/pure'
import { Relay, useWebSocketImplementation } from 'nostr-tools/relay'
import * as nip11 from 'nostr-tools/nip11'
import WebSocket from 'ws'
import { parseArgs } from 'node:util'

useWebSocketImplementation(WebSocket)
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { author: { type: 'string' }, summary: { type: 'string' }, content: { type: 'string', default: 'hello from nostr-tools: "quotes" \\ and 😀\n' } },
})
if (positionals.length !== 1) {
  console.error('usage: node check.mjs ws://127.0.0.1:PORT [--author HEX] [--summary ID] [--content TEXT]')
  process.exit(2)
}

const deadline = setTimeout(() => fail('timed out after 60 s'), 60_000)
function fail(message) {
  console.log(JSON.stringify({ ok: false, message }))
  process.exit(1)
}
const check = (holds, message) => { if (!holds) fail(message) }

// All stored events for a filter.
function stored(relay, filter) {
  return new Promise((resolve) => {
    const events = []
    const subscription = relay.subscribe([filter], {
      onevent: (event) => events.push(event),
      oneose: () => { subscription.close(); resolve(events) },
      onclose: (reason) => { if (reason !== 'closed by caller') fail(`the relay closed the subscription: ${reason}`) },
    })
  })
}

const url = positionals[0]
const information = await nip11.fetchRelayInformation(url)
check(information.supported_nips.includes(1), 'the information document does not list NIP-1')
const relay = await Relay.connect(url)

let read = []
if (options.author) {
  read = await stored(relay, { authors: [options.author], limit: 1000 })
  check(read.length > 0, 'nothing by the author')
  for (const event of read) check(verifyEvent({ ...event }), `nostr-tools does not verify ${event.id}`)
  const requests = new Set(read.filter((event) => event.kind === 5050).map((event) => event.id))
  for (const event of read.filter((event) => event.kind === 6050)) {
    check(requests.has(event.tags.find(([name]) => name === 'e')?.[1]), `result ${event.id} refers to no request`)
  }
}
if (options.summary) {
  const [summary] = await stored(relay, { ids: [options.summary] })
  check(summary?.kind === 30078 && verifyEvent({ ...summary }), 'the summary is missing or does not verify')
  const named = JSON.parse(summary.content).events
  const found = await stored(relay, { ids: named })
  check(found.length === named.length && found.every((event) => verifyEvent({ ...event })), 'an event that the summary names is missing')
}

const secret = generateSecretKey()
const event = finalizeEvent({ kind: 1, created_at: Math.floor(Date.now() / 1000), tags: [['t', 'interop'], ['client', 'nostr-tools']], content: options.content }, secret)
const live = new Promise((resolve) => relay.subscribe([{ authors: [getPublicKey(secret)], limit: 0 }], { onevent: resolve }))
await relay.publish(event)
const [back] = await stored(relay, { ids: [event.id] })
check(back && verifyEvent({ ...back }) && back.content === event.content && back.sig === event.sig, 'our own event did not come back as it was')
check((await live).id === event.id, 'our own event did not come live')

const forged = { ...finalizeEvent({ kind: 1, created_at: event.created_at, tags: [], content: 'honest' }, secret), content: 'forged' }
const refused = await relay.publish(forged).then(() => false, (error) => /invalid/.test(String(error)))
check(refused, 'a forged event was accepted')

clearTimeout(deadline)
console.log(JSON.stringify({ ok: true, read: read.length, published: event.id, author: getPublicKey(secret) }))
relay.close()
process.exit(0)
