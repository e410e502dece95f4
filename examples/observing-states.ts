/**
 * Observing: connection states as streams. A server is killed; the stream shows how it is lost and comes back.
 *
 *   npx tsx examples/observing-states.ts
 */
import { filter, firstValueFrom, map, take, toArray } from 'rxjs';
import { createEngine } from '../lib/index.ts';
import { npmServer } from './servers/npm.ts';

const engine = createEngine({ servers: { memory: npmServer('@modelcontextprotocol/server-memory') } });

engine.on('connection.changed', ({ connection, from, to, retryInMs }) => {
  console.log(
    `${connection}: ${from} → ${to}${retryInMs === undefined ? '' : ` (again in ${retryInMs} ms)`}`,
  );
});
const usable = engine.fleet$
  .pipe(map(({ servers }) => servers.filter((s) => s.availability === 'usable').length))
  .subscribe((n) => console.log(`${n} of 1 servers usable`));

try {
  await engine.start();
  const memory = engine.connection('memory');
  const pid = memory.process?.pid;
  // From Connected over Error and back: five states, each seen once and in order.
  const round = firstValueFrom(memory.state$.pipe(take(5), toArray()));
  if (pid !== undefined) process.kill(pid, 'SIGKILL');
  console.log('seen:', (await round).join(' → '));
  await firstValueFrom(
    engine.fleet$.pipe(filter(({ connections }) => connections.every((c) => c.state === 'Connected'))),
  );
} finally {
  await engine.stop();
  usable.unsubscribe();
}
