/**
 * Replicas: three processes of one server share the load of twelve callers. One is killed with `kill -9` in the middle of
 * its work; the others take over, and no call fails.
 *
 *   npx tsx examples/replicas-failover.ts
 */
import { createEngine } from '../lib/index.ts';
import { factorsServer } from './servers/factors.ts';

const engine = createEngine({
  servers: {
    // `trusted`: its tool says that it only reads, and we believe it. So a call whose answer was lost may be asked again.
    factors: { ...factorsServer, replicas: 3, trusted: true },
  },
});

engine.on('connection.changed', ({ connection, from, to }) => {
  if (from === 'Connected' || to === 'Error') console.log(`${connection}: ${from} → ${to}`);
});
let again = 0;
engine.on('request.settled', ({ attempts }) => (again += attempts > 1 ? 1 : 0));

const answered = new Map<number, number>();
let failed = 0;

/** One caller: asks, reads, asks again. */
async function caller(first: number): Promise<void> {
  for (let n = first; n < first + 20; n++) {
    try {
      const { structuredContent } = await engine.callTool('factors__factor', { n });
      const { pid } = structuredContent as { pid: number };
      answered.set(pid, (answered.get(pid) ?? 0) + 1);
    } catch (error) {
      failed += 1;
      console.error(error instanceof Error ? error.message : error);
    }
    if (answeredInAll() === 60) killOne();
  }
}

function answeredInAll(): number {
  return [...answered.values()].reduce((sum, n) => sum + n, 0);
}

function killOne(): void {
  const busiest = [...engine.fleet.connections].sort((a, b) => b.inFlight - a.inFlight)[0];
  if (busiest?.pid === undefined) throw new Error('no replica is at work');
  console.log(`killing ${busiest.id} with ${busiest.inFlight} calls in flight`);
  process.kill(busiest.pid, 'SIGKILL');
}

try {
  await engine.start();
  await Promise.all(Array.from({ length: 12 }, (_, i) => caller(1_000_000 + 1_000 * i)));
  const shares = [...answered.values()].sort((a, b) => b - a).join(' + ');
  console.log(
    `${shares} calls answered by ${answered.size} processes, ${again} asked again, ${failed} failed`,
  );
} finally {
  await engine.stop();
}
process.exitCode = failed === 0 ? 0 : 1;
