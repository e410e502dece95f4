/**
 * `node contender.mjs JSON`: one contender on one transport in a process of its own. Opens, warms up, measures its
 * windows and writes one line of JSON.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
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
const call = () => client.call('echo', args);
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
const least = { memory: 20_000, stdio: 8_000, http: 1_500 }[transport];
let warmed = 0;
for (let round = 0; round < 2 || (round < 12 && warmed < least); round += 1)
  warmed += (await run(round % 2 === 0 ? 16 : 256, warmMs / 2)).calls;

const windows = [];
for (const n of inFlight) windows.push(await run(n, windowMs));
const heapBytes = await heapPerCall(() => {
  calls += 1;
  return call();
});
const counters = await client.counters?.();
await client.close();
http?.stop();
process.stdout.write(`${JSON.stringify({ windows, heapBytes, calls, counters, warnings })}\n`);

async function startHttpPeer() {
  const child = spawn(process.execPath, [script('peers/http-peer.mjs')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH },
  });
  const [port] = await once(child.stdout.setEncoding('utf8'), 'data');
  return {
    url: `http://127.0.0.1:${Number(port)}/mcp`,
    pid: child.pid,
    stop: () => child.kill(),
  };
}
