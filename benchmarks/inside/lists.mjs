/**
 * `node --expose-gc lists.mjs DIST JSON`: the aggregated list of many servers of a hundred tools each, from the start on;
 * `cold.mjs` tells apart what of the start is connecting and what is the list. One line of JSON.
 */
import { peersOf } from './peer.mjs';
import { stopwatch, watchStall } from './measure.mjs';

const { servers: count, tools } = JSON.parse(process.argv[3]);

// Servers in this process hold no handle that keeps it alive.
const alive = setInterval(() => {}, 1_000);

// Whoever compiles a schema makes a function of a text.
let compiled = 0;
globalThis.Function = new Proxy(Function, {
  construct(target, args) {
    compiled += 1;
    return Reflect.construct(target, args);
  },
});
const { createEngine } = await import(`${process.argv[2]}/index.js`);
if (typeof Reflect.construct(globalThis.Function, ['']) !== 'function') throw new Error('no function');
if (compiled === 0) throw new Error('compiling is not noticed');

const warm = createEngine({ servers: peersOf(3, { tools: 3 }).servers });
await warm.start();
await warm.listTools({ cache: 'refresh' });
await warm.stop();
compiled = 0;

const { peers, servers } = peersOf(count, { tools });
const engine = createEngine({ servers });
let stall = watchStall();
let done = stopwatch();
await engine.start();
const { items: all, failures } = await engine.listTools();
const start = done();
const startStallMs = stall();
if (all.length !== count * tools || failures.length > 0)
  throw new Error(`${all.length} tools of ${count * tools}; ${failures.length} servers failed`);

/** Every server is asked again. */
async function refreshed() {
  const before = peers.reduce((sum, { asked }) => sum + asked['tools/list'], 0);
  stall = watchStall();
  done = stopwatch();
  const { items } = await engine.listTools({ cache: 'refresh' });
  const took = { ...done(), stallMs: stall() };
  const after = peers.reduce((sum, { asked }) => sum + asked['tools/list'], 0);
  if (items.length !== count * tools || after < before + count)
    throw new Error('not every server was asked again');
  return took;
}

// The first time what starting has left behind is collected as well.
const first = await refreshed();
const refreshes = [];
for (let i = 0; i < 5; i += 1) refreshes.push(await refreshed());
const refresh = middle(refreshes);

done = stopwatch();
await engine.listTools();
const known = done();

// What six times a thousand lists have left is collected first: it is not what a change costs.
globalThis.gc();
// From the notification until the server was asked again and the catalog holds its list; then the list of all.
const changes = [];
const lists = [];
for (let i = 0; i < Math.min(count, 25); i += 1) {
  const changed = new Promise((resolve) => {
    const off = engine.on('catalog.changed', () => {
      off();
      resolve();
    });
  });
  done = stopwatch();
  peers[i].change();
  await changed;
  changes.push(done());
  done = stopwatch();
  const { items } = await engine.listTools();
  lists.push(done());
  if (!items.some(({ name }) => name.startsWith(`s${i}__`) && name.endsWith('_new')))
    throw new Error('the change is not seen');
}
const change = middle(changes);
const after = middle(lists);

function middle(times) {
  return times.toSorted((a, b) => a.cpuMs - b.cpuMs)[Math.floor(times.length / 2)];
}

const bytes = JSON.stringify((await engine.listTools()).items).length;
await engine.stop();
clearInterval(alive);
process.stdout.write(
  `${JSON.stringify({
    startMs: start.ms,
    startCpuMs: start.cpuMs,
    startStallMs,
    firstMs: first.ms,
    firstCpuMs: first.cpuMs,
    firstStallMs: first.stallMs,
    refreshMs: refresh.ms,
    refreshCpuMs: refresh.cpuMs,
    refreshStallMs: refresh.stallMs,
    knownMs: known.ms,
    changeMs: change.ms,
    changeCpuMs: change.cpuMs,
    afterChangeMs: after.ms,
    afterChangeCpuMs: after.cpuMs,
    compiled,
    bytes,
    tokens: Math.round(bytes / 4),
  })}\n`,
);
