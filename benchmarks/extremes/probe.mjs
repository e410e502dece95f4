/** `node --expose-gc probe.mjs JSON`: one contender in one extreme, in a process of its own. Writes one line of JSON. */
import { getEventListeners } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startHttpPeer } from '../call/peers/start-http-peer.mjs';

const job = JSON.parse(process.argv[2]);
const { module, probe } = job;

function program(settings = {}) {
  const script = fileURLToPath(new URL('../support/wire-server.mjs', import.meta.url));
  return { command: process.execPath, args: [script, JSON.stringify(settings)] };
}

let warnings = 0;
process.on('warning', () => {
  warnings += 1;
});

const PROBES = { answer, listeners, idle, lone };
process.stdout.write(`${JSON.stringify(await PROBES[probe]())}\n`);

function quantile(values, q) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Answers of several sizes over stdio: milliseconds and processor milliseconds, medians. */
async function answer() {
  const { open } = await contender();
  const client = await open({ ...job, transport: 'stdio', program: program() });
  const found = {};
  for (const bytes of job.sizes) {
    const wall = [];
    const cpu = [];
    for (let i = 0; i < job.times + 2; i += 1) {
      const from = performance.now();
      const used = cpuMs();
      const { content } = await client.call({ bytes });
      wall.push(performance.now() - from);
      cpu.push(cpuMs() - used);
      if (content[0].text.length !== bytes)
        throw new Error(`${content[0].text.length} characters, not ${bytes}`);
    }
    found[bytes] = { ms: quantile(wall.slice(2), 0.5), cpuMs: quantile(cpu.slice(2), 0.5) };
  }
  await client.close();
  return found;
}

/** Ten thousand calls under one signal of the caller that lives on: how many listen to any signal at the same time. */
async function listeners() {
  let most = 0;
  const { addEventListener } = EventTarget.prototype;
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    addEventListener.call(this, type, ...rest);
    if (type === 'abort') most = Math.max(most, getEventListeners(this, 'abort').length);
  };
  const { open } = await contender();
  const http = job.transport === 'http' ? await startHttpPeer() : undefined;
  const client = await open({ ...job, url: http?.url, program: program() });
  const { signal } = new AbortController();
  let left = job.calls;
  const loop = async () => {
    while (left-- > 0) await client.call({ message: 'hi' }, { signal });
  };
  await Promise.all(Array.from({ length: job.inFlight }, loop));
  await client.close();
  http?.stop();
  return { most, warnings };
}

/**
 * Heap that one more idle connection takes, bytes: the difference that many of them make to a process that has had as
 * many before, so that what is compiled once is not counted.
 */
async function idle() {
  const { openAll } = await contender();
  const programs = Array.from({ length: job.count }, () => program({ tools: job.tools }));
  const first = await openAll(programs, job);
  await first.close();
  await settle();
  const before = process.memoryUsage().heapUsed;
  const open = await openAll(programs, job);
  await settle();
  const bytes = (process.memoryUsage().heapUsed - before) / job.count;
  await open.close();
  return { bytes };
}

async function settle() {
  for (let i = 0; i < 4; i += 1) {
    globalThis.gc();
    await new Promise((resolve) => void setTimeout(resolve, 50));
  }
}

/** One echo after the other on a server of its own: alone, and beside many in flight on another; microseconds. */
async function lone() {
  const { openAll } = await contender();
  const { clients, close } = await openAll([program(), program()], job);
  const [quiet, busy] = clients;
  const args = { message: 'x'.repeat(100) };
  const load = async (until) => {
    while (!until.aborted) await busy.call(args);
  };
  const echoes = async (ms) => {
    const times = [];
    for (const end = performance.now() + ms; performance.now() < end;) {
      const from = performance.now();
      await quiet.call(args);
      times.push((performance.now() - from) * 1_000);
    }
    return times;
  };
  const beside = async (ms) => {
    const end = new AbortController();
    const loops = Array.from({ length: job.inFlight }, () => load(end.signal));
    const times = await echoes(ms);
    end.abort();
    await Promise.all(loops);
    return times;
  };
  await echoes(200);
  await beside(300);
  const alone = await echoes(job.windowMs);
  const crowded = await beside(job.windowMs);
  await close();
  return {
    aloneUs: quantile(alone, 0.5),
    besideUs: quantile(crowded, 0.5),
    besideP99Us: quantile(crowded, 0.99),
  };
}

function contender() {
  return import(`../call/contenders/${module}.mjs`);
}
