/** `node reads.mjs DIST`: cache, coalescing, fan-out and batch, in the whole engine. One line of JSON. */
import { fileURLToPath } from 'node:url';
import { nanoseconds, stopwatch } from './measure.mjs';
import { peersOf } from './peer.mjs';

const { createEngine } = await import(`${process.argv[2]}/index.js`);
const found = {};

const one = peersOf(1);
const [{ asked }] = one.peers;
const engine = createEngine({
  servers: { s0: { ...one.servers.s0, cache: { resources: { ttlMs: 600_000 } } } },
});
await engine.start();
const read = (options) => engine.readResource('file:///a', options);
const microseconds = async (work) => (await nanoseconds(work, { times: 5_000 })).map((ns) => ns / 1_000);
found.readUs = await microseconds(() => read({ cache: 'bypass', servers: ['s0'] }));
await read({ servers: ['s0'] });
let before = asked['resources/read'];
found.cachedReadUs = await microseconds(() => read({ servers: ['s0'] }));
if (asked['resources/read'] !== before) throw new Error('a cached read was asked for');

before = asked['resources/read'];
let done = stopwatch();
await Promise.all(Array.from({ length: 1_000 }, () => engine.readResource('file:///b', { servers: ['s0'] })));
found.coalescedUs = done().cpuMs;
found.askedOf1000 = asked['resources/read'] - before;
await engine.stop();

const many = peersOf(100);
const fleet = createEngine({ servers: many.servers });
await fleet.start();
const fan = () =>
  new Promise((resolve, reject) => {
    let rows = 0;
    fleet
      .fanOut({ method: 'tools/call', params: { name: 'echo', arguments: { message: 'hi' } } })
      .subscribe({ next: ({ ok }) => (rows += ok ? 1 : 0), error: reject, complete: () => resolve(rows) });
  });
for (let i = 0; i < 20; i += 1) if ((await fan()) !== 100) throw new Error('a row of the fan-out is missing');
done = stopwatch();
for (let i = 0; i < 20; i += 1) await fan();
found.fanOut100Ms = done().ms / 20;
found.fanOutRowUs = (done().cpuMs * 1_000) / 2_000;
await fleet.stop();

const script = fileURLToPath(new URL('../support/wire-server.mjs', import.meta.url));
const pipes = createEngine({ servers: { s0: { command: process.execPath, args: [script] } } });
await pipes.start();
const params = { name: 's0__echo', arguments: { message: 'x'.repeat(100) } };
const requests = Array.from({ length: 100 }, () => ({ method: 'tools/call', params }));
const batched = () => pipes.batch(requests);
const together = () => Promise.all(requests.map(() => pipes.callTool(params.name, params.arguments)));
const oneByOne = async () => {
  for (let i = 0; i < 100; i += 1) await pipes.callTool(params.name, params.arguments);
};
for (const [name, work] of Object.entries({ batched, together, oneByOne })) {
  for (let i = 0; i < 30; i += 1) await work();
  done = stopwatch();
  for (let i = 0; i < 50; i += 1) await work();
  const { ms, cpuMs } = done();
  found[`${name}Ms`] = ms / 50;
  found[`${name}CpuUs`] = (cpuMs * 1_000) / 5_000;
}
await pipes.stop();
process.stdout.write(`${JSON.stringify(found)}\n`);
