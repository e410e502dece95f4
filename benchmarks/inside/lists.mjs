/** `node lists.mjs DIST JSON`: the aggregated list of many servers of a hundred tools each. One line of JSON. */
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
const first = await engine.listTools();
const start = done();
const startStallMs = stall();
if (first.items.length !== count * tools || first.failures.length > 0)
  throw new Error(`${first.items.length} tools of ${count * tools}; ${first.failures.length} servers failed`);

stall = watchStall();
done = stopwatch();
const again = await engine.listTools({ cache: 'refresh' });
const refresh = done();
const refreshStallMs = stall();
const lists = peers.reduce((sum, { asked }) => sum + asked['tools/list'], 0);
if (again.items.length !== count * tools || lists < 2 * count)
  throw new Error('not every server was asked again');

done = stopwatch();
await engine.listTools();
const known = done();

const changes = [];
for (let i = 0; i < 5; i += 1) {
  const changed = new Promise((resolve) => {
    const off = engine.on('catalog.changed', () => {
      off();
      resolve();
    });
  });
  done = stopwatch();
  peers[i].change();
  await changed;
  const { items } = await engine.listTools();
  changes.push(done());
  if (!items.some(({ name }) => name.startsWith(`s${i}__`) && name.endsWith('_new')))
    throw new Error('the change is not seen');
}
changes.sort((a, b) => a.ms - b.ms);

const bytes = JSON.stringify(again.items).length;
await engine.stop();
clearInterval(alive);
process.stdout.write(
  `${JSON.stringify({
    startMs: start.ms,
    startCpuMs: start.cpuMs,
    startStallMs,
    refreshMs: refresh.ms,
    refreshCpuMs: refresh.cpuMs,
    refreshStallMs,
    knownMs: known.ms,
    changeMs: changes[2].ms,
    changeCpuMs: changes[2].cpuMs,
    compiled,
    bytes,
    tokens: Math.round(bytes / 4),
  })}\n`,
);
