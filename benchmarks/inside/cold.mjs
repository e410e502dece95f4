/**
 * `node cold.mjs DIST JSON`: the list of many servers that are connected and have not said yet what they have: from the
 * first answer until all tools are there; connecting is not in it. All list the same names, as many of one kind do. One
 * line of JSON.
 */
import { peersOf } from './peer.mjs';
import { stopwatch, watchStall } from './measure.mjs';

const { servers: count, tools } = JSON.parse(process.argv[3]);

/** Longer than the slowest start: a list that is held back is not late. */
const LIST_TIMEOUT_MS = 120_000;

// Servers in this process hold no handle that keeps it alive.
const alive = setInterval(() => {}, 1_000);

// Nothing is warmed up: compiling what builds the lists is part of a cold build.
const { createEngine } = await import(`${process.argv[2]}/index.js`);
const { peers, servers } = peersOf(count, { tools, holding: true });
const engine = createEngine({ servers, listTimeoutMs: LIST_TIMEOUT_MS });
let done = stopwatch();
await engine.start();
const connected = done();
await new Promise((resolve) => void setTimeout(resolve, 100));
if (peers.some(({ asked }) => asked['tools/list'] !== 1)) throw new Error('not every server was asked once');

const stall = watchStall();
done = stopwatch();
const listing = engine.listTools();
// Each answers in a turn of its own, as servers in other processes do.
for (const peer of peers) {
  peer.letGo();
  await new Promise((resolve) => void setImmediate(resolve));
}
const { items, failures } = await listing;
const cold = { ...done(), stallMs: stall() };
if (items.length !== count * tools || failures.length > 0)
  throw new Error(`${items.length} tools of ${count * tools}; ${failures.length} servers failed`);

await engine.stop();
clearInterval(alive);
process.stdout.write(
  `${JSON.stringify({
    connectMs: connected.ms,
    connectCpuMs: connected.cpuMs,
    coldMs: cold.ms,
    coldCpuMs: cold.cpuMs,
    coldStallMs: cold.stallMs,
  })}\n`,
);
