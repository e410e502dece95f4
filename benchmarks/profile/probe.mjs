/**
 * `node probe.mjs JSON`: one contender with `inFlight` calls on the way, first as it is, then under the processor's
 * profiler. Writes one line of JSON: microseconds a call, whole and by who ran.
 */
import { Session } from 'node:inspector/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startHttpPeer } from '../call/peers/start-http-peer.mjs';
import { FLOORS } from './floors.mjs';

const job = JSON.parse(process.argv[2]);
/** Between two samples, microseconds: some hundred calls of a window are looked at in each place. */
const SAMPLE_US = 200;

const http = job.transport === 'http' ? await startHttpPeer() : undefined;
const program = {
  command: process.execPath,
  args: [fileURLToPath(new URL('../support/wire-server.mjs', import.meta.url))],
};
const client =
  FLOORS[job.module]?.(http?.url) ??
  (await (await import(`../call/contenders/${job.module}.mjs`)).open({ ...job, program, url: http?.url }));

const args = { message: 'x'.repeat(job.payloadBytes) };
let calls = 0;
const window = { over: false };
let turn;
const loop = async () => {
  while (!window.over) {
    const { content } = await client.call(args);
    if (content[0].text !== args.message) throw new Error(`a wrong answer: ${JSON.stringify(content)}`);
    calls += 1;
    // What never waits for a wire would not let the clock of the window run: all loops pause.
    if ((calls & 1_023) === 0)
      turn ??= new Promise(setImmediate).then(() => {
        turn = undefined;
      });
    if (turn !== undefined) await turn;
  }
};
const loops = Promise.all(Array.from({ length: job.inFlight }, loop));

await sleep(job.warmMs);
const before = { calls, ...process.cpuUsage() };
await sleep(job.windowMs);
const { user, system } = process.cpuUsage();
const cpuUs = (user + system - before.user - before.system) / (calls - before.calls);

const session = new Session();
session.connect();
await session.post('Profiler.enable');
await session.post('Profiler.setSamplingInterval', { interval: SAMPLE_US });
await session.post('Profiler.start');
const from = calls;
await sleep(job.windowMs);
const { profile } = await session.post('Profiler.stop');
const byWhom = shares(profile, calls - from);
window.over = true;
await loops;
await client.close();
http?.stop();
process.stdout.write(`${JSON.stringify({ cpuUs, byWhom })}\n`);

/** Microseconds a call by who ran: the time of a sample is that of the function on top. */
function shares({ nodes, samples, timeDeltas }, n) {
  const owners = new Map(nodes.map(({ id, callFrame }) => [id, ownerOf(callFrame)]));
  const found = {};
  samples.forEach((id, i) => {
    const owner = owners.get(id);
    if (owner !== undefined) found[owner] = (found[owner] ?? 0) + timeDeltas[i] / n;
  });
  return found;
}

function ownerOf({ functionName, url }) {
  if (functionName === '(idle)') return undefined;
  if (functionName === '(garbage collector)') return 'collection';
  // Functions of no file are native: system calls above all.
  if (url === '') return 'system';
  if (url.startsWith('node:')) return 'node';
  if (url.includes('/undici/') || url.startsWith('wasm:')) return 'undici';
  if (url.includes('/mcp-troupe/dist/')) return 'troupe';
  if (url.includes('/benchmarks/')) return 'benchmark';
  return 'libraries';
}
