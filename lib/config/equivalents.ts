import type { TroupeError } from '../core/errors.ts';
import type { ResolvedServer } from './config.ts';
import { below, invalid, nearest, type At } from './fields.ts';
import type { Reading } from './reading.ts';

export type PlaceOf = (server: ResolvedServer) => At;

function equivalentsInvalid(
  server: ResolvedServer,
  placeOf: PlaceOf,
  problem: string,
  remedy: string,
): TroupeError {
  return invalid(below(placeOf(server), 'equivalentTo'), problem, remedy);
}

/** Who is named in `equivalentTo` exists, or is at least configured. */
export function checkNamed(
  checked: readonly ResolvedServer[],
  known: ReadonlySet<string>,
  disabled: ReadonlySet<string>,
  reading: Reading,
  placeOf: PlaceOf,
): void {
  for (const server of checked) {
    for (const name of server.equivalentTo) {
      if (known.has(name)) continue;
      if (disabled.has(name)) {
        reading.warnings.push(`${server.name}: equivalentTo names ${name}, which is disabled`);
        continue;
      }
      const guess = nearest(name, known);
      const remedy = guess === undefined ? 'name a configured server' : `did you mean ${guess}?`;
      throw equivalentsInvalid(
        server,
        placeOf,
        `names ${JSON.stringify(name.slice(0, 60))}, which is no server`,
        remedy,
      );
    }
  }
}

/**
 * `equivalentTo` leads nowhere in a circle: the chain is walked when a server is down. Depth first with an explicit
 * stack, because a chain of servers may be longer than the call stack is deep.
 */
export function checkCircles(servers: readonly ResolvedServer[], placeOf: PlaceOf): void {
  const byName = new Map(servers.map((server) => [server.name, server]));
  const finished = new Set<string>();
  for (const start of servers) {
    const path: { readonly server: ResolvedServer; next: number }[] = [{ server: start, next: 0 }];
    const onPath = new Set([start.name]);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const name = finished.has(top.server.name) ? undefined : top.server.equivalentTo[top.next++];
      if (name === undefined) {
        finished.add(top.server.name);
        onPath.delete(top.server.name);
        path.pop();
        continue;
      }
      if (onPath.has(name)) {
        const circle = [...path.map((step) => step.server.name), name];
        const shown = circle.slice(circle.indexOf(name)).slice(0, 8).join(' → ');
        throw equivalentsInvalid(
          top.server,
          placeOf,
          `leads in a circle: ${shown}`,
          'remove one of the names',
        );
      }
      const server = byName.get(name);
      if (server !== undefined && !finished.has(name)) {
        path.push({ server, next: 0 });
        onPath.add(name);
      }
    }
  }
}
