/** `node probe.mjs JSON`: one library in one situation, in a process of its own. Writes one line of JSON. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CONTENDERS } from './contenders.mjs';

const job = JSON.parse(process.argv[2]);
const { contender, situation, scratch, patienceMs } = job;
const COUNT = 8;
/** The server that is bad where one is. */
const BAD = 3;

const spawned = (i) => `${scratch}/spawned-${i}`;
const servers = Array.from({ length: COUNT }, (_, i) => {
  writeFileSync(spawned(i), '');
  const script = fileURLToPath(new URL('../support/wire-server.mjs', import.meta.url));
  const settings = { spawned: spawned(i), never: situation === 'hang' && i === BAD };
  return { command: process.execPath, args: [script, JSON.stringify(settings)] };
});

const message = 'hello-from-bench';
const client = await CONTENDERS[contender](servers, job);
const text = (result) => JSON.stringify(result) ?? '';
const others = Array.from({ length: COUNT }, (_, i) => i).filter((i) => i !== BAD);
const starts = (i) => readFileSync(spawned(i), 'utf8').trim().split('\n');

const SITUATIONS = { start, calls, hang, crash, kill };
const found = await SITUATIONS[situation]();
await within(client.close(), 5_000).catch(() => {});
process.stdout.write(`\n@@${JSON.stringify(found)}\n`);
// What a library leaves behind is not the next one's burden.
for (let i = 0; i < COUNT; i += 1)
  for (const pid of starts(i))
    try {
      if (pid !== '') process.kill(Number(pid), 'SIGKILL');
    } catch {
      // Ended already, as it should be.
    }
process.exit(0);

async function within(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A call that counts only with the right answer. Some libraries report a failure as a text. */
async function echo(i) {
  const result = await within(
    Promise.resolve().then(() => client.call(i, { message })),
    patienceMs,
  );
  if (!text(result).includes(message)) throw new Error(`a wrong answer: ${text(result).slice(0, 200)}`);
}

async function start() {
  const from = performance.now();
  await within(client.open(), 60_000);
  const ms = performance.now() - from;
  return { ms, spawns: servers.reduce((sum, _, i) => sum + starts(i).filter((pid) => pid !== '').length, 0) };
}

async function calls() {
  await client.open();
  const run = async (inFlight, ms) => {
    let count = 0;
    const end = performance.now() + ms;
    const loop = async () => {
      while (performance.now() < end) {
        count += 1;
        // Looking at the answer is not what is measured; now and then it is looked at.
        if (count % 64 === 0) await echo(0);
        else await client.call(0, { message });
      }
    };
    const before = process.cpuUsage();
    const from = performance.now();
    await Promise.all(Array.from({ length: inFlight }, loop));
    const { user, system } = process.cpuUsage(before);
    return { perSecond: (count * 1_000) / (performance.now() - from), cpuUs: (user + system) / count };
  };
  await run(16, 600);
  return run(16, 1_500);
}

/** Until the seven good ones have answered, one way or another. */
async function hang() {
  const from = performance.now();
  const opening = client.open();
  opening.catch(() => {});
  try {
    await within(
      Promise.all(
        others.map(async (i) => {
          for (;;) {
            try {
              await echo(i);
              return;
            } catch {
              await new Promise((resolve) => void setTimeout(resolve, 10));
            }
          }
        }),
      ),
      patienceMs,
    );
  } catch {
    return { ms: null };
  }
  return { ms: performance.now() - from };
}

async function outcome(work) {
  const from = performance.now();
  try {
    await work();
    return { ok: true, ms: performance.now() - from };
  } catch (error) {
    return { ok: false, ms: performance.now() - from, error: String(error?.message ?? error).slice(0, 160) };
  }
}

async function crash() {
  await client.open();
  await echo(BAD);
  const log = `${scratch}/crashes`;
  writeFileSync(log, '');
  const failed = await outcome(async () => {
    const result = await within(client.call(BAD, { crash: log }), patienceMs);
    throw new Error(text(result).slice(0, 160));
  });
  const ran = readFileSync(log, 'utf8').trim().split('\n').length;
  return { failedMs: failed.ms, error: failed.error, ran, later: await later() };
}

async function kill() {
  await client.open();
  await echo(BAD);
  process.kill(Number(starts(BAD).at(-1)), 'SIGKILL');
  await new Promise((resolve) => void setTimeout(resolve, 100));
  return { later: await later() };
}

/** Three calls after the fault: which of them is the first to work. */
async function later() {
  const tries = [];
  for (let i = 0; i < 3; i += 1) {
    tries.push(await outcome(() => echo(BAD)));
    if (tries.at(-1).ok) break;
  }
  const beside = await outcome(() => echo(0));
  return { tries, besideOk: beside.ok };
}
