/**
 * `node contender.mjs JSON`: one contender on one transport in a process of its own. Opens, warms up, measures its
 * windows and writes one line of JSON.
 */
import { fileURLToPath } from 'node:url';
import { startHttpPeer } from './peers/start-http-peer.mjs';
import { heapPerCall, measure } from './window.mjs';

const job = JSON.parse(process.argv[2]);
const { module, transport, payloadBytes, warmMs, windowMs, inFlight } = job;
const script = (name) => fileURLToPath(new URL(name, import.meta.url));

const http = transport === 'http' ? await startHttpPeer() : undefined;
const { open } = await import(`./contenders/${module}.mjs`);
const client = await open({
  ...job,
  program: { command: process.execPath, args: [script('../support/wire-server.mjs')] },
  url: http?.url,
});

/** Warnings of Node by what they are about: too many listeners, most of the time. */
const warnings = {};
process.on('warning', ({ name }) => {
  warnings[name] = (warnings[name] ?? 0) + 1;
});

const message = 'x'.repeat(payloadBytes);
const args = { message };
const call = () => client.call(args);
const check = (result) => {
  if (result?.content?.[0]?.text !== message) throw new Error(`a wrong answer: ${JSON.stringify(result)}`);
};
// In memory reading the clock would be felt; over a wire each call is timed.
const every = transport === 'memory' ? 16 : 1;
const pid = http?.pid ?? client.pid;
check(await call());
let calls = 1;
const run = async (n, ms) => {
  const window = await measure({ call, check, inFlight: n, ms, every: n === 1 ? 1 : every, pid });
  calls += window.calls;
  return window;
};

// By calls and by time: a compiler that has not seen enough of them yet measures itself.
const large = payloadBytes > 10_000;
const least = large ? 1_000 : { memory: 20_000, stdio: 8_000, http: 1_500 }[transport];
const most = Math.max(...inFlight);
let warmed = 0;
for (let round = 0; round < 2 || (round < 12 && warmed < least); round += 1)
  warmed += (await run(round % 2 === 0 ? Math.min(16, most) : most, warmMs / 2)).calls;

const windows = [];
for (const n of inFlight) windows.push(await run(n, windowMs));
const counted = () => {
  calls += 1;
  return call();
};
// What large messages leave on the heap is the messages.
const batches = transport === 'http' ? { batches: 9, size: 64 } : {};
const heapBytes = large ? Number.NaN : await heapPerCall(counted, batches);
const counters = await client.counters?.();
await client.close();
http?.stop();
process.stdout.write(`${JSON.stringify({ windows, heapBytes, calls, counters, warnings })}\n`);
